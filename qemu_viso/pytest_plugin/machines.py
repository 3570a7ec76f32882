"""The fixture `viso_machine`: a running machine, for tests that wait instead of awaiting."""

from __future__ import annotations

import asyncio
import os
import re
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, overload

from qemu_viso.errors import UsageError
from qemu_viso.guest.agent import CONTENT_LIMIT, Agent
from qemu_viso.guest.wire import LARGEST_PIECE
from qemu_viso.opening import Opened
from qemu_viso.pytest_plugin.exports import UntilTheEnd, origin
from qemu_viso.pytest_plugin.plainly import plainly
from qemu_viso.pytest_plugin.record import machine_sections
from qemu_viso.pytest_plugin.seen import Seen, choose_namespace
from qemu_viso.qemu.console import plain
from qemu_viso.qemu.deadline import Deadline, guest_seconds
from qemu_viso.qemu.devices import VhostUserMedium
from qemu_viso.qemu.machine import MachineSpec
from qemu_viso.qemu.remains import remains_afterwards, remains_of
from qemu_viso.qemu.sync import SyncMachine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from qemu_viso.guest.build import GuestBuild
    from qemu_viso.guest.view import GuestView, Namespace
    from qemu_viso.nbd.trace import ReadTrace
    from qemu_viso.pytest_plugin.exports import Source
    from qemu_viso.pytest_plugin.session import Session
    from qemu_viso.pytest_plugin.target import Target
    from qemu_viso.qemu.machine import Machine
    from qemu_viso.qemu.process import Child
    from qemu_viso.qemu.remains import Remains

__tracebackhide__ = True

MOST_REMEMBERED = 1 << 20


class Transcript:
    """What the guest has written, searched from behind the last match on, so that nothing is missed between two waits.

    It lives in the machine's loop.
    """

    def __init__(self) -> None:
        self.text = bytearray()
        self._at = 0
        self._arrived = asyncio.Event()

    def feed(self, data: bytes) -> None:
        """Append, and forget what is older than the last mebibyte."""
        self.text += data
        surplus = len(self.text) - MOST_REMEMBERED
        if surplus > 0:
            del self.text[:surplus]
            self._at = max(0, self._at - surplus)
        self._arrived.set()

    def find(self, pattern: re.Pattern[bytes]) -> bytes | None:
        """The next match; what comes before it is not looked at again."""
        match = pattern.search(self.text, self._at)
        if match is None:
            return None
        self._at = match.end()
        return match.group()

    async def wait_for(self, pattern: re.Pattern[bytes]) -> bytes:
        """The next match, once it is there."""
        while True:
            self._arrived.clear()
            found = self.find(pattern)
            if found is not None:
                return found
            await self._arrived.wait()


