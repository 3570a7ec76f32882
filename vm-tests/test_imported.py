"""An installer-like image that xorriso made, imported with one file more: it still boots, from a CD and from a disk."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qemu_viso.image.render import render
from qemu_viso.opening import open_viso

if TYPE_CHECKING:
    from collections.abc import Callable

    from qemu_viso.guest.build import GuestBuild
    from qemu_viso.verify.report import Report

IMAGES = Path(__file__).resolve().parent.parent / "images"
ISOLINUX = Path("/usr/lib/ISOLINUX")
OVMF = Path("/usr/share/ovmf/OVMF.fd")
pytestmark = pytest.mark.full
MARKER = "--iprt-iso-maker-file-marker-bourne-sh 5f1c0ae0-1111-2222-3333-444455556666"


@pytest.fixture(scope="module")
def recipe(linux_cloud: GuestBuild, tmp_path_factory: pytest.TempPathFactory) -> str:
    if shutil.which("xorriso") is None or not (ISOLINUX / "isohdpfx.bin").exists():
        pytest.skip("xorriso and isolinux are needed")
    folder = tmp_path_factory.mktemp("imported")
    tree = folder / "tree"
    (tree / "isolinux").mkdir(parents=True)
    (tree / "boot").mkdir()
    for source, name in (
        (ISOLINUX / "isolinux.bin", "isolinux/isolinux.bin"),
        (Path("/usr/lib/syslinux/modules/bios/ldlinux.c32"), "isolinux/ldlinux.c32"),
        (IMAGES / "isolinux" / "isolinux.cfg", "isolinux/isolinux.cfg"),
        (linux_cloud.kernel, "boot/vmlinuz"),
        (linux_cloud.initrd, "boot/initrd"),
    ):
        shutil.copyfile(source, tree / name)
    command = ["xorriso", "-as", "mkisofs", "-quiet", "-R", "-J", "-V", "OLD", "-o", str(folder / "old.iso")]
    command += ["-isohybrid-mbr", str(ISOLINUX / "isohdpfx.bin"), "-b", "isolinux/isolinux.bin", "-no-emul-boot"]
    command += ["-c", "isolinux/boot.cat", "-boot-load-size", "4", "-boot-info-table", str(tree)]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "more").write_bytes(b"more" * 100_000)
    path = folder / "imported.viso"
    path.write_text(f"{MARKER}\n/=more\n--import-iso old.iso\n/added/more=more\n", encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("bus", ["scsi-cd", "virtio-blk"])
def test_an_imported_hybrid_image_boots(recipe: str, verified: Callable[..., list[Report]], bus: str) -> None:
    [report] = verified(open_viso(recipe), bus, ["rock"], from_medium=True)

    assert report.differences == (), report.table()
    assert report.as_expected == report.expected


GRUB = """serial --unit=0 --speed=115200
terminal_output serial
cat /added
halt
"""


@pytest.fixture(scope="module")
def grub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of grub-mkrescue, with boot code, GPT and EFI image, imported behind a file that moves everything."""
    if shutil.which("grub-mkrescue") is None:
        pytest.skip("grub-mkrescue is not installed")
    folder = tmp_path_factory.mktemp("grub")
    (folder / "tree" / "boot" / "grub").mkdir(parents=True)
    (folder / "tree" / "boot" / "grub" / "grub.cfg").write_text(GRUB)
    subprocess.run(
        ["grub-mkrescue", "-o", str(folder / "old.iso"), str(folder / "tree")], check=True, capture_output=True
    )
    (folder / "more").write_bytes(bytes(3_000_000))
    (folder / "added").write_text("WHAT WAS ADDED\n")
    recipe = folder / "grub.viso"
    recipe.write_text(f"{MARKER}\n/more=more\n--import-iso old.iso\n/added=added\n", encoding="utf-8")
    render(open_viso(str(recipe)).image, str(folder / "new.iso"))
    return folder / "new.iso"


@pytest.mark.parametrize(
    "arguments",
    [
        ("-cdrom", "{image}"),
        ("-drive", "file={image},format=raw,if=ide,snapshot=on"),
        ("-bios", str(OVMF), "-drive", "file={image},format=raw,if=ide,snapshot=on"),
    ],
    ids=["cd", "disk", "disk by UEFI"],
)
def test_an_imported_image_of_grub_boots(grub: Path, arguments: tuple[str, ...]) -> None:
    if str(OVMF) in arguments and not OVMF.exists():
        pytest.skip("ovmf is not installed")
    words = [word.format(image=grub) for word in arguments]
    command = ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-serial", "stdio", "-m", "256", "-no-reboot"]
    with subprocess.Popen([*command, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = b""
        try:
            while b"WHAT WAS ADDED" not in said and (data := os.read(process.stdout.fileno(), 4096)):
                said += data
        finally:
            process.kill()
    assert b"WHAT WAS ADDED" in said
