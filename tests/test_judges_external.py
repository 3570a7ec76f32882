"""Each judge was seen to disagree: it is shown another image than the one that the reader read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.judges import samples
from tests.judges.boot import boot_entries, boot_entries_by_xorriso
from tests.judges.compare import FIELDS, Item, blind, difference
from tests.judges.external import JudgeError, SevenZip, Xorriso, missing, run
from tests.judges.grub import TREE_JUDGES
from tests.judges.images import IMAGES, made
from tests.judges.reader.image import opened
from tests.judges.whole import Isovfy, Udfinfo

if TYPE_CHECKING:
    from pathlib import Path

    from tests.judges.external import Judge, Look

needs_genisoimage = pytest.mark.skipif(bool(missing("genisoimage")), reason=str(missing("genisoimage")))


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return changed(tmp_path_factory.mktemp("external"), "-R", "-J", "-udf")


@pytest.fixture(scope="module")
def plain_trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return changed(tmp_path_factory.mktemp("plain"))


def changed(folder: Path, *options: str) -> dict[str, Path]:
    """The image of a tree, and images of the tree with one thing changed."""
    images: dict[str, Path] = {}
    for change in ("none", "content", "size", "name", "mode", "target", "missing"):
        root = folder / change
        root.mkdir()
        samples.small_tree(root)
        if change == "content":
            (root / "hello.txt").write_text("hallo\n")
        elif change == "size":
            (root / "hello.txt").write_text("hello\n\n")
        elif change == "name":
            (root / "hello.txt").rename(root / "hallo.txt")
        elif change == "mode":
            (root / "hello.txt").chmod(0o600)
        elif change == "target":
            (root / "link").unlink()
            (root / "link").symlink_to("elsewhere")
        elif change == "missing":
            (root / "dir" / "sub" / "end.txt").unlink()
        samples.settle(root)
        images[change] = samples.genisoimage(folder / f"{change}.iso", root, *options, "-V", "SAME")
    return images


SEES = {
    "pycdlib": ("content", "size", "name", "mode", "target", "missing"),
    "xorriso": ("size", "name", "mode", "target", "missing"),
    "isoinfo": ("size", "name", "mode", "target", "missing"),
    "bsdtar": ("content", "size", "name", "mode", "target", "missing"),
    "7z": ("content", "size", "name", "missing"),
    "grub-fstest": ("content", "size", "name", "missing"),
}


@needs_genisoimage
@pytest.mark.parametrize("judge", TREE_JUDGES, ids=lambda judge: judge.name)
def test_a_judge_disagrees_where_it_sees(trees: dict[str, Path], judge: Judge) -> None:
    if reason := judge.available():
        pytest.skip(reason)
    with opened(trees["none"]) as seen:
        assert judge.disagreements(trees["none"], seen) == []
        told = tuple(change for change in trees if change != "none" and judge.disagreements(trees[change], seen))
    assert told == SEES[judge.name]


@needs_genisoimage
@pytest.mark.parametrize("judge", TREE_JUDGES, ids=lambda judge: judge.name)
def test_a_judge_disagrees_about_plain_identifiers(plain_trees: dict[str, Path], judge: Judge) -> None:
    if reason := judge.available():
        pytest.skip(reason)
    with opened(plain_trees["none"]) as seen:
        assert judge.disagreements(plain_trees["none"], seen) == []
        told = {change for change, image in plain_trees.items() if judge.disagreements(image, seen)}
    assert told == set(SEES[judge.name]) - {"mode", "target"}


@needs_genisoimage
@pytest.mark.parametrize("judge", TREE_JUDGES, ids=lambda judge: judge.name)
@pytest.mark.parametrize(("look", "least"), [("sizes", {"size", "name", "missing"}), ("names", {"name", "missing"})])
def test_a_judge_that_looks_less_closely_disagrees_as_well(
    trees: dict[str, Path], judge: Judge, look: Look, least: set[str]
) -> None:
    if reason := judge.available():
        pytest.skip(reason)
    with opened(trees["none"]) as seen:
        assert judge.disagreements(trees["none"], seen, look) == []
        told = {change for change in trees if judge.disagreements(trees[change], seen, look)}
    assert least <= told
    assert "content" not in told


def test_xorriso_tells_boot_entries_apart(tmp_path: Path) -> None:
    if reason := Xorriso().available():
        pytest.skip(reason)
    said = {}
    for name in ("small bootable", "small platforms", "floppies"):
        (tmp_path / name).mkdir()
        with made(IMAGES[name], tmp_path / name) as image:
            said[name] = boot_entries(image.seen), boot_entries_by_xorriso(image.path)
    assert all(ours == theirs for ours, theirs in said.values())
    assert said["small bootable"][0] != said["small platforms"][1] != said["floppies"][0]


@needs_genisoimage
def test_complaints(trees: dict[str, Path], tmp_path: Path) -> None:
    """A directory's records in disorder, and an image cut short."""
    data = bytearray(trees["none"].read_bytes())
    cut = tmp_path / "cut.iso"
    cut.write_bytes(data[:-400_000])
    if Xorriso().available() is None:
        assert Xorriso().complaints(trees["none"]) == []
        assert Xorriso().complaints(cut) != []
    if SevenZip().available() is None:
        assert SevenZip().complaints(cut) != []
    at = data.index(b"PX\x24\x01", data.index(b"\x0bHELLO.TXT;1"))
    data[at] = ord("x")
    broken = tmp_path / "broken.iso"
    broken.write_bytes(data)
    if Isovfy().available() is None:
        assert any("BAD SUSP" in line for line in Isovfy().complaints(broken))
    if Udfinfo().available() is None:
        assert Udfinfo().complaints(trees["none"]) == []
        assert Udfinfo().complaints(cut) != []


def test_programs_that_are_missing_or_fail() -> None:
    assert missing("no-such-program") == "no-such-program is not installed"
    with pytest.raises(JudgeError, match="false ended with 1"):
        run("false")


FULL = Item("file", 1, "a" * 64, 0o644, 0, 0, 1, 1000, None, None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", "dir"), ("size", 2), ("sha256", "b" * 64), ("mode", 0o600), ("uid", 1), ("gid", 1), ("links", 2),
        ("mtime", 1001), ("target", "x"), ("device", (1, 2)),
    ],
)  # fmt: skip
def test_each_field_is_compared(field: str, value: object) -> None:
    full = replace(FULL, target="y", device=(0, 0))
    other: dict[str, object] = {field: value}
    (said,) = difference({"/a": full}, {"/a": replace(full, **other)}, ("this", "that"))  # type: ignore[arg-type]
    assert said.startswith(f"'/a': {field} is ")
    assert said.endswith(" in that")
    assert difference({"/a": full}, {"/a": replace(full, **other)}, ignore=(field,)) == []  # type: ignore[arg-type]
    assert difference(blind({"/a": full}, field), {"/a": replace(full, **other)}) == []  # type: ignore[arg-type]
    assert field in FIELDS


def test_paths_on_one_side_are_told() -> None:
    assert difference({"/a": FULL}, {"/b": FULL}, ("this", "that")) == [
        "'/a' is in this and not in that",
        "'/b' is in that and not in this",
    ]
