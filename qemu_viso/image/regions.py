"""What an image consists of: regions, one after the other, without gaps.

A region is a span of the image and the content that fills it from its first byte. Content may be shorter than its
span, as files are shorter than their last sector: the rest of the span reads as zeros. A span without content (None)
is zeros altogether. The map is two columns, not an object a region: an image may have a million of them.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from typing import TYPE_CHECKING

from qemu_viso.errors import InternalError
from qemu_viso.frozen import Frozen
from qemu_viso.sources.host import HostFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class FileSlice(Frozen):
    """Part of a host file: `size` bytes from `offset` on."""

    file: HostFile
    offset: int
    size: int


class Hole(Frozen):
    """A part of a file that is not recorded anywhere: `size` zero bytes."""

    size: int


class Joined(Frozen):
    """A file in several pieces, one behind the other; none of them is empty."""

    parts: tuple[FileSlice | Hole, ...]

    @property
    def size(self) -> int:
        """Bytes of all parts together."""
        return sum(part.size for part in self.parts)


class Generated(Frozen):
    """Bytes that are computed when they are first read, the same each time; `produce` returns exactly `size`."""

    size: int
    produce: Callable[[], bytes]
    label: str


class Patched(Frozen):
    """A file with some bytes replaced: `edit`, which is as long as the `edit_size` bytes it covers at `edit_offset`."""

    base: HostFile | FileSlice
    edit_offset: int
    edit: Generated

    @property
    def size(self) -> int:
        """Bytes; a patch changes none of the length."""
        return self.base.size


class Literal(Frozen):
    """Bytes that are known from the start."""

    data: bytes
    label: str

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.data)


Content = HostFile | FileSlice | Joined | Generated | Patched | Literal
"""What can fill a region; each has a `size` in bytes."""


class Region(Frozen):
    """One region of a map: bytes `start` to `stop` of the image; `content` fills it from `start`, zeros follow."""

    start: int
    stop: int
    content: Content | None


class RegionMap:
    """All regions in order. Only `append` changes it; it asserts that the map stays contiguous.

    Attributes:
        starts: where each region begins, in bytes; a region ends where the next one begins.
        contents: what fills each region.
        size: bytes of the whole map.
    """

    __slots__ = ("contents", "size", "starts")

    def __init__(self) -> None:
        self.starts = array("Q")
        self.contents: list[Content | None] = []
        self.size = 0

    def __len__(self) -> int:
        return len(self.starts)

    def append(self, start: int, span: int, content: Content | None) -> None:
        """Add the region that follows the last one.

        Args:
            start: where the layout expects it, in bytes; a region anywhere else is a bug in the layout.
            span: its length in bytes, more than 0.
            content: what fills it, at most `span` bytes; None for zeros.

        Raises:
            InternalError: the region does not lie at the end of the map, or its content does not fit.
        """
        if start != self.size or span <= 0 or (content is not None and content.size > span):
            raise InternalError(
                f"region {content!r} of {span} bytes cannot lie at {start}: the map ends at {self.size}"
            )
        self.starts.append(start)
        self.contents.append(content)
        self.size = start + span

    def append_files(self, starts: array[int], contents: list[Content], stop: int) -> None:
        """Add many files at once, each spanning to the start of the next one, the last one to `stop`.

        `starts` must rise and begin where the map ends; the caller asserts what `append` would.
        """
        if not contents:
            return
        if starts[0] != self.size:
            raise InternalError(f"files cannot begin at {starts[0]}: the map ends at {self.size}")
        self.starts.extend(starts)
        self.contents.extend(contents)
        self.size = stop

    def index(self, offset: int) -> int:
        """The index of the region that holds the byte at `offset`, which must be inside the map."""
        return bisect_right(self.starts, offset) - 1

    def spans(self, index: int = 0) -> Iterator[tuple[int, int, Content | None]]:
        """(start, stop, content) of each region from `index` on: a `Region`'s fields without the object."""
        starts = self.starts
        last = len(starts) - 1
        for at in range(index, last):
            yield starts[at], starts[at + 1], self.contents[at]
        if index <= last:
            yield starts[last], self.size, self.contents[last]

    def __getitem__(self, index: int) -> Region:
        start = self.starts[index]
        stop = self.starts[index + 1] if index + 1 < len(self.starts) else self.size
        return Region(start, stop, self.contents[index])
