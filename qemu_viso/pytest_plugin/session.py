"""What lasts as long as the test session: the loop in which machines live, builds of guests, guests that run."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from qemu_viso.errors import MissingProgramError, UsageError
from qemu_viso.guest.agent import CONTENT_LIMIT
from qemu_viso.guest.build import build_guest
from qemu_viso.guest.definition import load_definition
from qemu_viso.guest.run import booted, spec_for
from qemu_viso.opening import Opened
from qemu_viso.pytest_plugin.exports import Export, block_medium, exported, origin
from qemu_viso.pytest_plugin.machines import GuestMachine
from qemu_viso.pytest_plugin.plainly import plainly
from qemu_viso.pytest_plugin.recipes import Recipes
from qemu_viso.pytest_plugin.record import Ended, Record
from qemu_viso.pytest_plugin.target import Target, skip_for, target
from qemu_viso.pytest_plugin.views import Pool
from qemu_viso.qemu.accelerators import best, rejection, verdicts
from qemu_viso.qemu.deadline import Deadline, guest_seconds
from qemu_viso.qemu.devices import BUSES, VhostUserMedium
from qemu_viso.qemu.machine import machine_for
from qemu_viso.qemu.process import find_program
from qemu_viso.qemu.sync import LoopThread

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from qemu_viso.guest.build import GuestBuild
    from qemu_viso.guest.view import GuestView, Namespace
    from qemu_viso.nbd.trace import ReadTrace
    from qemu_viso.pytest_plugin.exports import Source
    from qemu_viso.pytest_plugin.recipes import Content
    from qemu_viso.pytest_plugin.record import Used
    from qemu_viso.pytest_plugin.seen import Seen
    from qemu_viso.qemu.accelerators import Verdict
    from qemu_viso.qemu.devices import Bus, Medium
    from qemu_viso.qemu.platforms import Platform
    from qemu_viso.qemu.process import Child
    from qemu_viso.qemu.remains import Remains
    from qemu_viso.verify.report import Report

__tracebackhide__ = True


class Session:
    """What the fixture `viso_session` is: the same as the others can do, without markers.

    Args:
        accelerator: what executes the guests' instructions, as the option tells it.
        record: gives the record of the test that runs, or is being set up.

    Attributes:
        loop: the event loop in which all machines and daemons live.
        pool: guests that run.
    """

    def __init__(self, accelerator: str, record: Callable[[], Record] = Record) -> None:
        self.loop = LoopThread()
        self._record = record
        self.pool = Pool(self)
        self._accelerator = accelerator
        self._verdicts: list[Verdict] | None = None
        self._rejection: str | None = None
        self._builds: dict[str | Path, GuestBuild] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(self.loop)
        self._stack.callback(self.pool.close)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    # For fixtures of a wider scope than one test

    def open(
        self,
        folder: Path,
        *recipe: str | os.PathLike[str],
        files: Mapping[str, Content] | None = None,
        name: str | None = None,
    ) -> Opened:
        """Open a recipe as `viso` does, with a folder of the caller's choice."""
        return Recipes(folder)(*recipe, files=files, name=name)

    @plainly
    def guest(self, name: str | Path) -> GuestBuild:
        """A guest, built if it is not in the cache; only one of several processes builds it.

        Skips the test where a program is missing that this needs.

        Args:
            name: of one that comes with the project, or the `Path` of a definition of one's own.

        Raises:
            MissingInputError: there is no such guest, or no package source has a package of it.
            InputOutputError: a download failed.
        """
        build = self._builds.get(name)
        if build is None:
            definition = load_definition(name.stem, name.parent) if isinstance(name, Path) else load_definition(name)
            try:
                find_program(definition.platform.program)  # before anything is downloaded for it
                build = build_guest(definition, progress=print)
            except MissingProgramError as error:
                skip_for(error)
            self._builds[name] = build
        return build

    @plainly
    def view(
        self,
        guest: str,
        bus: str,
        source: Source,
        namespace: Namespace | None = None,
        *,
        firmware: Literal["bios", "uefi"] | None = None,
        limit: int = CONTENT_LIMIT,
        seconds: float | None = None,
    ) -> Seen:
        """What a guest sees of a medium, as `viso_view` tells it."""
        return self.pool.view(target(guest, bus, firmware), source, namespace, limit=limit, seconds=seconds)

    # For the other fixtures

    @property
    def record(self) -> Record:
        """Of the test that runs, or is being set up."""
        return self._record()

    def reported(self, machine: Used, report: Report) -> None:
        """Note a comparison in the record of the test that asks for it, who ever has let the guest look."""
        self.record.reported(machine, report)

    def forget_failed(self, record: Record) -> None:
        """End the guests of a test that has failed: nobody knows what they would say next."""
        for machine in record.machines if record.failed else ():
            if isinstance(machine, GuestMachine):
                self.pool.end(machine)

    def bus(self, name: str) -> Bus:
        """A bus by its name."""
        return BUSES[name]

    def accelerator(self, platform: Platform) -> Verdict:
        """What executes the instructions of a platform's guests; skips the test where what was asked for does not."""
        if self._verdicts is None:
            try:
                self._verdicts = self.loop.run(verdicts())
            except MissingProgramError as error:
                skip_for(error)
            self._rejection = rejection(self._verdicts) if self._accelerator == "auto" else None
        asked = self._verdicts if self._accelerator == "auto" else [
            each for each in self._verdicts if each.accelerator == self._accelerator
        ]  # fmt: skip
        for verdict in asked:
            if self._accelerator != "auto" and not verdict.works:
                pytest.skip(f"the accelerator '{verdict.accelerator}' does not work here: {verdict.reason}")
            if verdict.accelerator != "tcg" and platform.program != "qemu-system-x86_64" and len(asked) == 1:
                pytest.skip(f"the accelerator '{verdict.accelerator}' runs no guests of {platform.name}")
        return best(asked, platform)

    def take_rejection(self) -> str | None:
        """Why the accelerator that the host has is not used; only once, for the person at the terminal."""
        sentence, self._rejection = self._rejection, None
        return sentence

    def scripted_view(
        self, where: Target, source: Source, namespace: Namespace, seconds: float | None
    ) -> tuple[GuestView, Used]:
        """What a guest without an agent sees, which looks once and tells all; skips the test where it cannot be."""
        where.require()
        bus, verdict = BUSES[where.bus], self.accelerator(where.definition.platform)
        build = self.guest(where.guest)
        with ExitStack() as stack:
            medium, _, trace = self.attach(stack, source, bus.carries)

            def note(remains: Remains) -> Used:
                ended = Ended(str(where), origin(source), trace, remains)
                self.record.used(ended)
                return ended

            async def look() -> tuple[GuestView, Used]:
                deadline = Deadline.after(guest_seconds(verdict.accelerator, seconds))
                async with booted(
                    build,
                    bus,
                    medium,
                    deadline,
                    [namespace],
                    accelerator=verdict.accelerator,
                    sandbox=verdict.sandbox,
                    on_failure=note,
                ) as guest:
                    seen = await guest.view(namespace, deadline)
                    return seen, note(await guest.remains())

            seen = self.loop.run(look())
        if isinstance(source, Opened) and source.image.stale is not None:
            raise source.image.stale
        return seen

    def attach(
        self, stack: ExitStack, source: Source, carries: Literal["block", "vhost-user"]
    ) -> tuple[Medium, Child | None, ReadTrace | None]:
        """A medium for a bus, the daemon that it depends on, and what is read of it over NBD.

        Args:
            stack: what serves the medium until it is closed.
            source: what the medium holds.
            carries: what the bus carries.
        """
        if not isinstance(source, Export):
            if carries == "block":
                medium, trace = stack.enter_context(block_medium(source))
                return medium, None, trace
            source = stack.enter_context(exported(self, source, "vhost-user-blk"))
        if isinstance(source.medium, VhostUserMedium) != (carries == "vhost-user"):
            raise UsageError(f"an export of the kind {source.kind} does not fit the bus, which carries {carries}")
        return source.medium, source.daemon, source.trace

    def machine(
        self,
        source: Source,
        where: Target,
        *,
        guest: GuestBuild | None = None,
        memory: int | None = None,
        options: Sequence[str] = (),
        seconds: float | None = None,
    ) -> tuple[GuestMachine, ExitStack]:
        """A machine that is not yet started, and what its medium depends on; skips the test where it cannot be."""
        where.require()
        platform, bus = where.definition.platform, BUSES[where.bus]
        verdict = self.accelerator(platform)
        stack = ExitStack()
        try:
            medium, daemon, trace = self.attach(stack, source, bus.carries)
            if where.firmware is None:
                build = guest or self.guest(where.guest)
                spec = spec_for(build, bus, medium, verdict.accelerator, sandbox=verdict.sandbox)
            else:
                spec = machine_for(
                    platform,
                    bus,
                    medium,
                    boot=where.firmware,
                    accelerator=verdict.accelerator,
                    sandbox=verdict.sandbox,
                )
            spec = dataclasses.replace(spec, memory=memory or spec.memory, extra=tuple(options))
        except BaseException:
            stack.close()
            raise
        return GuestMachine(self, spec, seconds, where, source, daemon, trace), stack
