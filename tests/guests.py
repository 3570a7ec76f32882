"""Guests that run a script instead of their agent, or as their first process."""

from __future__ import annotations

import dataclasses
import shutil
from typing import TYPE_CHECKING

from qemu_viso.guest.cpio import CpioWriter
from qemu_viso.qemu import DirectKernel

if TYPE_CHECKING:
    from pathlib import Path

    from qemu_viso.guest.build import GuestBuild

_PRELUDE = """#!/bin/busybox sh
B=/bin/busybox
$B mount -t devtmpfs dev /dev
$B mount -t proc proc /proc
$B mount -t sysfs sys /sys
while read -r module; do $B insmod /lib/modules/$module; done </etc/modules
"""


def scripted(build: GuestBuild, folder: Path, script: str) -> DirectKernel:
    """The guest's kernel, with an initial RAM disk whose only process is a shell script (with $B for busybox)."""
    initrd = _with_program(build, folder, "test", with_modules(script.encode() + b"\n$B poweroff -f\n"))
    console = build.definition.platform.console
    return DirectKernel(str(build.kernel), str(initrd), f"console={console} loglevel=0 panic=-1 rdinit=/test")


def with_modules(script: bytes) -> bytes:
    """A shell script that is the first process, and loads the guest's modules before it does something else."""
    return _PRELUDE.encode() + script


def with_init(build: GuestBuild, folder: Path, script: bytes) -> GuestBuild:
    """The guest with another first process in place of its agent."""
    return dataclasses.replace(build, initrd=_with_program(build, folder, "init", script))


def _with_program(build: GuestBuild, folder: Path, name: str, program: bytes) -> Path:
    """The guest's initial RAM disk with one program more.

    Linux unpacks archives that lie one behind the other; the second one brings the program.
    """
    initrd = folder / "initrd"
    shutil.copyfile(build.initrd, initrd)
    with initrd.open("ab") as file:
        file.write(bytes(-file.tell() % 4))
        archive = CpioWriter(file)
        archive.file(name, program, 0o755)
        archive.close()
    return initrd
