"""What a test has used, and what is shown and kept of it when the test fails."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from qemu_viso.opening import Opened
    from qemu_viso.pytest_plugin.machines import GuestMachine

SHOWN_LINES = 30
LONGEST_NAME = 150


class Record:
    """The recipes and machines of one test.

    Attributes:
        recipes: in the order in which they were opened.
        machines: in the order in which they were first used.
        failed: whether a phase of the test has failed.
    """

    def __init__(self) -> None:
        self.recipes: list[Opened] = []
        self.machines: list[GuestMachine] = []
        self.failed = False

    def used(self, machine: GuestMachine) -> None:
        """Note a machine."""
        if machine not in self.machines:
            self.machines.append(machine)

    def report(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """Complete the report of one phase of the test."""
        if report.failed:
            self.failed = True
        if not self.machines:
            return
        keep = item.config.getoption("--viso-keep")
        folder = None
        if (keep == "always" and report.when == "call") or (keep != "never" and report.failed):
            folder = self._keep(item)
        if report.failed:
            for machine in self.machines:
                report.sections.append((f"QEMU, {machine.title}: command line", shlex.join(machine.argv)))
                lines = "\n".join(machine.console.splitlines()[-SHOWN_LINES:])
                report.sections.append((f"QEMU, {machine.title}: console", lines or "(nothing was written)"))
        if folder is not None:
            report.sections.append(("qemu-viso kept", str(folder)))

    def _keep(self, item: pytest.Item) -> Path:
        """Write what is known into a folder of the test's own; what an earlier run left there goes."""
        folder = _folder(item)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for number, opened in enumerate(self.recipes, 1):
            shutil.copyfile(opened.recipe.path, folder / f"{number}-{Path(opened.recipe.path).name}")
        for number, machine in enumerate(self.machines, 1):
            (folder / f"{number}-command.txt").write_text(shlex.join(machine.argv) + "\n", encoding="utf-8")
            (folder / f"{number}-console.log").write_bytes(machine.transcript)
        return folder


def _folder(item: pytest.Item) -> Path:
    """In pytest's cache, which is where a later run, and whoever collects artifacts, finds it."""
    name = re.sub(r"[^\w.-]+", "-", item.nodeid.replace("::", "."))[-LONGEST_NAME:].strip("-.")
    cache = getattr(item.config, "cache", None)
    if cache is None:  # switched off by `-p no:cacheprovider`
        base: Path = item.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
        return base / "viso" / name
    return Path(cache.mkdir("viso")) / name
