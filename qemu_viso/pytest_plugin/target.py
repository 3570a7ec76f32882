"""Which guest looks at the medium, over which bus, started by which firmware; and whether this host can do it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NoReturn, cast, get_args

import pytest

from qemu_viso.errors import ConfigurationError, MissingProgramError, QemuVisoError
from qemu_viso.guest.definition import guest_names, load_definition
from qemu_viso.qemu.devices import BUSES
from qemu_viso.qemu.firmware import find_uefi, require_bios
from qemu_viso.qemu.process import find_program

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from qemu_viso.guest.definition import GuestDefinition

__tracebackhide__ = True

Firmware = Literal["bios", "uefi"]
USUAL_BUS = "scsi-cd"
FIRMWARE: tuple[Firmware, ...] = get_args(Firmware)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a medium is looked at.

    Attributes:
        guest: name of the guest's definition.
        bus: name of the bus, a key of `BUSES`.
        firmware: what starts the medium; None where QEMU loads the guest's kernel.
    """

    guest: str
    bus: str
    firmware: Firmware | None = None

    def __str__(self) -> str:
        parts = (self.guest, self.bus) if self.firmware is None else (self.guest, self.bus, self.firmware)
        return " · ".join(parts)

    @property
    def definition(self) -> GuestDefinition:
        """The guest's definition."""
        return load_definition(self.guest)

    def require(self) -> None:
        """Skip the test, with the reason, where this host or this guest cannot do it."""
        definition = self.definition
        if self.bus not in definition.buses:
            drivable = ", ".join(definition.buses)
            pytest.skip(f"the guest '{self.guest}' cannot drive the bus '{self.bus}'; it can drive {drivable}")
        try:
            find_program(definition.platform.program)
            if self.firmware == "uefi":
                find_uefi(definition.platform)
            elif self.firmware == "bios":
                require_bios(definition.platform)
        except (MissingProgramError, ConfigurationError) as error:
            skip_for(error)


def require_program(program: str) -> None:
    """Skip the test where a program is missing."""
    try:
        find_program(program)
    except MissingProgramError as error:
        skip_for(error)


def skip_for(error: QemuVisoError) -> NoReturn:
    """Skip the test, with the error's sentence as the reason."""
    pytest.skip(error.message if error.hint is None else f"{error.message} ({error.hint})")


def target(guest: str, bus: str | None = None, firmware: str | None = None) -> Target:
    """A target, its names checked; the test fails where one of them is unknown.

    Without a bus it is the usual one, or the first that the guest can drive if it cannot drive that.
    """
    _check("guest", (guest,))
    if bus is None:
        buses = load_definition(guest).buses
        bus = USUAL_BUS if USUAL_BUS in buses else buses[0]
    _check("bus", (bus,))
    if firmware is not None:
        _check("firmware", (firmware,))
    return Target(guest, bus, cast("Firmware | None", firmware))


def names_of(kind: str, marker: pytest.Mark) -> tuple[str, ...]:
    """The names that a marker gives, in order."""
    if not marker.args or marker.kwargs:
        pytest.fail(f"the marker {marker.name} takes one or more names: @pytest.mark.{marker.name}('…')", pytrace=False)
    _check(kind, marker.args)
    return marker.args


def _check(kind: str, names: Iterable[object]) -> None:
    every: dict[str, Sequence[object]] = {"guest": guest_names(), "bus": list(BUSES), "firmware": FIRMWARE}
    known = every[kind]
    for name in names:
        if name not in known:
            pytest.fail(f"there is no {kind} '{name}'; one of {', '.join(map(str, known))}", pytrace=False)
