"""The transmission phase's core: every message in every state, fed whole, byte by byte, and with trailing data."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from qemu_viso.nbd.constants import Error, Mode
from qemu_viso.nbd.transmission import Replies, Request, RequestParser, command, flags, refusal, status_payload
from tests.nbd.wire import (
    CACHE,
    DF,
    DISC,
    EINVAL,
    EPERM,
    FAST_ZERO,
    FLUSH,
    FUA,
    NO_HOLE,
    PAYLOAD_LEN,
    READ,
    REQ_ONE,
    STATUS,
    TRIM,
    WRITE,
    ZEROES,
    has_payload,
    request,
    split_requests,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = 1 << 20

# What a client may send, as (type, flags, length, payload); the offset is 4096 everywhere.
MESSAGES = {
    "read": (READ, 0, 512, b""),
    "read, DF": (READ, DF, 512, b""),
    "read, payload": (READ, PAYLOAD_LEN, 4, b"read"),
    "write": (WRITE, 0, 5, b"write"),
    "write, payload": (WRITE, PAYLOAD_LEN, 5, b"write"),
    "write of nothing": (WRITE, 0, 0, b""),
    "write of nothing, payload": (WRITE, PAYLOAD_LEN, 0, b""),
    "write, too much": (WRITE, 0, (1 << 25) + 1, b""),
    "write, payload, too much": (WRITE, PAYLOAD_LEN, (1 << 25) + 1, b""),
    "disc": (DISC, 0, 0, b""),
    "disc, payload": (DISC, PAYLOAD_LEN, 2, b"go"),
    "flush": (FLUSH, 0, 0, b""),
    "flush, payload": (FLUSH, PAYLOAD_LEN, 5, b"flush"),
    "trim": (TRIM, 0, 512, b""),
    "trim, payload": (TRIM, PAYLOAD_LEN, 4, b"trim"),
    "cache": (CACHE, 0, 512, b""),
    "cache, payload": (CACHE, PAYLOAD_LEN, 5, b"cache"),
    "zeroes": (ZEROES, 0, 512, b""),
    "zeroes, payload": (ZEROES, PAYLOAD_LEN, 6, b"zeroes"),
    "status": (STATUS, 0, 512, b""),
    "status, one": (STATUS, REQ_ONE, 512, b""),
    "status, payload": (STATUS, PAYLOAD_LEN, 12, struct.pack(">QI", 512, 1)),
    "status, one, payload": (STATUS, REQ_ONE | PAYLOAD_LEN, 12, struct.pack(">QI", 512, 1)),
    "status, payload of nothing": (STATUS, PAYLOAD_LEN, 0, b""),
    "status, payload, too much": (STATUS, PAYLOAD_LEN, 0xFFFFFFFF, b""),
    "unknown": (99, 0, 512, b""),
    "unknown, payload": (99, PAYLOAD_LEN, 7, b"unknown"),
    "bad magic": (READ, 0, 512, b""),
}
EARLIER: dict[str, Callable[[Mode], bytes]] = {
    # What has been received before: a whole request, or the beginning of one that ends where the message is.
    "fresh": lambda _mode: b"",
    "after a read": lambda mode: sent(mode, READ, 0, 512),
    "after a payload": lambda mode: sent(mode, WRITE, PAYLOAD_LEN * (mode is Mode.EXTENDED), 5, b"write"),
    "in a header": lambda mode: sent(mode, READ, 0, 512)[:11],
    "in a payload": lambda mode: sent(mode, WRITE, PAYLOAD_LEN * (mode is Mode.EXTENDED), 20, b"half of it"),
    "after a violation": lambda _mode: bytes(32),
}


def sent(mode: Mode, kind: int, given: int, length: int, payload: bytes = b"") -> bytes:
    header = request(kind, 4096, length, flags=given, cookie=1 << 63, extended=mode is Mode.EXTENDED)
    return header + (payload if has_payload(kind, given, extended=mode is Mode.EXTENDED) else b"")


def split(mode: Mode, stream: bytes) -> tuple[list[tuple[int, int, int, int, bytes]], bool]:
    """What comes of a stream: payloads are kept where they mean something."""
    requests, violates = split_requests(stream, extended=mode is Mode.EXTENDED)
    return [
        (each.kind, each.flags, each.offset, each.length, each.payload if each.kind == STATUS else b"")
        for each in requests
    ], violates


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize("state", EARLIER)
@pytest.mark.parametrize("mode", list(Mode))
def test_every_state_and_message(mode: Mode, state: str, message: str) -> None:
    earlier, one = EARLIER[state](mode), sent(mode, *MESSAGES[message])
    if message == "bad magic":
        one = bytes([one[0] ^ 1]) + one[1:]
    follower = request(FLUSH, cookie=5, extended=mode is Mode.EXTENDED)

    def received(*chunks: bytes) -> tuple[list[tuple[int, int, int, int, bytes]], bool]:
        parser = RequestParser(mode)
        found = [each for chunk in (earlier, *chunks) for each in parser.receive(chunk)]
        requests = [(command(each), flags(each), each[2], each[3], each[4]) for each in found]
        assert parser.receive(b"") == []
        return requests, parser.violation is not None

    alone, followed = split(mode, earlier + one), split(mode, earlier + one + follower)
    if state == "fresh":  # what is expected of the model itself
        brings = has_payload(*MESSAGES[message][:2], extended=mode is Mode.EXTENDED)
        too_much = "too much" in message and brings
        violates = too_much or message == "bad magic"
        assert alone[1] == violates
        assert [each[:2] for each in alone[0]] == [MESSAGES[message][:2]] * (not violates)
        assert [each[0] for each in followed[0][1:]] == [FLUSH] * (not violates)
    assert received(one) == alone
    assert received(*(bytes([byte]) for byte in one)) == alone
    assert received(one + follower) == followed
    assert received(one + follower[:9], follower[9:]) == followed


@pytest.mark.parametrize("mode", list(Mode))
def test_many_requests_at_once(mode: Mode) -> None:
    extended = mode is Mode.EXTENDED
    sent = [request(READ, 512 * number, 512, cookie=number, extended=extended) for number in range(1000)]
    parser = RequestParser(mode)
    assert [found[1] for found in parser.receive(b"".join(sent))] == list(range(1000))
    with_write = b"".join(sent[:10]) + request(WRITE, 0, 3, flags=PAYLOAD_LEN * extended, cookie=77, extended=extended)
    found = parser.receive(with_write + b"abc" + b"".join(sent[:10]))
    assert [one[1] for one in found] == [*range(10), 77, *range(10)]


@pytest.mark.parametrize("mode", list(Mode))
def test_the_other_magic_ends_the_connection(mode: Mode) -> None:
    good = request(READ, 0, 512, extended=mode is Mode.EXTENDED)
    bad = request(READ, 0, 512, extended=mode is not Mode.EXTENDED)
    for size in (1, 7, 1000):
        parser = RequestParser(mode)
        sent = good + bad + bytes(8) + good
        found = [one for at in range(0, len(sent), size) for one in parser.receive(sent[at : at + size])]
        assert len(found) == 1
        assert parser.violation is not None
        assert "magic" in parser.violation


@pytest.mark.parametrize(("length", "violates"), [(1 << 25, False), ((1 << 25) + 1, True), (0xFFFFFFFF, True)])
def test_a_giant_payload_ends_the_connection(length: int, violates: bool) -> None:
    parser = RequestParser(Mode.STRUCTURED)
    assert parser.receive(request(WRITE, 0, length)) == []
    assert (parser.violation is not None) == violates


def test_payloads_are_not_kept() -> None:
    parser = RequestParser(Mode.EXTENDED)
    parser.receive(request(STATUS, 0, 1 << 20, flags=PAYLOAD_LEN, extended=True))
    found = []
    for _ in range(1 << 4):
        found += parser.receive(bytes(1 << 16))
    (one,) = found
    assert len(one[4]) <= 5000
    assert status_payload(one[4]) is None


def whole(kind: int, *, given: int = 0, offset: int = 0, length: int = 512) -> Request:
    (found,) = RequestParser(Mode.EXTENDED).receive(
        request(kind, offset, length, flags=given, extended=True) + (bytes(length) if given & PAYLOAD_LEN else b"")
    )
    return found


ALL_FLAGS = (FUA, NO_HOLE, DF, REQ_ONE, FAST_ZERO, PAYLOAD_LEN, 0x40, 0x8000)


@pytest.mark.parametrize("kind", [WRITE, TRIM, ZEROES])
@pytest.mark.parametrize("given", [0, *ALL_FLAGS])
def test_writing_is_not_permitted(kind: int, given: int) -> None:
    for offset in (0, SIZE, 1 << 60):
        refused = refusal(whole(kind, given=given, offset=offset), SIZE, contexts=True)
        assert refused is not None
        assert refused[0] == EPERM


@pytest.mark.parametrize("given", ALL_FLAGS)
@pytest.mark.parametrize(("kind", "allowed"), [(READ, DF), (FLUSH, 0), (CACHE, 0), (STATUS, REQ_ONE | PAYLOAD_LEN)])
def test_flags_of_other_commands_are_invalid(kind: int, allowed: int, given: int) -> None:
    length = 0 if kind == FLUSH and not given & PAYLOAD_LEN else 12
    refused = refusal(whole(kind, given=given, length=length), SIZE, contexts=True)
    if given & allowed:
        assert refused is None
    else:
        assert refused is not None
        assert refused[0] == EINVAL


@pytest.mark.parametrize(
    ("kind", "offset", "length", "fine"),
    [
        (READ, 0, 1, True),
        (READ, SIZE - 1, 1, True),
        (READ, SIZE, 0, True),
        (READ, SIZE, 1, False),
        (READ, SIZE - 1, 2, False),
        (READ, (1 << 64) - 1, 1, False),
        (READ, 0, (1 << 64) - 1, False),
        (CACHE, 0, SIZE, True),
        (CACHE, 1, SIZE, False),
        (FLUSH, 0, 0, True),
        (FLUSH, 1, 0, False),
        (FLUSH, 0, 1, False),
        (STATUS, 0, SIZE, True),
        (STATUS, 0, 0, False),
        (STATUS, SIZE, 1, False),
        (99, 0, 0, False),
        (8, 0, 0, False),
    ],
)
def test_ranges(kind: int, offset: int, length: int, fine: bool) -> None:
    refused = refusal(whole(kind, offset=offset, length=length), SIZE, contexts=True)
    assert refused is None if fine else refused is not None and refused[0] == EINVAL


def test_reads_beyond_the_maximum_are_invalid() -> None:
    big = 1 << 40
    assert refusal(whole(READ, length=1 << 25), big, contexts=False) is None
    refused = refusal(whole(READ, length=(1 << 25) + 1), big, contexts=False)
    assert refused is not None
    assert refused[0] == EINVAL
    assert refusal(whole(CACHE, length=1 << 39), big, contexts=False) is None


def test_status_without_contexts_is_invalid() -> None:
    refused = refusal(whole(STATUS), SIZE, contexts=False)
    assert refused is not None
    assert refused[0] == EINVAL


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"", None),
        (bytes(7), None),
        (bytes(9), None),
        (struct.pack(">Q", 5), (5, ())),
        (struct.pack(">QII", 1 << 40, 2, 1), (1 << 40, (2, 1))),
    ],
)
def test_status_payload(payload: bytes, expected: tuple[int, tuple[int, ...]] | None) -> None:
    assert status_payload(payload) == expected


SIMPLE, STRUCTURED, EXTENDED = "67446698", "668e33ef", "6e8a278c"
COOKIE, OFFSET = "00000000000000aa", "0000000000001000"


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (Mode.SIMPLE, SIMPLE + "00000000" + COOKIE),
        (Mode.STRUCTURED, STRUCTURED + "0001" + "0001" + COOKIE + "00000208" + OFFSET),
        (Mode.EXTENDED, EXTENDED + "0001" + "0001" + COOKIE + OFFSET + "0000000000000208" + OFFSET),
    ],
)
def test_data_on_the_wire(mode: Mode, expected: str) -> None:
    assert Replies(mode).data(0xAA, 4096, 512, 4096, done=True).hex() == expected


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (Mode.SIMPLE, SIMPLE + "00000000" + COOKIE),
        (Mode.STRUCTURED, STRUCTURED + "0001" + "0000" + COOKIE + "00000000"),
        (Mode.EXTENDED, EXTENDED + "0001" + "0000" + COOKIE + OFFSET + "0000000000000000"),
    ],
)
def test_success_on_the_wire(mode: Mode, expected: str) -> None:
    assert Replies(mode).success(0xAA, 4096).hex() == expected


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (Mode.SIMPLE, SIMPLE + "00000005" + COOKIE),
        (Mode.STRUCTURED, STRUCTURED + "0001" + "8001" + COOKIE + "00000008" + "00000005" + "0002" + "6e6f"),
        (Mode.EXTENDED, EXTENDED + "00018001" + COOKIE + OFFSET + "0000000000000008" + "00000005" + "0002" + "6e6f"),
    ],
)
def test_error_on_the_wire(mode: Mode, expected: str) -> None:
    assert Replies(mode).error(0xAA, 4096, Error.EIO, "no").hex() == expected


def test_error_at_an_offset_on_the_wire() -> None:
    sent = Replies(Mode.STRUCTURED).error_at(0xAA, 4096, Error.EIO, "no", 5000)
    assert sent.hex() == STRUCTURED + "00018002" + COOKIE + "00000010" + "00000005" + "0002" + "6e6f" + f"{5000:016x}"


def test_hole_on_the_wire() -> None:
    sent = Replies(Mode.STRUCTURED).hole(0xAA, 4096, 65536, 8192, done=False)
    assert sent.hex() == STRUCTURED + "00000002" + COOKIE + "0000000c" + f"{8192:016x}" + "00010000"


def test_status_on_the_wire() -> None:
    extents = [(512, 0), (1024, 3)]
    sent = Replies(Mode.STRUCTURED).status(0xAA, 4096, 1, extents, done=False)
    assert (
        sent.hex()
        == STRUCTURED + "00000005" + COOKIE + "00000014" + "00000001" + "000002000000000000000400" + "00000003"
    )
    sent = Replies(Mode.EXTENDED).status(0xAA, 4096, 1, extents, done=True)
    head = EXTENDED + "00010006" + COOKIE + OFFSET + f"{8 + 32:016x}"
    assert sent.hex() == head + "00000001" + "00000002" + "".join(f"{n:016x}" for pair in extents for n in pair)


def test_messages_keep_to_the_limit_of_strings() -> None:
    sent = Replies(Mode.STRUCTURED).error(1, 0, Error.EIO, "é€\U0001f4bf" * 5000)
    (size,) = struct.unpack_from(">H", sent, 24)
    assert size <= 4096
    sent[26 : 26 + size].decode()
