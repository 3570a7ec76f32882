"""`qemu-viso cat`: a file out of the image, without a socket or a guest."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from qemu_viso.cli.common import add_image, add_namespace, open_view

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Image, path, namespace."""
    add_image(parser)
    parser.add_argument("path", metavar="PATH", help="the file, as a guest shows it")
    add_namespace(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the file's bytes to stdout."""
    from qemu_viso.errors import MissingInputError, UsageError
    from qemu_viso.verify.expected import content_bytes

    namespace, view = open_view(arguments.spec, arguments.namespace)
    path = "/" + "/".join(part for part in arguments.path.split("/") if part)
    entry = view.get(path)
    if entry is None:
        raise MissingInputError(f"there is no '{path}' in the {namespace} namespace of the image")
    if entry.content is None:
        raise UsageError(f"'{path}' is a {entry.kind}, not a file")
    for part in content_bytes(entry.content):
        sys.stdout.buffer.write(part)
    sys.stdout.buffer.flush()
    return 0
