"""From a guest, a bus and a medium to what the guest saw."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from qemu_viso.errors import ConfigurationError, RefusedError
from qemu_viso.guest import grub, uefi_shell
from qemu_viso.guest.agent import CONTENT_LIMIT, Agent
from qemu_viso.guest.build import arguments_for
from qemu_viso.qemu.devices import DirectKernel, VhostUserMedium
from qemu_viso.qemu.firmware import find_uefi
from qemu_viso.qemu.machine import UEFI_MEMORY, Machine, machine_for
from qemu_viso.qemu.remains import remains_of, remains_without_machine
from qemu_viso.qemu.storage_daemon import StorageDaemon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from qemu_viso.guest.build import GuestBuild
    from qemu_viso.guest.view import GuestView, Namespace, ReaderName
    from qemu_viso.qemu.deadline import Deadline
    from qemu_viso.qemu.devices import BlockMedium, Bus, Device, Medium
    from qemu_viso.qemu.machine import MachineSpec
    from qemu_viso.qemu.process import Child
    from qemu_viso.qemu.remains import Remains

    ReadViews = Callable[[Deadline], Awaitable[list[GuestView]]]
    TakeRemains = Callable[[Remains], object]


def kernel_of(build: GuestBuild) -> DirectKernel:
    """What QEMU loads itself: the guest's kernel and initial RAM disk, or GRUB."""
    if build.definition.kernel is None:
        return DirectKernel(str(build.kernel))
    return DirectKernel(str(build.kernel), str(build.initrd), arguments_for(build.definition))


NAMES_A_MIB = 1024
"""What Linux keeps of a name that it has shown, its inode and directory entry, is a KiB. Without room for all of them
it looks for each again and again, from the directory's first record on."""
NAMES_MIB = 2048
"""No more than this: reading names anew takes only time."""


