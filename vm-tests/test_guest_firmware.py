"""A medium that boots by itself, made by GRUB's own tool, started by each firmware."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from qemu_viso.pytest_plugin import GuestBuild, Session, Views

# GRUB reads a kernel at the speed of emulated firmware: 7 s a boot on an idle machine.
pytestmark = pytest.mark.full

MODULES = "iso9660 part_gpt normal linux serial terminal"


@pytest.fixture(scope="module")
def medium(viso_session: Session, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The guest's kernel and initial RAM disk behind GRUB, for BIOS and UEFI in one image."""
    for program in ("grub-mkrescue", "xorriso", "mformat"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is missing")
    build = viso_session.guest("linux-cloud")
    root = tmp_path_factory.mktemp("grub")
    (root / "files" / "boot" / "grub").mkdir(parents=True)
    shutil.copy(build.kernel, root / "files" / "boot" / "vmlinuz")
    shutil.copy(build.initrd, root / "files" / "boot" / "initrd")
    (root / "files" / "boot" / "grub" / "grub.cfg").write_text(
        "linux /boot/vmlinuz console=ttyS0 quiet panic=-1 scsi_mod.scan=sync no_timer_check\n"
        "initrd /boot/initrd\nboot\n"
    )
    image = root / "image.iso"
    argv = ["grub-mkrescue", f"--install-modules={MODULES}", "--fonts=", "--locales=", "--themes="]
    subprocess.run([*argv, "-o", image, root / "files", "--", "-volid", "GRUB"], check=True, capture_output=True)
    return image


@pytest.mark.viso_firmware("bios", "uefi")
def test_the_guest_starts_from_the_medium(viso_view: Views, viso_guest: GuestBuild, medium: Path) -> None:
    seen = viso_view(medium, "rock")
    assert seen.label == "GRUB"
    assert seen["/boot/vmlinuz"].size == viso_guest.kernel.stat().st_size
