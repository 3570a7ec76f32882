"""File descriptors that came over a socket, and the events among them.

An eventfd that a front end shares is one open file for both sides: its flags (O_NONBLOCK) belong to both, and QEMU
hangs if a back end changes them. So nothing here touches the flags. Reads ask for RWF_NOWAIT, which leaves them alone
(Linux 5.8 and later take it for eventfds).
"""

from __future__ import annotations

import os
from contextlib import suppress

from qemu_viso.vhost_user.messages import RefusedError

_ONE = (1).to_bytes(8, "little")


class Descriptor:
    """A file descriptor with an owner: closed when the last reference goes, so that no refused message leaks one."""

    __slots__ = ("_number",)

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        """The number, for system calls and polls."""
        return self._number

    def __del__(self) -> None:
        os.close(self._number)


class Event:
    """An eventfd that the front end shares.

    Raises:
        RefusedError: the descriptor is something else. (The protocol allows pipes only where there is no eventfd.)
    """

    __slots__ = ("_descriptor", "_number")

    def __init__(self, descriptor: Descriptor) -> None:
        self._descriptor = descriptor
        self._number = descriptor.fileno()
        kind = os.readlink(f"/proc/self/fd/{self._number}")
        if kind != "anon_inode:[eventfd]":
            raise RefusedError(f"a descriptor for notifications is not an eventfd but '{kind}'")

    def fileno(self) -> int:
        """The number, for polls."""
        return self._number

    def signal(self) -> None:
        """Wake who waits for it; one whose counter is full has been woken already."""
        with suppress(BlockingIOError):
            os.write(self._number, _ONE)

    def clear(self) -> None:
        """Take the counter down to zero, whether or not it was there already; never waits."""
        with suppress(BlockingIOError):
            os.preadv(self._number, [bytearray(8)], -1, os.RWF_NOWAIT)
