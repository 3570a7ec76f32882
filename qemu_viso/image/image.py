"""Offset and length in, bytes out."""

from __future__ import annotations

import os
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from qemu_viso.errors import InputOutputError, InternalError, QemuVisoError, StaleSourceError
from qemu_viso.image.regions import FileSlice, Generated, Literal, Patched, RegionMap
from qemu_viso.sources.handles import Handle, HandleCache
from qemu_viso.sources.host import HostFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qemu_viso.image.regions import Content

SECTOR = 2048
GENERATED_CACHE_BYTES = 32 << 20

_ZEROS = memoryview(bytes(1 << 20))


class FilePiece(NamedTuple):
    """Bytes that lie in a host file.

    Whoever reads them calls `handle.verify()` after a read into memory, or before a `sendfile`; the descriptor stays
    valid as long as the handle is referenced.
    """

    handle: Handle
    offset: int
    length: int


class FileSpan(NamedTuple):
    """A stretch of the image, `start` to `stop`, all of it in one host file, at `delta` less than in the image."""

    start: int
    stop: int
    delta: int
    handle: Handle


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
        self._generated: dict[Generated, bytes] = {}
        self._generated_bytes = 0
        self._lock = Lock()

    def pieces(self, offset: int, length: int) -> list[Piece]:
        """Where the bytes come from, in order; the pieces' lengths add up to `length`.

        Raises:
            ValueError: the range is not inside the image.
            StaleSourceError, MissingInputError, AccessError, InputOutputError: a source cannot be opened any more.
        """
        if offset < 0 or length < 0 or offset + length > self.size:
            raise ValueError(f"{length} bytes at {offset} are not inside an image of {self.size} bytes")
        pieces: list[Piece] = []
        index = self.regions.index(offset) if length else 0
        while length:
            region = self.regions[index]
            inside = offset - region.start
            take = min(length, region.stop - offset)
            content_size = 0 if region.content is None else region.content.size
            if region.content is not None and inside < content_size:
                take = min(take, content_size - inside)
                pieces.extend(self._content(region.content, inside, take))
            else:
                pieces.extend(_zeros(take))
            offset += take
            length -= take
            if offset == region.stop:
                index += 1
        return pieces

    def file_span(self, offset: int) -> FileSpan | None:
        """The longest stretch around `offset` that lies in one host file; None if there is no file.

        Whoever reads there often need not look the place up again; the errors of `pieces`.
        """
        regions = self.regions
        index = regions.index(offset)
        start = regions.starts[index]
        content = regions.contents[index]
        if isinstance(content, HostFile) and offset < start + content.size:
            return FileSpan(start, start + content.size, start, self._handle(content))
        if isinstance(content, FileSlice) and offset < start + content.size:
            return FileSpan(start, start + content.size, start - content.offset, self._handle(content.file))
        if isinstance(content, Patched):
            return self._unpatched_span(content, start, offset)
        return None

    def _unpatched_span(self, content: Patched, start: int, offset: int) -> FileSpan | None:
        base = content.base
        file, shift = (base, 0) if isinstance(base, HostFile) else (base.file, base.offset)
        edit_start = start + content.edit_offset
        edit_stop = edit_start + content.edit.size
        for low, high in ((start, edit_start), (edit_stop, start + content.size)):
            if low <= offset < high:
                return FileSpan(low, high, start - shift, self._handle(file))
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
        stop = offset + length
        for start, end, content in self.regions.spans(self.regions.index(offset) if length else 0):
            if start >= stop:
                return
            if content is None or isinstance(content, Literal | Generated):
                continue
            low, high = max(start, offset), min(end, stop)
            try:
                span = self.file_span(low)
            except QemuVisoError:
                continue
            if span is not None:
                os.posix_fadvise(span.handle.descriptor, low - span.delta, high - low, os.POSIX_FADV_WILLNEED)

    def mark_stale(self, error: StaleSourceError) -> None:
        """Remember the first sign that the image is no longer what it was."""
        with self._lock:
            self.stale = self.stale or error

    def _content(self, content: Content, offset: int, length: int) -> Iterator[Piece]:
        if isinstance(content, HostFile):
            yield FilePiece(self._handle(content), offset, length)
        elif isinstance(content, Generated):
            yield memoryview(self.generated(content))[offset : offset + length]
        elif isinstance(content, Literal):
            yield memoryview(content.data)[offset : offset + length]
        elif isinstance(content, FileSlice):
            yield FilePiece(self._handle(content.file), content.offset + offset, length)
        else:
            yield from self._patched(content, offset, length)

    def _patched(self, content: Patched, offset: int, length: int) -> Iterator[Piece]:
        stop = offset + length
        edit_start, edit_stop = content.edit_offset, content.edit_offset + content.edit.size
        for start, end, edited in (
            (offset, min(stop, edit_start), False),
            (max(offset, edit_start), min(stop, edit_stop), True),
            (max(offset, edit_stop), stop, False),
        ):
            if start >= end:
                continue
            if edited:
                yield memoryview(self.generated(content.edit))[start - edit_start : end - edit_start]
            else:
                yield from self._content(content.base, start, end - start)

    def _handle(self, file: HostFile) -> Handle:
        try:
            return self._handles.get(file)
        except StaleSourceError as error:
            self.mark_stale(error)
            raise

    def generated(self, content: Generated) -> bytes:
        """The bytes of generated content, kept for the next reader as long as the cache has room."""
        with self._lock:
            data = self._generated.get(content)
        if data is not None:
            return data
        data = content.produce()  # two threads may do this at once: they get the same bytes
        if len(data) != content.size:
            raise InternalError(f"{content.label} became {len(data)} bytes long, not {content.size}")
        with self._lock:
            if content not in self._generated:
                self._generated[content] = data
                self._generated_bytes += len(data)
            while self._generated_bytes > GENERATED_CACHE_BYTES and len(self._generated) > 1:
                oldest = next(iter(self._generated))
                self._generated_bytes -= len(self._generated.pop(oldest))
        return data

    def fingerprint(self) -> str:
        """A hash of the metadata and of the identities of the sources, in hexadecimal.

        Equal fingerprints mean equal images, short of a host file that changed and kept its size and times.
        """
        import hashlib  # it loads OpenSSL, which the way to the first byte does not need

        digest = hashlib.sha256()
        for index in range(len(self.regions)):
            region = self.regions[index]
            digest.update(f"{region.start}:{region.stop}:".encode())
            digest.update(self._identity(region.content))
        return digest.hexdigest()

    def _identity(self, content: Content | None) -> bytes:
        if content is None:
            return b"zeros"
        if isinstance(content, HostFile):
            return f"{content.directory.device}:{content.inode}:{content.size}:{content.mtime_ns}".encode()
        if isinstance(content, FileSlice):
            return self._identity(content.file) + f"+{content.offset}".encode()
        if isinstance(content, Literal):
            return content.data
        if isinstance(content, Patched):
            return self._identity(content.base) + f"/{content.edit_offset}:{content.edit.size}".encode()
        return self.generated(content)


def reads_as_zeros(piece: Piece) -> bool:
    """Whether a piece is padding or a region without content: zeros that come from nowhere."""
    return isinstance(piece, memoryview) and piece.obj is _ZEROS.obj


def _zeros(length: int) -> Iterator[memoryview]:
    while length > 0:
        yield _ZEROS[:length]
        length -= len(_ZEROS)
