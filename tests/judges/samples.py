"""Images by other makers, and host directories that are hard to put on one."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from tests.judges.external import missing, run

if TYPE_CHECKING:
    from pathlib import Path

TIME = 1_600_000_000  # every file's, so that images differ in what a test makes differ and in nothing else


def noise(seed: str, size: int) -> bytes:
    """Bytes that no other seed gives."""
    return b"".join(hashlib.sha512(f"{seed}/{i}".encode()).digest() for i in range(-(-size // 64)))[:size]


def small_tree(root: Path) -> None:
    """A few files and directories, a name that needs a continuation area, a link, and two boot images."""
    (root / "dir" / "sub").mkdir(parents=True)
    (root / "two").mkdir()
    (root / "hello.txt").write_text("hello\n")
    (root / "dir" / "data.bin").write_bytes(noise("data", 5000))
    (root / "dir" / "more.bin").write_bytes(noise("more", 4096))
    (root / "dir" / "sub" / "end.txt").write_text("the end\n")
    (root / "two" / "a.bin").write_bytes(noise("a", 2048))
    (root / "two" / "b.bin").write_bytes(noise("b", 1000))
    (root / ("l" * 200)).write_text("long\n")
    (root / "link").symlink_to("dir/sub/../data.bin")
    (root / "boot.img").write_bytes(noise("boot", 6000))
    (root / "efi.img").write_bytes(noise("efi", 8192))
    settle(root)


def difficult_tree(root: Path) -> None:
    """Deep, long, many, empty, odd: what makers of images got wrong before."""
    deep = root
    for level in range(12):
        deep = deep / f"level{level:02}"
        deep.mkdir(parents=True)
        (deep / f"file{level:02}.txt").write_text(f"{level}\n")
    names = root / "names"
    names.mkdir()
    odd = [
        "trailing.dots..",
        ".hidden",
        "with space",
        "UPPER",
        "upper2",
        "name;1",
        "a.b.c.d",
        "star*query?",
        "back\\slash",
    ]
    odd += ["new\nline", 'it\'s "quoted"', "日本語のファイル名.txt", "emoji😀.txt"]
    for name in [*odd, "x" * 251 + ".ext", "é" * 120, "n" * 64, "m" * 103]:
        (names / name).write_text(name)
    many = root / "many"
    many.mkdir()
    for number in range(600):
        (many / f"file with a number {number:04}.data").write_bytes(b"%d" % number)
    (root / "many" / "nothing").touch()
    (root / "exactly").write_bytes(noise("exactly", 4096))
    (root / "oneless").write_bytes(noise("oneless", 4095))
    (root / "onemore").write_bytes(noise("onemore", 4097))
    (root / "large").write_bytes(noise("large", 300_000))
    links = root / "links"
    links.mkdir()
    for name, target in (
        ("plain", "../exactly"), ("absolute", "/etc/passwd"), ("dangling", "no/where"), ("dots", "./.././x/./y"),
        ("root", "/"), ("long", "/".join(f"part{i:03}" for i in range(25))), ("huge", "/" + "h" * 250 + "/end"),
    ):  # fmt: skip
        (links / name).symlink_to(target)
    modes = root / "modes"
    modes.mkdir()
    for mode in (0o400, 0o644, 0o755, 0o4755, 0o2711, 0o1777, 0o000):
        (modes / f"mode{mode:04o}").write_text("x")
        (modes / f"mode{mode:04o}").chmod(mode)
    os.mkfifo(root / "fifo")
    (root / "empty").mkdir()
    settle(root)


def floppy_tree(root: Path) -> None:
    """Images of the three floppy disks and of a hard disk that El Torito emulates; each looks bootable."""
    for name, size in (("floppy12", 1_228_800), ("floppy144", 1_474_560), ("floppy288", 2_949_120)):
        (root / f"{name}.img").write_bytes(noise(name, 510) + b"\x55\xaa" + bytes(size - 512))
    partition = b"\x80\x01\x01\x00\x06\x0f\x20\x05" + (32).to_bytes(4, "little") + (6112).to_bytes(4, "little")
    table = noise("disk", 446) + partition + bytes(48) + b"\x55\xaa"
    (root / "disk.img").write_bytes(table + bytes(6144 * 512 - 512))
    settle(root)


def long_names_tree(root: Path) -> None:
    """Names about the lengths at which a format begins to shorten: Joliet's 64 and 110 units, UDF's 127 and 254."""
    folder = root / "about the limits"
    folder.mkdir()
    names = ["".join(chr(97 + (length + index) % 26) for index in range(length)) for length in (63, 64, 65, 102, 103)]
    names += [f"{length:03}" + "n" * (length - 3) for length in (109, 110, 111, 127, 128, 200, 253, 254, 255)]
    names += [f"{length:03}" + "m" * (length - 7) + ".txt" for length in (109, 110, 111, 112, 250)]
    names += [f"{length:03}" + "語" * (length - 3) for length in (80, 84)]
    # Pairs of surrogates at the cut: of 110 units, the last one would be a half.
    names += [f"{length:03}" + "😀" * (length - 3) for length in (56, 57, 60)]
    for name in names:
        (folder / name).write_text(name)
    alike = root / "alike"
    alike.mkdir()
    for number in range(30):
        (alike / ("same" * 28 + f"{number:02}.dat")).write_text(f"{number}\n")
        (alike / ("über" * 28 + f"{number:02}")).mkdir()
    settle(root)


def continuation_tree(root: Path) -> None:
    """So much Rock Ridge in one directory that its continuation area takes several sectors."""
    for number in range(60):
        name = f"{number:03}" + "abcdefghij"[number % 10] * 247
        (root / name).write_text(f"{number}\n")
        # Of targets of more than about 750 bytes isoinfo, isovfy, genisoimage and xorriso lose count.
        os.symlink("/".join(f"{name[:40]}{part}" for part in range(number % 17)) or ".", root / f"link{number:03}")
    (root / ("d" * 255)).mkdir()
    (root / ("d" * 255) / ("e" * 255)).write_text("below\n")
    settle(root)


def crowded_directory(root: Path, count: int = 200_000) -> None:
    """As many names in one directory as VirtualBox's documents promise, and more than any table of 16 bits holds."""
    crowd = root / "crowd"
    crowd.mkdir()
    for number in range(count):
        os.close(os.open(crowd / f"file-{number:06}.dat", os.O_CREAT | os.O_WRONLY, 0o644))
    (root / "beside").write_text("it\n")


