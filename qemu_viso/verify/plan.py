"""Which guest looks at which recipe over which bus in which namespaces, and what cannot be done, with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qemu_viso.errors import ConfigurationError, QemuVisoError, UsageError
from qemu_viso.guest.definition import FAST, guest_names, load_definition
from qemu_viso.guest.view import NAMESPACES
from qemu_viso.qemu.devices import BUSES
from qemu_viso.verify.expected import missing_namespace, namespaces

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from qemu_viso.guest.definition import GuestDefinition
    from qemu_viso.guest.view import Namespace
    from qemu_viso.opening import Opened

DEFAULT_GUEST = "linux-cloud"
DEFAULT_BUS = "scsi-cd"
ALL = "all"
SMALLEST_DISK = 16 * 63 * 512
"""Bytes of a cylinder, of which SeaBIOS needs one; GRUB sees other disks than CDs through it."""


@dataclass(frozen=True, slots=True)
class Look:
    """One recipe, and how a guest mounts it, one namespace after the other."""

    opened: Opened
    namespaces: tuple[Namespace, ...]


@dataclass(frozen=True, slots=True)
class Boot:
    """A guest on a bus, and all that it looks at.

    Attributes:
        guest: its definition.
        bus: a key of `BUSES`.
        looks: at least one.
    """

    guest: GuestDefinition
    bus: str
    looks: tuple[Look, ...]


@dataclass(frozen=True, slots=True)
class Impossible:
    """A combination that was asked for and cannot be.

    Attributes:
        recipe: path of the recipe.
        guest: name of the guest.
        bus: name of the bus.
        namespace: in which it was to be looked at.
        reason: why.
    """

    recipe: str
    guest: str
    bus: str
    namespace: Namespace
    reason: QemuVisoError


def choose_guests(words: Sequence[str], folder: Path | None = None) -> list[GuestDefinition]:
    """The guests that were named, without doubles; `all` and `fast` name several.

    Raises:
        MissingInputError: there is no such guest.
    """
    names: dict[str, None] = {}
    for word in words or (DEFAULT_GUEST,):
        if word in (ALL, FAST):
            every = [load_definition(name, folder) for name in guest_names(folder)]
            names.update(dict.fromkeys(each.name for each in every if word == ALL or each.tier == FAST))
        else:
            names[word] = None
    return [load_definition(name, folder) for name in names]


def check_buses(words: Sequence[str]) -> None:
    """Raise `UsageError` for a word that is no bus, nor `all`."""
    for word in words:
        if word not in BUSES and word != ALL:
            raise UsageError(f"there is no bus '{word}'", hint=f"one of {', '.join(BUSES)}, or {ALL}")


def check_namespaces(words: Sequence[str]) -> None:
    """Raise `UsageError` for a word that is no namespace, nor `all`."""
    for word in words:
        if word not in (*NAMESPACES, ALL):
            raise UsageError(f"there is no namespace '{word}'", hint=f"one of {', '.join(NAMESPACES)}, or {ALL}")


def plan(
    recipes: Sequence[Opened], guests: Sequence[GuestDefinition], buses: Sequence[str], wanted: Sequence[str]
) -> tuple[list[Boot], list[Impossible]]:
    """Every boot that answers what was asked, and what was asked by name and cannot be.

    Args:
        recipes: laid out.
        guests: who looks.
        buses: their names, or `all` for each that a guest can drive; none for `scsi-cd`, or what a guest has instead.
        wanted: namespaces; none or `all` for each that image and guest both have.
    """
    boots, impossible = [], []
    for guest in guests:
        for bus in _buses(guest, buses):
            looks = []
            for opened in recipes:
                possible, refused = _namespaces(opened, guest, wanted)
                obstacle = _obstacle(opened, guest, bus)
                if obstacle is not None:
                    refused = [(name, obstacle) for name in possible] + refused
                    possible = ()
                impossible += [Impossible(opened.recipe.path, guest.name, bus, *each) for each in refused]
                if possible:
                    looks.append(Look(opened, possible))
            if looks:
                boots.append(Boot(guest, bus, tuple(looks)))
    return boots, impossible


def _buses(guest: GuestDefinition, words: Sequence[str]) -> list[str]:
    if not words:
        return [DEFAULT_BUS if DEFAULT_BUS in guest.buses else guest.buses[0]]
    found: dict[str, None] = {}
    for word in words:
        found.update(dict.fromkeys(guest.buses if word == ALL else (word,)))
    return list(found)


def _obstacle(opened: Opened, guest: GuestDefinition, bus: str) -> QemuVisoError | None:
    """Why a guest cannot see an image on a bus."""
    if bus not in guest.buses:
        return ConfigurationError(
            f"the guest '{guest.name}' cannot drive the bus '{bus}'", hint=f"it can drive {', '.join(guest.buses)}"
        )
    if guest.reader == "grub" and not BUSES[bus].removable and opened.image.size < SMALLEST_DISK:
        return ConfigurationError(
            f"the firmware shows GRUB no disk of {opened.image.size:,} bytes",
            hint=f"it needs {SMALLEST_DISK:,} bytes; a CD drive shows images of any size",
        )
    return None


def _namespaces(
    opened: Opened, guest: GuestDefinition, wanted: Sequence[str]
) -> tuple[tuple[Namespace, ...], list[tuple[Namespace, QemuVisoError]]]:
    present = namespaces(opened.tree)
    seen = guest.sees(present)
    if not wanted or ALL in wanted:
        return seen, []
    refused: list[tuple[Namespace, QemuVisoError]] = []
    for each in NAMESPACES:
        if each in wanted and each not in present:
            refused.append((each, missing_namespace(opened.tree, each)))
        elif each in wanted and each not in seen:
            reason = ConfigurationError(
                f"the guest '{guest.name}' cannot be made to look at {each}", hint=f"it looks at {', '.join(seen)}"
            )
            refused.append((each, reason))
    return tuple(each for each in seen if each in wanted), refused
