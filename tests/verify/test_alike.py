"""Readers to which some names are the same, and which then show one of them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from qemu_viso.guest.uefi_shell import FACTS
from qemu_viso.verify.diff import compare
from tests.recipes import opened
from tests.verify.seeing import honest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from qemu_viso.guest.view import GuestView, ReaderName
    from qemu_viso.tree.tree import Tree

FILES = ("one", "ONE", "größe", "GRÖSSE", "GRÖßE", "sub/x", "Sub/x", "Sub/y", "ж", "Ж")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return opened(tmp_path, "--udf -R", "/=in", files={f"in/{name}": name.encode() for name in FILES}).tree


def without(tree: Tree, *paths: str, reader: ReaderName = "uefi-shell") -> GuestView:
    """What is seen, but for some names."""
    view = honest(tree, "udf")
    entries = {path: entry for path, entry in view.entries.items() if path not in paths}
    return dataclasses.replace(view, entries=entries, reader=reader, facts=FACTS)


def missing(tree: Tree, view: GuestView) -> list[str]:
    found = compare(tree, view)[1]
    assert {each.field for each in found} <= {"name"}
    return [each.path for each in found]


@pytest.mark.parametrize(
    "hidden",
    [("/one",), ("/ONE",), ("/größe",), ("/GRÖßE",), ("/sub", "/sub/x"), ("/Sub", "/Sub/x", "/Sub/y"), ()],
    ids=lambda hidden: " ".join(hidden) or "none",
)
def test_one_of_two_is_enough(tree: Tree, hidden: Sequence[str]) -> None:
    everything = len(honest(tree, "udf").entries)
    assert compare(tree, without(tree, *hidden)) == (everything - len(hidden), [])


def test_both_are_too_many(tree: Tree) -> None:
    assert missing(tree, without(tree, "/one", "/ONE")) == ["/ONE", "/one"]


def test_the_shell_folds_no_other_letters(tree: Tree) -> None:
    """Nor does it take two letters for one."""
    assert missing(tree, without(tree, "/Ж", "/GRÖSSE")) == ["/GRÖSSE", "/Ж"]


def test_what_is_in_a_directory_that_is_shown_must_be_shown(tree: Tree) -> None:
    assert missing(tree, without(tree, "/sub", "/sub/x", "/Sub/y")) == ["/Sub/y"]


def test_another_reader_must_show_both(tree: Tree) -> None:
    assert missing(tree, without(tree, "/one", reader="agent")) == ["/one"]


def test_the_one_that_is_shown_must_be_right(tree: Tree) -> None:
    view = without(tree, "/one")
    wrong = dataclasses.replace(view.entries["/ONE"], sha256="0" * 64)
    (difference,) = compare(tree, dataclasses.replace(view, entries={**view.entries, "/ONE": wrong}))[1]
    assert (difference.path, difference.field) == ("/ONE", "content")
