"""Many verifications: guests boot side by side, and each looks at all recipes, where the medium can be changed."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from qemu_viso.errors import ConfigurationError, MissingInputError, MissingProgramError, QemuVisoError, RefusedError
from qemu_viso.guest.run import booted
from qemu_viso.nbd.trace import ReadTrace
from qemu_viso.qemu.accelerators import Verdict, best, verdicts, warn_of_rejection
from qemu_viso.qemu.deadline import Deadline
from qemu_viso.qemu.devices import BUSES
from qemu_viso.qemu.served import ServedImages
from qemu_viso.verify.contents import Sums
from qemu_viso.verify.keep import Failure, keep_failure
from qemu_viso.verify.report import NEWLINE, Report
from qemu_viso.verify.run import Looking, allowance, names_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from qemu_viso.guest.build import GuestBuild
    from qemu_viso.guest.run import Session
    from qemu_viso.guest.view import Namespace
    from qemu_viso.qemu.platforms import Platform
    from qemu_viso.qemu.remains import Remains
    from qemu_viso.verify.plan import Boot, Impossible, Look

    Repeat = Callable[[Boot, Look], str]

NOT_HERE = (MissingProgramError, MissingInputError, ConfigurationError)
"""Reasons for which a combination is skipped: something is not there. Everything else has failed."""


@dataclass(frozen=True, slots=True)
class Options:
    """What holds for all verifications of a run.

    Attributes:
        jobs: guests that run at a time.
        seconds: for each recipe, beside the time that many names and much data take; None for the default.
        from_medium: the guest's kernel is on the medium, and the machine's firmware starts it from there.
        firmware: the one that does.
        keep: where the folders of failures are made; None for the default place.
        repeat: the command that lets one guest look at one recipe again.
    """

    jobs: int = 1
    seconds: float | None = None
    from_medium: bool = False
    firmware: Literal["bios", "uefi"] = "bios"
    keep: Path | None = None
    repeat: Repeat = field(default=lambda boot, look: "")  # noqa: ARG005


def skipped(impossible: Sequence[Impossible]) -> list[Report]:
    """Reports of what was asked for and cannot be."""
    return [
        _without_verdict(each.recipe, each.guest, each.bus, each.namespace, each.reason, skip=True)
        for each in impossible
    ]


def failed_boot(boot: Boot, error: QemuVisoError) -> list[Report]:
    """Reports of a boot that came to nothing."""
    return [each for look in boot.looks for each in _failed(boot, look, look.namespaces, error)]


def _failed(boot: Boot, look: Look, namespaces: Sequence[Namespace], error: QemuVisoError) -> list[Report]:
    skip = isinstance(error, NOT_HERE)
    path = look.opened.recipe.path
    return [_without_verdict(path, boot.guest.name, boot.bus, each, error, skip=skip) for each in namespaces]


def _without_verdict(
    recipe: str, guest: str, bus: str, namespace: Namespace, error: QemuVisoError, *, skip: bool
) -> Report:
    reason = error.message if error.hint is None else f"{error.message} ({error.hint})"
    return Report(recipe, guest, bus, namespace, 0, (), 0.0, reason=reason, status=error.status, skipped=skip)


class FanOut:
    """A run of many verifications.

    Args:
        builds: the guests, by name.
        options: what holds for all.
        on_boot: told of each boot when its turn has come.
        on_reports: takes the reports of each recipe that a guest has looked at, as soon as they are there.
    """

    def __init__(
        self,
        builds: Mapping[str, GuestBuild],
        options: Options,
        on_boot: Callable[[Boot], None],
        on_reports: Callable[[list[Report]], None],
    ) -> None:
        self._builds = builds
        self._options = options
        self._on_boot = on_boot
        self._on_reports = on_reports
        self._sums = Sums()
        self._verdicts: list[Verdict] | MissingProgramError = []

    async def run(self, boots: Sequence[Boot]) -> list[Report]:
        """Boot them all; the reports, in the order of the boots.

        Raises:
            CannotCreateError: a failure cannot be kept.
        """
        try:
            self._verdicts = await verdicts()
            warn_of_rejection(self._verdicts)
        except MissingProgramError as error:
            self._verdicts = error
        turn = asyncio.Semaphore(self._options.jobs)

        async def one(boot: Boot) -> list[Report]:
            async with turn:
                self._on_boot(boot)
                return await self._boot(boot)

        tasks = [asyncio.create_task(one(boot)) for boot in boots]
        try:
            return [report for reports in await asyncio.gather(*tasks) for report in reports]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _accelerator(self, platform: Platform) -> Verdict:
        if isinstance(self._verdicts, MissingProgramError):
            if platform.program == "qemu-system-x86_64":
                raise self._verdicts
            return Verdict("tcg", works=True, seconds=0.0)
        return best(self._verdicts, platform)

    def _changeable(self, boot: Boot) -> bool:
        """Whether a guest that runs can be given the next recipe."""
        return BUSES[boot.bus].removable and boot.guest.reader == "agent" and not self._options.from_medium

    async def _boot(self, boot: Boot) -> list[Report]:
        """As many machines as it takes: one, if the medium can be changed and nothing fails."""
        reports: list[Report] = []
        looks = list(boot.looks)
        while looks:
            once = looks if self._changeable(boot) else looks[:1]
            machine = _OneMachine(boot, once, self._sums, self._options)
            try:
                verdict = self._accelerator(boot.guest.platform)
                found = await machine.run(self._builds[boot.guest.name], verdict, self._on_reports)
            except NOT_HERE as error:
                found = failed_boot(dataclasses.replace(boot, looks=tuple(looks)), error)
                self._on_reports(found)
                return reports + found
            reports += found
            looks = looks[machine.looked :]
        return reports


class _OneMachine:
    """One boot of a guest.

    Attributes:
        looked: how many recipes it has looked at, with whatever result.
    """

    def __init__(self, boot: Boot, looks: Sequence[Look], sums: Sums, options: Options) -> None:
        self.looked = 0
        self._boot = boot
        self._looks = looks
        self._sums = sums
        self._options = options
        self._accelerator = ""
        self._trace = ReadTrace()
        self._remains: list[Remains] = []
        self._reports: list[Report] = []

    async def run(
        self, build: GuestBuild, verdict: Verdict, on_reports: Callable[[list[Report]], None]
    ) -> list[Report]:
        """Boot, look, and switch off; the reports of those recipes that it has looked at.

        Raises:
            MissingProgramError, ConfigurationError: the guest cannot run here; nothing was looked at.
        """
        exports = {self._export(number): look.opened.image for number, look in enumerate(self._looks)}
        all_reports: list[Report] = []
        answers = False
        self._accelerator = verdict.accelerator
        with ServedImages(exports, self._trace) as served:
            try:
                self._started = time.monotonic()
                async with booted(
                    build,
                    BUSES[self._boot.bus],
                    served.medium_of(self._export(0)),
                    self._deadline(self._looks[0], verdict),
                    self._looks[0].namespaces,
                    names=max(names_of(look.opened) for look in self._looks),
                    accelerator=verdict.accelerator,
                    sandbox=verdict.sandbox,
                    from_medium=self._options.from_medium,
                    firmware=self._options.firmware,
                    on_failure=self._remains.append,
                ) as session:
                    answers = True
                    for number, look in enumerate(self._looks):
                        deadline = self._deadline(look, verdict)
                        if number:
                            await session.change(served.medium_of(self._export(number)), deadline)
                        await self._look(session, look, deadline)
                        if number == len(self._looks) - 1:
                            await session.quit(deadline)
                        all_reports += self._done(look, on_reports)
            except QemuVisoError as error:
                if isinstance(error, NOT_HERE) and not answers:
                    raise
                look = self._looks[self.looked]
                self._fail(look, error)
                all_reports += self._done(look, on_reports)
        return all_reports

    @staticmethod
    def _export(number: int) -> str:
        return f"recipe-{number + 1}"

    def _deadline(self, look: Look, verdict: Verdict) -> Deadline:
        seconds = allowance(look.opened, len(look.namespaces), verdict.accelerator, self._options.seconds)
        return Deadline.after(seconds)

    async def _look(self, session: Session, look: Look, deadline: Deadline) -> None:
        looking = Looking(session, look.opened, self._boot.guest.name, self._boot.bus, self._sums)
        for namespace in look.namespaces:
            try:
                report = await looking.report(namespace, deadline, self._started)
            except RefusedError as error:  # the guest is as good as before
                (failed,) = _failed(self._boot, look, [namespace], error)
                seconds = time.monotonic() - self._started
                report = dataclasses.replace(failed, kernel=session.description, seconds=seconds)
            self._reports.append(report)
            self._started = time.monotonic()
        if any(report.outcome != "passed" for report in self._reports):
            self._remains.append(await session.remains())

    def _fail(self, look: Look, error: QemuVisoError) -> None:
        """What has no verdict yet has failed; if all have one, the last fails with what came after it."""
        done = len(self._reports)
        rest = look.namespaces[done:]
        if not rest:
            last = self._reports.pop()
            reason = f"it was {last.result}, and then {error.message}"
            self._reports.append(dataclasses.replace(last, reason=reason, status=error.status))
            return
        failed = _failed(self._boot, look, rest, error)
        self._reports += [dataclasses.replace(failed[0], seconds=time.monotonic() - self._started), *failed[1:]]

    def _done(self, look: Look, on_reports: Callable[[list[Report]], None]) -> list[Report]:
        """The reports of a recipe are complete."""
        reports = [dataclasses.replace(each, accelerator=self._accelerator) for each in self._reports]
        self._reports = []
        stale = look.opened.image.stale
        if stale is not None:
            reports = [dataclasses.replace(each, reason=stale.message, status=stale.status) for each in reports]
        if any(report.outcome in ("different", "failed") for report in reports):
            folder = str(keep_failure(self._failure(look, reports), self._options.keep))
            reports = [
                each if each.outcome == "passed" else dataclasses.replace(each, folder=folder) for each in reports
            ]
        self._remains.clear()
        self.looked += 1
        on_reports(reports)
        return reports

    def _failure(self, look: Look, reports: list[Report]) -> Failure:
        texts = [f"{look.opened.recipe.path}"]
        for report in reports:
            texts += [report.summary(), report.reason if NEWLINE in report.reason else "", report.table()]
        return Failure(
            f"{look.opened.image.name}-{self._boot.guest.name}-{self._boot.bus}",
            "\n".join(text for text in texts if text),
            repeat=self._options.repeat(self._boot, look),
            remains=self._remains[-1] if self._remains else None,
            image=look.opened.image,
            trace=self._trace,
            export=self._export(self.looked),
            reports=tuple(reports),
        )
