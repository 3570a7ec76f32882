"""The bridge: the process below `qemu-viso export` that serves the image, on a socket that it inherits.

`python -m qemu_viso.cli.bridge`, started by `cli.supervisor` and by nobody else. It tells its supervisor in one line of
JSON what it serves. Started again after a violent end, it is told which image that was, and serves no other one.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import socket
import sys
from typing import TYPE_CHECKING

from qemu_viso.cli import signals
from qemu_viso.cli.common import allow_descriptors, open_recipe, set_up_logging
from qemu_viso.cli.main import guard

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qemu_viso.image import Image
    from qemu_viso.nbd import Server
    from qemu_viso.vhost_user import Device

MOST_CONNECTIONS = 256
"""That have all the descriptors they want."""

_log = logging.getLogger("qemu_viso.bridge")


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM; the exit status is that of the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--type", choices=("nbd", "vhost-user-blk"), required=True)
    parser.add_argument("--listen", type=int, required=True, help="the descriptor of the listening socket")
    parser.add_argument("--report", type=int, required=True, help="the descriptor of the supervisor's socket")
    parser.add_argument("--size", type=int, help="of the image that was served before")
    parser.add_argument("--fingerprint", help="of the image that was served before")
    parser.add_argument("spec")
    arguments = parser.parse_args(argv)
    return guard(lambda: serve(arguments))


def serve(arguments: argparse.Namespace) -> int:
    """Open, or open again; report; serve."""
    set_up_logging()
    allow_descriptors(MOST_CONNECTIONS)
    listening, report = (socket.socket(fileno=each) for each in (arguments.listen, arguments.report))
    for each in (listening, report):
        os.set_inheritable(each.fileno(), False)
    if arguments.fingerprint is None:
        image = open_recipe(arguments.spec).image
        fingerprint = image.fingerprint()
    else:
        fingerprint = arguments.fingerprint
        image = open_again(arguments.spec, arguments.size, fingerprint)
    with _server(arguments.type, image, listening) as server:
        signals.handle(lambda *_: server.stop())
        with report:
            report.sendall(json.dumps({"size": image.size, "fingerprint": fingerprint}).encode() + b"\n")
        server.serve_forever()
    return 0


def _server(kind: str, image: Image, listening: socket.socket) -> Server | Device:
    from qemu_viso.nbd import Listener, Server
    from qemu_viso.nbd.uri import UnixAddress
    from qemu_viso.sockets import UnixListener
    from qemu_viso.vhost_user import Device

    if kind == "vhost-user-blk":
        return Device(image, UnixListener(listening))
    return Server({image.name: image}, Listener([listening], UnixAddress(listening.getsockname())))


def open_again(spec: str, size: int, fingerprint: str) -> Image:
    """The image of a recipe if it is still the same; otherwise one of which every read fails.

    Args:
        spec: the recipe.
        size: of the image that was, in bytes.
        fingerprint: of the image that was.
    """
    from qemu_viso.errors import InputOutputError, QemuVisoError, StaleSourceError
    from qemu_viso.image.lost import LostImage
    from qemu_viso.opening import open_viso

    reason: QemuVisoError
    try:
        image = open_viso(spec).image
        if image.fingerprint() == fingerprint:
            return image
        reason = StaleSourceError(f"the recipe '{spec}' or its sources have changed since the image was first read")
    except QemuVisoError as error:
        reason = error
    except OSError as error:
        reason = InputOutputError(f"the recipe '{spec}' cannot be opened again: {error.strerror}")
    _log.error("%s; every read of the image fails from here on", reason.message)
    return LostImage(size, "lost", reason)


if __name__ == "__main__":
    sys.exit(main())
