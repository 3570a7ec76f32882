"""Whether bytes of two images are the same, without reading what comes from one host file on both sides."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from qemu_viso.image.explain import content_origins, explain
from qemu_viso.image.image import FilePiece
from qemu_viso.sources.host import HostFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qemu_viso.image import Image
    from qemu_viso.image.explain import Origin

WINDOW = 4 << 20
"""Bytes that are read of each image at once."""
HOLE = 1 << 20
"""Bytes from which it pays to ask whether a file has a hole."""

Identity = tuple[int, int, int, int]


def identity(file: HostFile) -> Identity:
    """What tells a host file from others, and from itself when it has changed."""
    return file.directory.device, file.inode, file.size, file.mtime_ns


class Contents:
    """The bytes of two images, to be compared."""

    def __init__(self, left: Image, right: Image) -> None:
        self.left = left
        self.right = right
        self._shared = _identities(left) & _identities(right)

    def places(self, size: int) -> Iterator[tuple[int, int]]:
        """(first, stop) of stretches in which the first `size` bytes of both images differ, or may do.

        What is a file on both sides is not read if it is in both images, but not in the same place.
        """
        for low, high, is_known in self._unshared(0, 0, size, places=True):
            if is_known:
                yield low, high
            else:
                yield from self._windows(low, high, 0, 0)

    def first_difference(self, left: int, right: int, size: int) -> int | None:
        """The first byte that differs of `size` bytes at `left` and at `right`; None where all are the same."""
        for start, stop, _ in self._unshared(left, right, size):
            for low, high in self._windows(start, stop, left, right):
                mine, other = self.left.read(left + low, high - low), self.right.read(right + low, high - low)
                return low + common_prefix(mine, other)
        return None

    def _windows(self, low: int, high: int, left: int, right: int) -> Iterator[tuple[int, int]]:
        """The windows of a stretch that are not equal; `left` and `right` are where byte 0 lies."""
        while low < high:
            stop = min(low + WINDOW, high)
            skip = self._zeros(left + low, right + low, high - low) if high - low >= HOLE else 0
            if not skip and not self._equal(left + low, right + low, stop - low):
                yield low, stop
            low = low + skip if skip else stop

    def _equal(self, left: int, right: int, size: int) -> bool:
        mine, other = self.left.gather(left, size), self.right.gather(right, size)
        return b"".join(mine) == b"".join(other)

    def _unshared(self, left: int, right: int, size: int, *, places: bool = False) -> Iterator[tuple[int, int, bool]]:
        """(first, stop, known) of stretches that do not come from the same bytes of the same host file.

        They are known to differ, as far as it matters, where different files lie there and one of them is in both
        images; that is only told if `places`.
        """
        if not self._shared or not size:
            yield 0, size, False
            return
        position = begin = 0
        mine, other = explain(self.left, left, size), explain(self.right, right, size)
        a, b = next(mine), next(other)
        while position < size:
            stop = min(a.start + a.size - left, b.start + b.size - right)
            is_same = _same(a, b, position, left, right)
            is_known = not is_same and places and self._is_shared(a) and self._is_shared(b)
            if is_same or is_known:
                if begin < position:
                    yield begin, position, False
                if is_known:
                    yield position, stop, True
                begin = stop
            position = stop
            if position < size:
                a = next(mine) if a.start + a.size - left == position else a
                b = next(other) if b.start + b.size - right == position else b
        if begin < size:
            yield begin, size, False

    def _is_shared(self, origin: Origin) -> bool:
        return origin.file is not None and identity(origin.file) in self._shared

    def _zeros(self, left: int, right: int, size: int) -> int:
        """How many bytes read as zeros on both sides because nothing is recorded there."""
        mine = _hole(self.left, left, size)
        return min(mine, _hole(self.right, right, size)) if mine else 0


def _identities(image: Image) -> set[Identity]:
    found: set[Identity] = set()
    for content in image.regions.contents:
        if isinstance(content, HostFile):
            found.add(identity(content))
        elif content is not None:
            found.update(identity(origin.file) for origin in content_origins(0, content) if origin.file is not None)
    return found


def _same(a: Origin, b: Origin, position: int, left: int, right: int) -> bool:
    """Whether two origins give the same bytes from `position` on."""
    if a.offset is None or b.offset is None:
        return a.offset is None and b.offset is None
    if a.file is None or b.file is None or identity(a.file) != identity(b.file):
        return False
    return a.offset + left + position - a.start == b.offset + right + position - b.start


def _hole(image: Image, offset: int, size: int) -> int:
    """Bytes from `offset` on, at most `size`, that are a hole of a host file or come from nowhere."""
    origin = next(explain(image, offset, size))
    if origin.offset is None:
        return origin.size
    size = min(size, origin.size)
    if origin.file is None or size < HOLE:
        return 0
    (piece,) = image.pieces(offset, size)
    if not isinstance(piece, FilePiece):
        return 0
    try:
        data = os.lseek(piece.handle.descriptor, piece.offset, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            return 0  # the file system does not know
        data = piece.offset + size  # nothing but a hole behind
    piece.handle.verify()
    return max(0, min(data - piece.offset, size))


def common_prefix(left: bytes, right: bytes) -> int:
    """How many bytes at the beginning are the same."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
