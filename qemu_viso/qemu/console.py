"""The guest's console: read all the time, remembered in part, and watched for good and bad signs."""

from __future__ import annotations

import asyncio
import re
import socket
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qemu_viso.qemu.process import Tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REMEMBERED = 256 << 10
ROOM = 8 << 20
"""Bytes of the kernel's memory that may wait for us: about 20,000 characters."""
LONGEST_LINE = 4096
LAST_LINES = 12

_SO_SNDBUFFORCE = 32  # socket(7); Python has no name for it

# What firmware, boot loaders and kernels write when nothing good can follow.
FAILURES = re.compile(
    rb"Kernel panic - not syncing"
    rb"|Unable to mount root fs"
    rb"|end Kernel panic"
    rb"|KVM internal error"
    rb"|No bootable device"
    rb"|BdsDxe: No bootable option or device was found"
    rb"|Could not find kernel image"
    rb"|No DEFAULT or UI configuration directive found"
    rb"|isolinux\.bin missing or corrupt"
    rb"|grub rescue> "
)
# What UEFI starts when it finds nothing else, from its own firmware.
NOT_FROM_THE_MEDIUM = re.compile(
    FAILURES.pattern + rb'|BdsDxe: starting Boot[0-9A-F]{4} "EFI Internal Shell"|UEFI Interactive Shell'
)
# After which nobody ends the line.
_PROMPT = b"grub rescue> "

# Cursor movements, colours, titles (ECMA-48): of no use in a message.
_CONTROL_SEQUENCES = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_c])")
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def plain(data: bytes) -> str:
    """Console bytes as text for a message: without control sequences, escaped where not UTF-8."""
    text = _CONTROL_SEQUENCES.sub(b"", data).decode("utf-8", "backslashreplace")
    return _CONTROL_CHARACTERS.sub("", text)


def make_room(theirs: socket.socket) -> None:
    """Let QEMU's end of a console's socket hold more than we read at once.

    A serial port writes byte by byte, and each lies in the socket in a buffer of its own: the usual size is full after
    278 of them. A loader that finds its port busy for a fifth of a second gives up that character (`serial_hw_put` in
    GRUB), and so long we may be kept from reading on a busy host.
    """
    try:
        theirs.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, ROOM)
    except PermissionError:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ROOM)  # as much as the host allows


@dataclass(slots=True)
class _Waiter:
    pattern: re.Pattern[bytes]
    found: asyncio.Future[re.Match[bytes]]
    window: bytearray


class Console:
    """What the guest says, however much it is.

    Args:
        ours: our end of the console's socket, or None for one that is fed by hand.
        on_failure: called with the first line that matches a failure pattern.
        failures: what is a failure; None for nothing.

    Attributes:
        failures: what is a failure from now on.
    """

    def __init__(
        self,
        ours: socket.socket | None,
        on_failure: Callable[[str], None],
        failures: re.Pattern[bytes] | None = FAILURES,
    ) -> None:
        self.received = 0
        self._socket = ours
        self._on_failure = on_failure
        self.failures = failures
        self._tail = Tail(REMEMBERED)
        self._line = bytearray()
        self._waiters: list[_Waiter] = []
        self._mirrors: list[Callable[[bytes], None]] = []
        if ours is not None:
            ours.setblocking(False)
            asyncio.get_running_loop().add_reader(ours, self._on_readable)

    def _on_readable(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if data:
            self.feed(data)
        else:
            asyncio.get_running_loop().remove_reader(self._socket)

    def pause(self) -> None:
        """Do not read for now; QEMU keeps what the guest writes, and lets it wait when that is much."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)

    def resume(self) -> None:
        """Read again."""
        if self._socket is not None:
            asyncio.get_running_loop().add_reader(self._socket, self._on_readable)

    def drain(self) -> None:
        """Read what lies in the socket; called when its other end has gone. At most what a socket buffer holds."""
        before = -1
        while before != self.received and self._socket is not None and self.received - before < REMEMBERED:
            before = self.received
            self._on_readable()

    def feed(self, data: bytes) -> None:
        """Take what the guest has written."""
        self.received += len(data)
        self._tail.add(data)
        for mirror in self._mirrors:
            mirror(data)
        self._line += data
        *lines, rest = self._line.split(b"\n")
        for line in lines:
            self._check(line)
        # A line without an end is looked at in pieces; their overlap keeps a pattern from hiding at the cut.
        if len(rest) > LONGEST_LINE:
            self._check(rest)
            rest = rest[-128:]
        elif _CONTROL_SEQUENCES.sub(b"", rest[-128:]).endswith(_PROMPT):
            self._check(rest)
        self._line = rest
        for waiter in list(self._waiters):
            self._offer(waiter, data)

    def _check(self, line: bytes | bytearray) -> None:
        # SeaBIOS, which mirrors a loader's screen, moves the cursor in the middle of a word.
        if self.failures is not None and self.failures.search(_CONTROL_SEQUENCES.sub(b"", line)):
            self.failures = None
            self._on_failure(plain(bytes(line[-LONGEST_LINE:])).strip())

    def _offer(self, waiter: _Waiter, data: bytes) -> None:
        waiter.window += data
        match = waiter.pattern.search(waiter.window)
        if match is not None and not waiter.found.done():
            waiter.found.set_result(match)
        if len(waiter.window) > LONGEST_LINE:
            # A copy, because the match above may still look into the old one.
            waiter.window = waiter.window[-LONGEST_LINE:]

    async def wait_for(self, pattern: bytes) -> re.Match[bytes]:
        """Wait until a regular expression matches what is written from now on, within 4096 bytes."""
        waiter = _Waiter(re.compile(pattern), asyncio.get_running_loop().create_future(), bytearray())
        self._waiters.append(waiter)
        try:
            return await waiter.found
        finally:
            self._waiters.remove(waiter)

    @contextmanager
    def mirrored(self, copy: Callable[[bytes], None]) -> Iterator[None]:
        """Give every byte also to `copy`, beginning with those already remembered."""
        if self.received:
            copy(bytes(self._tail))
        self._mirrors.append(copy)
        try:
            yield
        finally:
            self._mirrors.remove(copy)

    async def write(self, data: bytes) -> None:
        """Type on the guest's console."""
        assert self._socket is not None
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    @property
    def remembered(self) -> bytes:
        """The last of what was written, as it was written."""
        return bytes(self._tail)

    @property
    def last_lines(self) -> list[str]:
        """The last lines that are not empty, for a message."""
        lines = [line.strip() for line in plain(bytes(self._tail)[-16 * LONGEST_LINE :]).split("\n")]
        return [line[:400] for line in lines if line][-LAST_LINES:]

    def close(self) -> None:
        """Read what is left, then stop reading."""
        if self._socket is not None:
            self.drain()
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
