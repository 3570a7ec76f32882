"""A fuzz target for everything that a front end or a guest can say.

    python -m tests.vhost_user.fuzz_vhost_user --runs 1000000 [--seed N]     with the mutator below
    python -m tests.vhost_user.fuzz_vhost_user --atheris [libFuzzer options] tests/vhost_user/corpus

An input's first byte says what the others are: a stream of bytes, a dialogue of messages, the memory of a guest with a
ring in it, or a record of requests under way. Whatever it is, only the documented errors may come of it; a dialogue is
answered as the protocol says, and a device that dies at any step goes on with exactly the requests it had under way.
"""

from __future__ import annotations

import array
import mmap
import os
import socket
import struct
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from qemu_viso.image import Generated, Image
from qemu_viso.vhost_user.block import BlockDevice
from qemu_viso.vhost_user.descriptors import Descriptor
from qemu_viso.vhost_user.device import Connection, Device
from qemu_viso.vhost_user.inflight import InflightPart, part_size
from qemu_viso.vhost_user.memory import AddressError, MemoryTable
from qemu_viso.vhost_user.messages import MemoryRegion, MessageError, Parser, RefusedError, Request, encode
from qemu_viso.vhost_user.virtqueue import RingError, RingLayout, Virtqueue
from tests.fuzzing import drive
from tests.vhost_user.media import lay, write_file

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

CORPUS = Path(__file__).parent / "corpus"
STREAM, DIALOGUE, GUEST, RECORD = range(4)
MEMORY = 1 << 16
MOST_REQUESTS = 64
LIVES = 4
"""Devices of which each but the last dies, if it comes to the step before which it is to."""

_event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
_memory = bytearray(MEMORY)
_shared = os.memfd_create("fuzzed", os.MFD_CLOEXEC)
os.ftruncate(_shared, MEMORY)
_shared_memory = mmap.mmap(_shared, MEMORY)
_USES_MEMORY = (Request.SET_MEM_TABLE, Request.ADD_MEM_REG, Request.SET_INFLIGHT_FD)
_ours, _theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
_theirs.setblocking(False)


def _image() -> Image:
    with tempfile.TemporaryDirectory() as folder:
        file = write_file(Path(folder), "file", 5000)
        image = lay(2048, file, Generated(4096, lambda: bytes(range(256)) * 16, "generated"), 2048)
        image.read(0, image.size)  # opens the file, which is gone from its folder afterwards
    return image


class _Listener:
    """Nobody connects: the dialogues are led without the accepting thread."""

    socket = _ours


_device = Device(_image(), _Listener())  # type: ignore[arg-type]
_block = BlockDevice(_device.image)


def one_input(data: bytes) -> None:
    """Try one input; any exception is a finding."""
    if data:
        (_stream, _dialogue, _guest, _record)[data[0] % 4](data[1:])


def _descriptors(request: int, count: int) -> list[Descriptor]:
    return [Descriptor(os.dup(_shared if request in _USES_MEMORY else _event)) for _ in range(count)]


class FrontEnd(Connection):
    """A connection whose rings are served at once, for a few requests, instead of by threads."""

    def __init__(self) -> None:
        super().__init__(_device, _ours)
        self._queues: dict[int, Virtqueue] = {}

    def _start_ring(self, index: int) -> None:
        ring = self._session.ring(index)
        assert ring.running
        assert ring.layout is not None
        assert ring.layout.size == ring.size
        part = self._part(index)
        queue = Virtqueue(self._memory, ring.layout, self._session.features, ring.base, part)
        with suppress(RingError):
            _serve(queue, self._block)
        self._queues[index] = queue

    def _stop_ring(self, index: int) -> None:
        queue = self._queues.pop(index, None)
        if queue is not None:
            self._session.ring_stopped(index, queue.next_available)

    def end(self) -> None:
        """Hang up: what the front end has shared goes, though the thread that never ran still refers to us."""
        for index in list(self._queues):
            self._stop_ring(index)
        self._release()

    def say(self, request: int, flags: int, payload: bytes, count: int) -> bool:
        """One message; whether the connection goes on. Every answer is one that this message may get."""
        acknowledges = bool(self._session.protocol_features & 8) or request == Request.SET_PROTOCOL_FEATURES
        parser = Parser()
        [message] = parser.feed(encode(request, payload, flags), _descriptors(request, count))
        try:
            self._answer(message)
        except (RefusedError, AddressError):
            assert not _heard(request)
            return False
        heard = _heard(request)
        if request in _QUESTIONS:
            assert heard
        elif heard:
            assert acknowledges
            assert flags & 8
            assert len(heard) == 20
            assert int.from_bytes(heard[12:], "little") in (0, 1)
        return True


_QUESTIONS = {each for each in Request if each.name.startswith("GET_")}


