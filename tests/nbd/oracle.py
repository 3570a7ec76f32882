"""What a server may answer, worked out from a client's bytes and the image, without the server's code."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.nbd.wire import (
    CACHE,
    DF,
    DISC,
    EINVAL,
    EIO,
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
    Asked,
    Client,
    Reply,
    split_requests,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

ALLOCATION, ORIGIN = 1, 2
"""The ids of the contexts."""
UNIT = 512
"""Bytes to which base:allocation rounds data up."""


@dataclass(frozen=True)
class Place:
    """A region of an image: its first byte, the ends of its content and of itself, and what origin calls it."""

    start: int
    filled: int
    stop: int
    kind: int
    bad: bool = False
    """Its source is not what it was: no byte of it may be sent."""
    sparse: bool = False
    """The file system knows where its holes are."""


@dataclass(frozen=True)
class World:
    """An image as it must read."""

    expected: bytes
    places: Sequence[Place]

    def bad(self, offset: int, length: int) -> bool:
        """Whether a read needs a byte that cannot be had."""
        return any(each.bad and max(each.start, offset) < min(each.filled, offset + length) for each in self.places)

    def runs(self, context: int) -> list[tuple[int, int, int | None]]:
        """Start, end and flags of everything in a context; no flags where only the file system knows them."""
        found: list[tuple[int, int, int | None]] = []
        for number, each in enumerate(self.places):
            if context == ORIGIN:
                found += [(each.start, each.filled, each.kind << 28 | number), (each.filled, each.stop, number)]
            else:
                end = min(each.filled + -each.filled % UNIT, each.stop)
                found += [(each.start, end, None if each.sparse else 0), (end, each.stop, HOLE_ZERO)]
        return [run for run in found if run[0] < run[1]]


class Decoder(Client):
    """Takes replies from a string of bytes."""

    def __init__(self, mode: str, data: bytes) -> None:
        self.mode = mode
        self.left = memoryview(data)

    def take(self, length: int) -> bytes:
        if len(self.left) < length:
            raise EOFError
        taken, self.left = bytes(self.left[:length]), self.left[length:]
        return taken


@dataclass
class Conversation:
    """One client's transmission phase.

    Attributes:
        mode: "simple", "structured" or "extended".
        contexts: the ids that were selected.
        faults: how often a file ended while it was being sent, though it was what it should be.
    """

    world: World
    mode: str
    contexts: Sequence[int]
    faults: int = 0
    _failed: int = field(default=0, init=False)

    def check(self, received: bytes, sent: bytes, wrong: str | None) -> None:
        """Every request got the one answer that it may get, in order, and nothing else was said."""
        requests, violates = split_requests(received, extended=self.mode == "extended")
        decoder = Decoder(self.mode, sent)
        left = iter(requests)
        for asked in left:
            if asked.kind == DISC:
                violates = False
                break
            before = bytes(decoder.left)
            try:
                reply = decoder.reply(asked.kind, asked.offset, asked.length)
            except EOFError:
                self._check_cut(asked, before, wrong)
                return
            assert reply.cookie == asked.cookie
            self._check_reply(asked, reply)
        assert not decoder.left
        assert (wrong is not None) == violates
        assert self._failed == self.faults

    def _check_cut(self, asked: Asked, sent: bytes, wrong: str | None) -> None:
        """A simple reply that has begun cannot become an error: the connection ends in it."""
        assert (self.mode, asked.kind, self.faults, wrong) == ("simple", READ, 1, None)
        magic, error, cookie = struct.unpack_from(">IIQ", sent)
        assert (magic, error, cookie) == (0x67446698, 0, asked.cookie)
        assert self.world.expected[asked.offset : asked.offset + asked.length].startswith(sent[16:])
        assert len(sent) < 16 + asked.length

    def _check_reply(self, asked: Asked, reply: Reply) -> None:
        error = self._error(asked)
        if error is None and asked.kind == READ and reply.error == EIO and self._failed < self.faults:
            self._failed += 1
            error = EIO
        assert reply.error == (error or 0)
        if asked.kind == READ:
            self._check_data(asked, reply)
        else:
            assert not reply.data
            assert not reply.holes
        assert reply.error_offset is None or (asked.kind == READ and error == EIO)
        assert list(reply.status) == ([] if error or asked.kind != STATUS else self._asked_contexts(asked))
        for context, extents in reply.status.items():
            self._check_status(asked, context, extents)

    def _error(self, asked: Asked) -> int | None:
        """Sections "Request types" and "Error values", of a server that is read-only."""
        if asked.kind in (WRITE, TRIM, ZEROES):
            return EPERM
        allowed = {READ: DF, FLUSH: 0, CACHE: 0, STATUS: REQ_ONE | PAYLOAD_LEN}.get(asked.kind)
        if allowed is None or asked.flags & ~allowed:
            return EINVAL
        if asked.kind == FLUSH:
            return EINVAL if asked.offset or asked.length else None
        length = asked.length
        if asked.kind == STATUS:
            chosen = self._asked_contexts(asked)
            if not chosen or len(set(chosen)) != len(chosen) or not set(chosen) <= set(self.contexts):
                return EINVAL
            if asked.flags & PAYLOAD_LEN:
                length = int.from_bytes(asked.payload[:8], "big")
            if not length:
                return EINVAL
        if asked.offset + length > len(self.world.expected):
            return EINVAL
        return EIO if asked.kind == READ and self.world.bad(asked.offset, length) else None

    def _asked_contexts(self, asked: Asked) -> list[int]:
        if not asked.flags & PAYLOAD_LEN:
            return list(self.contexts)
        count, odd = divmod(len(asked.payload) - 8, 4)
        return [] if odd or count < 0 else list(struct.unpack(f">{count}I", asked.payload[8:]))

    def _check_data(self, asked: Asked, reply: Reply) -> None:
        offset, length = asked.offset, asked.length
        assert not asked.flags & DF or len(reply.data) + len(reply.holes) <= 1
        if not reply.error:
            if length:
                assert reply.bytes(offset, length) == self.world.expected[offset : offset + length]
            else:
                assert not reply.data or self.mode == "simple"
            return
        # What an error chunk leaves valid ends at its offset, and behind it is anything; without one, nothing was sent.
        end = reply.error_offset
        assert end is not None or not (reply.data or reply.holes)
        for at, data in reply.data.items():
            valid = data[: max(0, (end or 0) - at)]
            assert valid == self.world.expected[at : at + len(valid)]
            assert offset <= at <= at + len(data) <= offset + length
        for at, size in reply.holes.items():
            assert not any(self.world.expected[at : at + size])
            assert offset <= at <= at + size <= offset + length

    def _check_status(self, asked: Asked, context: int, extents: list[tuple[int, int]]) -> None:
        length = int.from_bytes(asked.payload[:8], "big") if asked.flags & PAYLOAD_LEN else asked.length
        at, stop = asked.offset, asked.offset + length
        runs = self.world.runs(context)
        for size, flags in extents:
            assert 0 < size <= stop - at
            assert all(known in (flags, None) for start, end, known in runs if start < at + size and at < end)
            if context == ALLOCATION:
                assert flags in (0, HOLE_ZERO)
                assert flags == 0 or not any(self.world.expected[at : at + size])
            at += size
        assert len(extents) == 1 if asked.flags & REQ_ONE else at == stop
