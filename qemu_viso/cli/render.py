"""`qemu-viso render`: the image as a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qemu_viso.cli.common import Progress, add_recipe, open_recipe

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Recipe and output."""
    add_recipe(parser)
    parser.add_argument("-o", "--output", metavar="OUT.iso", required=True, help="the file to make or replace")


def run(arguments: argparse.Namespace) -> int:
    """Open and write."""
    from qemu_viso.image.render import render

    image = open_recipe(arguments.spec).image
    progress = Progress(arguments.output, image.size)
    try:
        render(image, arguments.output, progress)
    finally:
        progress.close()
    return 0
