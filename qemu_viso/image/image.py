"""Offset and length in, bytes out."""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from qemu_viso.errors import InputOutputError, InternalError, QemuVisoError, StaleSourceError
from qemu_viso.image.memory import MemorySpans, Span
from qemu_viso.image.regions import FileSlice, Generated, Joined, Literal, Patched, RegionMap
from qemu_viso.sources.handles import Handle, HandleCache
from qemu_viso.sources.host import HostFile, read_files

if TYPE_CHECKING:
    from collections.abc import Iterator


SECTOR = 2048
WHOLE_FILE = 1 << 16
"""Bytes up to which a file that is wanted as a whole is not worth a handle."""
PART_FILE = 1 << 14
"""The same for a file of which a part is wanted."""

_ZEROS = memoryview(bytes(1 << 20))


class FilePiece(NamedTuple):
    """Bytes that lie in a host file.

    Whoever reads them calls `handle.verify()` after a read into memory, or before a `sendfile`; the descriptor stays
    valid as long as the handle is referenced.
    """

    handle: Handle
    offset: int
    length: int


Piece = memoryview | FilePiece
"""A part of an answer: bytes in memory, or a stretch of a host file."""


class Image:
    """A read-only image.

    It is safe to read from many threads at once. Nothing is copied but what is asked for.

    Attributes:
        regions: what lies where.
        name: the default export name: the recipe's file stem.
        size: bytes, a multiple of 2,048.
        stale: the first error that told of a changed source, or None.
    """

    def __init__(self, regions: RegionMap, name: str, handles: HandleCache | None = None) -> None:
        if regions.size % SECTOR:
            raise InternalError(f"an image of {regions.size} bytes does not end with a sector")
        self.regions = regions
        self.name = name
        self.size = regions.size
        self.stale: StaleSourceError | None = None
        self._handles = handles or HandleCache()
        self._memory = MemorySpans(regions)
        self._lock = Lock()
        self._fingerprint: str | None = None

    def pieces(self, offset: int, length: int) -> list[Piece]:
        """Where the bytes come from, in order; the pieces' lengths add up to `length`.

        Raises:
            ValueError: the range is not inside the image.
            StaleSourceError, MissingInputError, AccessError, InputOutputError: a source cannot be opened any more.
        """
        if offset < 0 or length < 0 or offset + length > self.size:
            raise ValueError(f"{length} bytes at {offset} are not inside an image of {self.size} bytes")
        pieces: list[Piece] = []
        for index, start, low, high in self._parts(offset, offset + length):
            content = self.regions.contents[index]
            if content is None or low >= start + content.size:
                pieces.extend(_zeros(high - low))
            elif isinstance(content, HostFile):
                pieces.append(FilePiece(self._handle(content), low - start, high - low))
            elif isinstance(content, FileSlice):
                pieces.append(FilePiece(self._handle(content.file), content.offset + low - start, high - low))
            elif isinstance(content, Patched):
                pieces.extend(self._patched(content, low - start, high - low))
            elif isinstance(content, Joined):
                pieces.extend(self._joined(content, low - start, high - low))
            else:
                pieces.append(self._memory.slice(index, low, high))
        return pieces

    def gather(self, offset: int, length: int) -> list[bytes | memoryview]:
        """The bytes of a range, read and verified, in as many parts as come to hand.

        Made for ranges of many small files: these are opened, read, checked and closed, and no handle is kept. The
        errors of `read`.
        """
        starts = self.regions.starts
        stop = offset + length
        found: list[bytes | memoryview] = []
        index = bisect_right(starts, offset) - 1
        behind = bisect_left(starts, stop, index)
        while offset < stop:
            first = index
            index = self._after_small_files(first, behind, offset, stop)
            if index > first:
                end = min(self._end(index - 1), stop)
                self._gather_files(first, index, offset, stop, found)
            else:
                end = min(self._end(index), stop)
                found.extend(self.read_piece(piece) for piece in self.pieces(offset, end - offset))
                index += 1
            offset = end
        return found

    def _end(self, index: int) -> int:
        """Where a region ends."""
        return self.regions.starts[index + 1] if index + 1 < len(self.regions) else self.size

    def _after_small_files(self, first: int, behind: int, offset: int, stop: int) -> int:
        """The first region from `first` on, but before `behind`, for which a handle costs less than to read it all."""
        starts, contents = self.regions.starts, self.regions.contents
        for index in range(first, behind):
            content = contents[index]
            if type(content) is not HostFile or content.size > WHOLE_FILE:
                return index
            if content.size > PART_FILE and (starts[index] < offset or starts[index] + content.size > stop):
                return index
        return behind

    def _gather_files(self, first: int, last: int, offset: int, stop: int, found: list[bytes | memoryview]) -> None:
        """Of the files of some regions, with their padding, what lies in the range."""
        files: list[HostFile] = self.regions.contents[first:last]  # type: ignore[assignment] # the caller has looked
        bounds = [*self.regions.starts[first:last], self._end(last - 1)]
        try:
            contents = read_files(files)
        except StaleSourceError as error:
            self.mark_stale(error)
            raise
        parts: list[bytes | memoryview] = []
        for data, start, end in zip(contents, bounds, bounds[1:], strict=False):
            parts.append(data)
            padding = end - start - len(data)
            if padding:
                parts.append(_ZEROS[:padding])
        _cut(parts, offset - bounds[0], bounds[-1] - stop)
        found += parts

    def _parts(self, offset: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
        """(region, its start, low, high): the range cut where regions end, and where padding begins."""
        starts, contents = self.regions.starts, self.regions.contents
        index = bisect_right(starts, offset) - 1
        last = len(starts) - 1
        while offset < stop:
            start = starts[index]
            end = starts[index + 1] if index < last else self.size
            content = contents[index]
            if content is not None:
                filled = start + content.size
                if offset < filled:
                    high = min(stop, filled)
                    yield index, start, offset, high
                    offset = high
            if offset < end and offset < stop:
                high = min(stop, end)
                yield index, start, offset, high
                offset = high
            index += 1

    def span(self, offset: int) -> Span | None:
        """The stretch around `offset` that comes from one file or from memory; None where `pieces` must look.

        Whoever reads there often need not look the place up again; the errors of `pieces`.
        """
        starts = self.regions.starts
        index = bisect_right(starts, offset) - 1
        known = self._memory.known(index)
        if known is not None:
            return known.span if offset < known.span.stop else None
        start = starts[index]
        content = self.regions.contents[index]
        if isinstance(content, HostFile):
            span = self._file_span(start, start + content.size, start, content)
        elif isinstance(content, FileSlice):
            span = self._file_span(start, start + content.size, start - content.offset, content.file)
        elif isinstance(content, Patched):
            return self._unpatched_span(content, start, offset)
        elif isinstance(content, Joined):
            return self._part_span(content, start, offset)
        else:
            memory = self._memory.find(index)
            if memory is None:
                return None
            span = memory.span
        return span if offset < span.stop else None

    def _part_span(self, content: Joined, start: int, offset: int) -> Span | None:
        for part in content.parts:
            stop = start + part.size
            if start <= offset < stop:
                if isinstance(part, FileSlice):
                    return self._file_span(start, stop, start - part.offset, part.file)
                return None
            start = stop
        return None

    def _file_span(self, start: int, stop: int, delta: int, file: HostFile) -> Span:
        handle = self._handle(file)
        return Span(start, stop, delta, handle.descriptor, handle, None)

    def _unpatched_span(self, content: Patched, start: int, offset: int) -> Span | None:
        base = content.base
        file, shift = (base, 0) if isinstance(base, HostFile) else (base.file, base.offset)
        edit_start = start + content.edit_offset
        edit_stop = edit_start + content.edit.size
        for low, high in ((start, edit_start), (edit_stop, start + content.size)):
            if low <= offset < high:
                return self._file_span(low, high, start - shift, file)
        return None

    def read(self, offset: int, length: int) -> bytes:
        """The bytes themselves; the errors of `pieces`, and `StaleSourceError` when a source changed meanwhile."""
        return b"".join(self.read_piece(piece) for piece in self.pieces(offset, length))

    def read_piece(self, piece: Piece) -> bytes | memoryview:
        """The bytes of one piece; `StaleSourceError` or `InputOutputError` when they cannot be had any more."""
        if isinstance(piece, memoryview):
            return piece
        handle, offset, length = piece
        data = os.pread(handle.descriptor, length, offset)
        while len(data) < length:  # a read may be cut short at 2 GiB, or by a file that shrinks
            more = os.pread(handle.descriptor, length - len(data), offset + len(data))
            if not more:
                break
            data += more
        try:
            handle.verify()
        except StaleSourceError as error:
            self.mark_stale(error)
            raise
        if len(data) < length:
            raise InputOutputError(f"the source '{handle.file.path}' ends before its size")
        return data

    def prefetch(self, offset: int, length: int) -> None:
        """Tell the host that a range will be read soon. A hint: sources that cannot be opened are passed over."""
        if not length:
            return
        stop = offset + length
        for start, end, content in self.regions.spans(self.regions.index(offset)):
            if start >= stop:
                return
            if content is None or isinstance(content, Literal | Generated):
                continue
            low, high = max(start, offset), min(end, stop)
            try:
                span = self.span(low)
            except QemuVisoError:
                continue
            if span is not None and span.handle is not None:
                os.posix_fadvise(span.descriptor, low - span.delta, high - low, os.POSIX_FADV_WILLNEED)

    def close_handles(self) -> None:
        """Close the host files that nobody reads from; they are opened again when they are wanted."""
        self._handles.clear()

    def mark_stale(self, error: StaleSourceError) -> None:
        """Remember the first sign that the image is no longer what it was.

        What is remembered has no traceback, whose frames would keep all that they hold for as long as the image lives.
        """
        with self._lock:
            self.stale = self.stale or StaleSourceError(error.message, place=error.place, hint=error.hint)

    def _joined(self, content: Joined, offset: int, length: int) -> Iterator[Piece]:
        for part in content.parts:
            if offset < part.size and length:
                take = min(length, part.size - offset)
                if isinstance(part, FileSlice):
                    yield FilePiece(self._handle(part.file), part.offset + offset, take)
                else:
                    yield from _zeros(take)
                offset += take
                length -= take
            offset -= part.size

    def _patched(self, content: Patched, offset: int, length: int) -> Iterator[Piece]:
        base = content.base
        file, shift = (base, 0) if isinstance(base, HostFile) else (base.file, base.offset)
        stop = offset + length
        edit_start, edit_stop = content.edit_offset, content.edit_offset + content.edit.size
        if offset < edit_start:
            yield FilePiece(self._handle(file), shift + offset, min(stop, edit_start) - offset)
        if offset < edit_stop and edit_start < stop:
            edit = memoryview(self._memory.produce(content.edit))
            yield edit[max(offset, edit_start) - edit_start : min(stop, edit_stop) - edit_start]
        if edit_stop < stop:
            low = max(offset, edit_stop)
            yield FilePiece(self._handle(file), shift + low, stop - low)

    def _handle(self, file: HostFile) -> Handle:
        try:
            return self._handles.get(file)
        except StaleSourceError as error:
            self.mark_stale(error)
            raise

    def fingerprint(self) -> str:
        """A hash of the structures and of the sources' identities, each with its place, in hexadecimal.

        Equal fingerprints mean equal images, short of a host file that changed and kept its size and times. It is
        computed once; the structures that are made for it are kept for those who read them next.
        """
        if self._fingerprint is None:
            import hashlib  # it loads OpenSSL, which the way to the first byte does not need

            digest = hashlib.sha256()
            for part in self._identities():
                digest.update(part)
            self._fingerprint = digest.hexdigest()
        return self._fingerprint

    def _identities(self) -> Iterator[bytes | memoryview]:
        starts, contents = self.regions.starts, self.regions.contents
        index = 0
        while index < len(starts):
            content = contents[index]
            if content is None or isinstance(content, Generated | Literal):
                span = self._memory.find(index)
                yield f"{starts[index]}:memory:".encode()
                if span is not None:
                    yield span.data
                    index = span.last
                    continue
            else:
                yield f"{starts[index]}:{_identity(content)}:".encode()
            index += 1
        yield f"{self.size}".encode()


def _identity(content: HostFile | FileSlice | Joined | Patched) -> str:
    """Which bytes of which host files content is."""
    if isinstance(content, HostFile):
        return f"{content.directory.device}:{content.inode}:{content.size}:{content.mtime_ns}"
    if isinstance(content, FileSlice):
        return f"{_identity(content.file)}+{content.offset}:{content.size}"
    if isinstance(content, Joined):
        return ",".join(
            _identity(part) if isinstance(part, FileSlice) else f"hole:{part.size}" for part in content.parts
        )
    return f"{_identity(content.base)}/{content.edit_offset}:{content.edit.size}"


def _cut(parts: list[bytes | memoryview], front: int, back: int) -> None:
    """Take bytes away at both ends of a list that has at least as many."""
    for at, surplus in ((0, front), (-1, back)):
        while surplus > 0:
            part = memoryview(parts.pop(at))
            surplus -= len(part)
            if surplus < 0:  # so many of its bytes stay
                parts.insert(at if at == 0 else len(parts), part[surplus:] if at == 0 else part[:-surplus])


def reads_as_zeros(piece: Piece) -> bool:
    """Whether a piece is padding or a region without content: zeros that come from nowhere."""
    return isinstance(piece, memoryview) and piece.obj is _ZEROS.obj


def _zeros(length: int) -> Iterator[memoryview]:
    while length > 0:
        yield _ZEROS[:length]
        length -= len(_ZEROS)
