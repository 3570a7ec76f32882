"""A virtual machine: QEMU as a child, its monitor, its console and the port of the guest's agent.

It is started frozen (`-S`) with every channel on a socket pair that exists before QEMU does, and released by `cont`
when all is wired. From then on somebody watches: whatever ends the hope of an answer (an exit, a panic, a reset) ends
the waiting for it, with QEMU's last words and the guest's.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from qemu_viso.errors import MissingProgramError
from qemu_viso.qemu.attention import evidence
from qemu_viso.qemu.console import FAILURES, NOT_FROM_THE_MEDIUM, Console, make_room
from qemu_viso.qemu.controlled import Controlled
from qemu_viso.qemu.devices import (
    MEDIUM_DEVICE,
    RECONNECT_MS,
    Accelerator,
    AgentPort,
    Frontend,
    Memory,
    PathChardev,
    Pvpanic,
    QmpMonitor,
    Screen,
    SerialConsole,
    SocketChardev,
)
from qemu_viso.qemu.firmware import find_uefi, require_bios
from qemu_viso.qemu.media import change_medium
from qemu_viso.qemu.monitor import Monitor
from qemu_viso.qemu.process import Child, describe_status, find_program
from qemu_viso.qemu.programs import ask_version

if TYPE_CHECKING:
    import re
    from collections.abc import Mapping

    from qemu_viso.errors import GuestError
    from qemu_viso.qemu.deadline import Deadline
    from qemu_viso.qemu.devices import BlockMedium, Bus, Device, Medium
    from qemu_viso.qemu.platforms import Platform

OLDEST_QEMU = (6, 2, 0)
AGENT_BUFFER = 1 << 20
# MiB: with less, OVMF finds no room for the larger initial RAM disks.
UEFI_MEMORY = 512

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """Everything about a machine that can be said before it runs.

    Attributes:
        platform: the architecture.
        machine: the machine type with its options.
        devices: media, kernel, firmware and whatever else.
        memory: MiB.
        accelerator: what executes instructions.
        agent: whether there is a port for the guest's agent.
        sandbox: whether QEMU confines itself (seccomp).
        reboot: whether the guest may reboot; without it a reset ends the machine.
        pause_at_end: whether a machine that was shut down stays, for a last look at it.
        display: where QEMU shows the machine's `Screen`; `none` for nowhere.
        failures: what on the console is a failure, which ends all waiting; None where a person watches it.
        extra: QEMU options as a person gave them.
    """

    platform: Platform
    machine: str
    devices: tuple[Device, ...] = ()
    memory: int = 256
    accelerator: Accelerator = field(default_factory=Accelerator)
    agent: bool = True
    sandbox: bool = True
    reboot: bool = False
    pause_at_end: bool = False
    display: str = "none"
    failures: re.Pattern[bytes] | None = FAILURES
    extra: tuple[str, ...] = ()

    def to_argv(self, monitor: int, console: int, agent: int | None) -> list[str]:
        """QEMU's command line.

        Args:
            monitor: the descriptor on which QEMU speaks QMP.
            console: the descriptor of the guest's console.
            agent: the descriptor of the agent's port; None without an agent.
        """
        argv = [self.platform.program, "-S", "-nodefaults", "-no-user-config", "-display", self.display]
        # Without a screen SeaBIOS is told to write to the serial port, so that what it says is seen.
        graphics = ",graphics=off" if Screen() not in self.devices and self.platform.machine is None else ""
        argv += ["-machine", f"{self.machine},memory-backend=ram{graphics}", *self.accelerator.to_argv()]
        if self.platform.cpu is not None:
            argv += ["-cpu", self.platform.cpu]
        if self.sandbox:
            argv += ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]
        actions = ["panic=pause", *([] if self.reboot else ["reboot=shutdown"])]
        argv += ["-action", ",".join([*actions, *(["shutdown=pause"] if self.pause_at_end else [])])]
        parts: list[Device] = [
            Memory(self.memory),
            SocketChardev("qmp", monitor),
            QmpMonitor("qmp"),
            SocketChardev("console", console),
            SerialConsole("console", self.platform.console_driver),
        ]
        if agent is not None:
            parts += [SocketChardev("agent", agent), AgentPort("agent", self.platform.transport)]
        if self.platform.pvpanic:
            parts.append(Pvpanic())
        for part in (*parts, *self.devices):
            argv += part.to_argv()
        return [*argv, *self.extra]


def machine_for(
    platform: Platform,
    bus: Bus,
    medium: Medium,
    *others: Device,
    boot: Literal["bios", "uefi"] | None = None,
    accelerator: str = "tcg",
    sandbox: bool = True,
) -> MachineSpec:
    """The usual machine for a medium on a bus.

    Args:
        platform: the architecture.
        bus: how the medium reaches the guest.
        medium: the medium.
        others: a kernel and whatever else.
        boot: the firmware that starts from the medium; None where it need not start from there.
        accelerator: what executes instructions.
        sandbox: whether QEMU confines itself; the accelerator's `Verdict` tells whether it can.

    Raises:
        MissingProgramError: there is no UEFI firmware for the platform.
        ConfigurationError: there is no BIOS for it.
    """
    devices = bus.devices(medium, transport=platform.transport, boot=boot is not None)
    firmware: tuple[Device, ...] = ()
    memory = platform.memory
    if boot == "bios":
        require_bios(platform)
    elif boot == "uefi":
        firmware = (find_uefi(platform),)
        memory = max(memory, UEFI_MEMORY)
    # Nobody looks at it until something fails, and then it may show what the console does not.
    screen = () if platform.screen is None else (Frontend(platform.screen),)
    return MachineSpec(
        platform,
        platform.machine or bus.machine,
        (*firmware, *others, *screen, *devices),
        memory=memory,
        accelerator=Accelerator(accelerator),
        sandbox=sandbox,
        failures=FAILURES if boot is None else NOT_FROM_THE_MEDIUM,
    )


def spelled(spec: MachineSpec) -> MachineSpec:
    """The machine in the words of the QEMU that is here, which is asked for its version where that matters.

    Raises:
        MissingProgramError: it is not installed.
    """
    if not any(isinstance(each, PathChardev) and each.reconnect for each in spec.devices):
        return spec
    version = ask_version(find_program(spec.platform.program)) or ""
    milliseconds = tuple(int(word) for word in version.split(".") if word) >= RECONNECT_MS
    devices = (
        replace(each, milliseconds=milliseconds) if isinstance(each, PathChardev) else each for each in spec.devices
    )
    return replace(spec, devices=tuple(devices))


class Machine(Controlled):
    """A running machine, inside `async with`; frozen until `release`.

    Args:
        spec: what it is made of.
        start_by: by when QEMU must answer; 30 seconds if not given.
    """

    def __init__(self, spec: MachineSpec, start_by: Deadline | None = None) -> None:
        super().__init__("QEMU", start_by)
        self.spec = spec
        self.events: list[tuple[str, Mapping[str, object]]] = []
        self._event_waiters: list[tuple[str, asyncio.Future[Mapping[str, object]]]] = []
        self._console: Console | None = None

    # Life

    async def _start(self, deadline: Deadline) -> None:
        ours, theirs = zip(*(self._pair() for _ in range(3 if self.spec.agent else 2)), strict=True)
        make_room(theirs[1])
        numbers = [each.fileno() for each in theirs]
        argv = spelled(self.spec).to_argv(numbers[0], numbers[1], numbers[2] if self.spec.agent else None)
        self._console = Console(ours[1], self._on_console_failure, self.spec.failures)
        self._stack.callback(self._console.close)
        child = Child(argv, hand_down=theirs)
        self._stack.callback(_note_stubbornness, child)
        await self._launch(child, Monitor(child.name, self._on_event), ours[0], deadline)
        if self.monitor.version < OLDEST_QEMU:
            version, oldest = (".".join(map(str, each)) for each in (self.monitor.version, OLDEST_QEMU))
            raise MissingProgramError(
                f"{child.name} is QEMU {version}, which is too old", hint=f"QEMU {oldest} or later is needed"
            )
        if self.spec.agent:
            reader, writer = await asyncio.open_connection(sock=ours[2], limit=AGENT_BUFFER)
            self._stack.callback(writer.close)
            self.agent = (reader, writer)

    # Watching

    async def _watch_exit(self) -> None:
        child = self.child
        status = await child.wait()
        assert self._console is not None
        self._console.drain()
        reason = next((str(data.get("reason")) for name, data in reversed(self.events) if name == "SHUTDOWN"), None)
        if status == 0 and reason == "guest-reset":
            self._trouble.report("the guest reset the machine")
        elif status == 0 and reason == "guest-shutdown":
            self._trouble.report("the guest shut the machine down")
        else:
            self._trouble.report(f"{child.name} {describe_status(status)}")

    def watch(self, child: Child) -> None:
        """Let the end of another process, on which the guest depends, count as trouble.

        Args:
            child: alive at least as long as this machine.
        """

        async def wait() -> None:
            status = await child.wait()
            said = [(f"{child.name} said", child.output)]
            self._trouble.report(evidence(f"{child.name} {describe_status(status)}", said).message)

        task = asyncio.create_task(wait())
        self._stack.callback(task.cancel)

    def _on_console_failure(self, line: str) -> None:
        self._trouble.report(f"the guest failed: {line}")

    def _on_event(self, name: str, data: Mapping[str, object]) -> None:
        self.events.append((name, data))
        if name == "GUEST_PANICKED":
            assert self._console is not None
            self._console.drain()
            self._trouble.report("the guest's kernel panicked")
        for wanted, future in self._event_waiters:
            if wanted == name and not future.done():
                future.set_result(data)

    def _complete(self, sentence: str) -> GuestError:
        said = [(f"{self.child.name} said", self.child.output)]
        if self._console is not None:
            said.append(("the last lines of the console", "\n".join(self._console.last_lines)))
        return evidence(sentence, said)

    # Commands

    @property
    def argv(self) -> tuple[str, ...]:
        """QEMU's command line."""
        return self.child.argv

    @property
    def pid(self) -> int:
        """QEMU's process id."""
        return self.child.pid

    @property
    def trouble(self) -> GuestError | None:
        """What has ended the hope of an answer, if anything has."""
        return self._trouble.error

    @property
    def console(self) -> Console:
        """The guest's console."""
        assert self._console is not None
        return self._console

    async def release(self, deadline: Deadline) -> None:
        """Let the guest run."""
        await self.execute("cont", deadline)

    async def wait_for_console(self, pattern: bytes, deadline: Deadline) -> bytes:
        """Wait until a regular expression matches what the guest writes from now on.

        Returns:
            what matched.
        """
        work = self.console.wait_for(pattern)
        return (await self.attend(work, deadline, f"waiting for {pattern!r} on the console")).group()

    async def next_event(self, name: str) -> Mapping[str, object]:
        """Wait for the next QMP event of that name, however long that takes; its data."""
        future: asyncio.Future[Mapping[str, object]] = asyncio.get_running_loop().create_future()
        waiter = (name, future)
        self._event_waiters.append(waiter)
        try:
            return await future
        finally:
            self._event_waiters.remove(waiter)

    async def wait_for_event(self, name: str, deadline: Deadline) -> Mapping[str, object]:
        """Wait for the next QMP event of that name; its data.

        Raises:
            GuestError: see `attend`.
        """
        return await self.attend(self.next_event(name), deadline, f"waiting for the event {name}")

    async def wait(self) -> int:
        """Wait until QEMU has ended by itself, however long that takes; its return code."""
        return await self.child.wait()

    async def wait_for_exit(self, deadline: Deadline) -> int:
        """Wait until QEMU has ended by itself; its return code.

        Raises:
            GuestError: it still runs at the deadline.
        """
        try:
            async with deadline.timeout():
                return await self.wait()
        except TimeoutError:
            raise self._complete("time ran out while waiting for the machine to end") from None

    async def screenshot(self, path: str, deadline: Deadline) -> None:
        """Write the screen as a PNG file, also of a guest that has failed. The machine needs a display device."""
        # Not by `execute`: a machine that has had its trouble would tell of it instead.
        await self.monitor.execute("screendump", deadline, {"filename": path, "format": "png"})

    async def change_medium(self, medium: BlockMedium, deadline: Deadline) -> None:
        """Put another medium into the drive: the tray opens and closes, the guest sees the change.

        Args:
            medium: the new one.
            deadline: when it is too late.

        Raises:
            GuestError: the drive has no tray, or the medium cannot be opened; it tells what the drive holds then.
        """
        await change_medium(self, MEDIUM_DEVICE, medium, deadline)


def _note_stubbornness(child: Child) -> None:
    if child.ignored_sigterm:
        _log.warning("%s did not end when it was asked to, and was killed", child.name)
