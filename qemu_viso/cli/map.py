"""`qemu-viso map`: the regions of the image, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qemu_viso.cli.common import add_image, add_json, open_recipe, print_json

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Image."""
    add_image(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """A line for each region: first byte, bytes, and what fills them."""
    from qemu_viso.opening import is_image
    from qemu_viso.verify.report import printable

    size, regions = _of_file(arguments.spec) if is_image(arguments.spec) else _of_recipe(arguments.spec)
    if arguments.json:
        listed = [{"start": start, "size": length, "content": content} for start, length, content in regions]
        print_json({"size": size, "regions": listed})
        return 0
    for start, length, content in regions:
        print(f"{start:>14} {length:>14} {printable(content)}")
    return 0


def _of_recipe(path: str) -> tuple[int, list[tuple[int, int, str]]]:
    """The regions as they were laid out."""
    from qemu_viso.image.explain import describe

    image = open_recipe(path).image
    return image.size, [(start, stop - start, describe(content)) for start, stop, content in image.regions.spans()]


def _of_file(path: str) -> tuple[int, list[tuple[int, int, str]]]:
    """The structures, the files and the gaps between them, as they are found in the image."""
    from qemu_viso.anatomy import Anatomy
    from qemu_viso.opening import open_image_file

    image = open_image_file(path)
    found = Anatomy(image).claims(0, image.size)
    return image.size, [
        (low, high - low, "unused" if claim is None else f"{claim.kind} {claim.subject}".rstrip())
        for low, high, _, claim in found
    ]
