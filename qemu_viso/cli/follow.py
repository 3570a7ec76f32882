"""`boot --watch`: the drive shows what the recipe gives now."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from qemu_viso.errors import GuestError, QemuVisoError
from qemu_viso.opening import open_viso
from qemu_viso.qemu.deadline import Deadline
from qemu_viso.qemu.terminal import say
from qemu_viso.sources.watch import Watch

if TYPE_CHECKING:
    from qemu_viso.opening import Opened
    from qemu_viso.qemu.machine import Machine
    from qemu_viso.qemu.served import ServedImage

CHANGE_SECONDS = 30.0


async def follow(opened: Opened, served: ServedImage, machine: Machine) -> None:
    """Put a new image into the drive whenever the recipe gives another one; what fails is told.

    Args:
        opened: what the drive shows at first.
        served: where the drive's medium comes from.
        machine: released.

    Raises:
        ConfigurationError: the host cannot watch so many directories.
    """
    shown = opened.image.fingerprint()
    with Watch() as watch:
        watch.look_at(opened.folders)
        while True:
            problem = ""
            try:
                opened = await asyncio.to_thread(open_viso, opened.recipe.path)
            except QemuVisoError as error:
                problem = f"{error.sentence}; the medium stays as it was"
            if watch.look_at(opened.folders):
                continue  # something may have changed there before it was watched
            if not problem and opened.image.fingerprint() != shown:
                try:
                    await machine.change_medium(served.replace(opened.image), Deadline.after(CHANGE_SECONDS))
                    shown = opened.image.fingerprint()
                    say("the medium has been changed")
                except GuestError as error:
                    problem = error.sentence  # which tells what is in the drive
            if problem:
                say(problem)
            await watch.changed()