class GuestMachine:
    """A running machine with its medium.

    Every wait ends after `seconds` at the latest, and at once when the guest panics, resets or ends.

    Attributes:
        title: what it is, in a line.
        seconds: how long a wait may take that is not given a time of its own.
        what: the recipe or image in its drive; None without one.
        trace: what was read of it over NBD, where that is the way.
    """

    def __init__(
        self,
        session: Session,
        spec: MachineSpec,
        seconds: float | None,
        target: Target | None = None,
        source: Source | None = None,
        daemon: Child | None = None,
        trace: ReadTrace | None = None,
    ) -> None:
        self.title = str(target or os.path.basename(spec.platform.program))
        self.seconds = guest_seconds(spec.accelerator.name, seconds)
        self.what = None if source is None else origin(source)
        self.source = source
        self.target = target
        self._session = session
        self._spec = spec
        self._daemon = daemon
        self.trace = trace
        self._sync = SyncMachine(spec, Deadline.after(self.seconds), session.loop)
        self._agent: Agent | None = None
        self._transcript: Transcript | None = None
        self._life = ExitStack()
        self._inserted = ExitStack()
        self._closed = False

    def start(self, inserted: ExitStack) -> None:
        """Start it, and let it run.

        Args:
            inserted: what the medium depends on; closed when it is taken out, or the machine has ended.
        """
        self._session.record.used(self)
        self._inserted = inserted
        self._life.callback(self._take_out)
        self._life.enter_context(self._sync)
        self._sync.run(self._listen())
        self._sync.release(self.deadline(None))

    def _take_out(self) -> None:
        """End what serves the medium that is in the drive now."""
        self._inserted.close()

    async def _listen(self) -> None:
        self._transcript = Transcript()
        self._life.enter_context(self.machine.console.mirrored(self._transcript.feed))
        if self._daemon is not None:
            self.machine.watch(self._daemon)

    def close(self) -> None:
        """End it, and what served its medium."""
        self._life.close()
        self._closed = True

    def deadline(self, seconds: float | None) -> Deadline:
        """By when a wait ends that begins now, and may take so long; `self.seconds` if not given."""
        return Deadline.after(self.seconds if seconds is None else seconds)

    # What it is

    @property
    def machine(self) -> Machine:
        """The machine underneath, whose coroutines `run` waits for."""
        return self._sync.machine

    @property
    def running(self) -> bool:
        """Whether it was started and nothing has gone wrong with it."""
        return self._transcript is not None and self.machine.trouble is None

    @property
    def argv(self) -> Sequence[str]:
        """QEMU's command line."""
        if self._transcript is None:
            return self._spec.to_argv(-1, -1, -1 if self._spec.agent else None)
        return self.machine.argv

    @property
    def pid(self) -> int:
        """QEMU's process id."""
        return self.machine.pid

    @property
    def transcript(self) -> bytes:
        """What the guest has written on its console, the last mebibyte of it."""
        return b"" if self._transcript is None else bytes(self._transcript.text)

    @property
    def console(self) -> str:
        """What the guest has written on its console, without control sequences."""
        return plain(self.transcript)

    def remains(self) -> Remains:
        """What there is to keep of it when a test fails."""
        others = () if self._daemon is None else (self._daemon,)
        if self._closed:  # and perhaps the loop too
            return remains_afterwards(self.machine, others)
        return self._sync.run(remains_of(self.machine, others))

    def sections(self) -> Sequence[tuple[str, str]]:
        """What the report of a failed test shows."""
        return machine_sections(self.title, self.argv, self.console)

    # The console

    @overload
    def wait_for_console(self, pattern: str, seconds: float | None = None) -> str: ...
    @overload
    def wait_for_console(self, pattern: bytes, seconds: float | None = None) -> bytes: ...
    @plainly
    def wait_for_console(self, pattern: str | bytes, seconds: float | None = None) -> str | bytes:
        """Wait until a regular expression matches what the guest has written since the last match, or the start.

        Returns:
            what matched, as text if the expression is text.

        Raises:
            GuestError: it did not in time, or the guest failed; with the last lines of the console.
        """
        transcript = self._transcript
        assert transcript is not None
        wanted = re.compile(pattern.encode() if isinstance(pattern, str) else pattern)

        async def wait() -> bytes:
            found = transcript.find(wanted)  # it may be there although the machine has ended since
            if found is not None:
                return found
            work = transcript.wait_for(wanted)
            return await self.machine.attend(work, self.deadline(seconds), f"waiting for {pattern!r} on the console")

        found = self._sync.run(wait())
        return found.decode("utf-8", "backslashreplace") if isinstance(pattern, str) else found

    @plainly
    def type(self, text: str | bytes) -> None:
        """Type on the guest's console."""
        self._sync.run(self.machine.console.write(text.encode() if isinstance(text, str) else text))

    # QEMU

    @plainly
    def execute(
        self, command: str, arguments: Mapping[str, object] | None = None, seconds: float | None = None
    ) -> object:
        """Run a QMP command; its answer."""
        return self._sync.execute(command, self.deadline(seconds), arguments)

    @plainly
    def wait_for_event(self, name: str, seconds: float | None = None) -> Mapping[str, object]:
        """Wait for the next QMP event of that name; its data."""
        return self._sync.wait_for_event(name, self.deadline(seconds))

    @plainly
    def wait_for_exit(self, seconds: float | None = None) -> int:
        """Wait until the machine has ended by itself; QEMU's exit status."""
        return self._sync.wait_for_exit(self.deadline(seconds))

    @plainly
    def screenshot(self, path: str | os.PathLike[str]) -> None:
        """Write the screen as a PNG file."""
        self._sync.screenshot(str(path), self.deadline(None))

    @plainly
    def change_medium(self, source: Source) -> None:
        """Put another medium into the drive: the tray opens and closes, the guest sees the change.

        Raises:
            UsageError: the drive has no tray.
            GuestError: the medium cannot be opened; it tells what the drive holds then.
        """
        if self.target is None or not self._session.bus(self.target.bus).removable:
            raise UsageError("the medium of this machine cannot be changed: its drive has no tray")
        with ExitStack() as stack:
            medium, _, trace = self._session.attach(stack, source, "block")
            assert not isinstance(medium, VhostUserMedium), "the bus carries block media"
            self._sync.change_medium(medium, self.deadline(None))
            self._take_out()
            self._inserted = stack.pop_all()
        self.source, self.what, self.trace = source, origin(source), trace

    @property
    def accelerator(self) -> str:
        """What executes the guest's instructions, as QEMU calls it."""
        return self._spec.accelerator.name

    # The guest's agent

    @property
    def guest(self) -> str:
        """The guest's architecture and kernel release, as its agent tells them when it is there."""
        return self.agent(self.deadline(None)).description

    @plainly
    def power_off(self, seconds: float | None = None) -> int:
        """Let the guest's agent switch the machine off; QEMU's exit status."""
        deadline = self.deadline(seconds)
        self._sync.run(self.agent(deadline).quit(deadline))
        return self._sync.wait_for_exit(deadline)

    def agent(self, deadline: Deadline) -> Agent:
        """The guest's agent, which has greeted."""
        if self._agent is None:
            if not self._spec.agent:
                raise UsageError("this machine has no port for a guest's agent")

            async def greet() -> Agent:
                agent = Agent(self.machine)
                await agent.greet(deadline)
                return agent

            self._agent = self._sync.run(greet())
        return self._agent

    @plainly
    def view(
        self, namespace: Namespace | None = None, *, limit: int = CONTENT_LIMIT, seconds: float | None = None
    ) -> Seen:
        """What the guest sees of the medium.

        Args:
            namespace: how it mounts it; by default the one that shows most of those that guest and image have.
            limit: files smaller than this, in bytes, are read and hashed.
            seconds: how long that may take.

        Raises:
            GuestError: the guest failed, or refused.
            UsageError: the image has no such namespace.
            StaleSourceError: a source changed meanwhile.
        """
        if self.what is None or self.target is None:
            raise UsageError("this machine has no medium that its guest could look at")
        wanted = choose_namespace(self.what, self.target, namespace)
        began = time.monotonic()
        seen = self.look(wanted, limit, self.deadline(seconds))
        took = time.monotonic() - began
        note = partial(self._session.reported, self)
        return Seen(seen, self.what, self.target, self.read, took, note, self.guest, self.accelerator)

    def look(self, namespace: Namespace, limit: int, deadline: Deadline) -> GuestView:
        """What the guest sees, as a plain value; see `view`."""
        assert self.target is not None
        device = self._session.bus(self.target.bus).guest_device
        agent = self.agent(deadline)
        with self._fresh():
            return self._sync.run(agent.view(device, namespace, deadline, limit=limit))

    @contextmanager
    def _fresh(self) -> Iterator[None]:
        """A source that has changed is the reason of whatever the guest says of it."""
        try:
            yield
        finally:
            if isinstance(self.what, Opened) and self.what.image.stale is not None:
                raise self.what.image.stale

    @plainly
    def read(
        self, path: str, namespace: Namespace, offset: int = 0, length: int | None = None, seconds: float | None = None
    ) -> bytes:
        """A file's content as the guest reads it.

        Args:
            path: from the medium's root `/`.
            namespace: how the guest mounts the medium.
            offset: first byte.
            length: bytes; all that follow if not given.
            seconds: how long that may take.

        Raises:
            GuestError: the guest failed, or could not read it.
            StaleSourceError: a source changed meanwhile.
        """
        assert self.target is not None
        device = self._session.bus(self.target.bus).guest_device
        deadline = self.deadline(seconds)
        agent = self.agent(deadline)
        content = bytearray()
        while length is None or len(content) < length:
            most = LARGEST_PIECE if length is None else min(LARGEST_PIECE, length - len(content))
            work = agent.read(device, namespace, path, offset + len(content), most, deadline)
            with self._fresh():
                piece = self._sync.run(work)
            content += piece
            if len(piece) < most:
                break
        return bytes(content)


