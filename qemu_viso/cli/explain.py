"""`qemu-viso explain`: what bytes of an image are: the structure, the field and its value, or the file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qemu_viso.cli.common import add_image, add_json, open_image, print_json

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Image and range."""
    add_image(parser)
    parser.add_argument("range", metavar="OFFSET[+LENGTH]", help="bytes, in decimal or 0x…")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """A line for each field, for each file's data, and for what is unused."""
    from qemu_viso.anatomy import explain
    from qemu_viso.errors import UsageError
    from qemu_viso.verify.report import printable

    number = "(0x[0-9a-fA-F]+|[0-9]+)"
    match = re.fullmatch(rf"{number}(?:\+{number})?", arguments.range)
    if match is None:
        raise UsageError(f"'{arguments.range}' is not OFFSET or OFFSET+LENGTH", hint="for example 0x8000+2048")
    image = open_image(arguments.spec)
    try:
        found = explain(image, int(match[1], 0), int(match[2] or "1", 0))
    except ValueError as error:
        raise UsageError(str(error)) from None
    if arguments.json:
        print_json({"explained": [each._asdict() for each in found]})
        return 0
    for each in found:
        print(f"{each.start:>14} {each.size:>8} {printable(str(each))}")
    return 0