def _heard(request: int) -> bytes:
    """What the device has said: nothing, or one reply to the request."""
    try:
        data, ancillary, _, _ = _theirs.recvmsg(8192, socket.CMSG_SPACE(64))
    except BlockingIOError:
        return b""
    number, flags, size = struct.unpack_from("=III", data)
    assert (number, flags, size) == (request, 0b101, len(data) - 12)
    for _, _, content in ancillary:
        [descriptor] = array.array("i", content)
        assert request == Request.GET_INFLIGHT_FD
        assert os.fstat(descriptor).st_size >= int.from_bytes(data[12:20], "little") > 0
        os.close(descriptor)
    return data


@contextmanager
def _front_end() -> Iterator[FrontEnd]:
    """A front end with a guest's memory in which a ring has a request."""
    _shared_memory[:] = _GUEST
    front_end = FrontEnd()
    try:
        yield front_end
    finally:
        front_end.end()


def _stream(data: bytes) -> None:
    """Chunks: a byte for the number of descriptors, one for the length, the chunk."""
    parser = Parser()
    with _front_end() as front_end, suppress(MessageError):
        while len(data) >= 2:
            count, length = data[0] % 10, data[1]
            for message in parser.feed(data[2 : 2 + length], _descriptors(0, count)):
                carried = len(message.descriptors)
                if not front_end.say(message.request, message.flags, message.payload, carried):
                    return
            data = data[2 + length :]
        parser.end()


def _dialogue(data: bytes) -> None:
    """Messages: a byte for the request, one for the flags and the number of descriptors, one for the length."""
    with _front_end() as front_end:
        while len(data) >= 3:
            request, extra, length = data[0], data[1], data[2]
            if not front_end.say(request, 1 | (extra & 8), data[3 : 3 + length], extra & 3):
                return
            data = data[3 + length :]


class DiedError(Exception):
    """The device is killed."""


class Witness(InflightPart):
    """A record that lets the device die before a step, and remembers what was under way then.

    Attributes:
        under_way: heads in the order in which they were taken.
        twice: whether a driver has made a head available again before it was done.
    """

    def __init__(self, view: memoryview, size: int, steps: int, last: Witness | None = None) -> None:
        super().__init__(view, size)
        self._steps = steps
        self.under_way: list[int] = [] if last is None else last.under_way.copy()
        self.twice: bool = last is not None and last.twice

    def _step(self) -> None:
        self._steps -= 1
        if not self._steps:
            raise DiedError

    def take(self, head: int) -> None:
        self._step()
        super().take(head)
        if head in self.under_way:
            self.twice = True
            self.under_way.remove(head)
        self.under_way.append(head)

    def finish(self, head: int) -> None:
        self._step()
        super().finish(head)

    def finished(self, head: int, used_index: int) -> None:
        if head in self.under_way:
            self.under_way.remove(head)  # its used element is published: it must not be done again
        self._step()
        super().finished(head, used_index)


