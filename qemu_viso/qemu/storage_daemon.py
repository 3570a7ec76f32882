"""qemu-storage-daemon: an independent NBD client that hands a medium on as vhost-user-blk, NBD or FUSE."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import tempfile
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from qemu_viso.errors import CannotCreateError
from qemu_viso.qemu.attention import Trouble, evidence
from qemu_viso.qemu.deadline import Deadline
from qemu_viso.qemu.devices import MEDIUM_NODE, BlockNode, NbdMedium, VhostUserMedium
from qemu_viso.qemu.monitor import Monitor
from qemu_viso.qemu.process import Child, describe_status

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from types import TracebackType
    from typing import Literal, Self

    from qemu_viso.errors import GuestError
    from qemu_viso.qemu.devices import BlockMedium

PROGRAM = "qemu-storage-daemon"
START_SECONDS = 30.0


def listen(path: str) -> socket.socket:
    """A Unix socket that listens, so that whoever connects next waits in its queue instead of failing.

    Raises:
        CannotCreateError: the path cannot be bound.
    """
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        server.bind(path)
        server.listen(8)
    except OSError as error:
        server.close()
        raise CannotCreateError(f"the socket '{path}' cannot be made: {error.strerror or error}") from None
    return server


class StorageDaemon:
    """A qemu-storage-daemon that has opened a medium and exports it, inside `async with`.

    Its sockets are bound and listened on here, unless they are given, and handed down (by number on its command line:
    QEMU 7.2's daemon takes no descriptors over QMP); they are gone when the block ends. All exports are read-only.

    Args:
        medium: what it opens: the bridge's NBD socket, or a file.
        exports: `vhost-user`, `nbd` or both.
        start_by: by when it must answer; 30 seconds if not given.
        reconnect: seconds for which a lost NBD server is awaited before reads fail.
        sockets: Unix sockets that listen already, by the export that is to have them. They are closed here; their
            paths remain the caller's to remove.
    """

    def __init__(
        self,
        medium: BlockMedium,
        exports: Collection[Literal["vhost-user", "nbd"]],
        start_by: Deadline | None = None,
        *,
        reconnect: int = 0,
        sockets: Mapping[str, socket.socket] | None = None,
    ) -> None:
        self._node = BlockNode(MEDIUM_NODE, medium, reconnect)
        self._exports = exports
        self._start_by = start_by
        self._sockets = sockets or {}

    async def __aenter__(self) -> Self:
        self._trouble = Trouble(self._complete)
        self._stack = AsyncExitStack()
        try:
            await self._start(self._start_by or Deadline.after(START_SECONDS))
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def _start(self, deadline: Deadline) -> None:
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="qemu-viso-"))
        ours, theirs = socket.socketpair()
        self._stack.callback(ours.close)
        argv = [PROGRAM, "--chardev", f"socket,id=qmp,fd={theirs.fileno()}", "--monitor", "chardev=qmp"]
        argv += ["--blockdev", json.dumps(self._node.options())]
        hand_down = [self._stack.enter_context(theirs)]
        if "vhost-user" in self._exports:
            hand_down.append(self._socket("vhost-user", os.path.join(folder, "vhost-user-blk")))
            self._vhost_user = VhostUserMedium(hand_down[-1].getsockname())
            export = f"type=vhost-user-blk,id=vhost,node-name={MEDIUM_NODE}"
            argv += ["--export", f"{export},addr.type=fd,addr.str={hand_down[-1].fileno()}"]
        if "nbd" in self._exports:
            hand_down.append(self._socket("nbd", os.path.join(folder, "nbd")))
            self._nbd = NbdMedium(hand_down[-1].getsockname())
            argv += ["--nbd-server", f"addr.type=fd,addr.str={hand_down[-1].fileno()}"]
            argv += ["--export", json.dumps({"type": "nbd", "id": "nbd", "node-name": MEDIUM_NODE, "name": ""})]
        self.monitor = Monitor(PROGRAM)
        self._stack.push_async_callback(self.monitor.close)
        # It has to unmount what it shows over FUSE, or a file is left that nobody can read.
        child = Child(argv, hand_down=hand_down, orphan=signal.SIGTERM)
        self.child = await self._stack.enter_async_context(child)
        watch = asyncio.create_task(self._watch_exit())
        self._stack.callback(watch.cancel)
        # The monitor answers when all that the command line asks for is done.
        work = self.monitor.connect(ours, deadline)
        await self._trouble.attend(work, deadline, f"waiting for {PROGRAM} to start")

    def _socket(self, export: str, path: str) -> socket.socket:
        """The one that was given for the export, or one of our own."""
        given = self._sockets.get(export)
        return self._stack.enter_context(listen(path) if given is None else given)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _watch_exit(self) -> None:
        self._trouble.report(f"{PROGRAM} {describe_status(await self.child.wait())}")

    async def ended(self) -> GuestError:
        """Wait until the daemon has ended of itself; why it did."""
        return self._complete(f"{PROGRAM} {describe_status(await self.child.wait())}")

    def _complete(self, sentence: str) -> GuestError:
        return evidence(sentence, [(f"{PROGRAM} said", self.child.output)])

    async def execute(self, command: str, deadline: Deadline, arguments: Mapping[str, object] | None = None) -> object:
        """Run a QMP command; see `Monitor.execute`."""
        work = self.monitor.execute(command, deadline, arguments)
        return await self._trouble.attend(work, deadline, f"running the QMP command '{command}'")

    @property
    def vhost_user(self) -> VhostUserMedium:
        """The vhost-user-blk export."""
        return self._vhost_user

    @property
    def nbd(self) -> NbdMedium:
        """The NBD export, which is the default export of its socket."""
        return self._nbd

    async def export_fuse(self, mountpoint: str, deadline: Deadline) -> None:
        """Show the medium as a read-only file.

        Args:
            mountpoint: an existing regular file over which it appears.
            deadline: when it is too late.

        Raises:
            GuestError: the daemon refuses (no FUSE on this host), ended, or did not answer in time.
        """
        export = {"type": "fuse", "id": "fuse", "node-name": MEDIUM_NODE, "mountpoint": mountpoint}
        await self.execute("block-export-add", deadline, export | {"writable": False, "growable": False})
