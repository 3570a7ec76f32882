"""`qemu-viso doctor`: what this host has, and what is missing."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from qemu_viso.cli import signals
from qemu_viso.cli.common import add_json, print_json

if TYPE_CHECKING:
    import argparse

    from qemu_viso.qemu.accelerators import Verdict
    from qemu_viso.qemu.inventory import Inventory
    from qemu_viso.qemu.programs import Found

PROBING = {"qemu-system-x86_64", "setpriv"}
"""The programs with which accelerators are tried."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Only how to print."""
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Look around; status 69 where something is missing that the usual guest needs."""
    from qemu_viso.errors import MissingProgramError
    from qemu_viso.guest.build import find_build
    from qemu_viso.guest.definition import definitions_folder, guest_names, load_definition
    from qemu_viso.qemu.accelerators import verdicts
    from qemu_viso.qemu.inventory import inventories
    from qemu_viso.qemu.programs import PROGRAMS, look_for

    programs = [look_for(program) for program in PROGRAMS]
    definitions = [load_definition(name) for name in guest_names()]
    systems = definitions_folder() / "systems"
    definitions += [load_definition(name, systems) for name in guest_names(systems)]
    guests = {each.name: find_build(each) is not None for each in definitions}
    present = {found.program.name for found in programs if found.path is not None}
    accelerators = signals.run(verdicts(anew=True)) if present >= PROBING else []
    qemus = inventories()
    lacking = [found for found in programs if found.path is None and found.program.required]
    if arguments.json:
        content: dict[str, object] = {
            "programs": [_json(found) for found in programs],
            "qemus": [asdict(each) for each in qemus],
            "accelerators": [asdict(verdict) for verdict in accelerators],
            "guests": guests,
            "ready": not lacking,
        }
        print_json(content)
    else:
        _show(programs, qemus, accelerators, guests)
    missing = sorted({found.program.package for found in programs if found.path is None})
    if missing and not arguments.json:
        print(f"\nwhat is missing comes with: apt-get install {' '.join(missing)}")
    return MissingProgramError.status if lacking else 0


def _show(programs: list[Found], qemus: list[Inventory], accelerators: list[Verdict], guests: dict[str, bool]) -> None:
    for found in programs:
        if found.path is None:
            state = "missing" if found.program.required else "missing (optional)"
        else:
            state = found.version or "version unknown"
        _line(found.program.name, state, found.program.needed_for)
    for each in qemus:
        _line(f"machines {each.architecture}", each.version or "version unknown", ", ".join(each.used) or "none")
        _line(f"buses {each.architecture}", ", ".join(each.buses) or "none")
        _line(f"firmware {each.architecture}", each.uefi or "no UEFI")
    for verdict in accelerators:
        state = f"works ({verdict.seconds:.2f} s)" if verdict.works else "not usable"
        _line(f"accelerator {verdict.accelerator}", state, verdict.reason)
    for name, built in guests.items():
        _line(f"guest {name}", "built" if built else "not built yet")


def _line(what: str, state: str, more: str = "") -> None:
    print(f"{what:<25}{state:<20}{more}".rstrip())


def _json(found: Found) -> dict[str, object]:
    return {
        "name": found.program.name,
        "package": found.program.package,
        "needed_for": found.program.needed_for,
        "required": found.program.required,
        "path": found.path,
        "version": found.version,
    }
