"""The record of requests under way, written by the letter of the protocol text up to any point, and recovered."""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qemu_viso.vhost_user.inflight import InflightPart, clear_part, part_size, record_size, sealed_image
from qemu_viso.vhost_user.messages import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE = 8


class Writer:
    """[Inflight I/O tracking], step by step; `used` is the used ring's heads."""

    def __init__(self) -> None:
        self.memory = bytearray(part_size(SIZE))
        struct.pack_into("=QHHHH", self.memory, 0, 0, 1, SIZE, 0, 0)
        self.used: list[int] = []
        self.taken: list[int] = []
        self.counter = 0

    def take(self, head: int) -> Iterator[None]:
        struct.pack_into("=Q", self.memory, 16 + 16 * head + 8, self.counter)
        yield
        self.counter += 1
        self.memory[16 + 16 * head] = 1
        self.taken.append(head)
        yield

    def give(self, batch: list[int]) -> Iterator[None]:
        for head in batch:
            self.memory[16 + 16 * head + 6 : 16 + 16 * head + 8] = self.memory[12:14]
            yield
            struct.pack_into("=H", self.memory, 12, head)
            yield
        self.used += batch
        yield
        for head in batch:
            self.memory[16 + 16 * head] = 0
            yield
        struct.pack_into("=H", self.memory, 14, len(self.used) & 0xFFFF)
        yield


@given(st.lists(st.lists(st.integers(0, SIZE - 1), unique=True), max_size=4), st.integers(0), st.integers(0, 1000))
def test_whenever_the_writer_dies_what_is_not_used_is_done_again(
    rounds: list[list[int]], seed: int, death: int
) -> None:
    """Each round takes some heads and gives them back in batches and another order; the writer dies at step `death`."""

    def life(writer: Writer) -> Iterator[None]:
        chance = random.Random(seed)
        for heads in rounds:
            for head in heads:
                yield from writer.take(head)
            order = list(heads)
            chance.shuffle(order)
            while order:
                count = chance.randint(1, len(order))
                yield from writer.give(order[:count])
                order = order[count:]

    whole = sum(1 for _ in life(Writer()))
    writer = Writer()
    steps = life(writer)
    for _ in range(death % (whole + 1)):
        next(steps)
    left = list(writer.taken)
    for head in writer.used:
        left.remove(head)
    part = InflightPart(memoryview(writer.memory), SIZE)
    assert part.known
    assert part.recover(len(writer.used) & 0xFFFF) == left
    again = InflightPart(memoryview(writer.memory), SIZE)
    assert again.recover(len(writer.used) & 0xFFFF) == left


def test_what_we_write_is_what_the_text_says() -> None:
    memory = bytearray(part_size(SIZE))
    part = InflightPart(memoryview(memory), SIZE)
    assert part.recover(40) == []
    assert struct.unpack_from("=QHHHH", memory) == (0, 1, SIZE, 0, 40)
    part.take(3)
    part.take(5)
    assert struct.unpack_from("=B5xHQ", memory, 16 + 16 * 3) == (1, 0, 0)
    assert struct.unpack_from("=B5xHQ", memory, 16 + 16 * 5) == (1, 0, 1)
    part.finish(5)
    assert struct.unpack_from("=H", memory, 12) == (5,)
    part.finished(5, 41)
    part.finish(3)
    assert struct.unpack_from("=B5xHQ", memory, 16 + 16 * 3) == (1, 5, 0)
    assert struct.unpack_from("=B5xHQ", memory, 16 + 16 * 5) == (0, 0, 1)
    assert struct.unpack_from("=HH", memory, 12) == (3, 41)


@given(st.binary(min_size=part_size(SIZE), max_size=part_size(SIZE)), st.integers(0, 0xFFFF))
def test_noise_is_refused_or_gives_heads_of_the_ring(noise: bytes, used: int) -> None:
    memory = bytearray(noise)
    struct.pack_into("=HH", memory, 8, 1, SIZE)
    try:
        heads = InflightPart(memoryview(memory), SIZE).recover(used)
    except RefusedError:
        return
    assert len(set(heads)) == len(heads) <= SIZE
    assert all(0 <= head < SIZE for head in heads)


def test_parts_begin_at_multiples_of_64() -> None:
    assert [part_size(size) for size in (1, 3, 4, 64, 128)] == [64, 64, 128, 1088, 2112]
    assert record_size(2, 64) == 2 * 1088 + 64


def test_one_part_is_cleared() -> None:
    buffer = bytearray(b"x" * record_size(3, SIZE))
    clear_part(memoryview(buffer), 1, SIZE)
    size = part_size(SIZE)
    assert buffer == b"x" * size + bytes(size) + b"x" * (size + 64)


@pytest.mark.parametrize("room", [True, False])
def test_a_seal_is_set_once(room: bool) -> None:
    buffer = memoryview(bytearray(record_size(2, SIZE) if room else 2 * part_size(SIZE)))
    one, other = b"1" * 32, b"2" * 32
    assert sealed_image(buffer, 2, SIZE, one)
    assert sealed_image(buffer, 2, SIZE, one)
    assert sealed_image(buffer, 2, SIZE, other) is not room
    assert not any(buffer[: 2 * part_size(SIZE)])
