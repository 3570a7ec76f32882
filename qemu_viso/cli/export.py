"""`qemu-viso export`: the image as a vhost-user-blk device, an NBD export or a file, with or without a daemon between.

The server and qemu-storage-daemon are one unit: the daemon is our child and ends with us, and we end when it does.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import stat
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from qemu_viso.cli import signals
from qemu_viso.cli.common import add_recipe, open_recipe, set_up_logging

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from qemu_viso.image import Image
    from qemu_viso.qemu.devices import NbdMedium
    from qemu_viso.qemu.storage_daemon import StorageDaemon

FUSE_DEVICE = "/dev/fuse"


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


def run(arguments: argparse.Namespace) -> int:
    """Print one line when ready, the path or URI; stay until a signal comes."""
    set_up_logging()
    from qemu_viso.errors import UsageError

    if arguments.direct and arguments.type != "vhost-user-blk":
        hint = "qemu-viso serve is NBD without a daemon" if arguments.type == "nbd" else None
        raise UsageError(f"--type {arguments.type} cannot be --direct", hint=hint)
    image = open_recipe(arguments.spec).image
    if arguments.direct:
        return _direct(image, arguments.path)
    path = None if arguments.path is None else os.path.abspath(arguments.path)
    return signals.run(_through_daemon(image, arguments.type, path))


def _direct(image: Image, path: str | None) -> int:
    from qemu_viso.vhost_user import Device, Listener

    with Listener.bind(path) as listener, Device(image, listener) as device:
        signals.handle(lambda *_: device.stop())
        signal.signal(signal.SIGINT, lambda *_: device.stop())
        print(os.path.abspath(listener.path or ""), flush=True)
        device.serve_forever()
    return 0


async def _through_daemon(image: Image, kind: str, path: str | None) -> int:
    from qemu_viso.nbd import Server, listen_unix
    from qemu_viso.nbd.uri import UnixAddress
    from qemu_viso.qemu.devices import NbdMedium

    listener = listen_unix()
    assert isinstance(listener.address, UnixAddress)
    medium = NbdMedium(listener.address.path)
    with Server({image.name: image}, listener):
        if kind == "fuse":
            with _mountpoint(path, image.name) as target:
                return await _fuse(medium, target)
        return await _socket(medium, kind, path)


async def _socket(medium: NbdMedium, kind: str, path: str | None) -> int:
    """The daemon behind a Unix socket, bound here so that its path is there when the line is printed."""
    from qemu_viso.nbd import uri
    from qemu_viso.qemu.storage_daemon import StorageDaemon
    from qemu_viso.vhost_user import Listener

    with Listener.bind(path) as listener:
        assert listener.path is not None
        if kind == "nbd":
            async with StorageDaemon(medium, {"nbd"}, sockets={"nbd": listener.socket}) as daemon:
                return await _stay(daemon, uri.build(uri.UnixAddress(listener.path)))
        async with StorageDaemon(medium, {"vhost-user"}, sockets={"vhost-user": listener.socket}) as daemon:
            return await _stay(daemon, listener.path)


async def _fuse(medium: NbdMedium, mountpoint: str) -> int:
    from qemu_viso.qemu.deadline import Deadline
    from qemu_viso.qemu.storage_daemon import START_SECONDS, StorageDaemon

    async with StorageDaemon(medium, ()) as daemon:
        await daemon.export_fuse(mountpoint, Deadline.after(START_SECONDS))
        return await _stay(daemon, mountpoint)


@contextmanager
def _mountpoint(path: str | None, name: str) -> Iterator[str]:
    """A file over which the image can appear: an existing one, or one made for it, which is removed in the end.

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
    target = os.path.abspath(path)
    try:
        try:
            os.close(os.open(target, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            made = True
        except FileExistsError:
            _check_file(target)
        except OSError as error:
            raise CannotCreateError(f"'{target}' cannot be made: {error.strerror}") from None
        yield target
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


async def _stay(daemon: StorageDaemon, line: str) -> int:
    """Say where it is, and wait for a signal.

    Raises:
        GuestError: the daemon has ended.
    """
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    for number in (*signals.ENDING, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, told.set)
    print(line, flush=True)
    told_to_end, ended = asyncio.create_task(told.wait()), asyncio.create_task(daemon.ended())
    try:
        await asyncio.wait({told_to_end, ended}, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            raise ended.result()
        return 0
    finally:
        told_to_end.cancel()
        ended.cancel()
