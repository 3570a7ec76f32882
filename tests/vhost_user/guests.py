"""A guest that runs a script instead of its agent, and machines with a vhost-user-blk device for it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qemu_viso.guest.cpio import CpioWriter
from qemu_viso.qemu.devices import DirectKernel, Frontend, PathChardev
from qemu_viso.qemu.machine import MachineSpec
from qemu_viso.qemu.platforms import PLATFORMS

if TYPE_CHECKING:
    from pathlib import Path

    from qemu_viso.guest.build import GuestBuild
    from qemu_viso.qemu.devices import Device

_PRELUDE = """#!/bin/busybox sh
B=/bin/busybox
$B mount -t devtmpfs dev /dev
$B mount -t proc proc /proc
$B mount -t sysfs sys /sys
while read -r module; do $B insmod /lib/modules/$module; done </etc/modules
"""


@dataclass(frozen=True, slots=True)
class Options:
    """Anything else of QEMU's command line."""

    arguments: tuple[str, ...]

    def to_argv(self) -> list[str]:
        return list(self.arguments)


def scripted(build: GuestBuild, folder: Path, script: str) -> DirectKernel:
    """The guest's kernel, with an initial RAM disk in which a shell script (with $B for busybox) is the only process.

    Linux unpacks archives that lie one behind the other; the second one brings the script.
    """
    initrd = folder / "initrd"
    shutil.copyfile(build.initrd, initrd)
    with initrd.open("ab") as file:
        file.write(bytes(-file.tell() % 4))
        archive = CpioWriter(file)
        archive.file("test", (_PRELUDE + script + "\n$B poweroff -f\n").encode(), 0o755)
        archive.close()
    console = build.definition.platform.console
    return DirectKernel(str(build.kernel), str(initrd), f"console={console} loglevel=0 panic=-1 rdinit=/test")


def with_vhost_user(
    kernel: DirectKernel, path: str, machine: str = "q35", properties: tuple[tuple[str, str], ...] = (), *extra: str
) -> MachineSpec:
    """A machine whose disk is a vhost-user-blk device at `path`; QEMU reconnects when it is lost."""
    devices: tuple[Device, ...] = (
        kernel,
        PathChardev("medium", path, reconnect=1),
        Frontend("vhost-user-blk-pci", (("chardev", "medium"), *properties)),
        Options(extra),
    )
    return MachineSpec(PLATFORMS["amd64"], machine, devices, agent=False)
