"""An installer-like image that xorriso made, imported with one file more: it still boots, from a CD and from a disk."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from qemu_viso.pytest_plugin import Machines, Opened, Session, Views

IMAGES = Path(__file__).resolve().parent.parent / "images"
ISOLINUX = Path("/usr/lib/ISOLINUX")
pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def recipe(viso_session: Session, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    if shutil.which("xorriso") is None or not (ISOLINUX / "isohdpfx.bin").exists():
        pytest.skip("xorriso and isolinux are needed")
    build = viso_session.guest("linux-cloud")
    folder = tmp_path_factory.mktemp("imported")
    tree = folder / "tree"
    (tree / "isolinux").mkdir(parents=True)
    (tree / "boot").mkdir()
    for source, name in (
        (ISOLINUX / "isolinux.bin", "isolinux/isolinux.bin"),
        (Path("/usr/lib/syslinux/modules/bios/ldlinux.c32"), "isolinux/ldlinux.c32"),
        (IMAGES / "isolinux" / "isolinux.cfg", "isolinux/isolinux.cfg"),
        (build.kernel, "boot/vmlinuz"),
        (build.initrd, "boot/initrd"),
    ):
        shutil.copyfile(source, tree / name)
    command = ["xorriso", "-as", "mkisofs", "-quiet", "-R", "-J", "-V", "OLD", "-o", str(folder / "old.iso")]
    command += ["-isohybrid-mbr", str(ISOLINUX / "isohdpfx.bin"), "-b", "isolinux/isolinux.bin", "-no-emul-boot"]
    command += ["-c", "isolinux/boot.cat", "-boot-load-size", "4", "-boot-info-table", str(tree)]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "more").write_bytes(b"more" * 100_000)
    return viso_session.open(folder, "/=more", "--import-iso old.iso", "/added/more=more")


@pytest.mark.viso_firmware("bios")
@pytest.mark.viso_bus("scsi-cd", "virtio-blk")
def test_an_imported_hybrid_image_boots(recipe: Opened, viso_view: Views) -> None:
    assert viso_view(recipe, "rock").verify().expected >= 8


GRUB = """serial --unit=0 --speed=115200
terminal_output serial
cat /added
halt
"""


@pytest.fixture(scope="module")
def grub(viso_session: Session, tmp_path_factory: pytest.TempPathFactory) -> Opened:
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
    return viso_session.open(folder, "/more=more", "--import-iso old.iso", "/added=added")


@pytest.mark.viso_bus("ide-cd", "virtio-blk")
@pytest.mark.viso_firmware("bios", "uefi")
def test_an_imported_image_of_grub_boots_as_cd_and_as_disk(grub: Opened, viso_machine: Machines) -> None:
    said = viso_machine(grub).wait_for_console("WHAT WAS ADDED")
    assert said == "WHAT WAS ADDED"
