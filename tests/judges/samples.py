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


def many_directories(root: Path, count: int = 4200) -> None:
    """So many that the path tables are longer than 64 KiB."""
    for number in range(count):
        (root / f"{number % 20:02}").mkdir(parents=True, exist_ok=True)
        (root / f"{number % 20:02}" / f"dir{number:05}").mkdir()
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
