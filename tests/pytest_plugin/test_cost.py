"""What the plugin costs those who do not use it, and that pytest stays out of the program itself."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = ROOT / "qemu_viso"


def loaded_by(code: str) -> set[str]:
    """The modules that a fresh interpreter has after running some code."""
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_plugin_alone_imports_nothing_but_itself() -> None:
    new = loaded_by("import pytest, typing\nimport qemu_viso.pytest_plugin") - loaded_by("import pytest, typing")
    assert new == {"qemu_viso", "qemu_viso.pytest_plugin"}


def test_a_run_that_uses_no_fixture_of_it_imports_nothing_more(tmp_path: Path) -> None:
    """pytest registers plugins by looking at all their names."""
    (tmp_path / "test_x.py").write_text("def test_x(): ...\n")
    # With the plugins of this environment the interpreter would hold more than what is looked for.
    arguments = ["-q", "-p", "qemu_viso.pytest_plugin", "-p", "no:cacheprovider", str(tmp_path)]
    loaded = loaded_by(
        "import os\nos.environ['PYTEST_DISABLE_PLUGIN_AUTOLOAD'] = '1'\n"
        f"import pytest\nassert pytest.main({arguments!r}) == 0"
    )
    assert {name for name in loaded if name.startswith("qemu_viso")} == {"qemu_viso", "qemu_viso.pytest_plugin"}


def test_nothing_else_imports_pytest_or_the_plugin() -> None:
    seen = 0
    for path in PACKAGE.rglob("*.py"):
        if path.is_relative_to(PACKAGE / "pytest_plugin"):
            continue
        for node in ast.walk(ast.parse(path.read_bytes())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            seen += len(names)
            for name in names:
                assert not name.startswith(("pytest", "_pytest", "qemu_viso.pytest_plugin")), f"{path} imports {name}"
    assert seen > 500


def test_the_command_line_works_without_pytest() -> None:
    loaded = loaded_by(
        "sys.modules['pytest'] = None\n"
        "import qemu_viso.cli.main, qemu_viso.verify.run, qemu_viso.opening\n"
        "del sys.modules['pytest']"
    )
    assert "qemu_viso.cli.main" in loaded
    assert not {name for name in loaded if "pytest" in name}
