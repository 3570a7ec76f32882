"""What lies in no host file: structures and padding, produced when they are first read and kept for the next reader.

Directories are small and many, and a read of one page touches several of them. So neighbours are kept together: a run
is all of the short regions without a file whose starts share a block of 64 KiB, with the padding between them.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from qemu_viso.errors import InternalError
from qemu_viso.image.regions import Generated, Literal

if TYPE_CHECKING:
    from qemu_viso.image.regions import Content, RegionMap
    from qemu_viso.sources.handles import Handle

CACHE_BYTES = 32 << 20
BLOCK_SHIFT = 16


class Span(NamedTuple):
    """A stretch of the image, `start` to `stop`, that comes from one place.

    Either from `descriptor`, at `delta` less than in the image, to be verified as a `FilePiece` is; or from `data`,
    which is as long as the stretch.
    """

    start: int
    stop: int
    delta: int
    descriptor: int
    handle: Handle | None
    data: memoryview | None


class MemorySpan(NamedTuple):
    """A stretch in memory: the regions from number `first` to the one before `last`."""

    first: int
    last: int
    data: memoryview
    span: Span


class MemorySpans:
    """The runs that were read last; safe to use from many threads at once."""

    def __init__(self, regions: RegionMap) -> None:
        self._regions = regions
        self._spans: dict[int, MemorySpan] = {}  # by the number of each of its regions, oldest first
        self._bytes = 0
        self._edits: dict[Generated, bytes] = {}
        self._lock = Lock()

    def known(self, index: int) -> MemorySpan | None:
        """The span that holds a region, if it is at hand."""
        return self._spans.get(index)

    def find(self, index: int) -> MemorySpan | None:
        """The span that holds a region; None for a long region without content. The region is not one of a file."""
        found = self._spans.get(index)
        if found is None:
            content = self._regions.contents[index]
            if self._short(index):
                found = self._run(index)
            elif isinstance(content, Generated | Literal):
                start = self._regions.starts[index]
                data = memoryview(bytes_of(content))
                found = MemorySpan(index, index + 1, data, Span(start, start + content.size, 0, -1, None, data))
            else:
                return None
            self._keep(found)
        return found

    def slice(self, index: int, low: int, high: int) -> memoryview:
        """Bytes `low` to `high` of the image, in the content of region `index`."""
        span = self.find(index)
        if span is None:
            raise InternalError(f"region {index} has no content")
        return span.data[low - span.span.start : high - span.span.start]

    def produce(self, content: Generated) -> bytes:
        """The bytes of an edit, which lies in a region of a file and not in one of its own."""
        data = self._edits.get(content)
        if data is None:
            data = self._edits[content] = bytes_of(content)
        return data

    def _end(self, index: int) -> int:
        starts = self._regions.starts
        return starts[index + 1] if index + 1 < len(starts) else self._regions.size

    def _short(self, index: int) -> bool:
        """Whether a region joins a run: without a file, and no longer than a block with its padding."""
        content = self._regions.contents[index]
        if content is not None and not isinstance(content, Generated | Literal):
            return False
        return self._end(index) - self._regions.starts[index] <= 1 << BLOCK_SHIFT

    def _run(self, index: int) -> MemorySpan:
        starts, contents = self._regions.starts, self._regions.contents
        block = starts[index] >> BLOCK_SHIFT
        first, last = index, index + 1
        while first > 0 and starts[first - 1] >> BLOCK_SHIFT == block and self._short(first - 1):
            first -= 1
        while last < len(starts) and starts[last] >> BLOCK_SHIFT == block and self._short(last):
            last += 1
        parts: list[bytes] = []
        for number in range(first, last):
            data = bytes_of(contents[number])
            parts += (data, bytes(self._end(number) - starts[number] - len(data)))
        # Two threads may do this at once: they get the same bytes.
        view = memoryview(b"".join(parts))
        return MemorySpan(first, last, view, Span(starts[first], self._end(last - 1), 0, -1, None, view))

    def _keep(self, span: MemorySpan) -> None:
        with self._lock:
            if span.first in self._spans:
                return
            for number in range(span.first, span.last):
                self._spans[number] = span
            self._bytes += len(span.data)
            while self._bytes > CACHE_BYTES and len(self._spans) > span.last - span.first:
                oldest = self._spans[next(iter(self._spans))]
                for number in range(oldest.first, oldest.last):
                    del self._spans[number]
                self._bytes -= len(oldest.data)


def bytes_of(content: Content | None) -> bytes:
    """The bytes of content that lies in no host file, produced anew; none for None."""
    if content is None:
        return b""
    if isinstance(content, Literal):
        return content.data
    if not isinstance(content, Generated):
        raise InternalError(f"{content!r} is not in memory")
    data = content.produce()
    if len(data) != content.size:
        raise InternalError(f"{content.label} became {len(data)} bytes long, not {content.size}")
    return data
