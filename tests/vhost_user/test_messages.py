"""Messages out of a stream, fed whole, byte by byte, and with others behind them."""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qemu_viso.vhost_user.descriptors import Descriptor, Event
from qemu_viso.vhost_user.messages import (
    HEADER,
    MAX_DESCRIPTORS,
    MAX_PAYLOAD,
    ConfigAccess,
    Inflight,
    MemoryRegion,
    Message,
    MessageError,
    Parser,
    RefusedError,
    Request,
    VringAddress,
    VringState,
    encode,
    encode_u64,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

raw_messages = st.tuples(st.integers(0, 2**32 - 1), st.sampled_from([0, 8, 0xFFFFFFF8]), st.binary(max_size=64))


def feed(chunks: Sequence[bytes]) -> tuple[list[tuple[int, int, bytes]], str | None]:
    """What comes out, and the error at the end of it."""
    parser = Parser()
    out: list[tuple[int, int, bytes]] = []
    try:
        for chunk in chunks:
            out.extend((each.request, each.flags, each.payload) for each in parser.feed(chunk))
        parser.end()
    except MessageError as error:
        return out, str(error)
    return out, None


def three_ways(data: bytes, cuts: Sequence[int]) -> tuple[list[tuple[int, int, bytes]], str | None]:
    whole = feed([data])
    assert feed([bytes([byte]) for byte in data]) == whole
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    assert feed([data[a:b] for a, b in pairwise(edges)]) == whole
    return whole


@given(st.lists(raw_messages, max_size=5), st.lists(st.integers(0, 1000), max_size=4))
def test_messages_come_out_as_they_went_in(messages: list[tuple[int, int, bytes]], cuts: list[int]) -> None:
    data = b"".join(encode(request, payload, flags) for request, flags, payload in messages)
    out, error = three_ways(data, cuts)
    assert error is None
    assert out == [(request, flags | 1, payload) for request, flags, payload in messages]


@given(st.binary(max_size=200), st.lists(st.integers(0, 1000), max_size=4))
def test_noise_is_the_same_however_it_comes(data: bytes, cuts: list[int]) -> None:
    three_ways(encode(Request.SET_OWNER) + data, cuts)


@pytest.mark.parametrize("request_", list(Request))
def test_each_request_is_read_whole_in_bytes_and_with_trailing_data(request_: Request) -> None:
    one = encode(request_, encode_u64(7))
    assert three_ways(one, [5]) == ([(request_, 1, encode_u64(7))], None)
    assert three_ways(one + one, [5, 21]) == ([(request_, 1, encode_u64(7))] * 2, None)
    out, error = three_ways(one + one[:5], [3])
    assert out == [(request_, 1, encode_u64(7))]
    assert error == "the connection ended 7 bytes before the end of a message"


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        (struct.pack("=III", 1, 0, 0), "protocol version 0 instead of 1"),
        (struct.pack("=III", 1, 2, 0), "protocol version 2 instead of 1"),
        (struct.pack("=III", 1, 5, 0), "a reply to request 1, which was never made"),
        (struct.pack("=III", 1, 1, MAX_PAYLOAD + 1), "a payload of 4097 bytes, more than 4096"),
        (struct.pack("=III", 1, 1, 2**32 - 1), "a payload of 4294967295 bytes"),
    ],
)
def test_what_is_no_message(header: bytes, sentence: str) -> None:
    """It is found out with the header's last byte, before any payload is waited for; what came before is given."""
    out, error = three_ways(encode(Request.SET_OWNER) + header, [6])
    assert out == [(Request.SET_OWNER, 1, b"")]
    assert error is not None
    assert sentence in error


def test_the_longest_payload() -> None:
    out, error = three_ways(encode(1, bytes(MAX_PAYLOAD)), [100])
    assert (len(out[0][2]), error) == (MAX_PAYLOAD, None)


@given(st.lists(raw_messages, min_size=1, max_size=5))
def test_reading_what_is_wanted_never_crosses_a_message(messages: list[tuple[int, int, bytes]]) -> None:
    data = b"".join(encode(request, payload, flags) for request, flags, payload in messages)
    parser, out = Parser(), []
    while data:
        wanted = parser.wanted
        assert 0 < wanted <= len(data)
        out += list(parser.feed(data[:wanted]))
        data = data[wanted:]
    assert len(out) == len(messages)


