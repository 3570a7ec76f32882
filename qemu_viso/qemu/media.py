"""Changing the medium of a drive while the guest runs."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from qemu_viso.errors import GuestError
from qemu_viso.qemu.devices import BlockNode

if TYPE_CHECKING:
    from qemu_viso.qemu.deadline import Deadline
    from qemu_viso.qemu.devices import BlockMedium
    from qemu_viso.qemu.machine import Machine

_numbers = itertools.count(1)


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
        GuestError: the drive has no tray, or the new medium cannot be opened; the old one then stays.
    """
    node = BlockNode(f"medium-{next(_numbers)}", medium)
    await machine.execute("blockdev-add", deadline, node.options())
    try:
        old = await _inserted_node(machine, drive, deadline)
        await machine.execute("blockdev-open-tray", deadline, {"id": drive, "force": True})
    except GuestError:
        await machine.execute("blockdev-del", deadline, {"node-name": node.name})
        raise
    await machine.execute("blockdev-remove-medium", deadline, {"id": drive})
    await machine.execute("blockdev-insert-medium", deadline, {"id": drive, "node-name": node.name})
    await machine.execute("blockdev-close-tray", deadline, {"id": drive})
    if old is not None:
        await machine.execute("blockdev-del", deadline, {"node-name": old})


async def _inserted_node(machine: Machine, drive: str, deadline: Deadline) -> str | None:
    answer = await machine.execute("query-block", deadline)
    assert isinstance(answer, list)
    for block in answer:
        if str(block.get("qdev", "")).split("/")[-1] == drive or block.get("qdev") == drive:
            inserted = block.get("inserted")
            return None if inserted is None else str(inserted["node-name"])
    return None
