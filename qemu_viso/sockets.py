"""Unix sockets that listen for this user alone, and leave nothing behind."""

from __future__ import annotations

import errno
import os
import socket
import stat
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from qemu_viso.errors import CannotCreateError, TryAgainError

if TYPE_CHECKING:
    from types import TracebackType

BACKLOG = 128
MAX_PATH = 107
"""Bytes of a Unix socket's path; `sun_path` has one more, for its end."""
_MODE = 0o600
_PREFIX = "qemu-viso-"
_RANDOM = 8
"""Characters that `mkdtemp` adds."""


class UnixListener:
    """A listening Unix socket, and the path it was bound to, which is removed when it is closed.

    Attributes:
        socket: it listens already.
        path: where, absolute; None for a socket that somebody else bound and will remove.

    Args:
        folder: removed with the path, if it was made for it.
    """

    def __init__(self, sock: socket.socket, path: str | None = None, folder: str | None = None) -> None:
        self.socket = sock
        self.path = path
        self._folder = folder
        self._identity = _identity(path) if path is not None else None

    @classmethod
    def bind(cls, path: str | None = None, *, name: str = "socket") -> Self:
        """Listen at `path`, with mode 0600. A socket that nobody listens at any more is replaced.

        Args:
            path: where; None for a new folder of its own, of mode 0700, which goes with the socket.
            name: of the socket in its own folder.

        Raises:
            TryAgainError: somebody listens there.
            CannotCreateError: the path is too long, or taken by something else, or not ours to make.
        """
        folder = None
        if path is None:
            folder = private_folder(name)
            path = os.path.join(folder, name)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            os.fchmod(sock.fileno(), _MODE)  # before it is bound: the path is never open to others
            _clear(path)
            sock.bind(path)
            sock.listen(BACKLOG)
        except BaseException as error:
            sock.close()
            if folder is not None:
                os.rmdir(folder)
            if not isinstance(error, OSError):
                raise
            hint = f"a Unix socket's path has at most {MAX_PATH} bytes" if _too_long(path) else None
            reason = error.strerror or error
            raise CannotCreateError(f"the socket '{path}' cannot be made: {reason}", hint=hint) from None
        return cls(sock, os.path.abspath(path), folder)

    @property
    def made(self) -> list[str]:
        """What `close` will remove: the socket, and the folder that was made for it."""
        return [path for path in (self.path, self._folder) if path is not None]

    def close(self) -> None:
        """Stop listening and remove the path, unless it is somebody else's by now; a second call does nothing."""
        self.socket.close()
        mine, self._identity = self._identity, None
        folder, self._folder = self._folder, None
        with suppress(OSError):  # whoever was given the socket may have removed the path, as QEMU does
            if self.path is not None and mine is not None and mine == _identity(self.path):
                os.unlink(self.path)
        with suppress(OSError):
            if folder is not None:
                os.rmdir(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def private_folder(name: str) -> str:
    """Make a folder of mode 0700 in which the socket `name` has a path that is short enough.

    It lies where temporary files belong; where that is too long a path, as it is below some build systems' folders,
    it lies in XDG_RUNTIME_DIR or /tmp.

    Raises:
        CannotCreateError: there is no place for it.
    """
    failure = "every path is too long"
    for base in (tempfile.gettempdir(), os.environ.get("XDG_RUNTIME_DIR", ""), "/tmp"):
        if not os.path.isabs(base) or _too_long(os.path.join(base, _PREFIX + "x" * _RANDOM, name)):
            continue
        try:
            return tempfile.mkdtemp(prefix=_PREFIX, dir=base)
        except OSError as error:
            failure = f"'{base}': {error.strerror}"
    raise CannotCreateError(f"a folder for the socket '{name}' cannot be made: {failure}", hint="set TMPDIR")


def _too_long(path: str) -> bool:
    return len(os.fsencode(path)) > MAX_PATH


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _clear(path: str) -> None:
    """Remove the socket of a server that died without removing it; `bind` tells of anything else."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
    except OSError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        outcome = probe.connect_ex(path)
    if outcome == errno.ECONNREFUSED:
        os.unlink(path)
    elif outcome in (0, errno.EAGAIN):  # EAGAIN: so many wait there already that no more may
        raise TryAgainError(f"another program listens at '{path}'")
