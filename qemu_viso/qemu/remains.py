"""What a machine leaves behind for whoever must find out why it failed."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from qemu_viso.errors import GuestError
from qemu_viso.qemu.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qemu_viso.qemu.machine import Machine
    from qemu_viso.qemu.process import Child

SCREEN_SECONDS = 5.0
"""How long QEMU may take to write a screen: it may be the one that hangs."""


@dataclass(frozen=True, slots=True)
class Remains:
    """What is known of a machine, taken while it is still there or just after it has gone.

    Attributes:
        commands: the command lines of QEMU and of the processes that it depends on.
        transcript: QMP's last commands (`>`), replies (`<`) and events (`!`).
        console: the last that the guest wrote, as it was written.
        said: (program, what it wrote on standard error and standard output).
        screenshot: a PNG file's content; None where there is no screen, or nobody to draw it.
    """

    commands: tuple[tuple[str, ...], ...]
    transcript: tuple[str, ...]
    console: bytes
    said: tuple[tuple[str, str], ...]
    screenshot: bytes | None


async def remains_of(machine: Machine, others: Sequence[Child] = ()) -> Remains:
    """Take what is known of a machine; never fails.

    Args:
        machine: alive, or ended a moment ago.
        others: processes on which it depends.
    """
    screenshot = await _screenshot(machine) if machine.started else None
    return replace(remains_afterwards(machine, others), screenshot=screenshot)


def remains_afterwards(machine: Machine, others: Sequence[Child] = ()) -> Remains:
    """The same when nobody is there any more to draw a screen."""
    if not machine.started:
        return remains_without_machine(others)
    found = remains_without_machine((*others, machine.child))
    return replace(found, transcript=tuple(machine.monitor.transcript), console=machine.console.remembered)


def remains_without_machine(children: Sequence[Child]) -> Remains:
    """What is known of processes on which a machine would have depended that did not come to be."""
    commands = tuple(each.argv for each in children)
    return Remains(commands, (), b"", tuple((each.name, each.output) for each in children if each.output), None)


async def _screenshot(machine: Machine) -> bytes | None:
    if machine.child.status is not None:
        return None
    with tempfile.TemporaryDirectory(prefix="qemu-viso-screen-") as folder, contextlib.suppress(GuestError, OSError):
        path = Path(folder) / "screen.png"
        await machine.screenshot(str(path), Deadline.after(SCREEN_SECONDS))
        return path.read_bytes()
    return None
