"""A medium that boots by itself, made by GRUB's own tool, started by each firmware."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from typing import TYPE_CHECKING, Literal

import pytest

from qemu_viso.errors import MissingProgramError
from qemu_viso.guest.run import view
from qemu_viso.qemu.deadline import Deadline
from qemu_viso.qemu.devices import BUSES, FileMedium
from qemu_viso.qemu.firmware import find_uefi

if TYPE_CHECKING:
    from pathlib import Path

    from qemu_viso.guest.build import GuestBuild

# GRUB reads a kernel at the speed of emulated firmware: 7 s a boot on an idle machine.
pytestmark = pytest.mark.full

MODULES = "iso9660 part_gpt normal linux serial terminal"


@pytest.fixture(scope="module")
def medium(linux_cloud: GuestBuild, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The guest's kernel and initial RAM disk behind GRUB, for BIOS and UEFI in one image."""
    for program in ("grub-mkrescue", "xorriso", "mformat"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is missing")
    root = tmp_path_factory.mktemp("grub")
    (root / "files" / "boot" / "grub").mkdir(parents=True)
    shutil.copy(linux_cloud.kernel, root / "files" / "boot" / "vmlinuz")
    shutil.copy(linux_cloud.initrd, root / "files" / "boot" / "initrd")
    (root / "files" / "boot" / "grub" / "grub.cfg").write_text(
        "linux /boot/vmlinuz console=ttyS0 quiet panic=-1 scsi_mod.scan=sync\ninitrd /boot/initrd\nboot\n"
    )
    image = root / "image.iso"
    argv = ["grub-mkrescue", f"--install-modules={MODULES}", "--fonts=", "--locales=", "--themes="]
    subprocess.run([*argv, "-o", image, root / "files", "--", "-volid", "GRUB"], check=True, capture_output=True)
    return image


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_the_guest_starts_from_the_medium(
    linux_cloud: GuestBuild, medium: Path, firmware: Literal["bios", "uefi"]
) -> None:
    if firmware == "uefi":
        try:
            find_uefi(linux_cloud.definition.platform)
        except MissingProgramError as error:
            pytest.skip(error.message)
    work = view(
        linux_cloud,
        BUSES["scsi-cd"],
        FileMedium(str(medium)),
        ["rock"],
        Deadline.after(90),
        from_medium=True,
        firmware=firmware,
    )
    (seen,) = asyncio.run(work)
    assert seen.label == "GRUB"
    assert seen.entries["/boot/vmlinuz"].size == linux_cloud.kernel.stat().st_size
