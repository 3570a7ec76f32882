"""The sample recipes that boot by themselves: GRUB, both firmwares, and an installer that was imported."""

from __future__ import annotations

import asyncio
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from qemu_viso.errors import MissingProgramError
from qemu_viso.nbd import Server, listen_unix
from qemu_viso.nbd.uri import UnixAddress
from qemu_viso.opening import open_viso
from qemu_viso.qemu.deadline import Deadline
from qemu_viso.qemu.devices import BUSES, NbdMedium
from qemu_viso.qemu.firmware import find_uefi
from qemu_viso.qemu.machine import machine_for
from qemu_viso.qemu.platforms import PLATFORMS
from qemu_viso.qemu.sync import SyncMachine
from qemu_viso.verify.run import verify

if TYPE_CHECKING:
    from qemu_viso.guest.build import GuestBuild

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "images"
# Its initial RAM disk is large, and a second one comes with it.
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
    try:
        find_uefi(PLATFORMS["amd64"])
    except MissingProgramError as error:
        pytest.skip(error.message)


def assert_boots(name: str, build: GuestBuild, bus: str, firmware: Literal["bios", "uefi"]) -> None:
    """The firmware starts the guest from the medium, and the guest sees all of it."""
    found = open_viso(str(IMAGES / f"{name}.viso"))
    (report,) = asyncio.run(verify(found, build, bus, ["rock"], from_medium=True, firmware=firmware))
    assert report.differences == (), report.table()
    assert report.expected >= 15


@pytest.mark.parametrize(("name", "firmware"), [("grub-bios", "bios"), ("grub-uefi", "uefi")])
def test_grub_from_el_torito(linux_cloud: GuestBuild, grub: None, name: str, firmware: Literal["bios", "uefi"]) -> None:
    assert_boots(name, linux_cloud, "scsi-cd", firmware)


@pytest.mark.full
@pytest.mark.parametrize("bus", ["scsi-cd", "ide-cd", "virtio-blk"])
@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_one_image_for_both(linux_cloud: GuestBuild, grub: None, bus: str, firmware: Literal["bios", "uefi"]) -> None:
    assert_boots("hybrid", linux_cloud, bus, firmware)


@pytest.mark.full
def test_an_imported_installer_takes_its_answers() -> None:
    build_media("installer")
    found = open_viso(str(IMAGES / "installer.viso"))
    listener = listen_unix()
    assert isinstance(listener.address, UnixAddress)
    medium, deadline = NbdMedium(listener.address.path), Deadline.after(110)
    spec = machine_for(PLATFORMS["amd64"], BUSES["scsi-cd"], medium, boot="bios")
    spec = replace(spec, agent=False, memory=INSTALLER_MEMORY)
    with Server({found.image.name: found.image}, listener), SyncMachine(spec) as machine:
        machine.release(deadline)
        machine.wait_for_console(b"preseed: early_command ran on x86_64", deadline)
