"""An image written to a file: data copied by the kernel where it can be, holes kept."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from typing import TYPE_CHECKING

from qemu_viso.errors import CannotCreateError, InputOutputError, StaleSourceError
from qemu_viso.image.regions import FileSlice, Joined
from qemu_viso.sources.host import HostFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from qemu_viso.image.image import Image

WINDOW = 1 << 20
"""Bytes that are gathered before they are written."""
COPY_FROM = 64 << 10
"""Bytes from which a copy inside the kernel beats a read and a write."""
COPY_AT_ONCE = 256 << 20
"""Bytes copied between two calls of `progress`."""
ALLOCATE_FROM = 1 << 20
"""Bytes from which blocks are asked for before they are written."""
HOLE = 4096
"""Zeros from which a hole is worth a call; fewer are written."""

_ZEROS = memoryview(bytes(HOLE))


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
        _name(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _name(temporary: str, path: str) -> None:
    try:
        os.rename(temporary, path)
    except OSError as error:
        raise CannotCreateError(f"'{path}' cannot be made: {error.strerror}") from None


def _refuse_special(path: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode):
        raise CannotCreateError(f"'{path}' is there and is not a regular file, so it is not replaced")


def _write(image: Image, target: int, path: str, progress: Callable[[int], None] | None) -> None:
    writer = _Writer(target, progress)
    try:
        for start, content in zip(image.regions.starts, image.regions.contents, strict=True):
            if type(content) is HostFile:
                if content.size < COPY_FROM:
                    writer.add(start, content.read())
                else:
                    writer.file(start, content, 0, content.size)
            elif isinstance(content, FileSlice):
                writer.file(start, content.file, content.offset, content.size)
            elif isinstance(content, Joined):
                for part in content.parts:
                    if isinstance(part, FileSlice):
                        writer.file(start, part.file, part.offset, part.size)
                    start += part.size
            elif content is not None:
                for low in range(start, start + content.size, WINDOW):
                    writer.add(low, image.read(low, min(WINDOW, start + content.size - low)))
        writer.flush()
        os.ftruncate(target, image.size)  # what the end lacks is a hole
    except OSError as error:
        raise InputOutputError(f"'{path}' cannot be written: {error.strerror}") from None
    except StaleSourceError as error:
        image.mark_stale(error)
        raise
    writer.report(image.size)


class _Writer:
    """The target, written in order and with few calls: small things are gathered, large ones copied by the kernel."""

    def __init__(self, target: int, progress: Callable[[int], None] | None) -> None:
        self._target = target
        self._progress = progress
        self._gathered: list[bytes | memoryview] = []
        self._start = 0
        self._stop = 0

    def report(self, done: int) -> None:
        if self._progress is not None:
            self._progress(done)

    def add(self, start: int, data: bytes) -> None:
        """Bytes at `start`; what lies between them and the last ones is zeros, or a hole if it is long."""
        gap = start - self._stop
        if gap >= HOLE or self._stop - self._start > WINDOW:
            self.flush()
            self._start = self._stop = start
        elif gap:
            self._gathered.append(_ZEROS[:gap])
        self._gathered.append(data)
        self._stop = start + len(data)

    def flush(self) -> None:
        """Write what was gathered."""
        data = memoryview(b"".join(self._gathered))
        while data:
            written = os.pwrite(self._target, data, self._start)
            self._start += written
            data = data[written:]
        self._gathered = []
        self._start = self._stop
        self.report(self._stop)

    def file(self, start: int, file: HostFile, offset: int, size: int) -> None:
        """A stretch of a host file."""
        self.flush()
        descriptor = file.open()
        try:
            self._copy(start, file, descriptor, offset, size)
        finally:
            os.close(descriptor)

    def _copy(self, start: int, file: HostFile, source: int, offset: int, size: int) -> None:
        """Copy hole by hole and data by data."""
        position, stop, shift = offset, offset + size, start - offset
        while position < stop:
            position = min(_seek(source, position, os.SEEK_DATA, stop), stop)
            end = min(_seek(source, position, os.SEEK_HOLE, stop), stop) if position < stop else stop
            self._allocate(position + shift, end - position)
            while position < end:
                copied = self._copy_some(source, position, min(end - position, COPY_AT_ONCE), position + shift)
                if not copied:
                    file.check(os.fstat(source))
                    raise StaleSourceError(f"the source '{file.path}' ended early")
                position += copied
                self.report(position + shift)
        file.check(os.fstat(source))
        self._start = self._stop = start + size

    def _allocate(self, start: int, size: int) -> None:
        """Blocks for a stretch at once, rather than page by page; where there is no room, none is filled in vain."""
        if size < ALLOCATE_FROM:
            return
        try:
            os.posix_fallocate(self._target, start, size)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise

    def _copy_some(self, source: int, position: int, length: int, target_position: int) -> int:
        try:
            return os.copy_file_range(source, self._target, length, position, target_position)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
        data = os.pread(source, min(length, 1 << 20), position)
        return os.pwrite(self._target, data, target_position) if data else 0


def _seek(descriptor: int, position: int, whence: int, stop: int) -> int:
    """The next data or hole; all is data where the file system does not know."""
    try:
        return os.lseek(descriptor, position, whence)
    except OSError as error:
        if error.errno == errno.ENXIO:  # nothing but a hole behind
            return stop
        if error.errno == errno.EINVAL:
            return position if whence == os.SEEK_DATA else stop
        raise
