"""What QEMUs are found to be able to, from what they list."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from qemu_viso.qemu.inventory import inventories, take
from qemu_viso.qemu.platforms import PLATFORMS

if TYPE_CHECKING:
    from pathlib import Path

MACHINES = """Supported machines are:
pc                   Standard PC (i440FX + PIIX, 1996) (alias of pc-i440fx-7.2)
virt                 QEMU 7.2 ARM Virtual Machine (alias of virt-7.2)
none                 empty machine
"""
DEVICES = """Storage devices:
name "ide-cd", bus IDE, desc "virtual IDE CD-ROM"
name "scsi-cd", bus SCSI, desc "virtual SCSI CD-ROM"
name "virtio-scsi-pci", bus PCI, alias "virtio-scsi"
name "virtio-blk-pci", bus PCI, alias "virtio-blk"
"""


def fake(folder: Path, body: str) -> str:
    path = folder / "qemu-system-fake"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("architecture", "buses"), [("amd64", ("ide-cd",)), ("arm64", ("scsi-cd", "virtio-blk")), ("ppc64el", ())]
)
def test_machine_and_devices_must_both_be_there(tmp_path: Path, architecture: str, buses: tuple[str, ...]) -> None:
    """The x86 one lacks the machine q35, on which the others are; ARM's machine has no IDE, PowerPC's is missing."""
    body = f"case $1 in -machine) echo '{MACHINES}';; -device) echo '{DEVICES}';; *) echo version 8.1.0;; esac"
    found = take(PLATFORMS[architecture], fake(tmp_path, body))
    assert (found.architecture, found.version, found.buses) == (architecture, "8.1.0", buses)
    assert found.machines == ("pc", "virt", "none")
    assert found.used == {"amd64": ("pc",), "arm64": ("virt",), "ppc64el": ()}[architecture]


def test_one_that_answers_nothing(tmp_path: Path) -> None:
    found = take(PLATFORMS["amd64"], fake(tmp_path, "exit 1"))
    assert (found.version, found.machines, found.buses) == (None, (), ())


@pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="QEMU is not installed")
def test_the_one_that_is_here() -> None:
    (found,) = (each for each in inventories() if each.architecture == "amd64")
    assert {"pc", "q35"} <= set(found.machines)
    assert {"scsi-cd", "ide-cd", "ahci-cd", "usb-cd", "usb-disk", "virtio-blk", "vhost-user-blk"} == set(found.buses)
