"""What a test has used, and what is shown and kept of it when the test fails."""

from __future__ import annotations

import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from qemu_viso.errors import QemuVisoError
from qemu_viso.opening import Opened
from qemu_viso.pytest_plugin import RUN
from qemu_viso.pytest_plugin.repeat import repeat
from qemu_viso.qemu.console import plain
from qemu_viso.verify.keep import Failure, keep_failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from qemu_viso.nbd.trace import ReadTrace
    from qemu_viso.qemu.remains import Remains
    from qemu_viso.verify.report import Report

SHOWN_LINES = 30
LONGEST_NAME = 150


class Used(Protocol):
    """A machine that a test has used.

    Attributes:
        title: what it is, in a line.
        what: the recipe or image in its drive.
        trace: what was read of it, where that is known.
    """

    title: str
    what: Opened | Path | None
    trace: ReadTrace | None

    def sections(self) -> Sequence[tuple[str, str]]:
        """What the report of a failed test shows of it, each with its title."""
        ...

    def remains(self) -> Remains:
        """What there is to keep of it."""
        ...


def machine_sections(title: str, argv: Sequence[str], console: str) -> list[tuple[str, str]]:
    """What is shown of a machine: its command line, and the end of what the guest has written."""
    lines = "\n".join(console.splitlines()[-SHOWN_LINES:])
    return [
        (f"QEMU, {title}: command line", shlex.join(argv)),
        (f"QEMU, {title}: console", lines or "(nothing was written)"),
    ]


class Ended:
    """A machine of which only the remains are left."""

    def __init__(self, title: str, what: Opened | Path, trace: ReadTrace | None, remains: Remains) -> None:
        self.title = title
        self.what: Opened | Path | None = what
        self.trace = trace
        self._remains = remains

    def sections(self) -> Sequence[tuple[str, str]]:
        """QEMU's command line and the console."""
        command = self._remains.commands[-1] if self._remains.commands else ()
        return machine_sections(self.title, command, plain(self._remains.console))

    def remains(self) -> Remains:
        """What there is to keep of it."""
        return self._remains


class EndedDaemon(Ended):
    """A daemon that failed before there was a machine."""

    def sections(self) -> Sequence[tuple[str, str]]:
        """Its command line and its words."""
        remains = self.remains()
        shown = [(f"{self.title}: command line", shlex.join(command)) for command in remains.commands]
        return [*shown, *((f"{name}: output", text) for name, text in remains.said)]


class Record:
    """The recipes, machines and comparisons of one test.

    Attributes:
        recipes: in the order in which they were opened.
        machines: in the order in which they were first used.
        reports: of what guests saw, with the machine, in the order in which they were asked for.
        failed: whether a phase of the test has failed.
    """

    def __init__(self) -> None:
        self.recipes: list[Opened] = []
        self.machines: list[Used] = []
        self.reports: list[tuple[Used, Report]] = []
        self.failed = False

    def used(self, machine: Used) -> None:
        """Note a machine."""
        if machine not in self.machines:
            self.machines.append(machine)

    def reported(self, machine: Used, report: Report) -> None:
        """Note what came of the comparison of what a machine's guest saw, in this test or an earlier one."""
        self.used(machine)
        self.reports.append((machine, report))

    def report(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """Complete the report of one phase of the test."""
        if report.failed:
            self.failed = True
        if not self.machines:
            return
        keep = item.config.getoption("--viso-keep")
        folder = None
        if (keep == "always" and report.when == "call") or (keep != "never" and report.failed):
            try:
                folder = self._keep(item, report)
            except (OSError, QemuVisoError) as error:
                report.sections.append(("qemu-viso kept nothing", str(error)))
        if report.failed:
            for machine in self.machines:
                report.sections.extend(machine.sections())
        if folder is not None:
            report.sections.append(("qemu-viso kept", str(folder)))

    def _keep(self, item: pytest.Item, report: pytest.TestReport) -> Path:
        """A folder of the test's own, with one for each machine; what an earlier run left there goes."""
        folder = _folder(item)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for number, opened in enumerate(self._all_recipes(), 1):
            shutil.copyfile(opened.recipe.path, folder / f"{number}-{Path(opened.recipe.path).name}")
        sentence = report.longreprtext or f"{item.nodeid} {report.outcome}"
        once_more = repeat(item, item.config.stash[RUN])
        for machine in self.machines:
            looked_at = machine.what if isinstance(machine.what, Opened) else None
            reports = tuple(report for seen_by, report in self.reports if seen_by is machine)
            failure = Failure(machine.title, sentence, once_more, machine.remains(), reports=reports)
            if looked_at is not None:
                image = looked_at.image
                failure = replace(failure, image=image, trace=machine.trace, export=image.name)
            keep_failure(failure, folder)
        return folder

    def _all_recipes(self) -> list[Opened]:
        """Those that were opened for this test, and those that were opened for several."""
        found = list(self.recipes)
        for machine in self.machines:
            if isinstance(machine.what, Opened) and not any(machine.what is each for each in found):
                found.append(machine.what)
        return found


def _folder(item: pytest.Item) -> Path:
    """In pytest's cache, which is where a later run, and whoever collects artifacts, finds it."""
    name = re.sub(r"[^\w.-]+", "-", item.nodeid.replace("::", "."))[-LONGEST_NAME:].strip("-.")
    cache = getattr(item.config, "cache", None)
    if cache is None:  # switched off by `-p no:cacheprovider`
        base: Path = item.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
        return base / "viso" / name
    return Path(cache.mkdir("viso")) / name
