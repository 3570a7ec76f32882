"""Two processes, two hosts: the same bytes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.recipes import write_files, write_recipe

if TYPE_CHECKING:
    from pathlib import Path


def render(recipe: str, output: Path, **environment: str) -> bytes:
    subprocess.run(
        [sys.executable, "-m", "qemu_viso", "render", recipe, "-o", str(output)],
        check=True,
        env=os.environ | environment,
    )
    return output.read_bytes()


def copy_backwards(source: Path, target: Path) -> None:
    """The same tree, made in the opposite order, so that the directories read differently."""
    for folder, _, files in sorted(os.walk(source), reverse=True):
        place = target / os.path.relpath(folder, source)
        place.mkdir(parents=True, exist_ok=True)
        for name in sorted(files, reverse=True):
            shutil.copy2(os.path.join(folder, name), place / name)
    for folder, _, _ in os.walk(source, topdown=False):
        shutil.copystat(folder, target / os.path.relpath(folder, source))


def test_neither_hash_seed_nor_locale_nor_time_zone_nor_directory_order_matter(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    write_files(first, {f"in/d{index % 5}/é {index * 7919 % 100}": b"%d" % index for index in range(100)})
    copy_backwards(first / "in", second / "in")
    lines = ("--rock-ridge --joliet", "/=in", "/copy=in")
    one = render(write_recipe(first, *lines), tmp_path / "1.iso", PYTHONHASHSEED="1", TZ="UTC", LC_ALL="C.UTF-8")
    environment = {"PYTHONHASHSEED": "2", "TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONUTF8": "1"}
    assert render(write_recipe(second, *lines), tmp_path / "2.iso", **environment) == one


def test_source_date_epoch_clamps_every_time(tmp_path: Path) -> None:
    write_files(tmp_path, {"in/old": b"old", "in/new": b"new"})
    os.utime(tmp_path / "in" / "old", (1_000_000_000, 1_000_000_000))
    recipe = write_recipe(tmp_path, "/=in")
    first = render(recipe, tmp_path / "1.iso", SOURCE_DATE_EPOCH="1500000000")
    os.utime(tmp_path / "in" / "new")
    os.utime(tmp_path / "in")
    assert render(recipe, tmp_path / "2.iso", SOURCE_DATE_EPOCH="1500000000") == first
    assert b"2017071402400000" in first
    assert b"2026" not in first


def test_a_source_date_epoch_that_is_no_number(tmp_path: Path) -> None:
    write_files(tmp_path, {"a": b"a"})
    done = subprocess.run(
        [sys.executable, "-m", "qemu_viso", "check", write_recipe(tmp_path, "/a=a")],
        env=os.environ | {"SOURCE_DATE_EPOCH": "yesterday"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 78
    assert "yesterday" in done.stderr
