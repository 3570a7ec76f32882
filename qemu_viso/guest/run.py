"""From a guest, a bus and a medium to what the guest saw."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Literal

from qemu_viso.errors import ConfigurationError
from qemu_viso.guest import grub
from qemu_viso.guest.agent import CONTENT_LIMIT, Agent
from qemu_viso.guest.build import arguments_for
from qemu_viso.qemu.devices import DirectKernel, VhostUserMedium
from qemu_viso.qemu.machine import Machine, machine_for
from qemu_viso.qemu.storage_daemon import StorageDaemon

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qemu_viso.guest.build import GuestBuild
    from qemu_viso.guest.view import GuestView, Namespace
    from qemu_viso.qemu.deadline import Deadline
    from qemu_viso.qemu.devices import Bus, Medium
    from qemu_viso.qemu.machine import MachineSpec


def kernel_of(build: GuestBuild) -> DirectKernel:
    """What QEMU loads itself: the guest's kernel and initial RAM disk, or GRUB."""
    if build.definition.kernel is None:
        return DirectKernel(str(build.kernel))
    return DirectKernel(str(build.kernel), str(build.initrd), arguments_for(build.definition))


def spec_for(
    build: GuestBuild,
    bus: Bus,
    medium: Medium,
    accelerator: str = "tcg",
    *,
    from_medium: bool = False,
    firmware: Literal["bios", "uefi"] = "bios",
    sandbox: bool = True,
) -> MachineSpec:
    """The machine in which a guest looks at a medium.

    With `from_medium` the firmware starts what is on the medium, which must be this guest, instead of QEMU its kernel.

    Raises:
        ConfigurationError: the guest's kernel cannot drive the bus.
    """
    definition = build.definition
    if bus.name not in definition.buses:
        raise ConfigurationError(
            f"the guest '{definition.name}' cannot drive the bus '{bus.name}'",
            hint=f"it can drive {', '.join(definition.buses)}",
        )
    if from_medium:
        return machine_for(definition.platform, bus, medium, boot=firmware, accelerator=accelerator, sandbox=sandbox)
    return machine_for(definition.platform, bus, medium, kernel_of(build), accelerator=accelerator, sandbox=sandbox)


async def view(
    build: GuestBuild,
    bus: Bus,
    medium: Medium,
    namespaces: Sequence[Namespace],
    deadline: Deadline,
    *,
    accelerator: str = "tcg",
    limit: int = CONTENT_LIMIT,
    from_medium: bool = False,
    firmware: Literal["bios", "uefi"] = "bios",
    sandbox: bool = True,
) -> list[GuestView]:
    """Boot a guest once, and let it look at a medium in each namespace.

    Args:
        build: the guest.
        bus: how the medium reaches it.
        medium: what it looks at. For a bus that carries vhost-user, any other medium goes through a
            qemu-storage-daemon.
        namespaces: how to mount it, one after the other.
        deadline: when it is too late.
        accelerator: what executes the guest's instructions.
        limit: files smaller than this, in bytes, are read and hashed.
        from_medium: the guest's kernel and initial RAM disk are on the medium, and the firmware starts them.
        firmware: the one that does.
        sandbox: whether QEMU confines itself; the accelerator's `Verdict` tells whether it can.

    Returns:
        a view for each namespace, in the same order.

    Raises:
        GuestError: QEMU, the daemon or the guest failed, with their last words.
        MissingProgramError: QEMU is not installed, or too old.
        ConfigurationError: the guest's kernel cannot drive the bus.
    """
    async with AsyncExitStack() as stack:
        daemon = None
        if bus.carries == "vhost-user" and not isinstance(medium, VhostUserMedium):
            daemon = await stack.enter_async_context(StorageDaemon(medium, {"vhost-user"}, deadline))
            medium = daemon.vhost_user
        spec = spec_for(build, bus, medium, accelerator, from_medium=from_medium, firmware=firmware, sandbox=sandbox)
        machine = await stack.enter_async_context(Machine(spec, deadline))
        if daemon is not None:
            machine.watch(daemon.child)
        if build.definition.reader == "grub":
            return await grub.read_views(machine, bus, namespaces, deadline)
        agent = Agent(machine)
        await machine.release(deadline)
        await agent.greet(deadline)
        views = [await agent.view(bus.guest_device, each, deadline, limit=limit) for each in namespaces]
        await agent.quit(deadline)
        return views