class Machines(UntilTheEnd):
    """What the fixture `viso_machine` is: starts machines that run until the test ends."""

    def __init__(self, session: Session, target: Target) -> None:
        super().__init__(session)
        self._target = target

    @plainly
    def __call__(
        self,
        source: Source | MachineSpec,
        *,
        guest: GuestBuild | None = None,
        memory: int | None = None,
        options: Sequence[str] = (),
        seconds: float | None = None,
    ) -> GuestMachine:
        """Start a machine, and let it run.

        Args:
            source: the recipe in its drive, an export of it, or the path of an image of another origin; or everything
                about the machine, for those who need another one than the test's markers say.
            guest: another build of the guest than the usual one.
            memory: MiB; what the guest needs if not given.
            options: QEMU options, behind all others.
            seconds: how long each wait may take; 60, and 120 under TCG, if not given.

        Raises:
            GuestError: QEMU or the guest failed, with their last words.
            ConfigurationError: the guest cannot be built.
        """
        if isinstance(source, MachineSpec):
            machine = GuestMachine(self._session, source, seconds)
            inserted = ExitStack()
        else:
            machine, inserted = self._session.machine(
                source, self._target, guest=guest, memory=memory, options=options, seconds=seconds
            )
        self._stack.callback(machine.close)
        machine.start(inserted)
        return machine