def _serve(queue: Virtqueue, device: BlockDevice, at_once: int = 1) -> bool:
    """Answer requests, `at_once` of them under way together; whether the ring is empty in the end."""
    for _ in range(MOST_REQUESTS // at_once):
        heads = [head for head in (queue.pop() for _ in range(at_once)) if head is not None]
        for head in heads:
            queue.push(head, device.answer(queue.chain(head)))
        if len(heads) < at_once:
            queue.sleep()
            return True
    return False


def _guest(data: bytes) -> None:
    """A byte for features and a death, one for the ring's size, then memory from its first byte on: the ring is first.

    The first byte's lowest two bits are the features; the next two say how many requests are under way together, and
    the highest four before which step on the record of requests under way the device dies, if there is one.
    """
    if len(data) < 2:
        return
    size = 1 << data[1] % 8
    features, at_once, steps = (data[0] & 3) << 28, 1 + (data[0] >> 2 & 3), data[0] >> 4
    _memory[:] = data[2 : 2 + MEMORY].ljust(MEMORY, b"\0")
    view = memoryview(_memory)
    half = MEMORY // 2
    table = MemoryTable((MemoryRegion(at, half, at, 0), view[at : at + half]) for at in (0, half))
    available = 16 * size
    layout = RingLayout(size, 0, available, available + 8 + 2 * size + 2 * size % 4)
    with suppress(RingError):
        if not steps:
            _serve(Virtqueue(table, layout, features, 0), _block, at_once)
            return
        _lives(table, layout, features, at_once, steps)


def _lives(table: MemoryTable, layout: RingLayout, features: int, at_once: int, steps: int) -> None:
    """Each device does what the last one had under way, once each and in its order; the last one leaves nothing."""
    record = memoryview(bytearray(part_size(layout.size)))
    witness = Witness(record, layout.size, steps)
    queue = Virtqueue(table, layout, features, 0, witness)
    for left in reversed(range(LIVES)):
        try:
            emptied = _serve(queue, _block, at_once)
        except DiedError:
            used = int.from_bytes(table.user(layout.used + 2, 2), "little")
            witness = Witness(record, layout.size, steps if left > 1 else 0, witness)
            queue = Virtqueue(table, layout, features, 0, witness)
            assert queue.resubmitted == witness.under_way
            assert queue.next_available == (used + len(witness.under_way)) & 0xFFFF
        else:
            assert not emptied or witness.twice or not any(record[16::16][: layout.size])
            return


def _record(data: bytes) -> None:
    size = 8
    part = memoryview(bytearray(data[2:].ljust(part_size(size), b"\0")))
    with suppress(RefusedError):
        heads = InflightPart(part, size).recover(int.from_bytes(data[:2], "little"))
        assert len(set(heads)) == len(heads)
        assert all(0 <= head < size for head in heads)


def _guest_seed(
    kind: int, sector: int, lengths: list[int], *, indirect: bool, size_bits: int = 3, how: int = 3, times: int = 1
) -> bytes:
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
    struct.pack_into("<HH", memory, available, 0, times)
    for number in range(1, times):  # the same request again, from descriptors of its own, the last one first
        memory[16 * (4 * number) : 16 * (4 * number + 1)] = memory[:16]
        struct.pack_into("<H", memory, available + 4 + 2 * (times - 1 - number), 4 * number)
    return bytes([GUEST, how, size_bits]) + bytes(memory)


_GUEST = _guest_seed(0, 4, [512, 512], indirect=False)[3:].ljust(MEMORY, b"\0")


def _set_up(ring: int = 0, record: int = 4096, record_for: int = 8) -> list[tuple[int, int, bytes]]:
    """A front end's life: request, flags and number of descriptors, payload."""
    return [
        (Request.SET_PROTOCOL_FEATURES, 0, struct.pack("=Q", 1 | 8 | 1 << 9 | 1 << 12 | 1 << 13 | 1 << 15)),
        (Request.GET_FEATURES, 0, b""),
        (Request.SET_FEATURES, 8, struct.pack("=Q", 1 << 32 | 7 << 28)),
        (Request.GET_CONFIG, 0, struct.pack("=III", 0, 8, 0) + bytes(8)),
        (Request.GET_INFLIGHT_FD, 0, struct.pack("=QQHHI", 0, 0, 1, record_for, 0)),
        (Request.SET_INFLIGHT_FD, 9, struct.pack("=QQHHI", record, 32768, 1, record_for, 0)),
        (Request.SET_MEM_TABLE, 2, struct.pack("=IIQQQQQQQQ", 2, 0, 0, 4096, 0, 0, 4096, 4096, 4096, 4096)),
        (Request.ADD_MEM_REG, 1, struct.pack("=QQQQQ", 0, 8192, 4096, 8192, 8192)),
        (Request.SET_VRING_NUM, 8, struct.pack("=II", ring, 8)),
        (Request.SET_VRING_BASE, 8, struct.pack("=II", ring, 0)),
        (Request.SET_VRING_ADDR, 8, struct.pack("=IIQQQQ", ring, 0, 0, 256, 128, 0)),
        (Request.SET_VRING_KICK, 9, struct.pack("=Q", ring)),
        (Request.SET_VRING_CALL, 9, struct.pack("=Q", ring)),
        (Request.SET_VRING_ENABLE, 8, struct.pack("=II", ring, 1)),
        (Request.REM_MEM_REG, 8, struct.pack("=QQQQQ", 0, 8192, 4096, 8192, 0)),
        (Request.GET_VRING_BASE, 0, struct.pack("=II", ring, 0)),
        (Request.RESET_DEVICE, 8, b""),
    ]


def seeds() -> list[bytes]:
    """Well-formed inputs of every kind."""
    dialogues = [_set_up(), _set_up(ring=1, record=192), _set_up(record=64), _set_up(record_for=4)]
    stream = b"".join(
        bytes([extra & 3, 12 + len(payload)]) + encode(request, payload, extra & 8)
        for request, extra, payload in dialogues[0]
    )
    state = struct.pack("=QHHHH", 0, 1, 8, 2, 3) + struct.pack("=B5xHQ", 1, 1, 7) * 8
    return [
        bytes([STREAM]) + stream,
        *(
            bytes([DIALOGUE])
            + b"".join(bytes([request, extra, len(payload)]) + payload for request, extra, payload in each)
            for each in dialogues
        ),
        _guest_seed(0, 4, [512, 512], indirect=False),
        _guest_seed(0, 4, [512, 100, 412], indirect=True),
        _guest_seed(8, 0, [20], indirect=False, size_bits=2),
        _guest_seed(4, 0, [], indirect=True),
        *(
            _guest_seed(0, 4, [512], indirect=True, size_bits=4, how=3 | at_once << 2 | steps << 4, times=4)
            for at_once in range(4)
            for steps in range(1, 16)
        ),
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
