"""Host directories as they are met: odd times, things that vanish, names that are not UTF-8."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import MissingInputError, RecipeError
from qemu_viso.opening import open_viso
from qemu_viso.tree.origin import Clock
from qemu_viso.verify.expected import expected_view
from tests.recipes import opened, write_files, write_recipe

if TYPE_CHECKING:
    from pathlib import Path


def test_times_that_no_calendar_has() -> None:
    clock = Clock(None)
    assert clock.clamped(2**62 * 10**9) == 253_402_300_799 * 10**9
    assert clock.clamped(-(2**62) * 10**9) == -62_135_596_800 * 10**9
    assert Clock(5).clamped(2**62) == 5


def test_times_beyond_a_directory_record(tmp_path: Path) -> None:
    write_files(tmp_path, {"in/late": b"", "in/early": b""})
    for name, seconds in (("late", 7_268_832_000), ("early", -2_000_000_000)):
        os.utime(tmp_path / "in" / name, (seconds, seconds))
    found = opened(tmp_path, "--volume-id=TIMES -R", "/=in")
    view = expected_view(found.tree, "rock")
    assert view["/late"].mtime == 5_869_583_999
    assert view["/early"].mtime == (tmp_path / "in" / "early").stat().st_mtime


def test_a_link_that_vanishes_while_the_directory_is_walked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    os.symlink("target", tmp_path / "in" / "link")
    read_link = os.readlink

    def vanishing(path: str) -> str:
        os.unlink(path)
        return read_link(path)

    monkeypatch.setattr(os, "readlink", vanishing)
    with pytest.raises(MissingInputError, match="in/link' does not exist"):
        opened(tmp_path, "/=in")


def test_links_that_multiply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two in each directory, both to the next one: none leads back, and there is no end in sight."""
    monkeypatch.setattr("qemu_viso.tree.origin.REPEATED", 100)
    for number in range(8):
        (tmp_path / f"{number}").mkdir()
        if number:
            for link in ("a", "b"):
                (tmp_path / f"{number - 1}" / link).symlink_to(f"../{number}")
    open_viso(write_recipe(tmp_path, "-f -R /=./2"))  # 62 directories, of 5
    recipe = write_recipe(tmp_path, "-f -R /=./1")  # 126, of 6
    with pytest.raises(RecipeError, match="links lead more than 100 times to directories that are in the") as caught:
        open_viso(recipe)
    assert caught.value.hint is not None
    open_viso(write_recipe(tmp_path, "-R /=./1"))  # without -f, links are links


def test_a_weight_of_many_digits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="not a path and a weight"):
        opened(tmp_path, "/a=a", "-sort weights", files={"a": b"a", "weights": b"a " + b"9" * 5000})


def test_a_recipe_whose_name_is_not_utf_8(tmp_path: Path) -> None:
    write_files(tmp_path, {"a": b"a"})
    path = os.fsencode(write_recipe(tmp_path, "/a=a"))
    os.rename(path, path.replace(b"TEST", b"T\xffT"))
    found = open_viso(os.fsdecode(path.replace(b"TEST", b"T\xffT")))
    assert found.image.name == found.tree.volume_id == "T\ufffdT"
