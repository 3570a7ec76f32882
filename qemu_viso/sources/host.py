"""Host directories and files as a recipe found them.

A file's identity is (device, inode, size, mtime in nanoseconds), taken when the recipe is opened. A path is only a
hint how to find the file again: what counts is that the identity is the same when it is opened and after each read.
"""

from __future__ import annotations

import errno
import os
import stat
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

from qemu_viso.errors import MAY_READ, AccessError, InputOutputError, MissingInputError, StaleSourceError, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

# O_NONBLOCK: what was a file may have become a FIFO, on which a plain open would wait for ever.
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_NEIGHBOURS = 4
"""Files of one directory for which it pays to open the directory: their names alone are looked up."""
_AGAIN = "open the recipe again to serve its new content"
READ_HINTS = {
    errno.EIO: "what it lies on may be failing: the kernel's log ('dmesg') tells more",
    errno.ELOOP: "name what its symbolic links should lead to; as they are, they lead nowhere",
    errno.ENAMETOOLONG: "the host allows no such path: each name in it has 255 bytes at most, and all of it 4,095",
}
"""What helps where the host cannot read something, as far as anything does."""


class HostDirectory:
    """A directory on the host, known by its place in another one.

    Attributes:
        parent: the directory that holds it; None for a directory that is reached by `name` alone.
        name: its name in `parent`, or a path.
        device: the device number of the files in it. A file of another device (a bind mount) hangs on a
            `HostDirectory` of its own.
    """

    __slots__ = ("_prefix", "device", "name", "parent")

    def __init__(self, parent: HostDirectory | None, name: str, device: int) -> None:
        self.parent = parent
        self.name = name
        self.device = device
        self._prefix: str | None = None

    @property
    def path(self) -> str:
        """The path, as messages show it."""
        return self.name if self.parent is None else self._join()

    @property
    def prefix(self) -> str:
        """The path with the separator behind it, so that a file's name completes it; made once."""
        if self._prefix is None:
            self._prefix = os.path.join(self.path, "")
        return self._prefix

    def _join(self) -> str:
        parts = [self.name]
        above = self.parent
        while above is not None:
            parts.append(above.name)
            above = above.parent
        return os.path.join(*reversed(parts))


class HostFile:
    """A regular file on the host, with the identity it had when the recipe was opened.

    Attributes:
        directory: where it lies.
        name: its name there.
        size: bytes.
        mtime_ns: nanoseconds since the epoch.
        inode: its number on `directory.device`.
    """

    __slots__ = ("directory", "inode", "mtime_ns", "name", "size")

    def __init__(self, directory: HostDirectory, name: str, size: int, mtime_ns: int, inode: int) -> None:
        self.directory = directory
        self.name = name
        self.size = size
        self.mtime_ns = mtime_ns
        self.inode = inode

    @property
    def path(self) -> str:
        """The path, as it is opened and as messages show it."""
        return self.directory.prefix + self.name

    def check(self, status: os.stat_result) -> None:
        """Compare an open file's status with the identity.

        Raises:
            StaleSourceError: it is another file, or its content may have changed.
        """
        if status.st_mode & 0o170000 != stat.S_IFREG:
            what = "is no longer a regular file: it has been replaced"
        elif status.st_mtime_ns != self.mtime_ns or status.st_size != self.size:
            what = "has changed"
        elif status.st_ino != self.inode or status.st_dev != self.directory.device:
            what = "has been replaced"
        else:
            return
        raise StaleSourceError(
            f"the source '{self.path}' {what} since the recipe was opened",
            hint=_AGAIN,
        )

    def read(self) -> bytes:
        """The whole content: opened, read, checked and closed at once, with one `fstat` after the read.

        Raises:
            MissingInputError, AccessError: as `open`.
            StaleSourceError: it is not, or is no longer, the file that was laid out.
            InputOutputError: anything else.
        """
        path = self.directory.prefix + self.name
        try:
            descriptor = os.open(path, _FLAGS)
            try:
                data = os.pread(descriptor, self.size, 0)
                status = os.fstat(descriptor)
            except OSError:
                self.check(os.fstat(descriptor))  # a FIFO or a directory cannot be read like this
                raise
            finally:
                os.close(descriptor)
        except OSError as error:
            raise open_error(path, error) from None
        self.check(status)
        if len(data) != self.size:
            raise InputOutputError(f"the source '{path}' ends before its size", hint=_AGAIN)
        return data

    def open(self) -> int:
        """Open for reading; the caller owns the descriptor.

        Raises:
            MissingInputError: it is gone.
            AccessError: it may not be read.
            StaleSourceError: it is not the file that was laid out.
            InputOutputError: anything else.
        """
        try:
            descriptor = os.open(self.path, _FLAGS)
        except OSError as error:
            raise open_error(self.path, error) from None
        try:
            self.check(os.fstat(descriptor))
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


def read_files(files: Iterable[HostFile]) -> list[bytes]:
    """The whole content of each file, as `HostFile.read` gives it and with its errors; neighbours cost less."""
    found: list[bytes] = []
    for directory, group in groupby(files, attrgetter("directory")):
        neighbours = list(group)
        if len(neighbours) >= _NEIGHBOURS:
            try:
                parent = os.open(directory.prefix, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError:
                pass  # what is wrong is told of the first file
            else:
                try:
                    _read_neighbours(parent, neighbours, found)
                finally:
                    os.close(parent)
                continue
        found += [file.read() for file in neighbours]
    return found


def _read_neighbours(parent: int, files: list[HostFile], found: list[bytes]) -> None:
    """Four system calls a file, in a loop that does little else; what cannot be read is `HostFile.read`'s to tell."""
    open_, pread, fstat, close = os.open, os.pread, os.fstat, os.close
    for file in files:
        size = file.size
        try:
            descriptor = open_(file.name, _FLAGS, dir_fd=parent)
            try:
                data = pread(descriptor, size, 0)
                status = fstat(descriptor)
            finally:
                close(descriptor)
        except OSError:
            found.append(file.read())
            continue
        file.check(status)
        found.append(data if len(data) == size else file.read())


def open_error(path: str, error: OSError) -> MissingInputError | AccessError | InputOutputError:
    """The sentence for a host file that cannot be opened or looked at; control characters are shown escaped."""
    path = shown(path)
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return MissingInputError(f"the source '{path}' does not exist")
    if isinstance(error, PermissionError):
        return AccessError(
            f"the source '{path}' may not be read",
            hint=MAY_READ,
        )
    return InputOutputError(
        f"the source '{path}' cannot be read: {error.strerror}", hint=READ_HINTS.get(error.errno or 0)
    )


def scan(directory: str) -> list[tuple[str, os.stat_result]]:
    """The entries of a host directory with their own status (links are not followed), in byte order of their names.

    Raises:
        MissingInputError, AccessError, InputOutputError: the directory cannot be read.
    """
    path = directory
    try:
        # A descriptor, so that each status is one look-up of a name and not of a whole path.
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            found = []
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    path = entry.name
                    found.append((entry.name, entry.stat(follow_symlinks=False)))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise open_error(os.path.join(directory, path) if path != directory else path, error) from None
    found.sort()
    return found
