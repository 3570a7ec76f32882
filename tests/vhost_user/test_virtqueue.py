"""The ring against a model of it: what a chain holds, when the driver is told, what is remembered."""

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qemu_viso.vhost_user.memory import MemoryTable
from qemu_viso.vhost_user.messages import MemoryRegion
from qemu_viso.vhost_user.virtqueue import F_EVENT_IDX, F_INDIRECT_DESC, RingError, RingLayout, Virtqueue

SIZE = 8
GUEST, USER = 0x1000, 0x9000_0000
DESCRIPTORS, AVAILABLE, USED, TABLE = 0, 128, 256, 512
NEXT, WRITE, INDIRECT = 1, 2, 4


class Ring:
    """A ring of 8 at the start of 4 KiB of memory, which begins at the guest address 0x1000."""

    def __init__(self, features: int = F_INDIRECT_DESC | F_EVENT_IDX, base: int = 0) -> None:
        self.memory = bytearray(4096)
        region = MemoryRegion(GUEST, 4096, USER, 0), memoryview(self.memory)
        self.put(AVAILABLE + 2, "H", base)
        self.put(USED + 2, "H", base)
        layout = RingLayout(SIZE, USER + DESCRIPTORS, USER + AVAILABLE, USER + USED)
        self.queue = Virtqueue(MemoryTable([region]), layout, features, base)

    def put(self, where: int, form: str, *values: int) -> None:
        struct.pack_into("<" + form, self.memory, where, *values)

    def get(self, where: int, form: str = "H") -> int:
        value: int = struct.unpack_from("<" + form, self.memory, where)[0]
        return value


Entry = tuple[int, int, int, int]
entries = st.tuples(
    st.one_of(st.integers(GUEST, GUEST + 4096), st.sampled_from([0, GUEST - 1, GUEST + 4095, 2**64 - 1])),
    st.one_of(st.integers(1, 64), st.sampled_from([0, 4096, 4097, 2**32 - 1])),
    st.one_of(st.sampled_from([0, NEXT, WRITE, NEXT | WRITE]), st.integers(0, 2**16 - 1)),
    st.one_of(st.integers(0, SIZE), st.integers(0, 2**16 - 1)),
)


def follow(table: list[Entry], index: int, inner: list[Entry] | None) -> list[Entry] | None:
    """The chain by the letter of the standard; None where it is broken."""
    seen: set[int] = set()
    chain: list[Entry] = []
    while True:
        if index >= len(table) or index in seen:
            return None
        seen.add(index)
        address, length, flags, following = table[index]
        if flags & INDIRECT:
            if inner is None or flags & NEXT or address != GUEST + TABLE or length != 16 * len(inner) or not inner:
                return None
            rest = follow(inner, 0, None)
            return None if rest is None else chain + rest
        chain.append(table[index])
        if not flags & NEXT:
            return chain
        index = following


def expected(chain: list[Entry] | None) -> tuple[list[tuple[int, int]], list[tuple[int, int]]] | None:
    """Readable and writable buffers as (place in memory, length)."""
    if chain is None:
        return None
    kinds = [bool(flags & WRITE) for _, _, flags, _ in chain]
    if kinds != sorted(kinds):
        return None
    if any(length == 0 or not GUEST <= address <= GUEST + 4096 - length for address, length, _, _ in chain):
        return None
    parts = [(address - GUEST, length) for address, length, _, _ in chain]
    return parts[: kinds.count(False)], parts[kinds.count(False) :]


@given(
    st.lists(entries, min_size=SIZE, max_size=SIZE), st.integers(0, SIZE - 1), st.lists(entries, max_size=4), st.data()
)
@example([(GUEST, 1, NEXT, 0)] * SIZE, 0, [], None)
@example([(GUEST, 1, NEXT, n + 1) for n in range(SIZE)], 0, [], None)
@example([(GUEST + TABLE, 32, INDIRECT, 0)] * SIZE, 0, [(GUEST, 1, NEXT, 1), (GUEST, 1, WRITE, 0)], None)
def test_chains(table: list[Entry], head: int, inner: list[Entry], data: st.DataObject | None) -> None:
    """Any table at all: the buffers by the letter of the standard, or an error, and memory as it was."""
    if data is not None and inner and data.draw(st.booleans()):
        place = data.draw(st.integers(0, SIZE - 1))
        table = [*table[:place], (GUEST + TABLE, 16 * len(inner), INDIRECT, 0), *table[place + 1 :]]
    ring = Ring()
    for number, entry in enumerate(table):
        ring.put(DESCRIPTORS + 16 * number, "QIHH", *entry)
    for number, entry in enumerate(inner):
        ring.put(TABLE + 16 * number, "QIHH", *entry)
    reached = follow(table, head, inner)
    if reached is None and any(flags & INDIRECT and address != GUEST + TABLE for address, _, flags, _ in table):
        return  # an indirect table elsewhere holds whatever lies there: the model does not follow it
    wanted = expected(reached)
    before = bytes(ring.memory)
    if wanted is None:
        with pytest.raises(RingError):
            ring.queue.chain(head)
    else:
        chain = ring.queue.chain(head)
        for views, parts in ((chain.readable, wanted[0]), (chain.writable, wanted[1])):
            assert [bytes(view) for view in views] == [before[at : at + length] for at, length in parts]
        assert chain.readable_length == sum(length for _, length in wanted[0])
        assert chain.writable_length == sum(length for _, length in wanted[1])
        for view in chain.writable:
            view[:] = b"\xff" * len(view)
        changed = {index for index in range(4096) if ring.memory[index] != before[index]}
        assert changed <= {at + n for at, length in wanted[1] for n in range(length)}
        return
    assert ring.memory == before


