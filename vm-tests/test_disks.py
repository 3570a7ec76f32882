"""One image that is a CD and a disk, started by BIOS and by UEFI; and its UDF tree, as Linux sees it."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qemu_viso.guest.run import view
from qemu_viso.nbd import Server, listen_unix
from qemu_viso.nbd.uri import UnixAddress
from qemu_viso.qemu.deadline import Deadline
from qemu_viso.qemu.devices import BUSES, NbdMedium
from qemu_viso.verify.diff import compare
from tests.recipes import opened, write_files

if TYPE_CHECKING:
    from collections.abc import Callable

    from qemu_viso.guest.build import GuestBuild
    from qemu_viso.guest.view import GuestView
    from qemu_viso.opening import Opened
    from qemu_viso.verify.report import Report

ISOLINUX = Path("/usr/lib/ISOLINUX")
LDLINUX = "/usr/lib/syslinux/modules/bios/ldlinux.c32"
ARGUMENTS = "console=ttyS0 quiet panic=-1 scsi_mod.scan=sync"
NAMES = (
    *("empty", "größe.txt", "größe-尺寸-μέγεθος.txt", "ж" * 127, "..two"),
    *(f"many/{index:03}" for index in range(200)),
)


def plant(folder: Path) -> None:
    """A tree with what UDF shows beyond plain names and contents."""
    write_files(folder, {f"in/{name}": name.encode() * 50 for name in NAMES})
    os.symlink("../in/./größe.txt", folder / "in" / "link")
    os.symlink("/".join(["y" * 200] * 9), folder / "in" / "link in a block of its own")
    (folder / "in" / "größe.txt").chmod(0o4751)
    os.chown(folder / "in" / "many", 1234, 567)
    os.utime(folder / "in" / "empty", ns=(0, 1_234_567_890_123_456_789))


@pytest.mark.parametrize("bus", ["scsi-cd", "virtio-blk"])
def test_udf(verified: Callable[..., list[Report]], tmp_path: Path, bus: str) -> None:
    plant(tmp_path)
    # Names that no host file system holds, and of which the driver keeps the extension, or not.
    names = (f"'/{'字' * 100}.jpeg'=in/empty", f"'/{'é' * 240}.jpegs'=in/empty")
    found = opened(tmp_path, "--udf --strict-attribs -R --volume-id='größe 尺'", "/=in", *names)
    (report,) = verified(found, bus, ["udf"])
    assert report.differences == (), report.table()
    assert report.as_expected == report.expected == len(NAMES) + 6


def hybrid(folder: Path, build: GuestBuild, *lines: str) -> Opened:
    """The guest on a hybrid image; ISOLINUX starts it."""
    if not (ISOLINUX / "isohdpfx.bin").exists():
        pytest.skip("isolinux is not installed")
    config = f"DEFAULT linux\nLABEL linux\n  KERNEL /boot/vmlinuz\n  APPEND initrd=/boot/initrd {ARGUMENTS}\n"
    write_files(folder, {"isolinux.cfg": config.encode()})
    return opened(
        folder,
        "--udf -R --volume-id=HYBRID",
        f"/isolinux/isolinux.bin={ISOLINUX}/isolinux.bin /isolinux/ldlinux.c32={LDLINUX}",
        f"/isolinux/isolinux.cfg=isolinux.cfg /boot/vmlinuz={build.kernel} /boot/initrd={build.initrd}",
        "--eltorito-boot=/isolinux/isolinux.bin --no-emulation-boot --boot-load-size=4 --boot-info-table",
        f"-isohybrid-mbr {ISOLINUX}/isohdpfx.bin",
        *lines,
    )


@pytest.mark.full
@pytest.mark.parametrize("bus", ["virtio-blk", "scsi-cd"])
def test_bios_boots_it_as_disk_and_as_cd(
    verified: Callable[..., list[Report]], linux_cloud: GuestBuild, tmp_path: Path, bus: str
) -> None:
    for report in verified(hybrid(tmp_path, linux_cloud), bus, ["rock", "udf"], from_medium=True):
        assert report.differences == (), report.table()
        assert report.expected == 8


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
@pytest.mark.parametrize("bus", ["virtio-blk", "scsi-cd"])
def test_uefi_boots_it_as_disk_and_as_cd(linux_cloud: GuestBuild, tmp_path: Path, bus: str) -> None:
    efi_image(tmp_path)
    lines = ("/boot/efi.img=efi.img", "-eltorito-alt-boot -e /boot/efi.img -no-emul-boot -isohybrid-gpt-basdat")
    found = hybrid(tmp_path, linux_cloud, *lines)
    for seen in asyncio.run(seen_through_uefi(found, linux_cloud, bus)):
        assert compare(found.tree, seen) == (9, [])


async def seen_through_uefi(found: Opened, build: GuestBuild, bus: str) -> list[GuestView]:
    """What the guest sees that UEFI starts from the medium."""
    listener = listen_unix()
    assert isinstance(listener.address, UnixAddress)
    medium, deadline = NbdMedium(listener.address.path), Deadline.after(100)
    with Server({found.image.name: found.image}, listener):
        return await view(build, BUSES[bus], medium, ["rock", "udf"], deadline, from_medium=True, firmware="uefi")
