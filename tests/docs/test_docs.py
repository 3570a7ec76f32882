"""Documents that say what the code does: kept equal, and executed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from qemu_viso import errors
from qemu_viso.cli.main import COMMANDS, parser

ROOT = Path(__file__).resolve().parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")


def statuses() -> set[int]:
    classes = [errors.QemuVisoError]
    for each in classes:
        classes.extend(each.__subclasses__())
    return {each.status for each in classes}


def test_every_exit_status_is_documented() -> None:
    documented = {int(number) for number in re.findall(r"^\| (\d+) \|", REFERENCE, re.MULTILINE)}
    assert documented == statuses() | {0}
    for number in statuses():
        assert re.search(rf"\b{number} ", errors.__doc__ or "")


def test_every_command_is_documented() -> None:
    table = REFERENCE.partition("## Exit statuses")[0]
    documented = re.findall(r"^\| `([a-z]+) ?[^`]*` \|", table, re.MULTILINE)
    assert sorted(documented) == sorted(COMMANDS)
    parser()  # every command's arguments can be said


def test_links_lead_somewhere() -> None:
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name} links to {target}"


def tour() -> list[str]:
    (block,) = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    return [line.split("  #")[0].strip() for line in block.splitlines()]


def test_the_tour_has_ten_commands() -> None:
    assert len(tour()) == 11
    assert tour()[0] == "cd images"


@pytest.mark.skipif(shutil.which("nbdcopy") is None, reason="nbdcopy is not installed")
def test_the_tour_works(tmp_path: Path) -> None:
    """All commands but those that boot a guest, which the guest tests run."""
    shutil.copytree(ROOT / "images", tmp_path / "images", symlinks=True)
    (tmp_path / "qemu-viso").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m qemu_viso "$@"\n')
    (tmp_path / "qemu-viso").chmod(0o755)
    commands = [line for line in tour() if " verify " not in line and " doctor" not in line]
    script = "set -e\n" + "\n".join(commands)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "DEMO" in done.stdout
    assert not (tmp_path / "images" / "demo.iso").exists()


def console() -> list[tuple[str, str]]:
    """The commands of the reference's sessions, each with what it prints."""
    blocks = re.findall(r"```console\n(.*?)```", REFERENCE, re.DOTALL)
    parts = [part.partition("\n") for block in blocks for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
    return [(command, printed) for command, _, printed in parts]


def test_sessions_of_the_reference_print_what_they_show(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "images", tmp_path / "images", symlinks=True)
    (tmp_path / "qemu-viso").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m qemu_viso "$@"\n')
    (tmp_path / "qemu-viso").chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    assert len(console()) >= 6
    for command, printed in console():
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=tmp_path / "images",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.stdout, done.stderr) == (printed, ""), command


def test_modules_stay_readable() -> None:
    for path in (ROOT / "qemu_viso").rglob("*.py"):
        assert path.read_text(encoding="utf-8").count("\n") <= 500, f"{path} is longer than 500 lines"


def test_packages_import_only_what_is_above_them() -> None:
    order = re.findall(
        r"^\| `([a-z_]+)` \|", (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    packages = {path.parent.name for path in (ROOT / "qemu_viso").glob("*/__init__.py")}
    assert packages <= set(order), "the page tells of every package"
    for path in (ROOT / "qemu_viso").rglob("*.py"):
        package = path.relative_to(ROOT / "qemu_viso").parts[0].removesuffix(".py")
        if package not in order:
            continue
        code = path.read_text(encoding="utf-8")
        for imported in re.findall(r"^\s*(?:from|import) qemu_viso\.([a-z_]+)", code, re.MULTILINE):
            if imported in order:
                assert order.index(imported) <= order.index(package), f"{path} imports {imported}"
