"""`qemu-viso check`: can the recipe be opened, and what is there to say about it?"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from qemu_viso.cli.common import add_json, add_recipe, print_json

if TYPE_CHECKING:
    import argparse

    from qemu_viso.errors import Place
    from qemu_viso.viso.portable import Finding

VERSIONS = ("6.1", "7.0", "trunk")
CONSUMERS = ("nocloud", "configdrive", "oemdrv", "autounattend")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Recipe, and what else to look at."""
    add_recipe(parser)
    parser.add_argument(
        "--for",
        dest="consumer",
        choices=CONSUMERS,
        help="say what this program would not find in the image: cloud-init's NoCloud or ConfigDrive, "
        "Anaconda (oemdrv), Windows Setup (autounattend)",
    )
    parser.add_argument(
        "--portable",
        choices=("all", *VERSIONS),
        metavar="VERSION",
        help="say what VirtualBox would refuse or render otherwise: --portable=6.1, 7.0 or trunk, or all of them "
        "without a version",
    )
    add_json(parser)


def arrange(words: list[str]) -> list[str]:
    """`--portable SPEC` is not a version and no recipe."""
    return ["--portable=all" if word == "--portable" else word for word in words]


def run(arguments: argparse.Namespace) -> int:
    """Open and lay out; refusals are errors like everywhere, warnings are printed; status 1 for findings."""
    content: dict[str, object] = {"recipe": arguments.spec}
    lines: list[str] = []
    found = False
    if arguments.portable is not None:
        findings = _portability(arguments.spec, arguments.portable)
        content["portability"] = [_json(finding, versions) for finding, versions in findings]
        lines += (f"{finding} (VirtualBox {', '.join(versions)})" for finding, versions in findings)
        found = bool(findings)
    if arguments.portable is None or arguments.consumer is not None:
        warnings, missed = _look_inside(arguments.spec, arguments.consumer)
        content["warnings"] = warnings
        lines += (f"warning: {warning}" for warning in warnings)
        if arguments.consumer is not None:
            content["consumer"] = arguments.consumer
            content["missed"] = missed
            lines += (f"{arguments.consumer}: {sentence}" for sentence in missed)
            found = found or bool(missed)
    if arguments.json:
        print_json(content)
        return 1 if found else 0
    for line in lines:
        print(line)
    if not found:
        print(f"{arguments.spec}: fine" + (f", with {len(lines)} warnings" if lines else ""))
    return 1 if found else 0


def _portability(path: str, version: str) -> list[tuple[Finding, list[str]]]:
    """Each finding, with the versions that it is about; no source is looked at."""
    from qemu_viso.viso import read_recipe
    from qemu_viso.viso.options import Version
    from qemu_viso.viso.portable import portability

    recipe = read_recipe(path)
    versions: dict[Finding, list[str]] = {}
    for each in Version:
        if version in ("all", str(each)):
            for finding in portability(recipe, each):
                versions.setdefault(finding, []).append(str(each))
    return sorted(versions.items(), key=lambda item: _position(item[0].place, path))


def _position(place: Place, path: str) -> tuple[bool, str, int, int]:
    return place.file != path, place.file, place.line, place.column


def _json(finding: Finding, versions: list[str]) -> dict[str, object]:
    place = finding.place
    return {
        "file": place.file,
        "line": place.line,
        "column": place.column,
        "what": finding.what,
        "reason": finding.reason,
        "versions": versions,
    }


def _look_inside(path: str, consumer: str | None) -> tuple[list[str], list[str]]:
    """The warnings of opening a recipe, and what a consumer would not find in its image."""
    from qemu_viso.opening import open_viso

    tree = open_viso(path).tree
    gc.freeze()  # as in `open_recipe`
    if consumer is None:
        return tree.warnings, []
    from qemu_viso.verify.consumers import missed_by

    return tree.warnings, missed_by(tree, consumer)
