"""`qemu-viso export`: the image as a vhost-user-blk device, an NBD export or a file, with or without a daemon between.

We supervise: the bridge, which serves the image, and qemu-storage-daemon, which hands it on, are our children. The
bridge is started again when it is killed, the daemon is not, and all end together.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import stat
import subprocess
import sys
import tempfile
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from qemu_viso.cli import signals
from qemu_viso.cli.common import add_recipe, set_up_logging

if TYPE_CHECKING:
    import argparse
    import socket
    from collections.abc import Iterator
    from typing import Literal

    from qemu_viso.cli.janitor import Janitor
    from qemu_viso.cli.supervisor import Bridge
    from qemu_viso.qemu.storage_daemon import StorageDaemon
    from qemu_viso.sockets import UnixListener

FUSE_DEVICE = "/dev/fuse"
RECONNECT_SECONDS = 300
"""For so long the daemon waits for the bridge that is started again; if that is given up, we end it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Recipe, what it is shown as, where."""
    add_recipe(parser)
    parser.add_argument("--type", choices=("vhost-user-blk", "nbd", "fuse"), required=True, help="as what it is shown")
    parser.add_argument(
        "--path",
        metavar="PATH",
        help="the Unix socket, or for fuse the file over which the image appears (default: a private one)",
    )
    parser.add_argument(
        "--direct", action="store_true", help="vhost-user-blk without a qemu-storage-daemon between the guest and us"
    )
    parser.add_argument(
        "--writable-overlay",
        metavar="FILE.qcow2",
        help="let it be written to: a qcow2 file, made if it is not there, keeps what is written",
    )
    parser.add_argument("--qmp", metavar="PATH", help="a Unix socket on which qemu-storage-daemon speaks QMP")


def run(arguments: argparse.Namespace) -> int:
    """Print one line when ready, the path or URI; stay until a signal comes."""
    set_up_logging()
    from qemu_viso.cli.supervisor import NotServedError

    _check(arguments)
    try:
        return signals.run(_export(arguments))
    except NotServedError as error:
        return error.status


def _check(arguments: argparse.Namespace) -> None:
    from qemu_viso.errors import UsageError

    if arguments.direct and arguments.type != "vhost-user-blk":
        hint = "qemu-viso serve is NBD without a daemon" if arguments.type == "nbd" else None
        raise UsageError(f"--type {arguments.type} cannot be --direct", hint=hint)
    if arguments.direct and arguments.writable_overlay is not None:
        raise UsageError("--direct cannot be written to", hint="leave --direct out: the overlay is the daemon's")
    if arguments.direct and arguments.qmp is not None:
        raise UsageError("with --direct there is no daemon that could speak QMP")
    for option in ("path", "writable_overlay", "qmp"):
        given = getattr(arguments, option)
        if given == "":
            raise UsageError(f"--{option.replace('_', '-')} needs a path")
        if given is not None:
            setattr(arguments, option, os.path.abspath(given))


async def _export(arguments: argparse.Namespace) -> int:
    """Everything that is bound or made comes first, and is removed last, by us or by the janitor."""
    from qemu_viso.cli.janitor import Janitor
    from qemu_viso.cli.supervisor import Bridge
    from qemu_viso.sockets import UnixListener

    if not arguments.direct:
        from qemu_viso.qemu.process import find_program
        from qemu_viso.qemu.storage_daemon import PROGRAM

        find_program(PROGRAM)
    async with AsyncExitStack() as stack:
        listeners: dict[str, UnixListener] = {}
        mount: str | None = None
        made: list[str] = []
        if arguments.type == "fuse":
            mount, made = stack.enter_context(_mountpoint(arguments.path, Path(arguments.spec).stem))
        else:
            listeners["shown"] = stack.enter_context(UnixListener.bind(arguments.path, name=arguments.type))
        if not arguments.direct:
            listeners["bridge"] = stack.enter_context(UnixListener.bind(name="nbd.sock"))
        if arguments.qmp is not None:
            listeners["qmp"] = stack.enter_context(UnixListener.bind(arguments.qmp))
        made += [each for listener in listeners.values() for each in listener.made]
        janitor = stack.enter_context(Janitor(made, mount))
        if arguments.direct:
            shown = listeners["shown"]
            bridge = await stack.enter_async_context(Bridge(arguments.spec, arguments.type, shown.socket))
            return await _stay(shown.path or "", bridge)
        bridge = await stack.enter_async_context(Bridge(arguments.spec, "nbd", listeners["bridge"].socket))
        return await _through_daemon(arguments, bridge, listeners, mount, janitor)


async def _through_daemon(
    arguments: argparse.Namespace,
    bridge: Bridge,
    listeners: dict[str, UnixListener],
    mount: str | None,
    janitor: Janitor,
) -> int:
    """The daemon before the bridge; its sockets are bound already, so that their paths are there when we say so."""
    from qemu_viso.nbd import uri
    from qemu_viso.qemu import overlay
    from qemu_viso.qemu.controlled import START_SECONDS
    from qemu_viso.qemu.deadline import Deadline
    from qemu_viso.qemu.devices import NbdMedium
    from qemu_viso.qemu.storage_daemon import StorageDaemon

    file = arguments.writable_overlay
    made = file is not None and await overlay.prepare(file, bridge.served.size, bridge.served.fingerprint)
    try:
        sockets: dict[Literal["vhost-user", "nbd"], socket.socket] = {}
        if mount is None:
            sockets["nbd" if arguments.type == "nbd" else "vhost-user"] = listeners["shown"].socket
        daemon = StorageDaemon(
            NbdMedium(listeners["bridge"].path or ""),
            sockets,
            reconnect=RECONNECT_SECONDS,
            sockets=sockets,
            overlay=file,
            qmp=listeners["qmp"].socket if "qmp" in listeners else None,
            alive=janitor.alive,
        )
        async with daemon:
            janitor.watch(daemon.child.pid)
            if mount is not None:
                await daemon.export_fuse(mount, Deadline.after(START_SECONDS))
            made = False  # what is in it from here on is the user's
            if "qmp" in listeners:
                print(f"qemu-viso: the daemon speaks QMP on {listeners['qmp'].path}", file=sys.stderr, flush=True)
            line = mount or listeners["shown"].path or ""
            return await _stay(uri.build(uri.UnixAddress(line)) if arguments.type == "nbd" else line, bridge, daemon)
    finally:
        if made:
            os.unlink(file)


@contextmanager
def _mountpoint(path: str | None, name: str) -> Iterator[tuple[str, list[str]]]:
    """A file over which the image can appear: an existing one, or one made for it, which is removed in the end.

    Yields:
        the file, and what was made: it, if so, and its folder.

    Raises:
        CannotCreateError: what is there is not a file, or none can be made.
        ConfigurationError, MissingProgramError: this host has no FUSE.
    """
    from qemu_viso.errors import CannotCreateError, ConfigurationError
    from qemu_viso.qemu.process import find_program

    if not os.path.exists(FUSE_DEVICE):
        raise ConfigurationError(f"this host has no FUSE: there is no {FUSE_DEVICE}", hint="as root: modprobe fuse")
    if os.geteuid() != 0:
        find_program("fusermount3")  # mounts for those who may not
    folder, made = None, False
    if path is None:
        folder = tempfile.mkdtemp(prefix="qemu-viso-")
        path = os.path.join(folder, f"{name}.iso")
    target = path
    try:
        try:
            os.close(os.open(target, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            made = True
        except FileExistsError:
            _check_file(target)
        except OSError as error:
            raise CannotCreateError(f"'{target}' cannot be made: {error.strerror}") from None
        yield target, [path for path in (target if made else None, folder) if path is not None]
    finally:
        _unmount_if_dead(target)
        with suppress(OSError):  # somebody has removed it already, which is what we wanted
            if made:
                os.unlink(target)
            if folder is not None:
                os.rmdir(folder)


def _unmount_if_dead(path: str) -> None:
    """A daemon that was killed leaves its mount behind, over a file that can then be neither read nor removed."""
    try:
        os.stat(path)
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            with suppress(OSError):
                subprocess.run(["fusermount3", "-u", "-z", "--", path], capture_output=True, check=False)


def _check_file(path: str) -> None:
    from qemu_viso.errors import CannotCreateError

    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        hint = f"fusermount3 -u '{path}'" if error.errno == errno.ENOTCONN else None
        raise CannotCreateError(f"'{path}' cannot be used: {error.strerror}", hint=hint) from None
    if not stat.S_ISREG(mode):
        raise CannotCreateError(f"the image can appear over a file only, and '{path}' is none")


async def _stay(line: str, bridge: Bridge, daemon: StorageDaemon | None = None) -> int:
    """Say where it is, and wait for a signal.

    Raises:
        GuestError: the daemon has ended, or the bridge ends again and again.
    """
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    for number in (*signals.ENDING, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, told.set)
    print(line, flush=True)
    told_to_end = asyncio.create_task(told.wait())
    failures = [asyncio.create_task(bridge.given_up())]
    if daemon is not None:
        failures.append(asyncio.create_task(daemon.ended()))
    try:
        await asyncio.wait({told_to_end, *failures}, return_when=asyncio.FIRST_COMPLETED)
        for failure in failures:
            if failure.done():
                raise failure.result()
        return 0
    finally:
        for task in (told_to_end, *failures):
            task.cancel()
        await asyncio.wait({told_to_end, *failures})
