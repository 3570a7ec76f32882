"""Noticing that something in host directories has changed: inotify(7), which Python's library does not have."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from qemu_viso.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Self

QUIET = 0.3
"""Seconds without a change after which a burst of changes is over."""
PATIENCE = 10.0
"""Seconds after which a burst that does not end is told all the same."""

# <sys/inotify.h>
_MODIFY, _ATTRIB, _CLOSE_WRITE, _MOVED_FROM, _MOVED_TO = 0x2, 0x4, 0x8, 0x40, 0x80
_CREATE, _DELETE, _DELETE_SELF, _MOVE_SELF = 0x100, 0x200, 0x400, 0x800
_ONLYDIR = 0x0100_0000
_CHANGES = _MODIFY | _ATTRIB | _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _DELETE_SELF | _MOVE_SELF


class Watch:
    """The directories that somebody depends on, inside `with`."""

    def __enter__(self) -> Self:
        self._library = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise _refused(ctypes.get_errno())
        self._watched: dict[str, int] = {}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def look_at(self, folders: Iterable[str]) -> bool:
        """Watch these directories and no others, and those that the links in them lead to.

        Of a directory that has gone, the nearest one above it is watched.

        Returns:
            whether one was not watched before, so that an earlier change in it may have gone unnoticed.

        Raises:
            ConfigurationError: the host allows no more watches.
        """
        before, self._watched = self._watched, {}
        for folder in _with_links(folders):
            self._add(folder)
        # Two paths of one directory share a watch. Of a directory that has gone, the watch has gone too.
        for number in {*before.values()} - {*self._watched.values()}:
            self._library.inotify_rm_watch(self._descriptor, number)
        return not self._watched.items() <= before.items()

    def _add(self, folder: str) -> None:
        """Watch a directory, or the nearest one above it that is there."""
        while True:
            # Anew each time: the directory of this name may be another one by now.
            number = self._library.inotify_add_watch(self._descriptor, os.fsencode(folder), _CHANGES | _ONLYDIR)
            if number >= 0:
                self._watched[folder] = number
                return
            if ctypes.get_errno() not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP):
                raise _refused(ctypes.get_errno())
            if folder in (".", "/"):
                return
            folder = os.path.dirname(folder) or "."

    async def changed(self) -> None:
        """Wait until something has changed and is quiet again; what changed before the call counts too."""
        await self._event()
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    async with asyncio.timeout(QUIET):
                        await self._event()
        except TimeoutError:
            return

    async def _event(self) -> None:
        """Wait for the next change, and forget all that came with it."""
        loop = asyncio.get_running_loop()
        came = asyncio.Event()
        loop.add_reader(self._descriptor, came.set)
        try:
            await came.wait()
        finally:
            loop.remove_reader(self._descriptor)
        # Which change it was does not matter: an overflown queue says enough.
        os.read(self._descriptor, 1 << 16)


def _with_links(folders: Iterable[str]) -> set[str]:
    wanted = set(folders)
    for folder in list(wanted):
        with suppress(OSError), os.scandir(folder) as entries:  # it may have gone, which was noticed above it
            links = [entry.path for entry in entries if entry.is_symlink()]
            wanted |= {os.path.dirname(os.path.realpath(link)) for link in links}
    return wanted


def _refused(number: int) -> ConfigurationError:
    hint = {
        errno.ENOSPC: "raise it: sysctl fs.inotify.max_user_watches",
        errno.EMFILE: "raise it: sysctl fs.inotify.max_user_instances",
    }.get(number)
    what = "the host's limit is reached" if hint else os.strerror(number)
    return ConfigurationError(f"changes of the sources cannot be watched: {what}", hint=hint)
