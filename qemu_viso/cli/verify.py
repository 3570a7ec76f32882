"""`qemu-viso verify`: what real guests see, compared with what recipes promise."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from qemu_viso.cli import signals
from qemu_viso.cli.common import add_json, open_recipe, print_json, set_up_logging

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from qemu_viso.errors import QemuVisoError
    from qemu_viso.guest.build import GuestBuild
    from qemu_viso.guest.definition import GuestDefinition
    from qemu_viso.verify.plan import Boot, Look
    from qemu_viso.verify.report import Report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Recipes, guests, buses, namespaces, reports."""
    parser.add_argument("specs", metavar="SPEC", nargs="+", help="the recipes, .viso files")
    parser.add_argument(
        *("--guests", "--guest"),
        type=_words,
        action="extend",
        metavar="NAME,…",
        help="the guests to boot: names, fast or all (default: linux-cloud)",
    )
    parser.add_argument(
        *("--buses", "--bus"),
        type=_words,
        action="extend",
        metavar="NAME,…",
        help="how the medium is attached: names, or all that the guest can drive (default: scsi-cd)",
    )
    parser.add_argument(
        *("--namespaces", "--namespace"),
        type=_words,
        action="extend",
        metavar="NAME,…",
        help="how the guest mounts it: rock, joliet, plain, udf or all (default: each that image and guest have)",
    )
    parser.add_argument("--jobs", "-j", type=_count, default=1, metavar="N", help="guests at a time (default: 1)")
    parser.add_argument(
        "--timeout",
        type=_seconds,
        metavar="SECONDS",
        help="for each recipe, beside the time that many files and much data take (default: 60, under TCG 120)",
    )
    parser.add_argument(
        "--boot-medium",
        action="store_true",
        help="let the firmware boot the medium, which must hold the guest's kernel, instead of loading the kernel",
    )
    parser.add_argument(
        "--firmware", choices=("bios", "uefi"), default="bios", help="what boots the medium (default: %(default)s)"
    )
    parser.add_argument(
        "--keep", metavar="DIR", help="where a folder is made for each failure (default: in ~/.local/state/qemu-viso)"
    )
    parser.add_argument("--junit", metavar="FILE", help="write the results as JUnit XML")
    parser.add_argument("--html", metavar="FILE", help="write the results as a page with all that is known of failures")
    add_json(parser)


def _words(text: str) -> list[str]:
    words = text.split(",")
    if not all(words):
        raise ValueError
    return words


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not value > 0:  # nan neither
        raise ValueError
    return value


def run(arguments: argparse.Namespace) -> int:
    """Plan, build the guests that are missing, boot them, print a row for each look; the exit status."""
    set_up_logging()
    from qemu_viso.verify.fanout import FanOut, Options, failed_boot, skipped
    from qemu_viso.verify.plan import check_buses, check_namespaces, choose_guests, plan
    from qemu_viso.verify.table import Table

    buses, namespaces = arguments.buses or [], arguments.namespaces or []
    check_buses(buses)
    check_namespaces(namespaces)
    # Mistakes are told before anything starts: those in recipes, and places that cannot be written.
    recipes = [open_recipe(spec) for spec in arguments.specs]
    _write_files(arguments, [])
    boots, impossible = plan(recipes, choose_guests(arguments.guests or []), buses, namespaces)
    if not boots and impossible:
        raise impossible[0].reason
    reports = skipped(impossible)
    builds, unbuilt = _build([boot.guest for boot in boots])
    for boot in boots:
        if boot.guest.name in unbuilt:
            reports += failed_boot(boot, unbuilt[boot.guest.name])
    boots = [boot for boot in boots if boot.guest.name in builds]
    if not boots and not any(report.outcome == "failed" for report in reports):
        raise next(iter(unbuilt.values()))
    table = Table(boots, reports, show=not arguments.json)
    table.add(reports)
    options = Options(
        arguments.jobs,
        arguments.timeout,
        arguments.boot_medium,
        arguments.firmware,
        None if arguments.keep is None else Path(arguments.keep),
        lambda boot, look: _repeat(arguments, boot, look),
    )
    reports += signals.run(FanOut(builds, options, _announce, table.add).run(boots))
    _write_files(arguments, reports)
    if arguments.json:
        print_json({"reports": [report.to_json() for report in reports]})
    return _status(reports)


def _announce(boot: Boot) -> None:
    looks = ", ".join(look.opened.recipe.path for look in boot.looks)
    print(f"qemu-viso: booting {boot.guest.name} to look at {looks} on {boot.bus}", file=sys.stderr, flush=True)


def _build(guests: Sequence[GuestDefinition]) -> tuple[dict[str, GuestBuild], dict[str, QemuVisoError]]:
    """The guests, built if they are missing, and why some are not."""
    from qemu_viso.errors import QemuVisoError
    from qemu_viso.guest.build import build_guest
    from qemu_viso.qemu.process import find_program

    builds: dict[str, GuestBuild] = {}
    unbuilt: dict[str, QemuVisoError] = {}
    for guest in dict.fromkeys(guests):
        try:
            find_program(guest.platform.program)  # without it, there is no use in downloads
            builds[guest.name] = build_guest(guest, progress=lambda line: print(f"qemu-viso: {line}", file=sys.stderr))
        except QemuVisoError as error:
            unbuilt[guest.name] = error
    return builds, unbuilt


def _repeat(arguments: argparse.Namespace, boot: Boot, look: Look) -> str:
    """The command that lets one guest look at one recipe again."""
    words = ["qemu-viso", "verify", os.path.abspath(look.opened.recipe.path)]
    words += ["--guests", boot.guest.name, "--buses", boot.bus, "--namespaces", ",".join(look.namespaces)]
    words += [] if arguments.timeout is None else ["--timeout", f"{arguments.timeout:g}"]
    words += ["--boot-medium", "--firmware", arguments.firmware] if arguments.boot_medium else []
    return shlex.join(words)


def _write_files(arguments: argparse.Namespace, reports: Sequence[Report]) -> None:
    """The reports that were asked for as files."""
    from qemu_viso.verify.html import html
    from qemu_viso.verify.junit import junit

    for path, make in ((arguments.junit, junit), (arguments.html, html)):
        if path is not None:
            _create(path, make(reports))


def _create(path: str, text: str) -> None:
    from qemu_viso.errors import CannotCreateError

    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise CannotCreateError(f"the report '{path}' cannot be written: {error.strerror or error}") from None


def _status(reports: Sequence[Report]) -> int:
    """Of the first that failed; else 1 for differences; else 0, or the reason of all having been skipped."""
    failed = [report.status for report in reports if report.outcome == "failed"]
    if failed:
        return failed[0]
    if any(report.outcome == "different" for report in reports):
        return 1
    if all(report.outcome == "skipped" for report in reports):
        return next((report.status for report in reports), 0)
    return 0