def spec_for(
    build: GuestBuild,
    bus: Bus,
    medium: Medium,
    accelerator: str = "tcg",
    *,
    names: int = 0,
    from_medium: bool = False,
    firmware: Literal["bios", "uefi"] = "bios",
    sandbox: bool = True,
    others: tuple[Device, ...] = (),
) -> MachineSpec:
    """The machine in which a guest looks at a medium.

    With `from_medium` the firmware starts what is on the medium, which must be this guest, instead of QEMU its kernel.
    `names` says how many the media hold that it will look at; it gets memory for them.

    Raises:
        ConfigurationError: the guest's kernel cannot drive the bus, or there is no such firmware for it.
    """
    definition = build.definition
    if bus.name not in definition.buses:
        raise ConfigurationError(
            f"the guest '{definition.name}' cannot drive the bus '{bus.name}'",
            hint=f"it can drive {', '.join(definition.buses)}",
        )
    if definition.kernel is None and from_medium:
        raise ConfigurationError(f"the guest '{definition.name}' does not come from a medium; it is no Linux")
    if definition.reader == "uefi-shell":
        others = (find_uefi(definition.platform), *others)
        spec = machine_for(definition.platform, bus, medium, *others, accelerator=accelerator, sandbox=sandbox)
        return replace(spec, memory=UEFI_MEMORY, agent=False)
    if from_medium:
        spec = machine_for(definition.platform, bus, medium, boot=firmware, accelerator=accelerator, sandbox=sandbox)
    else:
        kernel = kernel_of(build)
        spec = machine_for(definition.platform, bus, medium, kernel, accelerator=accelerator, sandbox=sandbox)
    return replace(spec, memory=spec.memory + min(names // NAMES_A_MIB, NAMES_MIB))


class Session:
    """A guest that waits for questions; see `booted`.

    Attributes:
        machine: in which it runs.
        description: of the guest and what reads the medium in it: architecture and kernel release, or package.
    """

    def __init__(self, machine: Machine, description: str, others: tuple[Child, ...]) -> None:
        self.machine = machine
        self.description = description
        self._others = others

    async def view(self, namespace: Namespace, deadline: Deadline, *, limit: int = CONTENT_LIMIT) -> GuestView:
        """What it sees of the medium in a namespace; see `Agent.view`."""
        raise NotImplementedError

    async def read(self, namespace: Namespace, path: str, offset: int, length: int, deadline: Deadline) -> bytes:  # noqa: ARG002
        """A piece of a file; see `Agent.read`.

        Raises:
            RefusedError: it knows no way to do that.
        """
        raise RefusedError("this guest reads files only as a whole")

    async def change(self, medium: BlockMedium, deadline: Deadline) -> None:
        """Put another medium into the drive; see `Machine.change_medium`."""
        await self.machine.change_medium(medium, deadline)

    async def remains(self) -> Remains:
        """What there is to keep of a machine whose guest saw something wrong."""
        return await remains_of(self.machine, self._others)

    async def quit(self, deadline: Deadline) -> None:
        """Let the guest switch itself off, if it can, and wait for QEMU's end."""


class AgentSession(Session):
    """A Linux with the agent."""

    def __init__(self, agent: Agent, machine: Machine, bus: Bus, others: tuple[Child, ...]) -> None:
        super().__init__(machine, agent.description, others)
        self._agent = agent
        self._device = bus.guest_device

    async def view(self, namespace: Namespace, deadline: Deadline, *, limit: int = CONTENT_LIMIT) -> GuestView:
        """See `Agent.view`."""
        return await self._agent.view(self._device, namespace, deadline, limit=limit)

    async def read(self, namespace: Namespace, path: str, offset: int, length: int, deadline: Deadline) -> bytes:
        """See `Agent.read`."""
        return await self._agent.read(self._device, namespace, path, offset, length, deadline)

    async def quit(self, deadline: Deadline) -> None:
        """See `Agent.quit`."""
        await self._agent.quit(deadline)


class ScriptedSession(Session):
    """A reader that is told at its start in which namespaces it is to look; the first question lets it begin."""

    def __init__(self, read_views: ReadViews, machine: Machine, description: str, others: tuple[Child, ...]) -> None:
        super().__init__(machine, description, others)
        self._read_views = read_views
        self._views: dict[Namespace, GuestView] | None = None

    async def view(self, namespace: Namespace, deadline: Deadline, *, limit: int = CONTENT_LIMIT) -> GuestView:  # noqa: ARG002
        """What it saw in one of the namespaces that were named at its start."""
        if self._views is None:
            self._views = {view.namespace: view for view in await self._read_views(deadline)}
        return self._views[namespace]


@asynccontextmanager
async def booted(
    build: GuestBuild,
    bus: Bus,
    medium: Medium,
    deadline: Deadline,
    namespaces: Sequence[Namespace],
    *,
    names: int = 0,
    accelerator: str = "tcg",
    from_medium: bool = False,
    firmware: Literal["bios", "uefi"] = "bios",
    sandbox: bool = True,
    on_failure: TakeRemains | None = None,
) -> AsyncIterator[Session]:
    """Boot a guest; whatever still runs of it at the end of the block is ended.

    Args:
        build: the guest.
        bus: how the medium reaches it.
        medium: what it looks at. For a bus that carries vhost-user, any other medium goes through a
            qemu-storage-daemon.
        deadline: by when the guest must answer.
        namespaces: in which it will be asked to look; a guest with an agent may be asked for others too.
        names: how many the media hold that it will look at; it gets memory for them.
        accelerator: what executes the guest's instructions.
        from_medium: the guest's kernel and initial RAM disk are on the medium, and the firmware starts them.
        firmware: the one that does.
        sandbox: whether QEMU confines itself; the accelerator's `Verdict` tells whether it can.
        on_failure: takes what is left of machine and daemon when the block, or the boot, ends with an error.

    Raises:
        GuestError: QEMU, the daemon or the guest failed, with their last words.
        MissingProgramError: QEMU or its firmware is not installed, or too old.
        ConfigurationError: the guest's kernel cannot drive the bus.
    """
    async with AsyncExitStack() as stack:
        daemon: StorageDaemon | None = None
        machine: Machine | None = None
        others: tuple[Child, ...] = ()
        try:
            if bus.carries == "vhost-user" and not isinstance(medium, VhostUserMedium):
                daemon = StorageDaemon(medium, {"vhost-user"}, deadline)
                await stack.enter_async_context(daemon)
                medium, others = daemon.vhost_user, (daemon.child,)
            disks: tuple[Device, ...] = ()
            if build.definition.reader == "uefi-shell":
                disks = (stack.enter_context(uefi_shell.scratch_disk(build.kernel)),)
            spec = spec_for(
                build,
                bus,
                medium,
                accelerator,
                names=names,
                from_medium=from_medium,
                firmware=firmware,
                sandbox=sandbox,
                others=disks,
            )
            machine = Machine(spec, deadline)
            await stack.enter_async_context(machine)
            for child in others:
                machine.watch(child)
            if build.definition.reader == "agent":
                agent = Agent(machine)
                await machine.release(deadline)
                await agent.greet(deadline)
                yield AgentSession(agent, machine, bus, others)
            else:
                read_views = partial(_read_views, build.definition.reader, machine, bus, namespaces)
                description = " ".join(build.packages[0]) if build.packages else build.definition.title
                yield ScriptedSession(read_views, machine, description, others)
        except Exception:
            if on_failure is not None and (machine is not None or daemon is not None):
                on_failure(await _remains(machine, daemon))
            raise


async def _remains(machine: Machine | None, daemon: StorageDaemon | None) -> Remains:
    """What is left of both, as far as they came."""
    others = (daemon.child,) if daemon is not None and daemon.started else ()
    return remains_without_machine(others) if machine is None else await remains_of(machine, others)


async def _read_views(
    reader: ReaderName, machine: Machine, bus: Bus, namespaces: Sequence[Namespace], deadline: Deadline
) -> list[GuestView]:
    if reader == "grub":
        return await grub.read_views(machine, bus, namespaces, deadline)
    return await uefi_shell.read_views(machine, namespaces, deadline)
