"""One image that is a CD and a disk, started by BIOS and by UEFI; and its UDF tree, as Linux sees it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qemu_viso.pytest_plugin import GuestBuild, Opened, Recipes, Views

ISOLINUX = Path("/usr/lib/ISOLINUX")
LDLINUX = "/usr/lib/syslinux/modules/bios/ldlinux.c32"
ARGUMENTS = "console=ttyS0 quiet panic=-1 scsi_mod.scan=sync no_timer_check"
NAMES = (
    *("empty", "größe.txt", "größe-尺寸-μέγεθος.txt", "ж" * 127, "..two"),
    *(f"many/{index:03}" for index in range(200)),
)


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def plant(folder: Path) -> None:
    """A tree with what UDF shows beyond plain names and contents."""
    write_files(folder, {f"in/{name}": name.encode() * 50 for name in NAMES})
    os.symlink("../in/./größe.txt", folder / "in" / "link")
    os.symlink("/".join(["y" * 200] * 9), folder / "in" / "link in a block of its own")
    (folder / "in" / "größe.txt").chmod(0o4751)
    os.chown(folder / "in" / "many", 1234, 567)
    os.utime(folder / "in" / "empty", ns=(0, 1_234_567_890_123_456_789))


@pytest.mark.viso_bus("scsi-cd", "virtio-blk")
def test_udf(viso: Recipes, viso_view: Views, tmp_path: Path) -> None:
    plant(tmp_path)
    # Names that no host file system holds, and of which the driver keeps the extension, or not.
    names = (f"'/{'字' * 100}.jpeg'=in/empty", f"'/{'é' * 240}.jpegs'=in/empty")
    recipe = viso("--udf --strict-attribs -R --volume-id='größe 尺'", "/=in", *names)
    assert viso_view(recipe, "udf").verify().expected == len(NAMES) + 6


def hybrid(viso: Recipes, build: GuestBuild, *lines: str) -> Opened:
    """The guest on a hybrid image; ISOLINUX starts it."""
    if not (ISOLINUX / "isohdpfx.bin").exists():
        pytest.skip("isolinux is not installed")
    config = f"DEFAULT linux\nLABEL linux\n  KERNEL /boot/vmlinuz\n  APPEND initrd=/boot/initrd {ARGUMENTS}\n"
    write_files(viso.folder, {"isolinux.cfg": config.encode()})
    return viso(
        "--udf -R --volume-id=HYBRID",
        f"/isolinux/isolinux.bin={ISOLINUX}/isolinux.bin /isolinux/ldlinux.c32={LDLINUX}",
        f"/isolinux/isolinux.cfg=isolinux.cfg /boot/vmlinuz={build.kernel} /boot/initrd={build.initrd}",
        "--eltorito-boot=/isolinux/isolinux.bin --no-emulation-boot --boot-load-size=4 --boot-info-table",
        f"-isohybrid-mbr {ISOLINUX}/isohdpfx.bin",
        *lines,
    )


@pytest.mark.full
@pytest.mark.viso_firmware("bios")
@pytest.mark.viso_bus("virtio-blk", "scsi-cd")
def test_bios_boots_it_as_disk_and_as_cd(viso: Recipes, viso_view: Views, viso_guest: GuestBuild) -> None:
    recipe = hybrid(viso, viso_guest)
    assert viso_view(recipe, "rock").verify().expected == 8
    assert viso_view(recipe, "udf").verify().expected == 8


def efi_image(folder: Path) -> None:
    """A FAT file system with a GRUB that starts the guest from wherever it finds it."""
    for program in ("grub-mkstandalone", "mformat", "mmd", "mcopy"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    config = f"search --set=root --file /boot/vmlinuz\nlinux /boot/vmlinuz {ARGUMENTS}\ninitrd /boot/initrd\nboot\n"
    write_files(folder, {"grub.cfg": config.encode(), "efi.img": bytes(8 << 20)})
    modules = "part_gpt part_msdos fat iso9660 search search_fs_file linux boot echo"
    parts = ("--locales=", "--fonts=", "--themes=", f"--modules={modules}", f"--install-modules=normal {modules}")
    commands: tuple[tuple[str, ...], ...] = (
        ("grub-mkstandalone", "-O", "x86_64-efi", "-o", "BOOTX64.EFI", *parts, "boot/grub/grub.cfg=grub.cfg"),
        ("mformat", "-i", "efi.img", "::"),
        ("mmd", "-i", "efi.img", "::/EFI", "::/EFI/BOOT"),
        ("mcopy", "-i", "efi.img", "BOOTX64.EFI", "::/EFI/BOOT/"),
    )
    for command in commands:
        subprocess.run(command, cwd=folder, check=True, capture_output=True)


@pytest.mark.full
@pytest.mark.viso_firmware("uefi")
@pytest.mark.viso_bus("virtio-blk", "scsi-cd")
def test_uefi_boots_it_as_disk_and_as_cd(viso: Recipes, viso_view: Views, viso_guest: GuestBuild) -> None:
    efi_image(viso.folder)
    lines = ("/boot/efi.img=efi.img", "-eltorito-alt-boot -e /boot/efi.img -no-emul-boot -isohybrid-gpt-basdat")
    recipe = hybrid(viso, viso_guest, *lines)
    assert viso_view(recipe, "rock").verify().expected == 9
    assert viso_view(recipe, "udf").verify().expected == 9
