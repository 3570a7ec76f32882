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
        self._may_share = bool(_identities(left) & _identities(right))

    def differing(self, left: int, right: int, size: int) -> Iterator[tuple[int, int]]:
        """(first, stop) of stretches in which a difference is: they are windows that are not equal.

        Args:
            left: where the bytes begin in the left image; what is given back counts from here.
            right: where they begin in the right one.
            size: how many.
        """
        for low, high in self._unshared(left, right, size):
            position = low
            while position < high:
                stop = min(position + WINDOW, high)
                if stop - position >= HOLE:
                    skip = self._zeros(left + position, right + position, stop - position)
                    if skip:
                        position += skip
                        continue
                if not self._equal(left + position, right + position, stop - position):
                    yield position, stop
                position = stop

    def first_difference(self, left: int, right: int, size: int) -> int | None:
        """The first of some bytes that differs; None where all are the same."""
        for low, high in self.differing(left, right, size):
            mine, other = self.left.read(left + low, high - low), self.right.read(right + low, high - low)
            return low + common_prefix(mine, other)
        return None

    def _equal(self, left: int, right: int, size: int) -> bool:
        mine, other = self.left.gather(left, size), self.right.gather(right, size)
        return b"".join(mine) == b"".join(other)

    def _unshared(self, left: int, right: int, size: int) -> Iterator[tuple[int, int]]:
        """The stretches that do not come from the same bytes of the same host file."""
        if not self._may_share or not size:
            yield 0, size
            return
        position = begin = 0
        mine, other = explain(self.left, left, size), explain(self.right, right, size)
        a, b = next(mine), next(other)
        while position < size:
            stop = min(a.start + a.size - left, b.start + b.size - right)
            if _same(a, b, position, left, right):
                if begin < position:
                    yield begin, position
                begin = stop
            position = stop
            if position < size:
                a = next(mine) if a.start + a.size - left == position else a
                b = next(other) if b.start + b.size - right == position else b
        if begin < size:
            yield begin, size

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
    if origin.file is None or origin.size < size:
        return 0
    (piece,) = image.pieces(offset, size)
    if not isinstance(piece, FilePiece):
        return 0
    try:
        data = os.lseek(piece.handle.descriptor, piece.offset, os.SEEK_DATA)
    except OSError as error:
        return size if error.errno == errno.ENXIO else 0  # nothing but a hole behind, or it is not known
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
