"""The comparison and its report, without a guest: views are made by hand."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import UsageError
from qemu_viso.guest.view import Entry, GuestView
from qemu_viso.verify.diff import compare
from qemu_viso.verify.expected import content_sha256, expected_view, namespaces
from qemu_viso.verify.report import Report
from tests.recipes import opened
from tests.verify.seeing import honest

if TYPE_CHECKING:
    from pathlib import Path

    from qemu_viso.tree.tree import Tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    files = {"in/a file.txt": b"a" * 3000, "in/d/b": b"b"}
    (tmp_path / "in").mkdir()
    os.symlink("a//b/", tmp_path / "in" / "link")
    return opened(tmp_path, "--volume-id=LABEL -R", "/=in", files=files).tree


def changed(view: GuestView, path: str, **fields: object) -> GuestView:
    entry = dataclasses.replace(view.entries[path], **fields)  # type: ignore[arg-type]
    return dataclasses.replace(view, entries={**view.entries, path: entry})


def test_what_each_namespace_shows(tree: Tree) -> None:
    assert namespaces(tree) == ("rock", "plain", "joliet")
    assert list(expected_view(tree, "rock")) == ["/", "/a file.txt", "/d", "/link", "/d/b"]
    assert sorted(expected_view(tree, "plain")) == ["/", "/a_file.txt", "/d", "/d/b", "/link"]
    assert sorted(expected_view(tree, "joliet")) == ["/", "/a file.txt", "/d", "/d/b"]
    assert expected_view(tree, "rock")["/link"].target == "a//b/"
    assert expected_view(tree, "plain")["/link"][:3] == ("file", 0, 0o555)
    with pytest.raises(UsageError, match="no udf"):
        expected_view(tree, "udf")


def test_contents_come_from_the_sources(tree: Tree) -> None:
    content = expected_view(tree, "rock")["/a file.txt"].content
    assert content is not None
    assert content_sha256(content) == hashlib.sha256(b"a" * 3000).hexdigest()


def test_an_honest_view_has_no_differences(tree: Tree) -> None:
    for namespace in namespaces(tree):
        expected, differences = compare(tree, honest(tree, namespace))
        assert differences == []
        assert expected == len(expected_view(tree, namespace))


@pytest.mark.parametrize(
    ("field", "value", "name"),
    [
        ("kind", "directory", "kind"),
        ("size", 2999, "size"),
        ("sha256", "0" * 64, "content"),
        ("sha256", None, "content"),
        ("mode", 0o600, "mode"),
        ("uid", 1, "owner"),
        ("gid", 1, "group"),
        ("mtime", 1, "mtime"),
    ],
)
def test_every_field_counts(tree: Tree, field: str, value: object, name: str) -> None:
    _, (difference,) = compare(tree, changed(honest(tree, "rock"), "/a file.txt", **{field: value}))
    assert (difference.path, difference.field) == ("/a file.txt", name)
    assert "/a file.txt" in str(difference)


def test_names_labels_and_targets_count(tree: Tree) -> None:
    view = honest(tree, "rock")
    fewer = dataclasses.replace(view, entries={path: view.entries[path] for path in view.entries if path != "/d/b"})
    more = dataclasses.replace(view, entries={**view.entries, "/x": view.entries["/d/b"]})
    assert [str(each) for each in compare(tree, fewer)[1]] == ["/d/b: name: expected a file, the guest saw absent"]
    assert [str(each) for each in compare(tree, more)[1]] == ["/x: name: expected absent, the guest saw a file"]
    (label,) = compare(tree, dataclasses.replace(view, label="OTHER"))[1]
    assert (label.path, label.field) == ("", "label")
    (target,) = compare(tree, changed(view, "/link", target="a/c"))[1]
    assert target.field == "target"


def test_modes_of_links_count(tree: Tree) -> None:
    (difference,) = compare(tree, changed(honest(tree, "rock"), "/link", mode=0o600))[1]
    assert (difference.path, difference.field, difference.seen) == ("/link", "mode", "0600")


def test_times_after_2038_wrap_on_old_kernels(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    os.utime(tmp_path / "a", (2_147_558_400, 2_147_558_400))
    tree = opened(tmp_path, "--volume-id=X -R /a=a").tree
    for seen, fields in ((2_147_558_400, []), (-2_147_408_896, []), (2_147_558_401, ["mtime"]), (0, ["mtime"])):
        differences = compare(tree, changed(honest(tree, "rock"), "/a", mtime=seen))[1]
        assert [difference.field for difference in differences] == fields


def test_the_report_counts_and_shows(tree: Tree) -> None:
    view = honest(tree, "rock")
    wrong = changed(view, "/d/b", mode=0, uid=7)
    wrong = dataclasses.replace(wrong, label="OTHER", entries={**wrong.entries, "/x": view.entries["/d/b"]})
    expected, differences = compare(tree, wrong)
    report = Report("r.viso", "guest", "bus", "rock", expected, tuple(differences), 4.14)
    assert report.summary() == "guest · bus · rock: 4 of 5 entries as expected, 1 too many, wrong label (4.1 s)"
    lines = report.table().splitlines()
    assert lines[0].split() == ["path", "field", "expected", "seen"]
    assert len(lines) == 1 + len(differences) == 5
    content = json.loads(json.dumps(report.to_json()))
    assert content["as_expected"] == 4
    assert len(content["differences"]) == 4
    right = Report("r.viso", "guest", "bus", "rock", 5, (), 1.0)
    assert right.summary() == "guest · bus · rock: 5 of 5 entries as expected (1.0 s)"
    assert right.table() == ""


def test_a_long_table_is_cut(tree: Tree) -> None:
    _, differences = compare(tree, GuestView("rock", "LABEL", {f"/{index}": _entry() for index in range(100)}))
    table = Report("r", "g", "b", "rock", 5, tuple(differences), 1.0).table()
    assert table.splitlines()[-1] == "… and 55 more"


def test_a_table_has_a_line_for_each_difference(tree: Tree) -> None:
    view = GuestView("rock", "LABEL", {**honest(tree, "rock").entries, "/new\nline\x1b[31m\udcff": _entry()})
    report = Report("r", "g", "b", "rock", 5, tuple(compare(tree, view)[1]), 1.0)
    assert report.table().splitlines()[1:] == ["/new\\nline\\x1b[31m\\udcff  name   absent    a file"]


def _entry() -> Entry:
    return Entry("file", 0, 0, 0, 0, None, 0, None)


def test_a_reader_is_held_to_what_it_tells(tree: Tree) -> None:
    """Another mode, owner and time are not its business; a content is; what a link leads to is not asked."""
    view = dataclasses.replace(honest(tree, "rock"), reader="grub", facts=frozenset({"content"}))
    other = changed(view, "/a file.txt", mode=0, uid=7, gid=7, mtime=1, size=0)
    other = changed(other, "/link", kind="file", target=None)
    assert compare(tree, other)[1] == []
    (difference,) = compare(tree, changed(other, "/d/b", sha256="0" * 64))[1]
    assert (difference.path, difference.field) == ("/d/b", "content")
    (difference,) = compare(tree, changed(other, "/d", kind="file"))[1]
    assert (difference.path, difference.field) == ("/d", "kind")


def test_names_as_other_readers_show_them(tmp_path: Path) -> None:
    """Without the rules of Linux's drivers, but for what a console cannot show."""
    files = {"in/tab\there": b"", "in/dot.": b"", "in/" + "h" * 255: b"", "in/..x": b""}
    tree = opened(tmp_path, "--volume-id=X -R --udf", "/=in", files=files).tree
    long = f"/{'h' * 255}"
    assert sorted(expected_view(tree, "rock", "grub")) == ["/", "/..x", "/dot.", long, "/tab?here"]
    assert sorted(expected_view(tree, "rock", "uefi-shell")) == ["/", "/..x", "/dot.", long, "/tab\there"]
    assert {"/dot.", "/tab_here"} <= expected_view(tree, "joliet", "grub").keys()
    assert {"/..x", "/tab?here"} <= expected_view(tree, "udf", "grub").keys()
    assert "/..x" not in expected_view(tree, "udf")


def test_a_reader_that_follows_links(tree: Tree) -> None:
    """It shows names below a link to a directory, and tells times in seconds; the root itself it does not tell of."""
    view = dataclasses.replace(honest(tree, "rock"), reader="uefi-shell", facts=frozenset({"size", "content", "mtime"}))
    view = changed(view, "/", mtime=0)
    below = dataclasses.replace(view, entries={**view.entries, "/link/b": view.entries["/d/b"]})
    assert compare(tree, below)[1] == []
    beside = dataclasses.replace(view, entries={**view.entries, "/linked/b": view.entries["/d/b"]})
    assert [difference.path for difference in compare(tree, beside)[1]] == ["/linked/b"]
    (difference,) = compare(tree, changed(view, "/d/b", mtime=1))[1]
    assert difference.field == "mtime"
