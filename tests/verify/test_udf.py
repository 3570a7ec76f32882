"""The comparison in UDF, without a guest: what differs is told, and what the driver changes is not."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

import pytest

from qemu_viso.guest.view import Entry, GuestView
from qemu_viso.verify.diff import compare
from qemu_viso.verify.expected import content_sha256, expected_label, expected_view
from tests.recipes import opened

if TYPE_CHECKING:
    from pathlib import Path

    from qemu_viso.tree.tree import Tree

LONG = "字" * 100 + ".jpeg"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    (tmp_path / "in").mkdir()
    os.symlink("a//b/..", tmp_path / "in" / "link")
    (tmp_path / "in" / "file").write_bytes(b"content")
    os.utime(tmp_path / "in" / "file", ns=(0, 1_234_567_890_123_456_789))
    (tmp_path / "in" / "file").chmod(0o4711)
    return opened(
        tmp_path, "--udf --strict-attribs --volume-id='größe 尺 and more of it'", "/=in", f"/{LONG}=in/file"
    ).tree


def honest(tree: Tree) -> GuestView:
    entries = {
        path: Entry(
            wanted.kind,
            wanted.size or 0,
            wanted.mode,
            wanted.uid,
            wanted.gid,
            wanted.target,
            wanted.mtime,
            None if wanted.content is None else content_sha256(wanted.content),
            wanted.mtime_nanoseconds,
        )
        for path, wanted in expected_view(tree, "udf").items()
    }
    return GuestView("udf", expected_label(tree, "udf"), entries)


def test_what_the_driver_shows(tree: Tree) -> None:
    view = expected_view(tree, "udf")
    (long,) = view.keys() - {"/", "/file", "/link"}
    assert long == "/" + "字" * 81 + "#" + long[-9:]
    assert long.endswith(".jpeg")
    assert len(long[1:].encode()) == 253
    assert (view["/file"].mode, view["/file"].mtime_nanoseconds) == (0o4711, 123_456_000)
    assert view["/link"].target == "a/b/.."
    assert expected_label(tree, "udf") == "größe 尺 and mor"
    assert compare(tree, honest(tree)) == (4, [])


@pytest.mark.parametrize(
    ("path", "change", "field"),
    [
        ("/file", {"mtime_nanoseconds": 123_456_789}, "mtime"),
        ("/file", {"mode": 0o711}, "mode"),
        ("/file", {"uid": 0xFFFFFFFF}, "owner"),
        ("/link", {"target": "a/b"}, "target"),
    ],
)
def test_what_differs_is_told(tree: Tree, path: str, change: dict[str, object], field: str) -> None:
    view = honest(tree)
    entry = dataclasses.replace(view.entries[path], **change)  # type: ignore[arg-type]
    found = compare(tree, dataclasses.replace(view, entries={**view.entries, path: entry}))[1]
    assert [(each.path, each.field) for each in found] == [(path, field)]


def test_another_label_is_told(tree: Tree) -> None:
    found = compare(tree, dataclasses.replace(honest(tree), label="größe 尺 and more of it"))[1]
    assert [each.field for each in found] == ["label"]
