"""`qemu-viso check`: can the recipe be opened, and what is there to say about it?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qemu_viso.cli.common import add_json, add_recipe, print_json

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Recipe."""
    add_recipe(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Open and lay out; refusals are errors like everywhere, warnings are printed."""
    from qemu_viso.opening import open_viso

    opened = open_viso(arguments.spec)
    warnings = opened.tree.warnings
    if arguments.json:
        print_json({"recipe": arguments.spec, "warnings": warnings})
        return 0
    for warning in warnings:
        print(f"warning: {warning}")
    print(f"{arguments.spec}: fine" + (f", with {len(warnings)} warnings" if warnings else ""))
    return 0
