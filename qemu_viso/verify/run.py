"""One verification: a recipe, a guest, a bus, some namespaces in; reports out. No global state."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

from qemu_viso.guest.run import view
from qemu_viso.nbd import Server, listen_unix
from qemu_viso.nbd.uri import UnixAddress
from qemu_viso.qemu.deadline import Deadline
from qemu_viso.qemu.devices import BUSES, NbdMedium
from qemu_viso.verify.diff import compare
from qemu_viso.verify.expected import require
from qemu_viso.verify.report import Report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qemu_viso.guest.build import GuestBuild
    from qemu_viso.guest.view import Namespace
    from qemu_viso.opening import Opened

TIMEOUT_SECONDS = 120.0


async def verify(
    opened: Opened,
    build: GuestBuild,
    bus: str,
    namespaces: Sequence[Namespace],
    *,
    seconds: float = TIMEOUT_SECONDS,
    accelerator: str = "tcg",
    from_medium: bool = False,
    firmware: Literal["bios", "uefi"] = "bios",
) -> list[Report]:
    """Boot a guest once, and compare what it sees in each namespace with what the recipe promises.

    Args:
        opened: the recipe and its image, which is served over NBD meanwhile.
        build: the guest.
        bus: a key of `BUSES`.
        namespaces: how the guest mounts the medium, one after the other.
        seconds: how long all of it may take.
        accelerator: what executes the guest's instructions.
        from_medium: the guest's kernel is on the medium, and the machine's firmware starts it from there.
        firmware: the one that does.

    Raises:
        GuestError: QEMU or the guest failed.
        UsageError: the image has no such namespace.
        StaleSourceError: a source changed meanwhile.
    """
    for namespace in namespaces:
        require(opened.tree, namespace)
    started = time.monotonic()
    listener = listen_unix()
    assert isinstance(listener.address, UnixAddress)
    medium = NbdMedium(listener.address.path)
    with Server({opened.image.name: opened.image}, listener):
        views = await view(
            build,
            BUSES[bus],
            medium,
            namespaces,
            Deadline.after(seconds),
            accelerator=accelerator,
            from_medium=from_medium,
            firmware=firmware,
        )
    if opened.image.stale is not None:
        raise opened.image.stale
    reports = []
    for seen in views:
        expected, differences = compare(opened.tree, seen)
        took = time.monotonic() - started
        name = build.definition.name
        reports.append(Report(opened.recipe.path, name, bus, seen.namespace, expected, tuple(differences), took))
    return reports
