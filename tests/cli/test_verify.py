"""`qemu-viso verify`, as far as it gets without a guest."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import pytest

from qemu_viso.cli.verify import _status, add_arguments
from qemu_viso.verify.diff import Difference
from qemu_viso.verify.report import Report
from qemu_viso.verify.table import Table
from tests.cli.test_commands import qemu_viso
from tests.recipes import write_recipe

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    (tmp_path / "a").write_text("a")
    return write_recipe(tmp_path, "-R", "/a=a")


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


def test_lists_and_repetitions_are_the_same() -> None:
    one = parsed("x.viso", "--guests", "a,b", "--buses=all", "--namespaces", "rock,udf")
    other = parsed("x.viso", "--guest=a", "--guest", "b", "--bus", "all", "--namespace", "rock", "--namespace", "udf")
    assert vars(one) == vars(other)
    assert one.guests == ["a", "b"]
    assert one.jobs == 1


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (["--jobs", "0"], 2, "'0'"),
        (["--guests", "linux-cloud,"], 2, "'linux-cloud,'"),
        (["--guests", "windows"], 66, "there is no guest 'windows'"),
        (["--buses", "scsi-cd,floppy"], 2, "there is no bus 'floppy'"),
        (["--namespaces", "hfs"], 2, "there is no namespace 'hfs'"),
        (["--namespaces", "udf"], 2, "the image has no udf namespace"),
        (["--buses", "usb-cd"], 78, "cannot drive the bus 'usb-cd'"),
        (["--junit", "/nowhere/x.xml"], 73, "the report '/nowhere/x.xml' cannot be written"),
        (["--html", "/"], 73, "the report '/' cannot be written"),
    ],
)
def test_what_is_told_before_a_machine_starts(recipe: str, words: list[str], status: int, sentence: str) -> None:
    done = qemu_viso("verify", recipe, *words, PATH="/nonexistent")
    assert done.returncode == status
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_without_qemu_no_guest_is_built(recipe: str, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    done = qemu_viso("verify", recipe, "--guests", "all", PATH="/nonexistent", XDG_CACHE_HOME=str(cache))
    assert done.returncode == 69
    assert "is not installed" in done.stderr
    assert not cache.exists()


def report(outcome: str, status: int = 0) -> Report:
    difference = (Difference("/a\n", "mode", "1", "2"),) if outcome == "different" else ()
    reason = "first line\n  second" if outcome in ("failed", "skipped") else ""
    skipped = outcome == "skipped"
    return Report("r.viso", "g", "b", "rock", 1, difference, 1.0, reason=reason, status=status, skipped=skipped)


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ([("passed", 0)], 0),
        ([("passed", 0), ("skipped", 69)], 0),
        ([("skipped", 69), ("skipped", 2)], 69),
        ([("different", 0), ("passed", 0), ("skipped", 69)], 1),
        ([("different", 0), ("failed", 74)], 74),
    ],
)
def test_the_status_of_many(outcomes: list[tuple[str, int]], status: int) -> None:
    assert _status([report(*outcome) for outcome in outcomes]) == status


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    reports = [report(outcome) for outcome in ("passed", "different", "failed", "skipped")]
    Table([], reports).add(reports)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "g  b  rock  1 of 1 entries as expected (1.0 s)"
    assert lines[2:4] == ["  path  field  expected  seen", "  /a\\n  mode   1         2"]
    assert lines[4:] == ["g  b  rock  failed: first line (1.0 s)", "    second", "g  b  rock  skipped: first line"]
    Table([], reports, show=False).add(reports)
    assert capsys.readouterr().out == ""
