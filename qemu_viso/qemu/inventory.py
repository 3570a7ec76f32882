"""What each QEMU on this host can be: its machine types, the buses that our media can take, UEFI firmware."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qemu_viso.errors import MissingProgramError
from qemu_viso.qemu.devices import BUSES
from qemu_viso.qemu.firmware import find_uefi
from qemu_viso.qemu.platforms import PLATFORMS
from qemu_viso.qemu.programs import ASK_SECONDS, ask_version

if TYPE_CHECKING:
    from qemu_viso.qemu.devices import Bus
    from qemu_viso.qemu.platforms import Platform

_MACHINE = re.compile(r"^(?!Supported machines)([\w.-]+) +\S", re.MULTILINE)
_DEVICE = re.compile(r'^name "([^"]+)"', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Inventory:
    """One QEMU.

    Attributes:
        architecture: Debian's name of what it emulates.
        program: as it is started.
        version: as it says; None if it does not.
        machines: all its machine types.
        used: those of them, of which there may be a hundred, on which guests are run.
        buses: those of `BUSES` for which it has the machine and the devices.
        uefi: the path of the UEFI firmware that is taken; None if none is installed.
    """

    architecture: str
    program: str
    version: str | None
    machines: tuple[str, ...]
    used: tuple[str, ...]
    buses: tuple[str, ...]
    uefi: str | None


def inventories() -> list[Inventory]:
    """Of every QEMU that is installed and emulates what a guest may run on."""
    found = []
    for platform in PLATFORMS.values():
        path = shutil.which(platform.program)
        if path is not None:
            found.append(take(platform, path))
    return found


def take(platform: Platform, path: str) -> Inventory:
    """Of one QEMU, which is asked."""
    machines = _names(_MACHINE, path, "-machine")
    devices = set(_names(_DEVICE, path, "-device"))
    wanted = {_machine(platform, bus) for bus in BUSES.values()}
    used = tuple(name for name in machines if name in wanted)
    buses = tuple(name for name, bus in BUSES.items() if _has(platform, bus, used, devices))
    try:
        uefi = find_uefi(platform).code
    except MissingProgramError:
        uefi = None
    return Inventory(platform.name, platform.program, ask_version(path), machines, used, buses, uefi)


def _machine(platform: Platform, bus: Bus) -> str:
    return bus.machine if platform.machine is None else platform.machine.partition(",")[0]


def _has(platform: Platform, bus: Bus, machines: tuple[str, ...], devices: set[str]) -> bool:
    drivers = {each.driver for each in bus.frontends(platform.transport)}
    # Only the PC brings a controller for IDE with it, which is ours nowhere.
    carried = platform.machine is None or "ide-cd" not in drivers
    return carried and _machine(platform, bus) in machines and drivers <= devices


def _names(pattern: re.Pattern[str], path: str, option: str) -> tuple[str, ...]:
    """What QEMU lists for an option; nothing if it does not answer."""
    try:
        done = subprocess.run(
            [path, option, "help"], capture_output=True, text=True, errors="replace", timeout=ASK_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(pattern.findall(done.stdout))
