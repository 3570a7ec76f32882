"""A conversation with the guest's agent, over the virtio-serial port of a running machine."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
from typing import TYPE_CHECKING, TypeVar

from qemu_viso.errors import GuestError, RefusedError
from qemu_viso.guest.wire import LARGEST_PIECE, Feed, parse_hello, parse_piece, parse_view
from qemu_viso.qemu.attention import AFTERMATH
from qemu_viso.qemu.console import plain

if TYPE_CHECKING:
    from qemu_viso.guest.view import GuestView, Namespace
    from qemu_viso.guest.wire import Steps
    from qemu_viso.qemu.deadline import Deadline
    from qemu_viso.qemu.machine import Machine

T = TypeVar("T")

AT_ONCE = 1 << 20
OTHER_WAY = 0.1
"""Seconds that the console may be behind the port."""
# Files smaller than this are read as a whole: what the size in a tar header can tell in octal digits.
CONTENT_LIMIT = 8 << 30
_SAFE = re.compile(rb"[^A-Za-z0-9/._-]")


class Agent:
    """The agent of a machine that has been released.

    Args:
        machine: with an agent's port.
    """

    def __init__(self, machine: Machine) -> None:
        self.description = ""
        self._machine = machine
        self._reader, self._writer = machine.agent
        self._feed = Feed()
        self._requests = itertools.count(1)
        self._lost: str | None = None

    async def greet(self, deadline: Deadline) -> str:
        """Wait until the agent says that it is there.

        Returns:
            the guest's architecture and kernel release.

        Raises:
            GuestError: the machine failed, or the agent speaks otherwise.
        """
        self.description = await self._machine.attend(
            self._run(parse_hello(self._feed)), deadline, "waiting for the guest's agent"
        )
        return self.description

    async def view(
        self, device: str, namespace: Namespace, deadline: Deadline, *, limit: int = CONTENT_LIMIT
    ) -> GuestView:
        """What the guest sees of a medium.

        Args:
            device: its name below the guest's /dev.
            namespace: how to mount it.
            deadline: when it is too late.
            limit: files smaller than this, in bytes, are read and hashed.

        Raises:
            GuestError: the guest cannot mount or read it, the machine failed, or the agent contradicts itself.
        """
        request = next(self._requests)
        steps = parse_view(self._feed, request, namespace, limit)
        doing = f"the guest reads {device} as {namespace}"
        return await self._ask(f"VIEW {request} {device} {namespace} {limit}", request, steps, deadline, doing)

    async def read(
        self, device: str, namespace: Namespace, path: str, offset: int, length: int, deadline: Deadline
    ) -> bytes:
        """A piece of one file, for files that are too large to be read as a whole.

        Args:
            device: its name below the guest's /dev.
            namespace: how to mount it.
            path: from the medium's root `/`, as in a view.
            offset: first byte.
            length: bytes; at most 16 MiB. Fewer come where the file ends.
            deadline: when it is too late.

        Raises:
            GuestError: as for `view`.
            ValueError: offset or length are out of range.
        """
        if offset < 0 or not 0 < length <= LARGEST_PIECE:
            raise ValueError(f"a piece of {length} bytes at {offset} cannot be asked for")
        request = next(self._requests)
        # printf's %b: a backslash, a zero and up to three octal digits.
        name = _SAFE.sub(lambda match: b"\\0%03o" % match[0][0], os.fsencode(path)).decode()
        line = f"READ {request} {device} {namespace} {offset} {length} {name}"
        steps = parse_piece(self._feed, request, length)
        return await self._ask(line, request, steps, deadline, f"the guest reads {path!r}")

    async def quit(self, deadline: Deadline) -> None:
        """Let the guest switch itself off, and wait for QEMU's end."""
        self._writer.write(b"QUIT\n")
        await self._machine.wait_for_exit(deadline)

    async def _ask(self, line: str, request: int, steps: Steps[T], deadline: Deadline, doing: str) -> T:
        if self._lost is not None:
            raise GuestError(f"the guest's agent cannot be asked any more: {self._lost}")
        # Until the answer is complete, nobody knows where the next one begins.
        self._lost = f"an earlier answer broke off while {doing}"
        try:
            answer = await self._machine.attend(self._answer(line, steps, request), deadline, doing)
        except RefusedError:
            self._lost = None
            raise
        self._lost = None
        return answer

    async def _answer(self, line: str, steps: Steps[T], request: int) -> T:
        """The answer to a request, unless the guest says on its console that it broke off."""
        answer = asyncio.create_task(self._run(steps))
        broken = asyncio.create_task(
            self._machine.console.wait_for(rb"qemu-viso: failed %d: ([^\r\n]*)[\r\n]" % request)
        )
        try:
            await asyncio.sleep(0)  # both are watching before there can be anything to see
            self._writer.write(line.encode() + b"\n")
            await asyncio.wait({answer, broken}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                # It may still be complete, when what failed left no gap.
                await asyncio.wait({answer}, timeout=AFTERMATH)
            if answer.done():
                return await self._completed(answer, broken)
            file = self._feed.reading
            where = "" if file is None else f" the content of {file!r}"
            raise GuestError(f"the guest broke off while it sent{where}: {plain(broken.result()[1])}")
        finally:
            answer.cancel()
            broken.cancel()
            await asyncio.wait({answer, broken})

    @staticmethod
    async def _completed(answer: asyncio.Task[T], broken: asyncio.Task[re.Match[bytes]]) -> T:
        """The answer; a refusal with the words that the guest's program had for it on the console."""
        try:
            return answer.result()
        except RefusedError as error:
            await asyncio.wait({broken}, timeout=OTHER_WAY)
            if not broken.done():
                raise
            raise RefusedError(f"{error.message}: {plain(broken.result()[1])}") from None

    async def _run(self, steps: Steps[T]) -> T:
        while True:
            try:
                next(steps)
            except StopIteration as end:
                answer: T = end.value
                return answer
            data = await self._reader.read(AT_ONCE)
            if not data:
                raise EOFError
            self._feed.add(data)
