"""GRUB as a reader: it tells on its console what its drivers show of the one disk that the machine has.

What it tells is described in its script, `images/guests/agents/grub.cfg`.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from qemu_viso.errors import GuestError
from qemu_viso.guest.view import Entry, GuestView

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qemu_viso.guest.view import Fact, Namespace
    from qemu_viso.qemu.deadline import Deadline
    from qemu_viso.qemu.devices import Bus
    from qemu_viso.qemu.machine import Machine

# What drives the disk: the firmware, or a module of GRUB's own.
DRIVERS = {"virtio-blk": "biosdisk", "ahci-cd": "ahci"}
FACTS: frozenset[Fact] = frozenset({"content"})
_HASHED = re.compile(rb"([0-9a-f]{64})  ")


class GrubAnswer:
    """The lines of one answer, understood as they come.

    Args:
        namespace: what was asked for.
    """

    def __init__(self, namespace: Namespace) -> None:
        self.complete = False
        self._namespace = namespace
        self._label: str | None = None
        self._entries: dict[str, Entry] = {}
        self._file: str | None = None
        self._error = ""

    def add(self, line: bytes) -> None:
        """Take a line, without its end. What is not understood is the rest of a name with a line end in it."""
        word, _, rest = line.partition(b" ")
        if word == b"END":
            self.complete = True
        elif word == b"LABEL":
            self._label = rest.decode("utf-8", "surrogateescape")
        elif word in (b"DIRECTORY", b"FILE"):
            self._name(rest.partition(b")")[2].decode("utf-8", "surrogateescape"), is_file=word == b"FILE")
        elif word == b"error:":
            self._error = rest.decode("utf-8", "backslashreplace")
        elif self._file is not None and (match := _HASHED.match(line)):
            self._entries[self._file] = _entry(match[1].decode())
            self._file = None

    def _name(self, path: str, *, is_file: bool) -> None:
        if path in self._entries:
            raise GuestError(f"GRUB told of {path!r} twice; it cannot tell line ends, tabulators and '?' apart")
        self._entries[path] = _entry(None) if is_file else Entry("directory", 0, 0, 0, 0, None, 0, None)
        self._file = path if is_file else None

    def view(self) -> GuestView:
        """What GRUB saw.

        Raises:
            GuestError: it saw no file system.
        """
        if self._label is None or "/" not in self._entries:
            reason = self._error and f": {self._error}"
            raise GuestError(f"GRUB does not find the namespace {self._namespace} on the medium{reason}")
        return GuestView(self._namespace, self._label, self._entries, "grub", FACTS)


def _entry(sha256: str | None) -> Entry:
    return Entry("file", 0, 0, 0, 0, None, 0, sha256)


class _Conversation:
    """What GRUB writes, line by line, and what is typed into it."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._rest = b""
        self._lines: asyncio.Queue[bytes] = asyncio.Queue()

    def feed(self, data: bytes) -> None:
        """Take what GRUB wrote."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._lines.put_nowait(line.strip(b"\r"))

    async def line(self) -> bytes:
        """The next line."""
        return await self._lines.get()

    async def answer(self, question: bytes, word: str) -> None:
        """Wait until GRUB asks, and type a word."""
        while question not in await self.line():
            pass
        await self._machine.console.write(word.encode() + b"\r")


async def read_views(
    machine: Machine, bus: Bus, namespaces: Sequence[Namespace], deadline: Deadline
) -> list[GuestView]:
    """Let GRUB, which is the machine's kernel, look at the medium in each namespace; the machine is released.

    Raises:
        GuestError: the machine failed, or GRUB does not find the namespace.
    """
    talk = _Conversation(machine)
    with machine.console.mirrored(talk.feed):
        await machine.release(deadline)
        work = talk.answer(b"which disk driver?", DRIVERS[bus.name])
        await machine.attend(work, deadline, "waiting for GRUB to start")
        # From here on it writes names, and a file may be called as a failure reads; what ends QEMU is seen anyway.
        machine.console.failures = None
        return [
            await machine.attend(_view(talk, each), deadline, f"GRUB reads the medium as {each}") for each in namespaces
        ]


async def _view(talk: _Conversation, namespace: Namespace) -> GuestView:
    await talk.answer(b"which file system?", "udf" if namespace == "udf" else "iso9660")
    answer = GrubAnswer(namespace)
    while not answer.complete:
        answer.add(await talk.line())
    return answer.view()
