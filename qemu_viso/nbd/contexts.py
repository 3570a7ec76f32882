"""The metadata contexts: what BLOCK_STATUS says of an image.

`base:allocation` is the protocol document's: NBD_STATE_HOLE and NBD_STATE_ZERO are set together, for padding, for
regions without content, and for the holes of sparse sources; everything else is 0. Data is rounded up to 512 bytes.

`qemu-viso:origin` tells which structure or file a range comes from. Its flags are

    bits 28 to 31   kind: 0 nothing (zeros) · 1 literal bytes · 2 generated structure · 3 host file ·
                    4 part of a host file · 5 host file with an edit
    bits 0 to 27    number of the region, counted from 0 in the order in which they lie in the image

to the byte, so a client that has the image's map (`image.regions`) finds the region's label or path under that number.
The padding behind a region's content has kind 0 and the region's number. A number of 2^28 - 1 stands for itself and
all above it.
"""

from __future__ import annotations

import errno
import os
from array import array
from bisect import bisect_right
from threading import Lock
from typing import TYPE_CHECKING

from qemu_viso.errors import QemuVisoError
from qemu_viso.image import FileSlice, Generated, Joined, Patched
from qemu_viso.image.regions import Literal
from qemu_viso.nbd.constants import PREFERRED_BLOCK, State
from qemu_viso.nbd.handshake import CONTEXTS
from qemu_viso.sources.host import HostFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from qemu_viso.image import Content, Image

Extent = tuple[int, int]
"""Length in bytes, flags."""

MAX_EXTENTS = 1 << 14
"""In one chunk; a client asks again for what lies behind them."""
SPARSE_FILE = 1 << 16
"""Bytes from which on a file is searched for holes: it must be opened for that."""

_ALLOCATION = CONTEXTS["base:allocation"]
_HOLE = State.HOLE | State.ZERO
_DATA = 0
_UNIT = 512
"""Bytes; command BLOCK_STATUS asks for extents in multiples of it."""
_MAX_NUMBER = (1 << 28) - 1

_Run = tuple[int, int, "Content | None"]
"""Start, stop, and what is there: None for zeros, a file that may be sparse, or anything else for data."""


