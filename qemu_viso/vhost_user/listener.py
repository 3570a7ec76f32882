"""A Unix socket that listens, and leaves nothing behind."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from typing import TYPE_CHECKING, Self

from qemu_viso.errors import CannotCreateError, TryAgainError

if TYPE_CHECKING:
    from types import TracebackType

_MODE = 0o600


class Listener:
    """A listening Unix socket, and the path it was bound to, which is removed when it is closed.

    Attributes:
        socket: it listens already.
        path: where, or None for a socket that somebody else bound and will remove.

    Args:
        folder: removed with the path, if it was made for it.
    """

    def __init__(self, sock: socket.socket, path: str | None = None, folder: str | None = None) -> None:
        self.socket = sock
        self.path = path
        self._folder = folder
        self._identity = _identity(path) if path is not None else None

    @classmethod
    def bind(cls, path: str | None = None) -> Self:
        """Listen at `path`, for this user alone. A socket that nobody listens at any more is replaced.

        Without a path, the socket gets a new folder of its own below the folder for temporary files.

        Raises:
            TryAgainError: somebody listens there.
            CannotCreateError: the path is too long, or taken by something else, or not ours to make.
        """
        folder = None
        if path is None:
            folder = tempfile.mkdtemp(prefix="qemu-viso-")
            path = os.path.join(folder, "vhost-user")
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            os.fchmod(sock.fileno(), _MODE)  # before it is bound: the path is never open to others
            _clear(path)
            sock.bind(path)
            sock.listen()
        except BaseException as error:
            sock.close()
            if folder is not None:
                os.rmdir(folder)
            if not isinstance(error, OSError):
                raise
            raise CannotCreateError(f"a socket cannot be made at '{path}': {error.strerror or error}") from None
        return cls(sock, path, folder)

    def close(self) -> None:
        """Stop listening and remove the path, unless it is somebody else's by now."""
        self.socket.close()
        mine, self._identity = self._identity, None
        if self.path is not None and mine is not None and mine == _identity(self.path):
            os.unlink(self.path)
        folder, self._folder = self._folder, None
        if folder is not None:
            os.rmdir(folder)  # also when whoever was given the socket has removed the path, as QEMU does

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _clear(path: str) -> None:
    """Remove the socket of a server that died without removing it."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        else:
            raise TryAgainError(f"another program listens at '{path}'")
