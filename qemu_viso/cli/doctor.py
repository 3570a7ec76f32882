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

PROBED = "qemu-system-x86_64"
"""The program under which accelerators are tried."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Only how to print."""
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Look around; status 69 where something is missing that the usual guest needs."""
    from qemu_viso.errors import MissingProgramError
    from qemu_viso.guest.build import find_build
    from qemu_viso.guest.definition import guest_names, load_definition
    from qemu_viso.qemu.accelerators import verdicts
    from qemu_viso.qemu.inventory import inventories
    from qemu_viso.qemu.programs import PROGRAMS, look_for

    programs = [look_for(program) for program in PROGRAMS]
    guests = {name: find_build(load_definition(name)) is not None for name in guest_names()}
    qemu = next(found for found in programs if found.program.name == PROBED)
    accelerators = signals.run(verdicts(anew=True)) if qemu.path is not None else []
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
        print(f"{found.program.name:<22}{state:<20}{found.program.needed_for}")
    for each in qemus:
        print(
            f"machines {each.architecture:<13}{each.version or 'version unknown':<20}{', '.join(each.used) or 'none'}"
        )
        print(f"buses {each.architecture:<16}{', '.join(each.buses) or 'none'}")
        print(f"firmware {each.architecture:<13}{each.uefi or 'no UEFI'}")
    for verdict in accelerators:
        state = f"works ({verdict.seconds:.2f} s)" if verdict.works else "not usable"
        print(f"accelerator {verdict.accelerator:<10}{state:<20}{verdict.reason}".rstrip())
    for name, built in guests.items():
        print(f"guest {name:<16}{'built' if built else 'not built yet'}")


def _json(found: Found) -> dict[str, object]:
    return {
        "name": found.program.name,
        "package": found.program.package,
        "needed_for": found.program.needed_for,
        "required": found.program.required,
        "path": found.path,
        "version": found.version,
    }
