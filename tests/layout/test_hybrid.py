"""Images that are disks, read by the strict reader and by partition tools that others wrote."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import RecipeError
from qemu_viso.image.render import render
from tests.judges.reader.image import Image as Seen
from tests.judges.reader.image import inspect
from tests.recipes import opened
from tests.tree.makers import xorrisofs

if TYPE_CHECKING:
    from pathlib import Path

    from qemu_viso.opening import Opened

CODE = b"\x33\xed" + b"isolinux.bin missing or corrupt".ljust(430, b"\x90")
ISOLINUX = bytes(64) + b"\xfb\xc0\x78\x70" + b"isolinux" * 1000
EFI = b"FAT" * 5000 + b"\xff"
FILES = {"code": CODE, "in/isolinux.bin": ISOLINUX, "in/efi.img": EFI, "in/other": b"other" * 9999}
BIOS = "-R -b /isolinux.bin -no-emul-boot -boot-load-size 4 -boot-info-table"
UEFI = "-eltorito-alt-boot -e /efi.img -no-emul-boot -isohybrid-gpt-basdat"
VARIANTS = {
    "both": ("/=in", BIOS, "-isohybrid-mbr code", UEFI),
    "both with UDF": ("--udf /=in", BIOS, "-isohybrid-mbr code", UEFI),
    "without padding": ("--udf --no-pad /=in", BIOS, "-isohybrid-mbr code", UEFI),
    "MBR alone": ("/=in", BIOS, "-isohybrid-mbr code"),
    "MBR alone with UDF": ("--udf --no-pad /=in", BIOS, "-isohybrid-mbr code"),
    "GPT alone": ("-R /=in -e /efi.img -no-emul-boot -isohybrid-gpt-basdat",),
}


def judged(found: Opened) -> Seen:
    seen = inspect(found.image.read, found.image.size)
    assert seen.violations() == []
    return seen


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant(tmp_path: Path, variant: str) -> None:
    lines = VARIANTS[variant]
    found = opened(tmp_path, *lines, files=FILES)
    seen = judged(found)
    assert seen.disk is not None
    assert found.image.size % (1 << 20) == 0
    assert found.image.size <= 2 << 20
    gpt, code = "GPT" in variant or "both" in variant or "without" in variant, "GPT" not in variant
    blocks = found.image.size // 512
    records = [(each.kind, each.start, each.count, each.active) for each in seen.disk.mbr]
    if not gpt:
        assert records == [(0x17, 0, blocks, True)]
        assert seen.disk.gpt == ()
        return
    assert records == [(0xEE, 1, blocks - 1, False), *([(0, 0, 1, True)] if code else [])]
    (partition,) = seen.disk.gpt
    size = (partition.last - partition.first + 1) * 512
    assert (size, partition.name) == (len(EFI) + -len(EFI) % 512, "EFI boot")
    assert found.image.read(partition.first * 512, len(EFI)) == EFI
    assert seen.system_area[: len(CODE)] == (CODE if code else bytes(len(CODE)))


def test_the_boot_code_finds_isolinux(tmp_path: Path) -> None:
    found = opened(tmp_path, *VARIANTS["both"], files=FILES)
    block = int.from_bytes(found.image.read(432, 8), "little")
    assert found.image.read(block * 512 + 64, 4) == ISOLINUX[64:68]
    assert found.image.read(440, 4) != bytes(4)


def test_tables_are_the_same_each_time_and_differ_between_images(tmp_path: Path) -> None:
    heads: list[bytes] = []
    for label in ("A", "A", "B"):
        found = opened(tmp_path, f"--volume-id={label}", *VARIANTS["both"], files={} if heads else FILES)
        heads.append(found.image.read(0, 32768))
    assert heads[0] == heads[1]
    assert heads[0][440:444] != heads[2][440:444]
    assert heads[0][568:584] != heads[2][568:584]


def test_an_image_named_twice_is_one_partition(tmp_path: Path) -> None:
    found = opened(tmp_path, "/=in", BIOS, "-isohybrid-mbr code", UEFI, UEFI, files=FILES)
    disk = judged(found).disk
    assert disk is not None
    assert len(disk.gpt) == 1


def test_a_system_area_alone_is_kept_as_it_is(tmp_path: Path) -> None:
    area = bytes(range(256)) * 128
    found = opened(tmp_path, "-G area /=in", files=FILES | {"area": area + b"more"})
    assert found.image.read(0, 32768) == area
    short = opened(tmp_path, "-G short /=in", files={"short": b"short"})
    assert short.image.read(0, 32768) == b"short".ljust(32768, b"\0")


def test_a_system_area_with_boot_code_and_tables(tmp_path: Path) -> None:
    """The hybrid has its code and tables; the rest of the area stays where nothing else lies."""
    area = b"A" * 32768
    found = opened(tmp_path, "-G area", *VARIANTS["MBR alone"], files=FILES | {"area": area})
    head = found.image.read(0, 32768)
    assert head[:432] == CODE
    assert head[510:] == b"\x55\xaa" + area[512:]
    loader = b"L" * 440 + bytes(72)
    found = opened(tmp_path, "-G loader", *VARIANTS["GPT alone"], files={"loader": loader})
    head = found.image.read(0, 32768)
    assert head[:440] == loader[:440]
    assert [each.kind for each in getattr(judged(found).disk, "mbr", ())] == [0xEE, 0]
    behind = bytes(20000) + b"behind"
    found = opened(tmp_path, "-G behind", *VARIANTS["GPT alone"], files={"behind": behind})
    assert found.image.read(20000, 6) == b"behind"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("-G area", *VARIANTS["both"]), "-G has content where the GUID partition table"),
        (("/=in -isohybrid-mbr code",), "there is none"),
        (("/=in -e /efi.img -no-emul-boot -isohybrid-mbr code",), "there is none"),
        (("/=in -b /other -no-emul-boot -isohybrid-mbr code",), "and '/other' cannot"),
        (("/=in /empty=empty -e /empty -no-emul-boot -isohybrid-gpt-basdat",), "has no content"),
    ],
)
def test_what_cannot_be(tmp_path: Path, lines: tuple[str, ...], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        opened(tmp_path, *lines, files=FILES | {"area": b"A" * 32768, "empty": b""})


# --- tools that others wrote -----------------------------------------------------------------------------------------


def run(image: Path, *command: str) -> str:
    program = shutil.which(command[0], path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(
        [program, *command[1:], str(image)], capture_output=True, text=True, check=False, env={"LC_ALL": "C"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """An image for both firmwares, with UDF, and the block of its EFI image."""
    folder = tmp_path_factory.mktemp("disk")
    found = opened(folder, *VARIANTS["both with UDF"], files=FILES)
    render(found.image, str(folder / "disk.iso"))
    seen = judged(found)
    assert seen.disk is not None
    return folder / "disk.iso", seen.disk.gpt[0].first


def test_sgdisk(disk: tuple[Path, int]) -> None:
    said = run(disk[0], "sgdisk", "--verify")
    assert "No problems found" in said
    said = run(disk[0], "sgdisk", "--info=1")
    assert f"First sector: {disk[1]} " in said
    assert "Partition name: 'EFI boot'" in said


def test_sfdisk(disk: tuple[Path, int]) -> None:
    assert "No errors detected" in run(disk[0], "sfdisk", "--verify")


def test_partx(disk: tuple[Path, int]) -> None:
    said = run(disk[0], "partx", "--show", "--noheadings", "--output=NR,START,SECTORS,SCHEME")
    assert said.split() == ["1", str(disk[1]), str(-(-len(EFI) // 512)), "gpt"]


def test_fdisk(disk: tuple[Path, int]) -> None:
    said = run(disk[0], "fdisk", "--list")
    assert "Disklabel type: gpt" in said
    assert "Microsoft basic data" in said


def test_xorriso(disk: tuple[Path, int]) -> None:
    program = shutil.which("xorriso")
    if program is None:
        pytest.skip("xorriso is not installed")
    command = [program, "-indev", str(disk[0]), "-report_system_area", "plain", "-report_el_torito", "plain"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "GPT partition path :   1  /efi.img" in said
    assert f"GPT start and size :   1  {disk[1]}  {-(-len(EFI) // 512)}" in said
    assert "boot-info-table isohybrid-suitable" in said


ALT, MARK, BASE = "-eltorito-alt-boot", "-isohybrid-gpt-basdat", "-R -b isolinux.bin -no-emul-boot"
FORMS = {
    "after -e": f"{BASE} {ALT} -e efi.img -no-emul-boot {MARK}",
    "between the new entry and -e": f"{BASE} {ALT} {MARK} -e efi.img -no-emul-boot",
    "before the new entry": f"{BASE} {MARK} {ALT} -e efi.img -no-emul-boot",
    "before everything": f"{MARK} {BASE} {ALT} -e efi.img -no-emul-boot",
    "before an entry of its own": f"{BASE} {MARK} --efi-boot efi.img",
    "the first of two": f"{BASE} {ALT} -e efi.img -no-emul-boot {MARK} {ALT} -e efi2.img -no-emul-boot",
    "the second of two": f"{BASE} {ALT} -e efi.img -no-emul-boot {ALT} -e efi2.img -no-emul-boot {MARK}",
    "two of two": f"{BASE} {ALT} -e efi.img -no-emul-boot {MARK} {ALT} -e efi2.img -no-emul-boot {MARK}",
    "twice": f"{BASE} {ALT} -e efi.img -no-emul-boot {MARK} {MARK}",
}


def partitions(image: Path) -> list[str]:
    said = run(image, "xorriso", "-x", "-report_system_area", "plain", "-indev")
    return [line.split()[-1] for line in said.splitlines() if line.startswith("GPT partition path")]


@pytest.mark.parametrize("form", FORMS)
def test_the_entry_that_is_a_partition_is_xorriso_s(tmp_path: Path, form: str) -> None:
    """The one that is current where the option stands, in xorriso's mkisofs emulation and here."""
    found = opened(tmp_path, "/=in -isohybrid-mbr code", FORMS[form], files=FILES | {"in/efi2.img": EFI[::-1]})
    (tmp_path / "code").write_bytes(CODE.ljust(512, b"\0"))
    render(found.image, str(tmp_path / "ours.iso"))
    xorrisofs(tmp_path / "theirs.iso", "-isohybrid-mbr", tmp_path / "code", *FORMS[form].split(), tmp_path / "in")

    assert partitions(tmp_path / "ours.iso") == partitions(tmp_path / "theirs.iso") != []


def test_after_efi_boot_its_entry_is_meant(tmp_path: Path) -> None:
    """xorriso has closed it by then, and has no partition at all."""
    found = opened(tmp_path, "/=in -isohybrid-mbr code", BASE, "--efi-boot efi.img", MARK, files=FILES)
    render(found.image, str(tmp_path / "ours.iso"))

    assert partitions(tmp_path / "ours.iso") == ["/efi.img"]


def test_an_entry_without_an_image_is_no_partition(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="boot entry 2 has no image"):
        opened(tmp_path, "/=in", BASE, ALT, MARK, files=FILES)
