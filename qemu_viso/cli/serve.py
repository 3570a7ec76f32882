"""`qemu-viso serve`: the image over NBD, until a signal comes or a command has ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from qemu_viso.cli import signals
from qemu_viso.cli.common import add_recipe, open_recipe, set_up_logging
from qemu_viso.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from qemu_viso.nbd import Listener, Server

GRACE_SECONDS = 3.0
"""How long a command may take to end when it is told to."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Recipe, socket, command."""
    add_recipe(parser)
    parser.add_argument("--socket", metavar="PATH", help="the Unix socket to listen on (default: a private one)")
    parser.add_argument(
        "--run",
        metavar="COMMAND",
        help='run a shell command while serving, with the URI as "$uri" and the socket as "$socket"; end with it',
    )


def run(arguments: argparse.Namespace) -> int:
    """Print one URI line when ready, then serve."""
    set_up_logging()
    from qemu_viso.nbd import Server, listen_unix

    if arguments.socket == "":
        raise UsageError("--socket needs a path", hint="leave it out for a private socket")
    image = open_recipe(arguments.spec).image
    listener = listen_unix(arguments.socket)
    with Server({image.name: image}, listener) as server:
        if arguments.run is not None:
            return _run_command(arguments.run, server, _path(listener))
        signals.handle(lambda *_: server.stop())
        signal.signal(signal.SIGINT, lambda *_: server.stop())
        print(server.uri, flush=True)
        server.serve_forever()
    return 0


def _run_command(command: str, server: Server, socket_path: str) -> int:
    """The command's exit status; that of a command killed by a signal is 128 and its number, as in a shell."""
    environment = os.environ | {"uri": server.uri, "socket": socket_path}
    # A group of its own can be ended as a whole, but could not read from the terminal.
    group = None if sys.stdin is not None and sys.stdin.isatty() else 0
    child: subprocess.Popen[bytes] | None = None
    try:
        with signals.deferred():  # a child that is not known yet could not be ended
            child = subprocess.Popen(command, shell=True, env=environment, process_group=group)
        status = child.wait()
    except BaseException:
        if child is not None:
            with signals.deferred():
                _end(child, whole_group=group is not None)
        raise
    return status if status >= 0 else 128 - status


def _end(child: subprocess.Popen[bytes], *, whole_group: bool) -> None:
    """TERM, and KILL for what does not heed it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            if whole_group:
                os.killpg(child.pid, number)
            else:
                child.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(GRACE_SECONDS)
            return


def _path(listener: Listener) -> str:
    """The socket's path, for clients that take no URI."""
    from qemu_viso.nbd.uri import UnixAddress

    return listener.address.path if isinstance(listener.address, UnixAddress) else ""
