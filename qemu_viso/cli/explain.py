"""`qemu-viso explain`: which structure or file a byte of the image comes from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qemu_viso.cli.common import add_json, add_recipe, open_recipe, print_json

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Recipe and range."""
    add_recipe(parser)
    parser.add_argument("range", metavar="OFFSET[+LENGTH]", help="bytes, in decimal or 0x…")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """A line for each stretch with one origin."""
    from qemu_viso.errors import UsageError
    from qemu_viso.image.explain import explain
    from qemu_viso.verify.report import printable

    number = "(0x[0-9a-fA-F]+|[0-9]+)"
    match = re.fullmatch(rf"{number}(?:\+{number})?", arguments.range)
    if match is None:
        raise UsageError(f"'{arguments.range}' is not OFFSET or OFFSET+LENGTH", hint="for example 0x8000+2048")
    image = open_recipe(arguments.spec).image
    try:
        origins = list(explain(image, int(match[1], 0), int(match[2] or "1", 0)))
    except ValueError as error:
        raise UsageError(str(error)) from None
    if arguments.json:
        print_json(
            {"origins": [{"start": o.start, "size": o.size, "what": o.what, "offset": o.offset} for o in origins]}
        )
        return 0
    for origin in origins:
        at = "" if origin.offset is None else f", from its byte {origin.offset} on"
        print(f"{origin.start:>14} {origin.size:>14} {printable(origin.what)}{at}")
    return 0