MARKS: dict[str, tuple[int, ...]] = {
    "large": (0, 0xFFFFF7FF, 0xFFFFF800, 0x1_0000_0000, (4 << 30) + 4999),
    "most": (0, 0xFFFFFFFE),
}
"""Where the large files are not zero: their ends, and the seams of their sections and extents."""


def large_files(root: Path) -> None:
    """A file that ISO 9660 tells in two sections, and the largest that it tells in one; they are nearly all holes."""
    for name, marks in MARKS.items():
        with open(root / name, "wb") as file:
            for number, at in enumerate(marks, 1):
                os.pwrite(file.fileno(), bytes((number,)), at)
    (root / "small").write_text("small\n")


def huge_file(root: Path) -> None:
    """A file with more allocation descriptors than a UDF file entry has room for, and of 64 sections."""
    with open(root / "huge", "wb") as file:
        os.pwrite(file.fileno(), b"end", (256 << 30) - 3)
    (root / "small").write_text("small\n")


def many_directories(root: Path, count: int = 1700) -> None:
    """So many that the path tables are longer than 64 KiB: a record of one of them has 40 bytes, in Joliet 70."""
    for number in range(count):
        (root / f"{number % 20:02}" / f"directory_with_a_long_name_{number:04}").mkdir(parents=True)
    (root / "file").write_text("x")


def settle(root: Path) -> None:
    """Give everything one time stamp."""
    for folder, _, files in os.walk(root, topdown=False):
        for name in files:
            os.utime(os.path.join(folder, name), (TIME, TIME), follow_symlinks=False)
        os.utime(folder, (TIME, TIME))


def without(*programs: str) -> str:
    """Why a maker cannot be asked; empty where it can."""
    return ", ".join(reason for program in programs if (reason := missing(program)))


def genisoimage(image: Path, source: Path, *options: str) -> Path:
    run("genisoimage", "-quiet", "-input-charset", "utf-8", *options, "-o", image, source)
    return image


def xorriso(image: Path, source: Path, *options: str) -> Path:
    run("xorriso", "-no_rc", "-as", "mkisofs", "-quiet", *options, "-o", image, source)
    return image
