"""The fixture `viso`, by itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import MissingInputError, RecipeError
from qemu_viso.pytest_plugin.recipes import Recipes
from qemu_viso.verify.expected import content_bytes, expected_view
from tests.recipes import MARKER

if TYPE_CHECKING:
    from qemu_viso.opening import Opened

MS_MARKER = "--iprt-iso-maker-file-marker-ms-crt 5f1c0ae0-1111-2222-3333-444455556666"


def contents(opened: Opened) -> dict[str, bytes]:
    """The files of a recipe, by path."""
    tree = opened.tree
    view = expected_view(tree, "rock" if tree.settings.rock_ridge else "joliet")
    return {path: b"".join(content_bytes(entry.content)) for path, entry in view.items() if entry.content is not None}


def test_files_alone(tmp_path: Path) -> None:
    opened = Recipes(tmp_path)(files={"/a b/it's": "text\n", "/bytes": b"\x00\xff"})
    assert contents(opened) == {"/a b/it's": b"text\n", "/bytes": b"\x00\xff"}


def test_lines_whose_sources_lie_beside_them(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inner").write_text("i")
    opened = Recipes(tmp_path)("--volume-id=LINES -R", "/docs/notes=notes", files={"/more": tmp_path / "folder"})
    assert contents(opened) == {"/docs/notes": b"n", "/more/inner": b"i"}
    assert Path(opened.recipe.path) == tmp_path / "recipe.viso"


@pytest.mark.parametrize("marker", [MARKER, f"\n {MARKER}", MS_MARKER])
def test_a_marker_of_its_own(tmp_path: Path, marker: str) -> None:
    opened = Recipes(tmp_path)(f"{marker}\n-R", files={"/it's here": "x"})
    assert contents(opened) == {"/it's here": b"x"}


def test_a_recipe_that_lies_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "x.viso").write_text(f"{MARKER} /x=x")
    (tmp_path / "x").write_text("x")
    recipes = Recipes(tmp_path / "nowhere")
    assert contents(recipes(tmp_path / "x.viso")) == {"/x": b"x"}
    with pytest.raises(TypeError, match="stands alone"):
        recipes(tmp_path / "x.viso", "--volume-id=X")
    with pytest.raises(TypeError, match="stands alone"):
        recipes(tmp_path / "x.viso", files={})


def test_one_recipe_leaves_the_sources_of_another_alone(tmp_path: Path) -> None:
    recipes = Recipes(tmp_path)
    first, second = recipes(files={"/x": "first"}), recipes(files={"/x": "second"})
    named = recipes(files={"/x": "third"}, name="named")
    assert [contents(each) for each in (first, second, named)] == [
        {"/x": b"first"},
        {"/x": b"second"},
        {"/x": b"third"},
    ]
    assert [Path(each.recipe.path).name for each in (first, second, named)] == [
        "recipe.viso", "recipe-2.viso", "named.viso",
    ]  # fmt: skip


def test_mistakes_are_told_without_the_way_to_them(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="nowhere") as caught:
        Recipes(tmp_path)("/x=nowhere")
    assert len(caught.traceback) == 2
    with pytest.raises(RecipeError, match="--wrong"):
        Recipes(tmp_path)("--wrong")
