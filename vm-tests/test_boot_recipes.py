"""The sample recipes that boot by themselves: GRUB, both firmwares, and an installer that was imported."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import MissingProgramError

if TYPE_CHECKING:
    from qemu_viso.pytest_plugin import Machines, Recipes, Views

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "images"
# The installer's initial RAM disk is large, and a second one comes with it.
INSTALLER_MEMORY = 768


def build_media(name: str) -> None:
    """Make what the recipes need beside packages."""
    done = subprocess.run([str(ROOT / "scripts" / "build-media"), name], capture_output=True, text=True, check=False)
    if done.returncode == MissingProgramError.status:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def grub() -> None:
    build_media("grub")


@pytest.mark.viso_firmware("bios")
def test_grub_from_el_torito_through_bios(grub: None, viso: Recipes, viso_view: Views) -> None:
    assert viso_view(viso(IMAGES / "grub-bios.viso"), "rock").verify().expected >= 15


@pytest.mark.viso_firmware("uefi")
def test_grub_from_el_torito_through_uefi(grub: None, viso: Recipes, viso_view: Views) -> None:
    assert viso_view(viso(IMAGES / "grub-uefi.viso"), "rock").verify().expected >= 15


@pytest.mark.full
@pytest.mark.timeout(300)
@pytest.mark.viso_firmware("bios", "uefi")
@pytest.mark.viso_bus("scsi-cd", "ide-cd", "virtio-blk")
def test_one_image_for_both(grub: None, viso: Recipes, viso_view: Views) -> None:
    hybrid = viso(IMAGES / "hybrid.viso")
    assert viso_view(hybrid, "rock").verify().expected >= 19
    assert viso_view(hybrid, "udf").verify().expected >= 19


@pytest.mark.full
@pytest.mark.timeout(400)
@pytest.mark.viso_firmware("bios")
def test_an_imported_installer_takes_its_answers(viso: Recipes, viso_machine: Machines) -> None:
    build_media("installer")
    machine = viso_machine(viso(IMAGES / "installer.viso"), memory=INSTALLER_MEMORY, seconds=300)
    machine.wait_for_console("preseed: early_command ran on x86_64")
