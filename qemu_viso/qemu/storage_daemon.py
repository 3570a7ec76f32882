"""qemu-storage-daemon: an independent NBD client that hands a medium on as vhost-user-blk, NBD or FUSE."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

from qemu_viso.qemu.attention import evidence
from qemu_viso.qemu.controlled import Controlled
from qemu_viso.qemu.devices import MEDIUM_NODE, BlockNode, NbdMedium, OverlayNode, VhostUserMedium
from qemu_viso.qemu.monitor import Monitor
from qemu_viso.qemu.process import Child, describe_status
from qemu_viso.sockets import UnixListener

if TYPE_CHECKING:
    import socket
    from collections.abc import Collection, Mapping
    from typing import Literal

    from qemu_viso.errors import GuestError
    from qemu_viso.qemu.deadline import Deadline
    from qemu_viso.qemu.devices import BlockMedium

PROGRAM = "qemu-storage-daemon"
OVERLAY_NODE = "overlay"
IO_THREAD = "io"


class StorageDaemon(Controlled):
    """A qemu-storage-daemon that has opened a medium and exports it, inside `async with`.

    Its sockets are bound and listened on here, unless they are given, and handed down (by number on its command line:
    QEMU 7.2's daemon takes no descriptors over QMP); they are gone when the block ends. All exports are read-only,
    unless there is an overlay to write to.

    Args:
        medium: what it opens: the bridge's NBD socket, or a file.
        exports: `vhost-user`, `nbd` or both.
        start_by: by when it must answer; 30 seconds if not given.
        reconnect: seconds for which a lost NBD server is awaited before reads fail.
        sockets: Unix sockets that listen already, by the export that is to have them. They are closed here; their
            paths remain the caller's to remove.
        overlay: a qcow2 file that takes what is written, see `overlay.prepare`; None for exports that are read-only.
        qmp: a Unix socket that listens already, on which the daemon speaks QMP with others.
        alive: a descriptor that the daemon has open as long as it lives.
    """

    def __init__(
        self,
        medium: BlockMedium,
        exports: Collection[Literal["vhost-user", "nbd"]],
        start_by: Deadline | None = None,
        *,
        reconnect: int = 0,
        sockets: Mapping[Literal["vhost-user", "nbd"], socket.socket] | None = None,
        overlay: str | None = None,
        qmp: socket.socket | None = None,
        alive: socket.socket | None = None,
    ) -> None:
        super().__init__(PROGRAM, start_by)
        self._nodes: list[BlockNode | OverlayNode] = [BlockNode(MEDIUM_NODE, medium, reconnect)]
        if overlay is not None:
            self._nodes.append(OverlayNode(OVERLAY_NODE, overlay, MEDIUM_NODE))
        self._exports = exports
        self._sockets = sockets or {}
        self._qmp = qmp
        self._alive = alive

    async def _start(self, deadline: Deadline) -> None:
        ours, theirs = self._pair()
        argv = [PROGRAM, "--chardev", f"socket,id=qmp,fd={theirs.fileno()}", "--monitor", "chardev=qmp"]
        hand_down = [theirs]
        if self._qmp is not None:
            argv += ["--chardev", f"socket,id=others,fd={self._qmp.fileno()},server=on,wait=off"]
            argv += ["--monitor", "chardev=others"]
            hand_down.append(self._qmp)
        for node in self._nodes:
            argv += ["--blockdev", json.dumps(node.options())]
        if "vhost-user" in self._exports:
            hand_down.append(self._socket("vhost-user"))
            self._vhost_user = VhostUserMedium(hand_down[-1].getsockname())
            address = {"type": "fd", "str": str(hand_down[-1].fileno())}
            export = {"type": "vhost-user-blk", "id": "vhost", "addr": address}
            if len(self._exports) == 1:
                # A thread of its own looks out for the next request awake for a moment; the main loop goes to sleep
                # at once. A node that has another export, too, stays in the main loop.
                argv += ["--object", f"iothread,id={IO_THREAD}"]
                export["iothread"] = IO_THREAD
            argv += ["--export", json.dumps(export | self._exported)]
        if "nbd" in self._exports:
            hand_down.append(self._socket("nbd"))
            self._nbd = NbdMedium(hand_down[-1].getsockname())
            argv += ["--nbd-server", f"addr.type=fd,addr.str={hand_down[-1].fileno()}"]
            argv += ["--export", json.dumps({"type": "nbd", "id": "nbd", "name": ""} | self._exported)]
        if self._alive is not None:
            hand_down.append(self._alive)
        # It has to unmount what it shows over FUSE, or a file is left that nobody can read.
        child = Child(argv, hand_down=hand_down, orphan=signal.SIGTERM)
        await self._launch(child, Monitor(PROGRAM), ours, deadline)

    @property
    def _exported(self) -> dict[str, object]:
        """What every export says: the topmost node, and whether it may be written to."""
        return {"node-name": self._nodes[-1].name, "writable": len(self._nodes) > 1}

    def _socket(self, export: Literal["vhost-user", "nbd"]) -> socket.socket:
        """The one that was given for the export, or one of our own."""
        given = self._sockets.get(export)
        return self._stack.enter_context(UnixListener.bind(name=export)).socket if given is None else given

    async def _watch_exit(self) -> None:
        self._trouble.report(f"{PROGRAM} {describe_status(await self.child.wait())}")

    async def ended(self) -> GuestError:
        """Wait until the daemon has ended of itself; why it did."""
        return self._complete(f"{PROGRAM} {describe_status(await self.child.wait())}")

    def _complete(self, sentence: str) -> GuestError:
        return evidence(sentence, [(f"{PROGRAM} said", self.child.output)])

    @property
    def vhost_user(self) -> VhostUserMedium:
        """The vhost-user-blk export."""
        return self._vhost_user

    @property
    def nbd(self) -> NbdMedium:
        """The NBD export, which is the default export of its socket."""
        return self._nbd

    async def export_fuse(self, mountpoint: str, deadline: Deadline) -> None:
        """Show the medium as a file, which is writable where there is an overlay, and never grows.

        Args:
            mountpoint: an existing regular file over which it appears.
            deadline: when it is too late.

        Raises:
            GuestError: the daemon refuses (no FUSE on this host), ended, or did not answer in time.
        """
        export = {"type": "fuse", "id": "fuse", "mountpoint": mountpoint, "growable": False}
        await self.execute("block-export-add", deadline, export | self._exported)