def descriptor() -> Descriptor:
    return Descriptor(os.eventfd(0))


def test_descriptors_belong_to_the_message_that_begins_last() -> None:
    one, two = encode(Request.SET_OWNER), encode(Request.SET_FEATURES, encode_u64(0))
    first, second = descriptor(), descriptor()
    parser = Parser()
    assert [len(each.descriptors) for each in parser.feed(one + two[:3], [first])] == [0]
    [message] = parser.feed(two[3:])
    assert message.descriptors == (first,)
    assert [each.descriptors for each in parser.feed(one + two, [second])] == [(), (second,)]
    assert list(parser.feed(two[:5])) == []
    [message] = parser.feed(two[5:], [first, second])
    assert message.descriptors == (first, second)


def test_too_many_descriptors() -> None:
    parser = Parser()
    assert list(parser.feed(b"x", [descriptor() for _ in range(MAX_DESCRIPTORS)])) == []
    with pytest.raises(MessageError, match="9 descriptors"):
        list(parser.feed(b"y", [descriptor()]))


def test_a_descriptor_is_closed_with_its_last_reference() -> None:
    number = os.eventfd(0)
    owner = Descriptor(number)
    event = Event(owner)
    del owner
    os.fstat(number)
    del event
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_an_event_that_is_full_or_empty_holds_nobody() -> None:
    event = Event(Descriptor(os.eventfd(0)))  # it would block, both ways
    event.clear()
    event.signal()
    event.clear()
    event.clear()
    full = Event(Descriptor(os.eventfd(0, os.EFD_NONBLOCK)))
    os.eventfd_write(full.fileno(), 2**64 - 2)
    full.signal()


def message(payload: bytes) -> Message:
    return Message(99, 1, payload)


u16, u32, u64 = st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)


@given(u32, u32, st.lists(u64, min_size=4, max_size=4), u16, u16)
def test_payloads_go_both_ways(one: int, two: int, longs: list[int], small: int, tiny: int) -> None:
    a, b, c, d = longs
    assert VringState.parse(message(VringState(one, two).pack())) == (one, two)
    assert VringAddress.parse(message(VringAddress(one, two, a, b, c, d).pack())) == (one, two, a, b, c, d)
    region = MemoryRegion(a, b, c, d)
    assert MemoryRegion.parse_single(message(region.pack_single())) == region
    assert MemoryRegion.parse_table(message(MemoryRegion.pack_table([region] * 3))) == [region] * 3
    inflight = Inflight(a, b, small, tiny)
    assert Inflight.parse(message(inflight.pack())) == Inflight.parse(message(inflight.pack(20))) == inflight


def test_sizes_of_payloads() -> None:
    """As the C structures have them."""
    assert HEADER.size == 12
    assert len(VringState(0, 0).pack()) == 8
    assert len(VringAddress(0, 0, 0, 0, 0, 0).pack()) == 40
    assert len(MemoryRegion.pack_table([MemoryRegion(0, 0, 0, 0)] * 2)) == 8 + 64
    assert len(MemoryRegion(0, 0, 0, 0).pack_single()) == 40
    assert len(Inflight(0, 0, 0, 0).pack()) == 24
    assert len(ConfigAccess(0, 3, 0, b"abc").pack()) == 15


@given(st.binary(max_size=300))
def test_payloads_of_noise(payload: bytes) -> None:
    for parse in (
        VringState.parse,
        VringAddress.parse,
        MemoryRegion.parse_single,
        MemoryRegion.parse_table,
        ConfigAccess.parse,
        Inflight.parse,
        Message.u64,
    ):
        with suppress(RefusedError):
            parse(message(payload))


@given(st.integers(0, 300), st.integers(0, 300))
def test_configuration_is_reached_inside_only(offset: int, size: int) -> None:
    access = ConfigAccess(offset, size, 0, bytes(size))
    if offset + size <= 256:
        assert ConfigAccess.parse(message(access.pack())) == access
    else:
        with pytest.raises(RefusedError, match=f"{size} bytes at {offset}"):
            ConfigAccess.parse(message(access.pack()))
