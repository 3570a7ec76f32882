"""A fuzz target for everything that a front end or a guest can say.

    python -m tests.vhost_user.fuzz_vhost_user --runs 1000000 [--seed N]     with the mutator below
    python -m tests.vhost_user.fuzz_vhost_user --atheris [libFuzzer options] tests/vhost_user/corpus

An input's first byte says what the others are: a stream of bytes, a dialogue of messages, the memory of a guest with a
ring in it, or a record of requests under way. Whatever it is, only the documented errors may come of it.
"""

from __future__ import annotations

import os
import struct
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from qemu_viso.image import Generated, Image
from qemu_viso.vhost_user.block import FEATURES, BlockDevice
from qemu_viso.vhost_user.descriptors import Descriptor
from qemu_viso.vhost_user.inflight import InflightPart, part_size
from qemu_viso.vhost_user.memory import MemoryTable
from qemu_viso.vhost_user.messages import MemoryRegion, MessageError, Parser, RefusedError, Request, encode
from qemu_viso.vhost_user.session import MapMemory, Reply, ReplyBase, Session, StartRing, StopRing
from qemu_viso.vhost_user.virtqueue import RingError, RingLayout, Virtqueue
from tests.fuzzing import drive
from tests.vhost_user.media import lay, write_file

if TYPE_CHECKING:
    import random

CORPUS = Path(__file__).parent / "corpus"
STREAM, DIALOGUE, GUEST, RECORD = range(4)
MEMORY = 1 << 16
MOST_REQUESTS = 64

_event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
_memory = bytearray(MEMORY)


def _image() -> Image:
    with tempfile.TemporaryDirectory() as folder:
        file = write_file(Path(folder), "file", 5000)
        image = lay(2048, file, Generated(4096, lambda: bytes(range(256)) * 16, "generated"), 2048)
        image.read(0, image.size)  # opens the file, which is gone from its folder afterwards
    return image


_device = BlockDevice(_image())


def one_input(data: bytes) -> None:
    """Try one input; any exception is a finding."""
    if data:
        (_stream, _dialogue, _guest, _record)[data[0] % 4](data[1:])


def _descriptors(count: int) -> list[Descriptor]:
    return [Descriptor(os.dup(_event)) for _ in range(count)]


def _stream(data: bytes) -> None:
    """Chunks: a byte for the number of descriptors, one for the length, the chunk."""
    session, parser = Session(FEATURES, b"config"), Parser()
    with suppress(MessageError):
        while len(data) >= 2:
            count, length = data[0] % 10, data[1]
            for message in parser.feed(data[2 : 2 + length], _descriptors(count)):
                _say(session, message.request, message.flags, message.payload, len(message.descriptors))
            data = data[2 + length :]
        parser.end()


def _dialogue(data: bytes) -> None:
    """Messages: a byte for the request, one for the flags and the number of descriptors, one for the length."""
    session = Session(FEATURES, b"config")
    while len(data) >= 3:
        request, extra, length = data[0], data[1], data[2]
        _say(session, request, 1 | (extra & 8), data[3 : 3 + length], extra & 3)
        data = data[3 + length :]


def _say(session: Session, request: int, flags: int, payload: bytes, count: int) -> None:
    parser = Parser()
    [message] = parser.feed(encode(request, payload, flags), _descriptors(count))
    try:
        actions = session.handle(message)
    except RefusedError:
        session.refuse(message)
        return
    for action in actions:
        match action:
            case Reply(reply):
                assert reply[4] & 4
            case MapMemory(regions):
                session.regions = regions
            case StartRing(index):
                ring = session.ring(index)
                assert ring.running
                assert ring.layout is not None
                assert ring.layout.size == ring.size
            case StopRing(index):
                session.ring_stopped(index, 5)
            case ReplyBase(index):
                session.base_reply(index)
            case _:
                pass
    session.acknowledge(message)


def _guest(data: bytes) -> None:
    """Two bytes for features and the ring's size, then memory from its first byte on: the ring is at the start."""
    if len(data) < 2:
        return
    size = 1 << data[1] % 8
    features = (data[0] & 3) << 28
    _memory[:] = data[2 : 2 + MEMORY].ljust(MEMORY, b"\0")
    view = memoryview(_memory)
    half = MEMORY // 2
    table = MemoryTable((MemoryRegion(at, half, at, 0), view[at : at + half]) for at in (0, half))
    available = 16 * size
    used = available + 8 + 2 * size + 2 * size % 4
    with suppress(RingError):
        queue = Virtqueue(table, RingLayout(size, 0, available, used), features, 0)
        for _ in range(MOST_REQUESTS):
            head = queue.pop()
            if head is None:
                queue.sleep()
                break
            queue.push(head, _device.answer(queue.chain(head)))


def _record(data: bytes) -> None:
    size = 8
    part = memoryview(bytearray(data[2:].ljust(part_size(size), b"\0")))
    with suppress(RefusedError):
        heads = InflightPart(part, size).recover(int.from_bytes(data[:2], "little"))
        assert len(set(heads)) == len(heads)
        assert all(0 <= head < size for head in heads)


