"""The plugin's page says what the plugin has; the README's test is executed by the guest tests."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from qemu_viso import pytest_plugin
from qemu_viso.pytest_plugin.machines import GuestMachine

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "pytest.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[str]:
    """The first cells of the tables of a section."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| (`.*?) \|", section.replace("\\|", "/"), re.MULTILINE)


def names(cells: list[str], pattern: str) -> list[str]:
    return sorted(name for cell in cells for name in re.findall(pattern, cell))


def test_every_fixture() -> None:
    public = [name for name in vars(pytest_plugin) if name == "viso" or name.startswith("viso_")]
    assert names(rows("Fixtures"), r"`(viso\w*)`") == sorted(public)
    assert len(public) == 7


def test_every_marker() -> None:
    declared = [re.match(r"\w+", marker) for marker in pytest_plugin.MARKERS]
    assert names(rows("Markers"), r"`(viso_\w+)\(") == sorted(match[0] for match in declared if match)


def test_every_option(pytestconfig: pytest.Config) -> None:
    parser = pytest.Parser(_ispytest=True)
    pytest_plugin.pytest_addoption(parser)
    (group,) = (group for group in parser._groups if group.name == "qemu-viso")
    assert names(rows("Options"), r"`(--viso-\w+)") == sorted(name for each in group.options for name in each.names())


def test_calls_of_a_machine_are_there() -> None:
    calls = names(rows("Fixtures"), r"`(\w+)\(")
    methods = {name for name, _ in inspect.getmembers(GuestMachine, inspect.isfunction)}
    mentioned = {name for name in calls if not name.startswith("viso")}
    assert len(mentioned) >= 10
    assert mentioned <= methods
