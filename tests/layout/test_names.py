"""Names and targets as readers show them: long ones stay apart, and what a recipe gives is what is there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from qemu_viso.errors import Place, RecipeError
from qemu_viso.image.render import render
from qemu_viso.layout import identifiers, udf_names
from qemu_viso.opening import open_viso
from qemu_viso.tree.facts import Facts
from qemu_viso.tree.portable import portability
from qemu_viso.verify.expected import expected_view
from qemu_viso.viso.options import Version
from tests.recipes import opened, write_files, write_recipe
from tests.tree.makers import handmade, seen, view

if TYPE_CHECKING:
    from qemu_viso.opening import Opened

TARGETS = ["a//b", "a/", "//x", "/", "./..//", "///", "a///b//", ".", "/a/./../b", "x" * 255 + "//" + "y" * 255]
A250 = "a" * 250


def rock(found: Opened) -> set[str]:
    return set(view(seen(found).rock)) - {"/"}


def shown_by_linux(found: Opened) -> list[str]:
    return sorted(path[1:] for path in expected_view(found.tree, "rock"))


# --- targets -------------------------------------------------------------------------------------------------------


def test_targets_of_links_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number, target in enumerate(TARGETS):
        os.symlink(target, tmp_path / "in" / str(number))

    found = opened(tmp_path, "-R /=in")

    links = view(seen(found).rock)
    assert [links[f"/{number}"].target for number in range(len(TARGETS))] == TARGETS
    if shutil.which("bsdtar") is None:
        pytest.skip("bsdtar is not installed")
    render(found.image, str(tmp_path / "i.iso"))
    (tmp_path / "out").mkdir()
    subprocess.run(["bsdtar", "-xf", tmp_path / "i.iso", "-C", tmp_path / "out"], check=True)
    for number, target in enumerate(TARGETS):
        assert os.readlink(tmp_path / "out" / str(number)) == target


# --- long names ----------------------------------------------------------------------------------------------------


def test_names_that_linux_would_show_alike(tmp_path: Path) -> None:
    """Of more than 253 bytes it shows the first 250: here those are a name of another file, and the same for two."""
    names = [A250, A250 + "bbbb.", A250 + "cccc", A250 + "ccccc", "b" * 255]
    found = opened(tmp_path, "/=in", files={f"in/{name}": name.encode() for name in names})

    shown = shown_by_linux(found)[1:]
    assert len(set(shown)) == len(names)
    assert {A250, "b" * 250} <= set(shown)
    nodes = view(seen(found).rock)
    assert len(nodes) == 1 + len(names)
    assert "/" + "b" * 255 in nodes
    assert all(len(path) <= 254 for path in nodes if path.startswith("/a"))
    [warning] = [warning for warning in found.tree.warnings if "Rock Ridge" in warning]
    assert warning.endswith(" and 2 more are too long for Rock Ridge, and shortened there")


def test_a_shortened_name_keeps_its_extension_and_whole_characters(tmp_path: Path) -> None:
    names = ["ä" * 125 + f"{letter}.md" for letter in "xyz"]
    found = opened(tmp_path, "--no-joliet /=in", files={f"in/{name}": b"" for name in names})

    shown = shown_by_linux(found)[1:]
    assert len(set(shown)) == len(names)
    assert sum(name.endswith(("~1.md", "~2.md")) for name in shown) == 2
    assert all(len(name.encode()) <= 253 for name in shown)
    assert "/" + shown[0] in rock(found)


def test_shortened_names_are_told(tmp_path: Path) -> None:
    long_names = {f"in/{'x' * 120}{number}": b"" for number in range(3)}

    found = opened(tmp_path, "/=in", files={**long_names, "in/" + "y" * 110: b""})

    assert found.tree.warnings == [f"'{'x' * 120}0' and 2 more are too long for Joliet, and shortened there"]
    assert opened(tmp_path, "--no-joliet /=in").tree.warnings == []


@pytest.mark.parametrize(("module", "make"), [(identifiers, "joliet_names"), (udf_names, "udf_names")])
def test_very_many_names_with_one_beginning(module: object, make: str) -> None:
    """Each is looked at a few times, not once for every other one."""
    names = ["\u0100" * 200 + f"{number:05}" for number in range(3000)]
    with patch.object(module, "_fitting", wraps=module._fitting) as fitting:  # type: ignore[attr-defined]
        made = getattr(module, make)(names)

    assert len(set(made)) == len(names)
    assert fitting.call_count < 3 * len(names)


# --- Rock Ridge names given apart ----------------------------------------------------------------------------------

APART = "--name-setup=iso,rr,joliet"
FILES = {"a": b"a", "b": b"b"}


def test_a_rock_ridge_name_goes_with_what_it_was_given_to(tmp_path: Path) -> None:
    """Not with the next thing that has its ISO 9660 name."""
    line = "/I.TXT=/one=/j=a /I.TXT=:remove:"

    assert rock(opened(tmp_path, APART, line, "/I.TXT=/two=/j=b", files=FILES)) == {"/two"}
    assert rock(opened(tmp_path, APART, line, "/I.TXT=/I.TXT=/j=b")) == {"/I.TXT"}


def test_a_rename_can_give_one(tmp_path: Path) -> None:
    lines = (APART, "/I.TXT=/one=/j=a")

    assert rock(opened(tmp_path, *lines, "--rename /I.TXT=/one=/j /K.TXT=/two=/k", files=FILES)) == {"/two"}
    assert rock(opened(tmp_path, *lines, "--rename /I.TXT=/one=/j /K.TXT=/K.TXT=/k")) == {"/K.TXT"}


def test_two_things_cannot_have_the_same_one(tmp_path: Path) -> None:
    for last in ("/K.TXT=/one=/k=b", "/one=/one=/k=b"):
        with pytest.raises(RecipeError, match="two things in '/' are called 'one' in Rock Ridge") as caught:
            opened(tmp_path, APART, "/I.TXT=/one=/j=a", last, files=FILES)
        assert caught.value.place is not None
        assert caught.value.place.line == (4 if "K" in last else 3)


def test_one_in_another_directory(tmp_path: Path) -> None:
    """The two trees have the same directories."""
    found = opened(tmp_path, APART, "/D/I.TXT=/one=/j=a", files=FILES)

    assert rock(found) == {"/D", "/D/one"}
    assert [warning for warning in found.tree.warnings if "only the last part is used" in warning]


# --- what docs/virtualbox.md says ----------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [1, 3])
def test_identifiers_are_those_that_the_page_tells(tmp_path: Path, level: int) -> None:
    page = (Path(__file__).parents[2] / "docs" / "virtualbox.md").read_text()
    told = {
        name: identifier
        for name, identifier in re.findall(r"`([^`]+)` is `([A-Z0-9_.]+;1)`", page.replace("\n  ", " "))
        if (name == "readme.txt") == (level == 1)
    }
    assert len(told) == (1 if level == 1 else 2)
    found = opened(
        tmp_path, f"--no-rock-ridge --no-joliet --iso-level={level} /=in", files={f"in/{name}": b"" for name in told}
    )
    for identifier in told.values():
        assert identifier.encode() in found.image.read(0, found.image.size)


def test_identifiers_of_imported_names_are_those_that_the_page_tells(tmp_path: Path) -> None:
    """VirtualBox leaves the identifiers of an imported image unfiltered (section E3), so none becomes empty there."""
    page = (Path(__file__).parents[2] / "docs" / "virtualbox.md").read_text()
    [(name, identifier)] = re.findall(r"`([^`]+)` has `([A-Z0-9_.]+;1)`", page)
    rock_ridge = b"NM" + bytes((5 + len(name.encode()), 1, 0)) + name.encode()
    handmade(tmp_path / "i.iso", {20: [(b"OLD.TXT;1", 30, 2048, 0, rock_ridge)]}, rock=True)
    recipe = write_recipe(tmp_path, "--import-iso i.iso")
    facts = Facts(Place(recipe, 1, 1))

    found = open_viso(recipe, facts)

    assert rock(found) == {f"/{name}"}
    primary = seen(found).primary
    assert primary is not None
    assert set(primary.tree) == {"/", f"/{identifier}"}
    assert [str(each) for version in Version for each in portability(found.recipe, facts, version)] == []
    # The same name out of a directory is another matter.
    write_files(tmp_path, {f"in/{name}": b""})
    recipe = write_recipe(tmp_path, "/=in")
    facts = Facts(Place(recipe, 1, 1))
    found = open_viso(recipe, facts)
    assert all(portability(found.recipe, facts, version) for version in Version)


def test_names_of_tables_and_of_rock_ridge_in_joliet_are_not_used(tmp_path: Path) -> None:
    write_files(tmp_path, {"a": b"a"})
    lines = ("--name-setup iso,trans,joliet,joliet-rr /A=/B=/C=/D=a", "--name-setup iso,joliet /A=/C=a")
    images = [opened(tmp_path, f"-T --volume-id=X {line}").image for line in lines]
    assert images[0].read(0, images[0].size) == images[1].read(0, images[1].size)
