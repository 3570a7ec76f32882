"""An image written to a file: data copied by the kernel where it can be, holes kept."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from typing import TYPE_CHECKING

from qemu_viso.errors import CannotCreateError, InputOutputError, StaleSourceError
from qemu_viso.image.image import FilePiece, reads_as_zeros

if TYPE_CHECKING:
    from collections.abc import Callable

    from qemu_viso.image.image import Image

WINDOW = 8 << 20
"""Bytes between two calls of `progress`, and the most that is held in memory."""
COPY_FROM = 64 << 10
"""Bytes from which a copy inside the kernel beats a read and a write."""


def render(image: Image, path: str, progress: Callable[[int], None] | None = None) -> None:
    """Write an image to a file, which appears under its name only when it is whole.

    Args:
        image: what to write.
        path: the file to make or to replace.
        progress: called with the number of bytes done so far.

    Raises:
        CannotCreateError: the file cannot be made.
        InputOutputError: it cannot be written to the end (no space, for one), or a source cannot be read; nothing is
            left behind.
    """
    folder, name = os.path.split(os.path.abspath(path))
    _refuse_special(path)
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{name[:100]}.", suffix=".part", dir=folder)
    except OSError as error:
        raise CannotCreateError(f"'{path}' cannot be made: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb", buffering=0):
            _write(image, descriptor, path, progress)
            umask = os.umask(0)
            os.umask(umask)
            os.fchmod(descriptor, 0o666 & ~umask)
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _refuse_special(path: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode):
        raise CannotCreateError(f"'{path}' is there and is not a regular file, so it is not replaced")


def _write(image: Image, target: int, path: str, progress: Callable[[int], None] | None) -> None:
    offset = 0
    try:
        while offset < image.size:
            length = min(WINDOW, image.size - offset)
            _Window(image, target, offset).write(length)
            offset += length
            if progress is not None:
                progress(offset)
        os.ftruncate(target, image.size)  # what the end lacks is a hole
    except OSError as error:
        raise InputOutputError(f"'{path}' cannot be written: {error.strerror}") from None


class _Window:
    """One stretch of the target, written with few calls: what lies in memory is gathered."""

    def __init__(self, image: Image, target: int, offset: int) -> None:
        self._image = image
        self._target = target
        self._offset = offset
        self._gathered: list[bytes | memoryview] = []
        self._gathered_at = offset

    def write(self, length: int) -> None:
        for piece in self._image.pieces(self._offset, length):
            if isinstance(piece, FilePiece):
                if piece.length >= COPY_FROM:
                    self._flush()
                    self._copy(piece)
                else:
                    self._gather(self._image.read_piece(piece))
            elif reads_as_zeros(piece):
                self._skip(len(piece))
            else:
                self._gather(piece)
        self._flush()

    def _gather(self, data: bytes | memoryview) -> None:
        self._gathered.append(data)
        self._offset += len(data)

    def _skip(self, length: int) -> None:
        """Leave zeros out if a whole block of them makes a hole; else it is cheaper to write them."""
        if length < 4096:
            self._gather(bytes(length))
            return
        self._flush()
        self._offset += length
        self._gathered_at = self._offset

    def _flush(self) -> None:
        if self._gathered:
            data = memoryview(b"".join(self._gathered))
            while data:
                written = os.pwrite(self._target, data, self._gathered_at)
                self._gathered_at += written
                data = data[written:]
            self._gathered = []
        self._gathered_at = self._offset

    def _copy(self, piece: FilePiece) -> None:
        """Copy a stretch of a host file, hole by hole and data by data."""
        source = piece.handle.descriptor
        position, stop = piece.offset, piece.offset + piece.length
        while position < stop:
            try:
                data = min(os.lseek(source, position, os.SEEK_DATA), stop)
            except OSError as error:
                if error.errno not in (errno.ENXIO, errno.EINVAL):
                    raise
                data = stop if error.errno == errno.ENXIO else position  # no data behind; or holes are unknown here
            self._offset += data - position
            position = data
            if position < stop:
                end = self._hole(source, position, stop)
                self._copy_range(piece, position, end - position)
                position = end
        piece.handle.verify()
        self._gathered_at = self._offset

    @staticmethod
    def _hole(source: int, position: int, stop: int) -> int:
        try:
            return min(max(os.lseek(source, position, os.SEEK_HOLE), position + 1), stop)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return stop

    def _copy_range(self, piece: FilePiece, position: int, length: int) -> None:
        source = piece.handle.descriptor
        while length:
            try:
                copied = os.copy_file_range(source, self._target, length, position, self._offset)
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                    raise
                data = os.pread(source, min(length, 1 << 20), position)
                copied = os.pwrite(self._target, data, self._offset) if data else 0
            if not copied:
                piece.handle.verify()
                raise StaleSourceError(f"the source '{piece.handle.file.path}' ended early")
            position += copied
            length -= copied
            self._offset += copied
