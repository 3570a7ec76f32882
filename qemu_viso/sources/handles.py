"""Open host files, kept for the next read: few enough for the process's limit, shared by all threads."""

from __future__ import annotations

import os
import resource
from threading import Lock
from typing import TYPE_CHECKING

from qemu_viso.errors import InputOutputError, StaleSourceError

if TYPE_CHECKING:
    from qemu_viso.sources.host import HostFile


class Handle:
    """An open host file.

    The descriptor is closed when the last reference goes: a reader that still holds the handle keeps the descriptor
    valid even when the cache has dropped it, without a lock around the read.
    """

    __slots__ = ("descriptor", "file")

    def __init__(self, file: HostFile) -> None:
        self.file = file
        self.descriptor = -1
        self.descriptor = file.open()

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)

    def verify(self) -> None:
        """Raise `StaleSourceError` unless the file is still the one that was laid out (one fstat).

        It was compared as a whole when it was opened, and what a descriptor stands for stays the same file.
        """
        status, file = os.fstat(self.descriptor), self.file
        if status.st_mtime_ns != file.mtime_ns or status.st_size != file.size:
            file.check(status)


class HandleCache:
    """The handles used last, at most `limit` of them."""

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit or default_limit()
        self._handles: dict[HostFile, Handle] = {}
        self._lock = Lock()

    def get(self, file: HostFile) -> Handle:
        """A handle on `file`, opened and checked now if it is not in the cache; the errors of `HostFile.open`."""
        with self._lock:
            handle = self._handles.pop(file, None)
            if handle is not None:
                self._handles[file] = handle  # the end of the dict is the most recent use
                return handle
        handle = self._open(file)  # outside the lock: an open may take long on a network file system
        dropped = None
        with self._lock:
            self._handles[file] = handle
            if len(self._handles) > self._limit:
                dropped = self._handles.pop(next(iter(self._handles)))
        del dropped  # closed outside the lock
        return handle

    def _open(self, file: HostFile) -> Handle:
        try:
            return Handle(file)
        except StaleSourceError:
            raise
        except InputOutputError:
            # The process may have used up its descriptors elsewhere: give ours back, and try once more.
            self.clear()
            return Handle(file)

    def clear(self) -> None:
        """Drop all handles; those still in use stay open until their readers let go."""
        with self._lock:
            self._handles = {}


def default_limit() -> int:
    """Half of what the process may open, at most 512: the rest is for sockets, pipes and the caller's own."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 512 if soft == resource.RLIM_INFINITY else max(8, min(512, soft // 2))