@pytest.mark.parametrize("base", [0, 5, 0xFFFD])
def test_heads_come_in_the_order_of_the_available_ring(base: int) -> None:
    ring = Ring(base=base)
    assert ring.queue.pop() is None
    for number in range(SIZE):
        ring.put(AVAILABLE + 4 + 2 * ((base + number) % SIZE), "H", SIZE - 1 - number)
    ring.put(AVAILABLE + 2, "H", (base + SIZE) & 0xFFFF)
    assert [ring.queue.pop() for _ in range(SIZE + 1)] == [7, 6, 5, 4, 3, 2, 1, 0, None]
    assert ring.queue.next_available == (base + SIZE) & 0xFFFF


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.integers(1, 20))
def test_the_driver_is_told_when_its_event_index_is_passed(base: int, event: int, count: int) -> None:
    """VIRTIO 1.2, 2.7.7.2: when used_event equals the index of an element that has just been written."""
    ring = Ring(base=base)
    ring.put(AVAILABLE + 4 + 2 * SIZE, "H", event)
    for number in range(count):
        assert ring.queue.push(number % SIZE, number) == ((base + number) & 0xFFFF == event)
        slot = (base + number) % SIZE
        assert (ring.get(USED + 4 + 8 * slot, "I"), ring.get(USED + 8 + 8 * slot, "I")) == (number % SIZE, number)
        assert ring.get(USED + 2) == (base + number + 1) & 0xFFFF


def test_without_event_indices_flags_say_who_wants_to_know() -> None:
    ring = Ring(features=0)
    assert ring.queue.push(0, 0)
    ring.put(AVAILABLE, "H", 1)
    assert not ring.queue.push(0, 0)
    ring.queue.wake()
    assert ring.get(USED) == 1
    assert ring.queue.sleep()
    assert ring.get(USED) == 0
    ring.put(AVAILABLE + 2, "H", 1)
    assert not ring.queue.sleep()


def test_with_event_indices_the_device_says_up_to_where_it_has_looked() -> None:
    ring = Ring(base=3)
    assert ring.queue.sleep()
    assert ring.get(USED + 4 + 8 * SIZE) == 3
    ring.put(AVAILABLE + 2, "H", 4)
    assert not ring.queue.sleep()
    ring.queue.pop()
    assert ring.queue.sleep()
    ring.queue.wake()
    assert (ring.get(USED), ring.get(USED + 4 + 8 * SIZE)) == (0, 4)


@given(st.integers(SIZE + 1, 0xFFFF))
def test_an_available_index_out_of_reach_breaks_the_ring(ahead: int) -> None:
    ring = Ring(base=7)
    ring.put(AVAILABLE + 2, "H", (7 + ahead) & 0xFFFF)
    with pytest.raises(RingError, match=f"{ahead} requests are available in a ring of 8"):
        ring.queue.pop()


def test_a_request_is_no_longer_than_the_limit() -> None:
    """Seven descriptors and an indirect table of 128."""
    size = 128
    memory = bytearray(1 << 16)
    region = MemoryRegion(0, 1 << 16, 0, 0), memoryview(memory)
    queue = Virtqueue(MemoryTable([region]), RingLayout(size, 0, 4096, 8192), F_INDIRECT_DESC, 0)
    for number in range(size):
        struct.pack_into("<QIHH", memory, 0x8000 + 16 * number, 0, 1, NEXT if number < 127 else 0, number + 1)
    struct.pack_into("<QIHH", memory, 0, 0x8000, 16 * size, INDIRECT, 0)
    assert len(queue.chain(0).readable) == 128
    struct.pack_into("<QIHH", memory, 16, 0, 1, NEXT, 0)
    with pytest.raises(RingError, match="a request has 129 descriptors, more than 128"):
        queue.chain(1)
