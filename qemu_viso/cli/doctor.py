"""`qemu-viso doctor`: what this host has, and what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qemu_viso.cli.common import add_json, print_json

if TYPE_CHECKING:
    import argparse

    from qemu_viso.qemu.programs import Found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Only how to print."""
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Look around; status 69 where something is missing that the usual guest needs."""
    from qemu_viso.errors import MissingProgramError
    from qemu_viso.guest.build import find_build
    from qemu_viso.guest.definition import guest_names, load_definition
    from qemu_viso.qemu.programs import PROGRAMS, look_for

    programs = [look_for(program) for program in PROGRAMS]
    guests = {name: find_build(load_definition(name)) is not None for name in guest_names()}
    lacking = [found for found in programs if found.path is None and found.program.required]
    if arguments.json:
        print_json({"programs": [_json(found) for found in programs], "guests": guests, "ready": not lacking})
    else:
        _show(programs, guests)
    missing = sorted({found.program.package for found in programs if found.path is None})
    if missing and not arguments.json:
        print(f"\nwhat is missing comes with: apt-get install {' '.join(missing)}")
    return MissingProgramError.status if lacking else 0


def _show(programs: list[Found], guests: dict[str, bool]) -> None:
    for found in programs:
        if found.path is None:
            state = "missing" if found.program.required else "missing (optional)"
        else:
            state = found.version or "version unknown"
        print(f"{found.program.name:<22}{state:<20}{found.program.needed_for}")
    for name, built in guests.items():
        print(f"guest {name:<16}{'built' if built else 'not built yet':<20}")


def _json(found: Found) -> dict[str, object]:
    return {
        "name": found.program.name,
        "package": found.program.package,
        "needed_for": found.program.needed_for,
        "required": found.program.required,
        "path": found.path,
        "version": found.version,
    }
