"""Changing the medium of a drive while the guest runs."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qemu_viso.errors import GuestError
from qemu_viso.qemu.deadline import Deadline
from qemu_viso.qemu.devices import BlockNode

if TYPE_CHECKING:
    from qemu_viso.qemu.devices import BlockMedium
    from qemu_viso.qemu.machine import Machine

# Linux closes the tray whenever somebody opens the device (its `autoclose`), which may be just now.
TRIES = 5
# For the steps back, whose time is not the caller's: that may be over.
UNDO_SECONDS = 5.0
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class _State:
    """A drive: the name of the node in it, None if it is empty, and whether its tray is open."""

    node: str | None
    is_open: bool


async def change_medium(machine: Machine, drive: str, medium: BlockMedium, deadline: Deadline) -> None:
    """Open the tray, exchange the medium, close the tray.

    The tray is forced: while the guest locks the door, a mere request is a race that the guest may lose. The old
    node is removed once the drive has let go of it; readers of the old medium keep it until then.

    Args:
        machine: released.
        drive: the id of the drive's device.
        medium: the new medium.
        deadline: when it is too late.

    Raises:
        GuestError: the drive has no tray, or the new medium cannot be opened, or QEMU refuses a step. What was done is
            undone, where QEMU lets it be; the error tells what the drive holds, where QEMU can still be asked.
    """
    new = BlockNode(f"medium-{next(_numbers)}", medium)
    old = await _look(machine, drive, deadline)
    try:
        await machine.execute("blockdev-add", deadline, new.options())
        await machine.execute("blockdev-open-tray", deadline, {"id": drive, "force": True})
        await _with_open_tray(machine, "blockdev-remove-medium", {"id": drive}, deadline)
        await _insert(machine, drive, new.name, deadline)
        await machine.execute("blockdev-close-tray", deadline, {"id": drive})
        if old.node is not None:
            await machine.execute("blockdev-del", deadline, {"node-name": old.node})
    except GuestError as error:
        now = await _undo(machine, drive, old, new.name)
        if now is None:
            raise
        holds = "holds the new medium" if now.node == new.name else "holds the old medium" if now.node else "is empty"
        first, *rest = error.message.split("\n")  # the last words of QEMU and of the guest come below
        raise GuestError("\n".join([f"{first}; the drive {holds}", *rest])) from None


async def _insert(machine: Machine, drive: str, node: str, deadline: Deadline) -> None:
    await _with_open_tray(machine, "blockdev-insert-medium", {"id": drive, "node-name": node}, deadline)


async def _with_open_tray(machine: Machine, command: str, arguments: dict[str, object], deadline: Deadline) -> None:
    """Run a command that needs the tray open, and open it again if the guest has closed it meanwhile."""
    drive = arguments["id"]
    assert isinstance(drive, str)
    for _ in range(TRIES - 1):
        try:
            await machine.execute(command, deadline, arguments)
        except GuestError:
            with contextlib.suppress(GuestError):  # the first reason is the one that is told
                if not (await _look(machine, drive, deadline)).is_open:
                    await machine.execute("blockdev-open-tray", deadline, {"id": drive, "force": True})
                    continue
            raise
        return
    await machine.execute(command, deadline, arguments)


async def _undo(machine: Machine, drive: str, old: _State, new: str) -> _State | None:
    """Put the old medium back where there is none now, and forget the new one unless it is in the drive.

    Returns:
        how the drive is then; None if that cannot be known.
    """
    deadline = Deadline.after(UNDO_SECONDS)
    try:
        now = await _look(machine, drive, deadline)
        if now.node is None and old.node is not None:
            with contextlib.suppress(GuestError):
                await _insert(machine, drive, old.node, deadline)
        if not old.is_open:
            with contextlib.suppress(GuestError):
                await machine.execute("blockdev-close-tray", deadline, {"id": drive})
        with contextlib.suppress(GuestError):  # QEMU keeps a node that is in use, and may never have got this one
            await machine.execute("blockdev-del", deadline, {"node-name": new})
        return await _look(machine, drive, deadline)
    except GuestError:
        return None


async def _look(machine: Machine, drive: str, deadline: Deadline) -> _State:
    answer = await machine.execute("query-block", deadline)
    assert isinstance(answer, list)
    for block in answer:
        if str(block.get("qdev", "")).split("/")[-1] == drive or block.get("qdev") == drive:
            inserted = block.get("inserted")
            return _State(None if inserted is None else str(inserted["node-name"]), bool(block.get("tray_open")))
    return _State(None, is_open=False)
