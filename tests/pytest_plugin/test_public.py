"""What is public is told on the plugin's page; the guest tests, and those that documents show, need nothing else."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qemu_viso import errors, pytest_plugin, qemu

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = "qemu_viso"
PUBLIC: dict[str, ModuleType] = {module.__name__: module for module in (pytest_plugin, qemu, errors)}
ELSEWHERE = {
    "pytest": "whoever writes tests for it has it",
    "tests": "the project's own helpers, which provoke what is nasty and may know everything",
}
"""What a guest test may import beside the standard library and what is public, and why."""
PAGE = (ROOT / "docs" / "pytest.md").read_text(encoding="utf-8")


def imported(code: str) -> Iterator[tuple[str, str | None]]:
    """The modules that code imports, each with the name from it; or names in a text, as for `monkeypatch`."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from ((module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from ((module, None) for module in re.findall(rf"\b{PACKAGE}(?:\.\w+)+", node.value))


def secrets(code: str, elsewhere: frozenset[str]) -> list[str]:
    """What a piece of code imports that nobody outside should."""
    found = []
    for module, name in imported(code):
        top = module.partition(".")[0]
        if top in sys.stdlib_module_names or top in elsewhere:
            continue
        if module not in PUBLIC or (name is not None and name not in PUBLIC[module].__all__):
            found.append(module if name is None else f"{module}.{name}")
    return found


@pytest.mark.parametrize("path", sorted((ROOT / "vm-tests").glob("*.py")), ids=lambda path: path.stem)
def test_guest_tests_import_what_is_public(path: Path) -> None:
    assert secrets(path.read_text(encoding="utf-8"), frozenset(ELSEWHERE)) == []


@pytest.mark.parametrize("document", ["README.md", "docs/pytest.md"])
def test_documents_show_what_is_public(document: str) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for code in blocks:
        assert secrets(code, frozenset({"pytest"})) == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import qemu_viso.guest.view", ["qemu_viso.guest.view"]),
        ("from qemu_viso import opening", ["qemu_viso.opening"]),
        ("from qemu_viso.qemu import Machine, console", ["qemu_viso.qemu.console"]),
        ("if TYPE_CHECKING:\n    from qemu_viso.image import Image", ["qemu_viso.image.Image"]),
        ("def f(patch):\n    patch.setattr('qemu_viso.vhost_user.session.X', 1)", ["qemu_viso.vhost_user.session.X"]),
        ("from .conftest import FULL", [".conftest.FULL"]),
        ("import numpy", ["numpy"]),
        ("import os\nimport pytest\nfrom qemu_viso.pytest_plugin import Views\nimport qemu_viso.errors", []),
    ],
)  # fmt: skip
def test_what_is_not_public_is_noticed(code: str, found: list[str]) -> None:
    assert secrets(code, frozenset({"pytest"})) == found


@pytest.mark.parametrize("name", PUBLIC)
def test_the_page_lists_every_public_name(name: str) -> None:
    section = PAGE.partition("## What is public\n")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `([\w.]+)` \| (.*) \|$", section, re.MULTILINE))
    assert set(rows) == set(PUBLIC)
    assert sorted(re.findall(r"`(\w+)`", rows[name])) == sorted(PUBLIC[name].__all__)


def test_every_error_is_public() -> None:
    classes = {
        name for name, each in vars(errors).items() if isinstance(each, type) and each.__module__ == errors.__name__
    }
    assert set(errors.__all__) == classes


@pytest.mark.parametrize("module", [pytest_plugin, qemu])
def test_every_name_leads_to_its_home(module: ModuleType) -> None:
    promised = [(home, name) for home, names in module._HOMES.items() for name in names]
    assert sorted(name for _, name in promised) == sorted(module.__all__)
    prefix = module.__name__ if module is qemu else PACKAGE
    for home, name in promised:
        assert getattr(module, name) is getattr(importlib.import_module(f"{prefix}.{home}"), name)
    with pytest.raises(AttributeError, match="has no attribute 'Viwes'"):
        getattr(module, "Viwes")  # noqa: B009 (mypy knows that it is not there)
