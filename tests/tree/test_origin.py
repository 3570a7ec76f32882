"""Sources on the host: what becomes of files, directories, links, and of what is neither."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import MissingInputError, RecipeError
from qemu_viso.sources.host import HostFile
from qemu_viso.tree.attributes import AttributeRules
from qemu_viso.tree.nodes import Directory, File, Link, Namespace
from qemu_viso.tree.origin import Clock, HostOrigin, WalkOptions

if TYPE_CHECKING:
    from pathlib import Path

    from qemu_viso.tree.nodes import Node

ISO = Namespace.ISO


class Taken:
    """A folder as an origin."""

    def __init__(self, folder: Path, clamp_ns: int | None = None) -> None:
        self.options = WalkOptions()
        self.warnings: list[str] = []
        self.clock = Clock(clamp_ns)
        self._origin = HostOrigin(str(folder), self.options, self.clock, self.warnings)

    def node(self, source: str) -> Node:
        return self._origin.node(source, AttributeRules())

    def names(self, source: str) -> set[str]:
        found = set()
        stack = [("", self.node(source))]
        while stack:
            path, node = stack.pop()
            if isinstance(node, Directory):
                stack += [(f"{path}/{name}", below) for name, below in node.nodes(ISO).items()]
            found.add(path)
        return found - {""}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "d" / "sub").mkdir(parents=True)
    (tmp_path / "d" / "sub" / "file").write_text("file")
    (tmp_path / "d" / "link").symlink_to("sub/file")
    (tmp_path / "d" / "to dir").symlink_to("sub")
    (tmp_path / "file").write_text("top")
    return tmp_path


def test_files_directories_and_links(folder: Path) -> None:
    taken = Taken(folder)
    top = taken.node("d")

    assert isinstance(top, Directory)
    link = top.nodes(ISO)["link"]
    assert isinstance(link, Link)
    assert link.target == "sub/file"
    assert taken.names("d") == {"/link", "/sub", "/sub/file", "/to dir"}
    file = taken.node("file")
    assert isinstance(file, File)
    assert isinstance(file.data, HostFile)
    assert file.data.path == str(folder / "file")


def test_links_followed_or_left_out(folder: Path) -> None:
    taken = Taken(folder)
    taken.options.ignore_links = True
    assert taken.names("d") == {"/sub", "/sub/file"}
    taken.options.follow_links = True
    assert taken.names("d") == {"/sub", "/sub/file", "/link", "/to dir", "/to dir/file"}
    (folder / "d" / "sub" / "up").symlink_to("..")
    with pytest.raises(RecipeError, match="leads back to one that holds it"):
        taken.node("d")
    (folder / "d" / "sub" / "up").unlink()
    (folder / "d" / "dangling").symlink_to("nowhere")
    with pytest.raises(MissingInputError, match="link to 'nowhere', which does not exist"):
        taken.node("d")


def test_excluded_by_name_or_by_path(folder: Path) -> None:
    taken = Taken(folder)
    taken.options.exclude("*link*")
    taken.options.exclude("d/su?")

    assert taken.names("d") == {"/to dir"}


def test_a_source_that_is_a_link_is_followed(folder: Path) -> None:
    assert isinstance(Taken(folder).node("d/link"), File)
    assert isinstance(Taken(folder).node("d/to dir"), Directory)
    (folder / "broken").symlink_to("nowhere")
    with pytest.raises(MissingInputError, match="symbolic link to 'nowhere'"):
        Taken(folder).node("broken")


def test_backslashes_separate_unless_a_file_has_them(folder: Path) -> None:
    assert isinstance(Taken(folder).node("d\\sub\\file"), File)
    (folder / "d\\sub\\file").write_text("other")
    node = Taken(folder).node("d\\sub\\file")
    assert isinstance(node, File)
    assert node.data.size == 5


def test_two_dots_take_away_the_name_before_them(folder: Path) -> None:
    """Whatever that is, in relative sources; an absolute one is as the host has it."""
    (folder / "elsewhere" / "in").mkdir(parents=True)
    (folder / "elsewhere" / "file").write_text("elsewhere")
    (folder / "link").symlink_to("elsewhere/in")
    taken = Taken(folder)

    for source in ("link/../file", "none/../file", "d/sub/../../file", "link\\..\\file", "d/../link/.././file"):
        node = taken.node(source)
        assert isinstance(node, File)
        assert (source, node.data.size) == (source, 3)
    absolute = taken.node(f"{folder}/link/../file")
    assert isinstance(absolute, File)
    assert absolute.data.size == len("elsewhere")
    assert isinstance(Taken(folder / "d").node("../d/../file"), File)
    assert {"/d", "/link"} <= set(taken.names("link/.."))
    assert {"/d", "/link"} <= set(taken.names("elsewhere/none/../../d/.."))
    with pytest.raises(MissingInputError, match="does not exist"):
        taken.node("d/../file/")


def test_special_files(folder: Path) -> None:
    os.mkfifo(folder / "d" / "pipe")
    taken = Taken(folder)

    assert "/pipe" not in taken.names("d")
    assert [warning for warning in taken.warnings if "FIFO" in warning]
    with pytest.raises(RecipeError, match="is a FIFO"):
        taken.node("d/pipe")


def test_times_are_clamped_and_the_newest_is_known(folder: Path) -> None:
    os.utime(folder / "file", ns=(0, 5_000))
    os.utime(folder / "d" / "sub" / "file", ns=(0, 9_000))
    taken = Taken(folder, clamp_ns=7_000)

    assert (taken.node("file").mtime_ns, taken.node("d/sub/file").mtime_ns) == (5_000, 7_000)
    assert taken.clock.newest_ns == 7_000


def test_what_cannot_be_a_source(folder: Path) -> None:
    with pytest.raises(MissingInputError, match=r"none' does not exist"):
        Taken(folder).node("none")
    with pytest.raises(MissingInputError, match="does not exist"):
        Taken(folder).node("file/below")
    with pytest.raises(RecipeError, match="NUL"):
        Taken(folder).node("a\0b")
    with pytest.raises(MissingInputError, match=r"a\\x0ab' does not exist"):
        Taken(folder).node("a\nb")