class Status:
    """The contexts of one image; shared by all its connections."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self._lock = Lock()
        self._coarse_starts = array("Q")
        self._coarse: list[_Run] = []

    def extents(self, context: int, offset: int, length: int, *, one: bool) -> list[Extent]:
        """At least one extent from `offset` on, together not more than `length` bytes."""
        if context == _ALLOCATION:
            found = self._allocation(offset, length)
        else:
            found = _joined(self._origin(offset, offset + length))
        limit = 1 if one else MAX_EXTENTS
        extents = []
        for extent in found:
            extents.append(extent)
            if len(extents) == limit:
                break
        return extents

    def _allocation(self, offset: int, length: int) -> Iterator[Extent]:
        """Exact where that gives few extents; among many small ones, a hole under a block is not worth an extent.

        A client that copies by extents would otherwise send a request for every small file of a large tree.
        """
        budget = 64 + length // (1 << 16)
        exact = []
        for run in self._exact(offset, offset + length):
            exact.append(run)
            if len(exact) > budget:
                return _joined(self._refined(self._coarsely(offset, offset + length)))
        return _joined(self._refined(exact))

    def _exact(self, offset: int, stop: int) -> Iterator[_Run]:
        for start, end, content in self._image.regions.spans(self._image.regions.index(offset)):
            if start >= stop:
                return
            filled = start if content is None else min(end, start + -(-content.size // _UNIT) * _UNIT)
            if offset < filled:
                yield max(start, offset), min(filled, stop), content
            if filled < end and offset < end and filled < stop:
                yield max(filled, offset), min(end, stop), None

    def _coarsely(self, offset: int, stop: int) -> Iterator[_Run]:
        with self._lock:
            if not self._coarse:
                self._coarse = list(_coarse(self._exact(0, self._image.size)))
                self._coarse_starts = array("Q", [start for start, _, _ in self._coarse])
        for at in range(bisect_right(self._coarse_starts, offset) - 1, len(self._coarse)):
            start, end, content = self._coarse[at]
            if start >= stop:
                return
            yield max(start, offset), min(end, stop), content

    def _refined(self, runs: Iterable[_Run]) -> Iterator[Extent]:
        for start, stop, content in runs:
            if content is None:
                yield stop - start, _HOLE
            elif isinstance(content, HostFile | FileSlice) and content.size >= SPARSE_FILE:
                yield from self._sparse(start, stop)
            else:
                yield stop - start, _DATA

    def _sparse(self, start: int, stop: int) -> Iterator[Extent]:
        """The holes of a source that is still the same; anything else is data, of which a read tells what is wrong."""
        try:
            span = self._image.span(start)
        except QemuVisoError:
            span = None
        if span is None or span.handle is None:
            yield stop - start, _DATA
            return
        at, end = start - span.delta, min(stop, span.stop) - span.delta
        flags = _DATA
        while at < end:
            found, flags = _stretch(span.descriptor, at, end)
            try:
                span.handle.verify()  # data promises nothing, but a hole says what a read would find
            except QemuVisoError:
                found, flags = end, _DATA
            yield found - at, flags
            at = found
        if span.stop < stop:
            yield stop - span.stop, flags  # what rounding to 512 bytes has added

    def _origin(self, offset: int, stop: int) -> Iterator[Extent]:
        regions = self._image.regions
        number = regions.index(offset)
        for start, end, content in regions.spans(number):
            if start >= stop:
                return
            low = min(number, _MAX_NUMBER)
            filled = start if content is None else start + content.size
            if offset < filled:
                yield min(filled, stop) - max(start, offset), _kind(content) << 28 | low
            if filled < end and offset < end and filled < stop:
                yield min(end, stop) - max(filled, offset), low
            number += 1


def _stretch(descriptor: int, at: int, end: int) -> tuple[int, int]:
    """Where the data or the hole at `at` ends, `end` at the latest, and which of them it is."""
    try:
        data = os.lseek(descriptor, at, os.SEEK_DATA)
        hole = at if data > at else os.lseek(descriptor, at, os.SEEK_HOLE)
    except OSError as error:
        nothing = error.errno == errno.ENXIO  # no data from here to the end
        data, hole = (end, at) if nothing else (at, end)
    return min(max(data, hole), end), _HOLE if data > at else _DATA


def _coarse(runs: Iterable[_Run]) -> Iterator[_Run]:
    """The same runs, small ones joined into data: what is left are long holes, large files, and data between them."""
    data_start = data_stop = 0
    hole_start = hole_stop = 0  # zeros at the end of the data, of which it is not known yet whether they are many
    for start, stop, content in runs:
        if content is None:
            hole_start = hole_start if hole_stop == start else start
            hole_stop = stop
            continue
        if hole_stop - hole_start >= PREFERRED_BLOCK:
            if data_start < hole_start:
                yield data_start, hole_start, _SMALL
            yield hole_start, hole_stop, None
            data_start = hole_stop
        hole_start = hole_stop = stop
        if content.size >= SPARSE_FILE:
            if data_start < start:
                yield data_start, start, _SMALL
            yield start, stop, content
            data_start = stop
        data_stop = stop
    if hole_stop - hole_start >= PREFERRED_BLOCK:
        if data_start < hole_start:
            yield data_start, hole_start, _SMALL
        yield hole_start, hole_stop, None
    elif data_start < max(data_stop, hole_stop):
        yield data_start, max(data_stop, hole_stop), _SMALL


_SMALL = Literal(b"", "data")
"""Stands for data of any kind in which no holes are searched."""


def _joined(extents: Iterable[Extent]) -> Iterator[Extent]:
    """Neighbours with the same flags made one."""
    total = 0
    last = 0
    for length, flags in extents:
        if total and flags != last:
            yield total, last
            total = 0
        total += length
        last = flags
    if total:
        yield total, last


def _kind(content: Content | None) -> int:
    if isinstance(content, HostFile):
        return 3
    if isinstance(content, Literal):
        return 1
    if isinstance(content, Generated):
        return 2
    if isinstance(content, FileSlice | Joined):
        return 4
    return 5 if isinstance(content, Patched) else 0