def _guest_seed(kind: int, sector: int, lengths: list[int], *, indirect: bool, size_bits: int = 3) -> bytes:
    size = 1 << size_bits
    memory = bytearray(4096)
    available = 16 * size
    header, table = 1024, 1536
    struct.pack_into("<IIQ", memory, header, kind, 0, sector)
    parts = [(header, 16, 0)]
    place = 2048
    for length in lengths:
        parts.append((place, length, 2))
        place += length
    parts.append((header + 32, 1, 2))
    base = table if indirect else 0
    for number, (at, length, flags) in enumerate(parts):
        more = number + 1 < len(parts)
        struct.pack_into("<QIHH", memory, base + 16 * number, at, length, flags | more, number + 1 if more else 0)
    if indirect:
        struct.pack_into("<QIHH", memory, 0, table, 16 * len(parts), 4, 0)
    struct.pack_into("<HH", memory, available, 0, 1)
    return bytes([GUEST, 3, size_bits]) + bytes(memory)


def seeds() -> list[bytes]:
    """Well-formed inputs of every kind."""
    set_up: list[tuple[int, int, bytes]] = [
        (Request.SET_PROTOCOL_FEATURES, 0, struct.pack("=Q", 1 | 8 | 1 << 9 | 1 << 12 | 1 << 13 | 1 << 15)),
        (Request.GET_FEATURES, 0, b""),
        (Request.SET_FEATURES, 8, struct.pack("=Q", 1 << 32 | 7 << 28)),
        (Request.GET_CONFIG, 0, struct.pack("=III", 0, 8, 0) + bytes(8)),
        (Request.GET_INFLIGHT_FD, 0, struct.pack("=QQHHI", 0, 0, 1, 8, 0)),
        (Request.SET_INFLIGHT_FD, 1, struct.pack("=QQHHI", 4096, 0, 1, 8, 0)),
        (Request.SET_MEM_TABLE, 2, struct.pack("=IIQQQQQQQQ", 2, 0, 0, 4096, 0, 0, 4096, 4096, 4096, 0)),
        (Request.ADD_MEM_REG, 1, struct.pack("=QQQQQ", 0, 8192, 4096, 8192, 0)),
        (Request.SET_VRING_NUM, 8, struct.pack("=II", 0, 8)),
        (Request.SET_VRING_BASE, 8, struct.pack("=II", 0, 0)),
        (Request.SET_VRING_ADDR, 8, struct.pack("=IIQQQQ", 0, 0, 0, 256, 128, 0)),
        (Request.SET_VRING_KICK, 9, struct.pack("=Q", 0)),
        (Request.SET_VRING_CALL, 9, struct.pack("=Q", 0)),
        (Request.SET_VRING_ENABLE, 8, struct.pack("=II", 0, 1)),
        (Request.REM_MEM_REG, 8, struct.pack("=QQQQQ", 0, 8192, 4096, 8192, 0)),
        (Request.GET_VRING_BASE, 0, struct.pack("=II", 0, 0)),
        (Request.RESET_DEVICE, 8, b""),
    ]
    dialogue = b"".join(bytes([request, extra, len(payload)]) + payload for request, extra, payload in set_up)
    stream = b"".join(
        bytes([extra & 3, 12 + len(payload)]) + encode(request, payload, extra & 8)
        for request, extra, payload in set_up
    )
    state = struct.pack("=QHHHH", 0, 1, 8, 2, 3) + struct.pack("=B5xHQ", 1, 1, 7) * 8
    return [
        bytes([STREAM]) + stream,
        bytes([DIALOGUE]) + dialogue,
        _guest_seed(0, 4, [512, 512], indirect=False),
        _guest_seed(0, 4, [512, 100, 412], indirect=True),
        _guest_seed(8, 0, [20], indirect=False, size_bits=2),
        _guest_seed(4, 0, [], indirect=True),
        bytes([RECORD]) + struct.pack("=H", 5) + state,
    ]


_NUMBERS = [0, 1, 2, 3, 4, 7, 8, 12, 15, 16, 31, 32, 63, 64, 127, 128, 255, 256, 511, 512, 4095, 4096, 65535, 65536]
_NUMBERS += [2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 4096, 2**64 - 1]


def mutate(chance: random.Random, pool: list[bytes]) -> bytes:
    """A neighbour of some input of the pool."""
    data = bytearray(chance.choice(pool))
    for _ in range(chance.choice((1, 1, 2, 3, 5, 9))):
        at = chance.randrange(len(data) + 1) if chance.random() < 0.5 else chance.randrange(min(len(data), 300) + 1)
        kind = chance.randrange(6)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            width = chance.choice((1, 2, 4, 8))
            number = chance.choice(_NUMBERS) & (1 << 8 * width) - 1
            data[at : at + width] = number.to_bytes(width, chance.choice(("little", "little", "big")))
        elif kind == 2:
            data[at:at] = chance.randbytes(chance.randrange(1, 17))
        elif kind == 3:
            del data[at : at + chance.randrange(1, 33)]
        elif kind == 4:
            source = chance.randrange(len(data) + 1)
            data[at : at + 16] = data[source : source + 16]
        else:
            other = chance.choice(pool)
            source = chance.randrange(len(other) + 1)
            data[at:] = other[source:]
    return bytes(data)


def pool() -> list[bytes]:
    """The seeds, and what has been worth keeping."""
    return seeds() + [path.read_bytes() for path in sorted(CORPUS.glob("*"))]


if __name__ == "__main__":
    known = pool()
    drive(one_input, lambda chance: mutate(chance, known), __doc__)
