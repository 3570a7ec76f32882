"""The transmission phase as a core without I/O: bytes in, requests out; what to say in, bytes out.

Requests are plain tuples, many of them unpacked at once: at a hundred thousand requests a second an object for each
would be the larger part of the work. Their first field joins magic, flags and type, so that the one comparison with
`read_head(mode)` tells an ordinary read from everything else.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from qemu_viso.nbd.constants import (
    EXTENDED_REPLY_MAGIC,
    EXTENDED_REQUEST_MAGIC,
    MAX_PAYLOAD,
    REPLY_FLAG_DONE,
    REQUEST_MAGIC,
    SIMPLE_REPLY_MAGIC,
    STRUCTURED_REPLY_MAGIC,
    Command,
    CommandFlag,
    Error,
    Mode,
    ReplyType,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

Request = tuple[int, int, int, int, bytes]
"""(head, cookie, offset, length, payload).

head: magic << 32 | flags << 16 | type, as on the wire. length: bytes of the export, or of the payload where one was
sent. payload: kept only where it can mean something (BLOCK_STATUS), else empty.
"""

COMPACT_REQUEST = struct.Struct(">QQQI0s")
"""28 bytes: magic, flags and type; cookie; offset; length. The empty fifth field makes the tuple a `Request`."""
EXTENDED_REQUEST = struct.Struct(">QQQQ0s")
"""32 bytes: the same with a length of 64 bits."""
SIMPLE_REPLY = struct.Struct(">IIQ")
"""16 bytes: magic, error, cookie."""
STRUCTURED_REPLY = struct.Struct(">IHHQI")
"""20 bytes: magic, flags, type, cookie, length of the payload."""
EXTENDED_REPLY = struct.Struct(">IHHQQQ")
"""32 bytes: magic, flags, type, cookie, the request's offset, length of the payload."""
STRUCTURED_DATA = struct.Struct(">IHHQIQ")
"""A structured reply's header with the offset that begins the payload of OFFSET_DATA."""

MAX_STATUS_PAYLOAD = 4096
"""Bytes of a BLOCK_STATUS payload that are kept: far more ids than there are contexts."""

_WRITES = (Command.WRITE, Command.TRIM, Command.WRITE_ZEROES)
_FLAGS = {
    Command.READ: CommandFlag.DF,
    Command.BLOCK_STATUS: CommandFlag.REQ_ONE | CommandFlag.PAYLOAD_LEN,
}
"""The flags that each command takes; every other command takes none."""


def read_head(mode: Mode) -> int:
    """The head of a read without flags."""
    return (EXTENDED_REQUEST_MAGIC if mode is Mode.EXTENDED else REQUEST_MAGIC) << 32 | Command.READ


def command(request: Request) -> int:
    """The request's type."""
    return request[0] & 0xFFFF


def flags(request: Request) -> int:
    """The request's flags."""
    return request[0] >> 16 & 0xFFFF


class RequestParser:
    """Splits a client's bytes into requests.

    Attributes:
        violation: what the client did that no client may do (a wrong magic, a giant payload), or None. The requests
            before it are still good; nothing after it can be understood, so the connection ends.
    """

    def __init__(self, mode: Mode) -> None:
        self.violation: str | None = None
        self._mode = mode
        self._header = EXTENDED_REQUEST if mode is Mode.EXTENDED else COMPACT_REQUEST
        self._magic = EXTENDED_REQUEST_MAGIC if mode is Mode.EXTENDED else REQUEST_MAGIC
        self._read = read_head(mode)
        self._pending = b""
        self._payload_of: Request | None = None
        self._kept = bytearray()
        self._missing = 0

    def receive(self, data: bytes | bytearray | memoryview) -> list[Request]:
        """The requests that are complete now; the bytes of the next one are kept."""
        if self.violation is not None:
            return []
        header = self._header
        size = header.size
        if not self._pending and self._payload_of is None and len(data) % size == 0:
            if len(data) == size:  # the usual case of a client that waits for each reply
                request: Request = header.unpack(data)
                if request[0] == self._read:
                    return [request]
            requests = list(header.iter_unpack(data))
            read = self._read
            for request in requests:
                if request[0] != read and not self._plain(request):
                    break
            else:
                return requests
        self._pending += data
        return self._split()

    def _plain(self, request: Request) -> bool:
        """Whether the request is in order and the header is all of it."""
        return request[0] >> 32 == self._magic and not self._has_payload(request)

    def _has_payload(self, request: Request) -> bool:
        if self._mode is Mode.EXTENDED:
            return bool(flags(request) & CommandFlag.PAYLOAD_LEN)
        return command(request) == Command.WRITE

    def _split(self) -> list[Request]:
        requests: list[Request] = []
        data = memoryview(self._pending)
        size = self._header.size
        while True:
            if self._payload_of is not None:
                data = self._take_payload(data, requests)
                if self._payload_of is not None:
                    break
            if len(data) < size:
                break
            request = self._header.unpack_from(data)
            data = data[size:]
            if self._plain(request):
                requests.append(request)
            elif request[0] >> 32 != self._magic:
                self.violation = f"request magic {request[0] >> 32:#x}"
                break
            elif request[3] > MAX_PAYLOAD:
                self.violation = f"a payload of {request[3]} bytes"
                break
            else:
                self._payload_of = request
                self._missing = request[3]
        self._pending = bytes(data)
        return requests

    def _take_payload(self, data: memoryview, requests: list[Request]) -> memoryview:
        request = self._payload_of
        assert request is not None
        taken = data[: self._missing]
        if command(request) == Command.BLOCK_STATUS and len(self._kept) <= MAX_STATUS_PAYLOAD:
            self._kept += taken[: MAX_STATUS_PAYLOAD + 1 - len(self._kept)]
        self._missing -= len(taken)
        if not self._missing:
            requests.append((*request[:4], bytes(self._kept)))
            self._kept.clear()
            self._payload_of = None
        return data[len(taken) :]


