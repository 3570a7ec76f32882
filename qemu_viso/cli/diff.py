"""`qemu-viso diff`: how two images differ, by structure."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from qemu_viso.cli.common import add_json, open_image, print_json

if TYPE_CHECKING:
    import argparse

    from qemu_viso.compare import Difference


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Two images."""
    parser.add_argument("left", metavar="A", help="a recipe, or an image in a file")
    parser.add_argument("right", metavar="B", help="the other recipe or image")
    parser.add_argument("--placement", action="store_true", help="list the files that lie elsewhere, too")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """A line for each difference; status 1 if there is one."""
    from qemu_viso.compare import compare

    left, right = open_image(arguments.left), open_image(arguments.right)
    found = compare(left, right, placement=arguments.placement)
    if arguments.json:
        print_json(
            {
                "left": {"path": arguments.left, "size": left.size},
                "right": {"path": arguments.right, "size": right.size},
                "looked_at": found.looked_at,
                "differences": [asdict(each) for each in found.differences],
            }
        )
    elif found.differences:
        _show(found.differences)
        if found.looked_at < min(left.size, right.size):
            print(f"behind byte {found.looked_at}, bytes of structures and gaps were not compared")
    return 1 if found.differences else 0


def _show(differences: tuple[Difference, ...]) -> None:
    """The differences in columns."""
    from qemu_viso.verify.report import printable

    rows = [("what", "where", "field", "A", "B")]
    for each in differences:
        namespaces = f" ({', '.join(each.namespaces)})" if each.namespaces and each.subject[0] == "/" else ""
        more = f" (and {each.count - 1} more)" if each.count > 1 else ""
        at = "" if each.offset is None else f" @{each.offset}"
        rows.append((each.part, each.subject + namespaces, each.field + at + more, each.left, each.right))
    shown = [tuple(printable(cell) for cell in row) for row in rows]
    widths = [min(60, max(len(row[column]) for row in shown)) for column in range(4)]
    for row in shown:
        print("  ".join((*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4])))
