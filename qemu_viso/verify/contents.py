"""What files must hold, from their sources: hashes that are worked out once, and pieces of files that are too large."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from qemu_viso.errors import GuestError
from qemu_viso.image import FileSlice, Generated, Joined, Literal, Patched
from qemu_viso.ondisk import ecma119, ecma167
from qemu_viso.sources.host import HostFile
from qemu_viso.verify.expected import content_sha256

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from qemu_viso.image import Content

    ReadGuest = Callable[[int, int], Awaitable[bytes]]
    """A piece of a file as the guest reads it: from an offset, so many bytes."""

SAMPLE = 1 << 20
"""Bytes of one piece of a file that is too large to be read as a whole."""
SAMPLES = 16
"""Pieces of it, beside those at the borders of its extents."""
NARROW_PIECE = 4 << 20
NARROW_MOST = 64 << 20
"""Bytes of a file in which the first wrong one is looked for."""


class Sums:
    """The hashes of contents; each content is read once, however many names and namespaces show it."""

    def __init__(self) -> None:
        # The content is kept with its hash, so that no other object gets its identity.
        self._known: dict[int, tuple[Content, str]] = {}

    def __call__(self, content: Content) -> str:
        """SHA-256 in hexadecimal; raises `StaleSourceError` as `content_sha256` does."""
        known = self._known.get(id(content))
        if known is None:
            known = self._known[id(content)] = (content, content_sha256(content))
        return known[1]


def content_piece(content: Content, offset: int, length: int) -> bytes:
    """Bytes of what a file holds, from its source; fewer where it ends.

    Raises:
        StaleSourceError: the source is no longer the one that was laid out.
    """
    length = max(0, min(length, content.size - offset))
    if isinstance(content, HostFile):
        return _pread(content, offset, length)
    if isinstance(content, FileSlice):
        return _pread(content.file, content.offset + offset, length)
    if isinstance(content, Joined):
        return _joined(content, offset, length)
    if isinstance(content, Patched):
        return _patched(content, offset, length)
    assert isinstance(content, Literal | Generated)
    data = content.data if isinstance(content, Literal) else content.produce()
    return data[offset : offset + length]


def _patched(content: Patched, offset: int, length: int) -> bytes:
    data = bytearray(content_piece(content.base, offset, length))
    edit = content.edit.produce()
    low, high = max(offset, content.edit_offset), min(offset + length, content.edit_offset + len(edit))
    if low < high:
        data[low - offset : high - offset] = edit[low - content.edit_offset : high - content.edit_offset]
    return bytes(data)


def _joined(content: Joined, offset: int, length: int) -> bytes:
    parts = []
    for part in content.parts:
        take = max(0, min(length, part.size - offset))
        if take:
            parts.append(content_piece(part, offset, take) if isinstance(part, FileSlice) else bytes(take))
            length -= take
        offset = max(0, offset - part.size)
    return b"".join(parts)


def _pread(file: HostFile, offset: int, length: int) -> bytes:
    descriptor = file.open()
    try:
        data = os.pread(descriptor, length, offset)
        file.check(os.fstat(descriptor))
        return data
    finally:
        os.close(descriptor)


def sample_offsets(size: int) -> list[int]:
    """Where the pieces of a large file begin: evenly spread, its end, and across borders of its extents."""
    step = max(1, (size - SAMPLE) // (SAMPLES - 1))
    offsets = {index * step for index in range(SAMPLES)} | {size - SAMPLE}
    for limit in (ecma119.EXTENT_LIMIT, ecma167.EXTENT_LIMIT):
        last = size // limit
        offsets.update(number * limit - SAMPLE // 2 for number in (*range(1, min(last, SAMPLES)), last))
    return sorted(offset for offset in offsets if 0 <= offset < size)


async def sampled(content: Content, read: ReadGuest) -> int | None:
    """Compare pieces of a large file; the offset of the first byte found to be wrong, or None.

    Raises:
        GuestError: the guest cannot read it.
        StaleSourceError: the source is no longer the one that was laid out.
    """
    for offset in sample_offsets(content.size):
        wrong = _first_wrong(content_piece(content, offset, SAMPLE), await read(offset, SAMPLE))
        if wrong is not None:
            return offset + wrong
    return None


async def first_wrong_byte(content: Content, read: ReadGuest) -> int | None:
    """The offset of the first byte of a file that the guest reads otherwise; None where it is not found soon.

    Raises:
        StaleSourceError: the source is no longer the one that was laid out.
    """
    for offset in range(0, min(content.size, NARROW_MOST), NARROW_PIECE):
        try:
            seen = await read(offset, NARROW_PIECE)
        except GuestError:
            return None
        wrong = _first_wrong(content_piece(content, offset, NARROW_PIECE), seen)
        if wrong is not None:
            return offset + wrong
    return None


def _first_wrong(expected: bytes, seen: bytes) -> int | None:
    if expected == seen:
        return None
    shorter = min(len(expected), len(seen))
    if expected[:shorter] == seen[:shorter]:
        return shorter
    low, high = 0, shorter
    while high - low > 1:
        middle = (low + high) // 2
        if expected[low:middle] == seen[low:middle]:
            low = middle
        else:
            high = middle
    return low