def refusal(request: Request, size: int, *, contexts: bool) -> tuple[Error, str] | None:
    """The error that answers a request which cannot be carried out, whatever the image's content.

    Args:
        request: any but DISC.
        size: the export's, in bytes.
        contexts: whether any metadata context was selected.
    """
    kind = command(request)
    if kind in _WRITES:
        return Error.EPERM, "the export is read-only"
    if kind not in (Command.READ, Command.FLUSH, Command.CACHE, Command.BLOCK_STATUS):
        return Error.EINVAL, f"command {kind} is not known"
    given = flags(request)
    unknown = given & ~int(_FLAGS.get(Command(kind), 0))  # int: the complement of an IntFlag knows known bits only
    if unknown:
        return Error.EINVAL, f"flags {unknown:#x} do not belong to this command"
    _, _, offset, length, _ = request
    if kind == Command.FLUSH:
        return (Error.EINVAL, "a flush has neither offset nor length") if offset or length else None
    if kind == Command.BLOCK_STATUS:
        if not contexts:
            return Error.EINVAL, "no metadata context was selected"
        if given & CommandFlag.PAYLOAD_LEN:
            return None  # offset and length are checked when the payload is read
        if not length:
            return Error.EINVAL, "the length is 0"
    if offset + length > size:
        return Error.EINVAL, f"{length} bytes at {offset} are not inside an export of {size} bytes"
    if kind == Command.READ and length > MAX_PAYLOAD:
        return Error.EINVAL, f"{length} bytes are more than the maximum of {MAX_PAYLOAD}"
    return None


def status_payload(payload: bytes) -> tuple[int, tuple[int, ...]] | None:
    """The length and the context ids that a BLOCK_STATUS request with a payload asks for; None if it is malformed."""
    count, odd = divmod(len(payload) - 8, 4)
    if len(payload) < 8 or odd:
        return None
    length, *ids = struct.unpack(f">Q{count}I", payload)
    return length, tuple(ids)


class Replies:
    """Encodes replies in one mode; every method returns the bytes to send, data excepted."""

    def __init__(self, mode: Mode) -> None:
        self.mode = mode

    def data(self, cookie: int, offset: int, length: int, at: int, *, done: bool) -> bytes:
        """The header before `length` bytes of data from offset `at`, in reply to a read at `offset`.

        A simple reply has one header for the whole of the data: `at` and `done` mean nothing to it.
        """
        if self.mode is Mode.SIMPLE:
            return SIMPLE_REPLY.pack(SIMPLE_REPLY_MAGIC, 0, cookie)
        return self._header(cookie, offset, ReplyType.OFFSET_DATA, 8 + length, done=done) + at.to_bytes(8, "big")

    def hole(self, cookie: int, offset: int, length: int, at: int, *, done: bool) -> bytes:
        """A chunk that says: `length` zeros from offset `at`."""
        payload = struct.pack(">QI", at, length)
        return self._header(cookie, offset, ReplyType.OFFSET_HOLE, len(payload), done=done) + payload

    def success(self, cookie: int, offset: int) -> bytes:
        """The whole reply to a command without data, or the last chunk of a reply to a read."""
        if self.mode is Mode.SIMPLE:
            return SIMPLE_REPLY.pack(SIMPLE_REPLY_MAGIC, 0, cookie)
        return self._header(cookie, offset, ReplyType.NONE, 0, done=True)

    def error(self, cookie: int, offset: int, error: Error, message: str) -> bytes:
        """The whole reply, or the last chunk of one: the request failed."""
        if self.mode is Mode.SIMPLE:
            return SIMPLE_REPLY.pack(SIMPLE_REPLY_MAGIC, error, cookie)
        text = _text(message)
        payload = struct.pack(">IH", error, len(text)) + text
        return self._header(cookie, offset, ReplyType.ERROR, len(payload), done=True) + payload

    def error_at(self, cookie: int, offset: int, error: Error, message: str, at: int) -> bytes:
        """The last chunk of a reply to a read: what was sent is valid up to offset `at`."""
        text = _text(message)
        payload = struct.pack(">IH", error, len(text)) + text + at.to_bytes(8, "big")
        return self._header(cookie, offset, ReplyType.ERROR_OFFSET, len(payload), done=True) + payload

    def status(
        self, cookie: int, offset: int, context: int, extents: Sequence[tuple[int, int]], *, done: bool
    ) -> bytes:
        """A chunk of (length, flags) extents in one metadata context."""
        flat = [number for extent in extents for number in extent]
        if self.mode is Mode.EXTENDED:
            payload = struct.pack(f">II{len(flat)}Q", context, len(extents), *flat)
            kind = ReplyType.BLOCK_STATUS_EXT
        else:
            payload = struct.pack(f">I{len(flat)}I", context, *flat)
            kind = ReplyType.BLOCK_STATUS
        return self._header(cookie, offset, kind, len(payload), done=done) + payload

    def _header(self, cookie: int, offset: int, kind: ReplyType, length: int, *, done: bool) -> bytes:
        flag = REPLY_FLAG_DONE if done else 0
        if self.mode is Mode.EXTENDED:
            return EXTENDED_REPLY.pack(EXTENDED_REPLY_MAGIC, flag, kind, cookie, offset, length)
        return STRUCTURED_REPLY.pack(STRUCTURED_REPLY_MAGIC, flag, kind, cookie, length)


def _text(message: str) -> bytes:
    """At most 1,000 characters: at most 4,000 bytes of UTF-8, a string's limit being 4,096."""
    return message[:1000].encode(errors="replace")
