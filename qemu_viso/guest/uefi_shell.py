"""The UEFI shell as a reader: what the firmware's own driver shows of the UDF volume on a medium.

The shell is part of the firmware. It runs a script from a FAT disk that the host has made, and leaves there what it
saw: listings in its format for programs (`ls -sfo`, UEFI Shell Specification 2.2, 5.3), and copies of the files.
"""

from __future__ import annotations

import asyncio
import calendar
import hashlib
import json
import os
import re
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qemu_viso.errors import GuestError, InputOutputError
from qemu_viso.guest.view import Entry, GuestView
from qemu_viso.qemu.console import plain
from qemu_viso.qemu.process import find_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qemu_viso.guest.view import Fact, Namespace
    from qemu_viso.qemu.deadline import Deadline
    from qemu_viso.qemu.machine import Machine

FACTS: frozenset[Fact] = frozenset({"size", "content", "mtime"})
# Sparse; with clusters of 32 KiB, so that its tables stay small.
DISK_BYTES, CLUSTER_SECTORS = 4 << 30, 64
MARK = "qemu-viso.scratch"
# The device path that EDK2 gives a UDF volume (MdeModulePkg, Universal/Disk/PartitionDxe).
_UDF = re.compile(r"\bFS(\d+):.*\n.*VenMedia\(C5BD4D42-1A76-4996-8956-73CDA326CD0A\)")
_VOLUME = re.compile(r'VolumeInfo,"(.*)","\d+"," *(?:TRUE|FALSE)"')
# Name, size, size on the medium, attributes; then a time and a day for creation, access and change.
_FILE = re.compile(
    r'FileInfo,"FS\d+:(\\.*)","(\d+)","\d+","(\w*)",'
    r'(?:"[^"]*",){4}"(\d\d):(\d\d):(\d\d)","(\d\d)\.(\d\d)\.(\d+)"'
)
# What mtools writes for a character that needs two UTF-16 units.
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class ScratchDisk:
    """A disk that the guest writes to.

    Attributes:
        path: of its raw image.
    """

    path: str

    def to_argv(self) -> list[str]:
        """The block node, and a virtio disk on it."""
        node = {"node-name": "scratch", "driver": "file", "filename": self.path}
        return ["-blockdev", json.dumps(node), "-device", "virtio-blk-pci,drive=scratch"]


@contextmanager
def scratch_disk(script: Path) -> Iterator[ScratchDisk]:
    """A FAT disk with the script, which goes at the end of the block.

    Raises:
        MissingProgramError: mtools are not installed.
        InputOutputError: they failed.
    """
    with tempfile.TemporaryDirectory(prefix="qemu-viso-uefi-") as folder:
        disk = Path(folder) / "disk.img"
        with disk.open("wb") as file:
            file.truncate(DISK_BYTES)
        _mtools("mformat", "-i", str(disk), "-F", "-c", str(CLUSTER_SECTORS), "::")
        _mtools("mcopy", "-i", str(disk), str(script), "::startup.nsh")
        _mtools("mcopy", "-i", str(disk), os.devnull, f"::{MARK}")
        yield ScratchDisk(str(disk))


async def read_views(machine: Machine, namespaces: Sequence[Namespace], deadline: Deadline) -> list[GuestView]:
    """Let the firmware's shell look at the UDF volume of the medium; a view for each time that it is asked for.

    Args:
        machine: not yet released, with UEFI and a scratch disk.
        namespaces: UDF, or nothing.
        deadline: when it is too late.

    Raises:
        GuestError: QEMU or the shell failed, or the firmware finds no UDF volume.
    """
    (disk,) = (each for each in machine.spec.devices if isinstance(each, ScratchDisk))
    await machine.release(deadline)
    await machine.wait_for_console(b"or any other key to continue", deadline)
    await machine.console.write(b" ")
    await _end(machine, deadline)
    view = await asyncio.to_thread(_read_disk, Path(disk.path))
    return [view for _ in namespaces]


def _mtools(program: str, *arguments: str) -> None:
    done = subprocess.run(
        [find_program(program), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=os.environ | {"LC_ALL": "C.UTF-8", "MTOOLSRC": "/dev/null"},
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode("utf-8", "backslashreplace").strip()
        raise InputOutputError(f"'{program}' failed with status {done.returncode}: {said}")


async def _end(machine: Machine, deadline: Deadline) -> None:
    """Wait until the shell has switched the machine off, or says that the script broke off."""
    ended = asyncio.create_task(machine.wait_for_exit(deadline))
    broken = asyncio.create_task(machine.console.wait_for(rb"Script Error Status: [^\r\n]*"))
    try:
        await asyncio.wait({ended, broken}, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            raise GuestError(f"the UEFI shell broke off: {plain(broken.result().group())}")
        ended.result()
    finally:
        ended.cancel()
        broken.cancel()
        await asyncio.wait({ended, broken})


def _read_disk(disk: Path) -> GuestView:
    answers = disk.parent / "answers"
    answers.mkdir()
    _mtools("mcopy", "-i", str(disk), "-s", "-n", "::*", str(answers))
    if not (answers / "end.txt").is_file():
        raise GuestError("the UEFI shell ended before it had read the medium")
    volume = _UDF.search((answers / "map.txt").read_text("utf-16"))
    if volume is None:
        raise GuestError("UEFI finds no UDF volume on the medium")
    listing = (answers / f"ls{volume[1]}.txt").read_text("utf-16")
    return parse_listing(listing, answers / f"copy{volume[1]}")


def parse_listing(listing: str, copies: Path) -> GuestView:
    """What the shell saw.

    Args:
        listing: what `ls -r -sfo` said.
        copies: the folder with copies of the files.

    Raises:
        GuestError: it listed nothing.
    """
    label = _VOLUME.search(listing)
    if label is None:
        raise GuestError(
            "the UEFI shell lists nothing of the UDF volume",
            hint="its driver gives up where a link leads nowhere, or a name has more than 127 characters",
        )
    entries = {"/": Entry("directory", 0, 0, 0, 0, None, 0, None)}
    for name, size, attributes, hour, minute, second, day, month, year in _FILE.findall(listing):
        mtime = calendar.timegm((int(year), int(month), int(day), int(hour), int(minute), int(second)))
        path = name.replace("\\", "/")
        if "d" in attributes:
            entries[path] = Entry("directory", int(size), 0, 0, 0, None, mtime, None)
        else:
            entries[path] = Entry("file", int(size), 0, 0, 0, None, mtime, _hash(copies, path))
    return GuestView("udf", label[1], entries, "uefi-shell", FACTS)


def _hash(copies: Path, path: str) -> str | None:
    """Of a copy; None if the shell could not make it."""
    copy = copies / _ASTRAL.sub("__", path.removeprefix("/"))
    if not copy.is_file():
        return None
    with copy.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
