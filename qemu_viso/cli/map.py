"""`qemu-viso map`: the regions of the image, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qemu_viso.cli.common import add_json, add_recipe, open_recipe, print_json

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Recipe."""
    add_recipe(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """A line for each region: first byte, bytes, and what fills them."""
    from qemu_viso.image.explain import describe
    from qemu_viso.verify.report import printable

    image = open_recipe(arguments.spec).image
    if arguments.json:
        regions = [
            {"start": start, "size": stop - start, "content": describe(content)}
            for start, stop, content in image.regions.spans()
        ]
        print_json({"size": image.size, "regions": regions})
        return 0
    for start, stop, content in image.regions.spans():
        print(f"{start:>14} {stop - start:>14} {printable(describe(content))}")
    return 0
