"""What goes over the wire once an export is chosen: in all three modes, against an image of every kind of region."""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
import struct
from typing import TYPE_CHECKING

import pytest

from qemu_viso.nbd import Server, listen_unix
from qemu_viso.nbd.channel import PlainChannel
from qemu_viso.nbd.session import BATCH_BYTES
from qemu_viso.nbd.uri import UnixAddress
from tests.nbd.images import Builder, Mixed, mixed
from tests.nbd.wire import (
    CACHE,
    DF,
    DISC,
    EINVAL,
    EPERM,
    FLUSH,
    HOLE_ZERO,
    PAYLOAD_LEN,
    READ,
    REQ_ONE,
    STATUS,
    TRIM,
    WRITE,
    ZEROES,
    Client,
    request,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from qemu_viso.nbd.channel import Buffer

MODES = ("simple", "structured", "extended")
ALLOCATION, ORIGIN = "base:allocation", "qemu-viso:origin"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Mixed:
    return mixed(tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module", params=[0, 1], ids=["threads", "worker"])
def path(image: Mixed, request: pytest.FixtureRequest) -> Iterator[str]:
    listener = listen_unix()
    with Server({"test": image.image}, listener, workers=request.param):
        assert isinstance(listener.address, UnixAddress)
        yield listener.address.path


@pytest.mark.parametrize("mode", MODES)
def test_every_kind_of_read(path: str, image: Mixed, mode: str) -> None:
    size = len(image.expected)
    chooser = random.Random(mode)
    lengths = [1, 511, 512, 4096, 32767, 32768, 65536, 300_000, 1 << 20, size]
    ranges = [(start + shift, 5000) for start in image.starts.values() for shift in (-5000, -1, 0, 3000)]
    for _ in range(300):
        length = chooser.choice(lengths)
        ranges.append((chooser.randrange(size - length + 1), length))
    with Client(path, mode) as client:
        assert client.size == size
        for offset, length in ranges:
            if offset >= 0:
                assert client.read(offset, length) == image.expected[offset : offset + length], (offset, length)


@pytest.mark.parametrize("mode", MODES)
def test_many_requests_in_one_packet(path: str, image: Mixed, mode: str) -> None:
    chooser = random.Random(7)
    extended = mode == "extended"
    asked = []
    for cookie in range(600):
        length = chooser.choice([1, 512, 4096, 40_000])
        asked.append((cookie, chooser.randrange(len(image.expected) - length), length))
    packet = b"".join(request(READ, at, size, cookie=cookie, extended=extended) for cookie, at, size in asked)
    with Client(path, mode) as client:
        # The replies are larger than any socket's buffer, so they are taken while the requests are still sent.
        client.socket.setblocking(True)
        client.socket.sendall(packet)
        for cookie, offset, length in asked:
            reply = client.reply(READ, offset, length)
            assert (reply.cookie, reply.error) == (cookie, 0)
            assert reply.bytes(offset, length) == image.expected[offset : offset + length]


@pytest.mark.parametrize("mode", MODES)
def test_a_request_that_comes_byte_by_byte(path: str, image: Mixed, mode: str) -> None:
    with Client(path, mode) as client:
        for byte in request(READ, 40_000, 100, extended=mode == "extended"):
            client.socket.sendall(bytes([byte]))
        assert client.reply(READ, 40_000, 100).bytes(40_000, 100) == image.expected[40_000:40_100]


@pytest.mark.parametrize("mode", MODES)
def test_refusals_leave_the_connection_usable(path: str, image: Mixed, mode: str) -> None:
    with Client(path, mode) as client:
        for kind in (TRIM, ZEROES):
            assert client.ask(kind, 0, 512).error == EPERM
        client.send(WRITE, 0, 5, flags=PAYLOAD_LEN if mode == "extended" else 0)
        client.socket.sendall(b"write")
        assert client.reply(WRITE, 0, 5).error == EPERM
        assert client.ask(READ, len(image.expected), 1).error == EINVAL
        assert client.ask(READ, 0, (1 << 25) + 1).error == EINVAL
        assert client.ask(READ, 0, 512, flags=0x40).error == EINVAL
        assert client.ask(99, 0, 512).error == EINVAL
        assert client.ask(STATUS, 0, 512).error == EINVAL
        assert client.ask(FLUSH, 0, 1).error == EINVAL
        for kind, offset, length in ((FLUSH, 0, 0), (CACHE, 0, len(image.expected)), (READ, 512, 0)):
            assert client.ask(kind, offset, length).error == 0
        assert client.read(40_000, 100) == image.expected[40_000:40_100]


@pytest.mark.parametrize("mode", MODES[1:])
def test_holes_are_chunks_unless_df_is_set(path: str, image: Mixed, mode: str) -> None:
    with Client(path, mode) as client:
        length = 1 << 20
        reply = client.ask(READ, 0, length)
        assert reply.bytes(0, length) == image.expected[:length]
        assert reply.holes == {0: image.starts["literal"]}
        reply = client.ask(READ, 0, length, flags=DF)
        assert reply.data == {0: image.expected[:length]}
        assert not reply.holes


def test_a_read_of_nothing_but_zeros(path: str, image: Mixed) -> None:
    with Client(path, "structured") as client:
        tail = image.starts["tail"]
        reply = client.ask(READ, tail, 200_000)
        assert (reply.data, reply.holes) == ({}, {tail: 200_000})


def test_disc_ends_the_connection_after_what_came_before(path: str, image: Mixed) -> None:
    with Client(path, "simple") as client:
        client.socket.sendall(request(READ, 0, 512) + request(DISC) + request(READ, 0, 512))
        assert client.reply(READ, 0, 512).bytes(0, 512) == image.expected[:512]
        # EOF, or a reset because the server did not read what came after DISC
        with contextlib.suppress(ConnectionResetError):
            assert client.socket.recv(1) == b""


def test_export_name_without_fixed_newstyle(path: str, image: Mixed) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.connect(path)
        sock.sendall(struct.pack(">I", 0) + b"IHAVEOPT" + struct.pack(">II", 1, 4) + b"test")
        sock.sendall(request(READ, 40_960, 16) + request(DISC))
        received = b""
        while more := sock.recv(4096):
            received += more
    assert received[18:26] == struct.pack(">Q", len(image.expected))
    assert received[28:152] == bytes(124)
    assert received[152:168] == struct.pack(">IIQ", 0x67446698, 0, 7)
    assert received[168:] == image.expected[40_960 : 40_960 + 16]


def total(extents: list[tuple[int, int]]) -> int:
    return sum(length for length, _ in extents)


@pytest.mark.parametrize("mode", MODES[1:])
def test_allocation_tells_zeros_and_holes_and_never_lies(path: str, image: Mixed, mode: str) -> None:
    with Client(path, mode, contexts=(ALLOCATION,)) as client:
        extents = client.ask(STATUS, 0, len(image.expected)).status[client.context_ids[ALLOCATION]]
    assert total(extents) == len(image.expected)
    at = 0
    holes = 0
    for length, flags in extents:
        assert length % 512 == 0
        assert flags in (0, HOLE_ZERO)
        if flags:
            assert image.expected[at : at + length].count(0) == length
            holes += length
        at += length
    assert holes >= image.starts["literal"] + 150 * 2048 + 900_000  # the head, the tail, and most of the sparse file
    assert all(one[1] != other[1] for one, other in itertools.pairwise(extents))


def test_padding_is_a_hole(path: str, image: Mixed) -> None:
    small = image.starts["small"]  # 100 bytes in a sector of 2,048
    with Client(path, contexts=(ALLOCATION,)) as client:
        assert client.ask(STATUS, small, 2048).status[1] == [(512, 0), (1536, HOLE_ZERO)]
        assert client.ask(STATUS, small + 700, 100).status[1] == [(100, HOLE_ZERO)]


def test_origin_names_region_and_kind(path: str, image: Mixed) -> None:
    with Client(path, contexts=(ORIGIN,)) as client:
        extents = client.ask(STATUS, 0, len(image.expected)).status[client.context_ids[ORIGIN]]
    regions = image.image.regions
    expected = []
    kinds = [0, 1, 2, 3, 3, 4, 5, 3, 0]
    for number, kind in enumerate(kinds):
        region = regions[number]
        filled = 0 if region.content is None else region.content.size
        expected += [(filled, kind << 28 | number)] if filled else []
        padding = region.stop - region.start - filled
        expected += [(padding, number)] if padding else []
    assert extents == expected


@pytest.mark.parametrize("mode", MODES[1:])
def test_both_contexts_and_one_extent(path: str, mode: str) -> None:
    with Client(path, mode, contexts=(ORIGIN, ALLOCATION)) as client:
        reply = client.ask(STATUS, 32_768, 10_000, flags=REQ_ONE)
        assert reply.status == {1: [(512, 0)], 2: [(7, 1 << 28 | 1)]}
        reply = client.ask(STATUS, 32_768 + 5, 1, flags=REQ_ONE)
        assert reply.status == {1: [(1, 0)], 2: [(1, 1 << 28 | 1)]}


def test_a_status_payload_chooses_among_the_contexts(path: str, image: Mixed) -> None:
    with Client(path, "extended", contexts=(ORIGIN, ALLOCATION)) as client:
        assert client.flags & 1 << 12

        def ask(payload: bytes) -> tuple[int, dict[int, list[tuple[int, int]]]]:
            client.send(STATUS, 0, len(payload), flags=PAYLOAD_LEN)
            client.socket.sendall(payload)
            reply = client.reply(STATUS, 0, 0)
            return reply.error, reply.status

        error, status = ask(struct.pack(">QI", 40_000, 2))
        assert (error, list(status), total(status[2])) == (0, [2], 40_000)
        error, status = ask(struct.pack(">QII", 40_000, 2, 1))
        assert (error, sorted(status)) == (0, [1, 2])
        for payload in (
            b"",
            bytes(8),
            struct.pack(">Q", 512),
            struct.pack(">QI", 512, 3),
            struct.pack(">QII", 512, 1, 1),
            struct.pack(">QI", len(image.expected) + 1, 1),
            struct.pack(">QI", 0, 1),
            struct.pack(">QI", 512, 1) + b"x",
            bytes(10_000),
        ):
            assert ask(payload) == (EINVAL, {})
        assert client.read(0, 512) == bytes(512)


def test_long_statuses_leave_as_they_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are asked for at once: the first is not kept until the last is there."""
    builder = Builder()
    for number in range(400):
        builder.file(tmp_path / str(number), bytes([number % 256]) * 700)
    image = builder.image()
    sends: list[int] = []
    send = PlainChannel.send

    def counted(channel: PlainChannel, buffers: Sequence[Buffer], *, more: bool = False) -> None:
        sends.append(sum(map(len, buffers)))
        send(channel, buffers, more=more)

    monkeypatch.setattr(PlainChannel, "send", counted)
    listener = listen_unix()
    assert isinstance(listener.address, UnixAddress)
    with Server({"test": image}, listener), Client(listener.address.path, contexts=(ORIGIN,)) as client:
        client.socket.sendall(request(STATUS, 0, image.size) * 100)
        for _ in range(100):
            assert total(client.reply(STATUS, 0, image.size).status[client.context_ids[ORIGIN]]) == image.size
    one = 24 + 8 * 800
    assert max(sends) < BATCH_BYTES + one
