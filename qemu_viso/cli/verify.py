"""`qemu-viso verify`: what a real guest sees, compared with what the recipe promises."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from qemu_viso.cli import signals
from qemu_viso.cli.common import add_json, open_recipe, print_json, set_up_logging

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from qemu_viso.guest.build import GuestBuild
    from qemu_viso.guest.view import Namespace
    from qemu_viso.opening import Opened
    from qemu_viso.verify.report import Report

DEFAULT_GUEST = "linux-cloud"
DEFAULT_BUS = "scsi-cd"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Recipes, guest, bus, namespaces."""
    parser.add_argument("specs", metavar="SPEC", nargs="+", help="the recipes, .viso files")
    parser.add_argument("--guest", default=DEFAULT_GUEST, help="the guest to boot (default: %(default)s)")
    parser.add_argument("--bus", default=DEFAULT_BUS, help="how the medium is attached (default: %(default)s)")
    parser.add_argument(
        "--namespace",
        action="append",
        choices=("rock", "joliet", "plain", "udf"),
        help="how the guest mounts it; may be given again (default: each that image and guest have)",
    )
    parser.add_argument(
        "--timeout", type=_seconds, default=120.0, metavar="SECONDS", help="for each recipe (default: %(default)g)"
    )
    parser.add_argument(
        "--boot-medium",
        action="store_true",
        help="let the firmware boot the medium, which must hold the guest's kernel, instead of loading the kernel",
    )
    parser.add_argument(
        "--firmware", choices=("bios", "uefi"), default="bios", help="what boots the medium (default: %(default)s)"
    )
    add_json(parser)


def _seconds(text: str) -> float:
    value = float(text)
    if not value > 0:  # nan neither
        raise ValueError
    return value


def run(arguments: argparse.Namespace) -> int:
    """Build the guest if it is missing, boot it for each recipe, print a line for each namespace."""
    set_up_logging()
    from qemu_viso.errors import UsageError
    from qemu_viso.guest.build import build_guest
    from qemu_viso.guest.definition import load_definition
    from qemu_viso.qemu.devices import BUSES
    from qemu_viso.verify.expected import namespaces

    if arguments.bus not in BUSES:
        raise UsageError(f"there is no bus '{arguments.bus}'", hint=f"one of {', '.join(BUSES)}")
    # Recipes first: a mistake in one is told before anything starts.
    opened = [open_recipe(spec) for spec in arguments.specs]
    definition = load_definition(arguments.guest)
    build = build_guest(definition, progress=lambda line: print(f"qemu-viso: {line}", file=sys.stderr))
    reports: list[Report] = []
    for each in opened:
        wanted = arguments.namespace or definition.sees(namespaces(each.tree))
        print(f"qemu-viso: booting {definition.name} to look at {each.recipe.path}", file=sys.stderr)
        found = signals.run(_verify(each, build, wanted, arguments))
        reports += found
        if not arguments.json:
            _show(found)
    if arguments.json:
        print_json({"reports": [report.to_json() for report in reports]})
    return 1 if any(report.differences for report in reports) else 0


async def _verify(
    opened: Opened, build: GuestBuild, namespaces: Sequence[Namespace], arguments: argparse.Namespace
) -> list[Report]:
    from qemu_viso.qemu.accelerators import best, verdicts
    from qemu_viso.verify.run import verify

    return await verify(
        opened,
        build,
        arguments.bus,
        namespaces,
        seconds=arguments.timeout,
        accelerator=best(await verdicts(), build.definition.platform).accelerator,
        from_medium=arguments.boot_medium,
        firmware=arguments.firmware,
    )


def _show(reports: list[Report]) -> None:
    for report in reports:
        print(report.summary(), flush=True)
        if report.differences:
            print(report.table(), flush=True)
