"""`qemu-viso check`: can the recipe be opened, and what is there to say about it?"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from qemu_viso.cli.common import add_json, add_recipe, print_json

if TYPE_CHECKING:
    import argparse

    from qemu_viso.errors import Place
    from qemu_viso.tree.facts import Facts
    from qemu_viso.viso.portable import Finding
    from qemu_viso.viso.recipe import Recipe

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
    from qemu_viso.opening import open_viso

    content: dict[str, object] = {"recipe": arguments.spec}
    lines: list[str] = []
    facts = None if arguments.portable is None else _facts(arguments.spec)
    opened = open_viso(arguments.spec, facts)
    gc.freeze()  # as in `open_recipe`
    if facts is not None:
        findings = _portability(opened.recipe, facts, arguments.portable)
        content["portability"] = [_json(finding, versions) for finding, versions in findings]
        lines += (f"{finding} (VirtualBox {', '.join(versions)})" for finding, versions in findings)
    missed: list[str] = []
    if arguments.consumer is not None:
        from qemu_viso.verify.consumers import missed_by

        missed = missed_by(opened.tree, arguments.consumer)
        content["consumer"] = arguments.consumer
        content["missed"] = missed
    found = bool(lines or missed)
    content["warnings"] = opened.tree.warnings
    lines += (f"warning: {warning}" for warning in opened.tree.warnings)
    lines += (f"{arguments.consumer}: {sentence}" for sentence in missed)
    if arguments.json:
        print_json(content)
        return 1 if found else 0
    for line in lines:
        print(line)
    if not found:
        print(f"{arguments.spec}: fine" + (f", with {len(lines)} warnings" if lines else ""))
    return 1 if found else 0


def _facts(path: str) -> Facts:
    from qemu_viso.errors import Place
    from qemu_viso.tree.facts import Facts

    return Facts(Place(path, 1, 1))


def _portability(recipe: Recipe, facts: Facts, version: str) -> list[tuple[Finding, list[str]]]:
    """Each finding, with the versions that it is about."""
    from qemu_viso.tree.portable import portability
    from qemu_viso.viso.options import Version

    versions: dict[Finding, list[str]] = {}
    for each in Version:
        if version in ("all", str(each)):
            for finding in portability(recipe, facts, each):
                versions.setdefault(finding, []).append(str(each))
    return sorted(versions.items(), key=lambda item: _position(item[0].place, recipe.path))


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
        "path": finding.path or None,
        "more": finding.more,
        "versions": versions,
    }
