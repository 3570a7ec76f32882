"""NBD from the client's side, written from the protocol document and sharing no code with the server."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass, field
from typing import Self

OPT = {
    "export_name": 1,
    "abort": 2,
    "list": 3,
    "peek": 4,
    "starttls": 5,
    "info": 6,
    "go": 7,
    "structured": 8,
    "list_meta": 9,
    "set_meta": 10,
    "extended": 11,
}
REP = {
    1: "ACK",
    2: "SERVER",
    3: "INFO",
    4: "META_CONTEXT",
    0x80000001: "UNSUP",
    0x80000002: "POLICY",
    0x80000003: "INVALID",
    0x80000005: "TLS_REQD",
    0x80000006: "UNKNOWN",
    0x80000009: "TOO_BIG",
    0x8000000A: "EXT_HEADER_REQD",
}
READ, WRITE, DISC, FLUSH, TRIM, CACHE, ZEROES, STATUS = range(8)
FUA, NO_HOLE, DF, REQ_ONE, FAST_ZERO, PAYLOAD_LEN = 1, 2, 4, 8, 16, 32
EPERM, EIO, EINVAL = 1, 5, 22
HOLE_ZERO = 3


def option(kind: int, data: bytes = b"", *, magic: bytes = b"IHAVEOPT") -> bytes:
    return magic + struct.pack(">II", kind, len(data)) + data


def name(text: str) -> bytes:
    return struct.pack(">I", len(text.encode())) + text.encode()


def info_data(export: str, *requests: int) -> bytes:
    return name(export) + struct.pack(f">H{len(requests)}H", len(requests), *requests)


def meta_data(export: str, *queries: str) -> bytes:
    return name(export) + struct.pack(">I", len(queries)) + b"".join(map(name, queries))


def request(
    kind: int, offset: int = 0, length: int = 0, *, cookie: int = 7, flags: int = 0, extended: bool = False
) -> bytes:
    if extended:
        return struct.pack(">IHHQQQ", 0x21E41C71, flags, kind, cookie, offset, length)
    return struct.pack(">IHHQQI", 0x25609513, flags, kind, cookie, offset, length)


@dataclass(frozen=True)
class Asked:
    """A request, as a client sent it."""

    kind: int
    flags: int
    cookie: int
    offset: int
    length: int
    payload: bytes


def has_payload(kind: int, flags: int, *, extended: bool) -> bool:
    """Sections "Request message" and "Extended headers": which flag or type brings a payload depends on the mode."""
    return bool(flags & PAYLOAD_LEN) if extended else kind == WRITE


def split_requests(stream: bytes, *, extended: bool) -> tuple[list[Asked], bool]:
    """The whole requests of a stream, and whether the client broke the rules behind them."""
    form, magic = (">IHHQQQ", 0x21E41C71) if extended else (">IHHQQI", 0x25609513)
    size = struct.calcsize(form)
    requests: list[Asked] = []
    while len(stream) >= size:
        found, flags, kind, cookie, offset, length = struct.unpack_from(form, stream)
        brings = has_payload(kind, flags, extended=extended)
        if found != magic or (brings and length > 1 << 25):
            return requests, True
        end = size + length * brings
        if len(stream) < end:
            break
        requests.append(Asked(kind, flags, cookie, offset, length, stream[size:end]))
        stream = stream[end:]
    return requests, False


def split_replies(data: bytes) -> list[tuple[int, int, bytes]]:
    """Option replies as (option, type, data); the stream must end with a whole one."""
    replies = []
    while data:
        magic, kind, reply, length = struct.unpack_from(">QIII", data)
        assert magic == 0x0003E889045565A9
        assert len(data) >= 20 + length
        replies.append((kind, reply, data[20 : 20 + length]))
        data = data[20 + length :]
    return replies


@dataclass
class Reply:
    """All of the answer to one request."""

    cookie: int
    error: int = 0
    message: str = ""
    error_offset: int | None = None
    data: dict[int, bytes] = field(default_factory=dict)
    holes: dict[int, int] = field(default_factory=dict)
    status: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    chunks: int = 0

    def bytes(self, offset: int, length: int) -> bytes:
        """What the chunks say of a range; they must cover it once, and nothing else."""
        content = bytearray(length)
        covered = 0
        spans = [(at, len(data)) for at, data in self.data.items()] + list(self.holes.items())
        for at, size in sorted(spans):
            assert at == offset + covered
            covered += size
        assert covered == length
        for at, data in self.data.items():
            content[at - offset : at - offset + len(data)] = data
        return bytes(content)


class Client:
    """A blocking client; `mode` is "simple", "structured" or "extended"."""

    def __init__(
        self, path: str, mode: str = "structured", export: str = "", contexts: tuple[str, ...] = (), timeout: float = 30
    ) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        self.socket.connect(path)
        self.mode = mode
        self.context_ids: dict[str, int] = {}
        assert self.take(18) == b"NBDMAGICIHAVEOPT\0\x03"
        self.socket.sendall(struct.pack(">I", 3))
        if mode != "simple":
            self.option(OPT[mode])
        if contexts:
            for kind, data in self.option(OPT["set_meta"], meta_data(export, *contexts)):
                if REP[kind] == "META_CONTEXT":
                    self.context_ids[data[4:].decode()] = struct.unpack(">I", data[:4])[0]
        ((_, described), *_) = self.option(OPT["go"], info_data(export))
        _, self.size, self.flags = struct.unpack(">HQH", described)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def option(self, kind: int, data: bytes = b"") -> list[tuple[int, bytes]]:
        self.socket.sendall(option(kind, data))
        replies = []
        while True:
            magic, echoed, reply, length = struct.unpack(">QIII", self.take(20))
            assert (magic, echoed) == (0x0003E889045565A9, kind)
            payload = self.take(length)
            assert reply < 1 << 31, payload
            replies.append((reply, payload))
            if REP[reply] == "ACK":
                return replies

    def take(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            more = self.socket.recv(length - len(data))
            if not more:
                raise EOFError(f"{len(data)} of {length} bytes")
            data += more
        return bytes(data)

    def send(self, kind: int, offset: int = 0, length: int = 0, *, cookie: int = 7, flags: int = 0) -> None:
        extended = self.mode == "extended"
        self.socket.sendall(request(kind, offset, length, cookie=cookie, flags=flags, extended=extended))

    def ask(self, kind: int, offset: int = 0, length: int = 0, *, flags: int = 0) -> Reply:
        self.send(kind, offset, length, flags=flags)
        return self.reply(kind, offset, length)

    def read(self, offset: int, length: int) -> bytes:
        reply = self.ask(READ, offset, length)
        assert not reply.error, reply
        return reply.bytes(offset, length)

    def reply(self, kind: int, offset: int, length: int) -> Reply:
        if self.mode == "simple":
            magic, error, cookie = struct.unpack(">IIQ", self.take(16))
            assert magic == 0x67446698
            reply = Reply(cookie, error)
            if kind == READ and not error:
                reply.data[offset] = self.take(length)
            return reply
        reply = Reply(-1)
        while not self._chunk(reply, offset):
            pass
        return reply

    def _chunk(self, reply: Reply, offset: int) -> bool:
        """Take one chunk; true for the last one."""
        if self.mode == "extended":
            magic, flags, kind, cookie, echoed, length = struct.unpack(">IHHQQQ", self.take(32))
            assert (magic, echoed) == (0x6E8A278C, offset)
        else:
            magic, flags, kind, cookie, length = struct.unpack(">IHHQI", self.take(20))
            assert magic == 0x668E33EF
        assert reply.cookie in (-1, cookie)
        reply.cookie = cookie
        reply.chunks += 1
        payload = self.take(length)
        if kind == 1:
            assert length >= 9
            reply.data[struct.unpack_from(">Q", payload)[0]] = payload[8:]
        elif kind == 2:
            at, size = struct.unpack(">QI", payload)
            reply.holes[at] = size
        elif kind == 5:
            assert self.mode == "structured"
            context, *flat = struct.unpack(f">{length // 4}I", payload)
            reply.status[context] = list(zip(flat[::2], flat[1::2], strict=True))
        elif kind == 6:
            assert self.mode == "extended"
            context, count = struct.unpack_from(">II", payload)
            flat = list(struct.unpack(f">{count * 2}Q", payload[8:]))
            reply.status[context] = list(zip(flat[::2], flat[1::2], strict=True))
        elif kind in (0x8001, 0x8002):
            reply.error, size = struct.unpack_from(">IH", payload)
            reply.message = payload[6 : 6 + size].decode()
            rest = payload[6 + size :]
            if kind == 0x8002:
                (reply.error_offset,) = struct.unpack(">Q", rest)
            else:
                assert not rest
        else:
            assert kind == 0
            assert not length
            assert flags & 1
        return bool(flags & 1)
