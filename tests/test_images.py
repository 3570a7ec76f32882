"""Images against the strict reader: no rule broken, and exactly the tree that the sources hold."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qemu_viso.opening import open_viso
from tests.judges.compare import blind, difference, view_of, view_of_directory
from tests.judges.reader.image import inspect
from tests.recipes import opened, write_files, write_recipe

if TYPE_CHECKING:
    from qemu_viso.opening import Opened
    from tests.judges.reader.image import Image as Seen

DEEP = (
    "ECMA-119 6.8.2.1"  # more than eight levels, as VirtualBox has them too: Rock Ridge and Joliet readers do not mind
)
LONG_JOLIET = "Joliet 64 units"  # names run to the 110 units that a record holds


def judged(found: Opened, *allowed: str) -> Seen:
    seen = inspect(found.image.read, found.image.size, level=found.tree.settings.iso_level)
    assert seen.violations(*allowed) == []
    return seen


def assert_same_tree(seen: Seen, folder: Path, *, level: int = 3) -> None:
    """Rock Ridge shows what the folder holds; the other trees as much as they can."""
    assert seen.rock is not None
    expected = view_of_directory(folder)
    unseen = ("mode", "uid", "gid")
    assert difference(blind(expected, *unseen), blind(view_of(seen.rock), *unseen)) == []
    assert seen.primary is not None
    assert seen.joliet is not None
    contents = sorted((item.size, item.sha256) for item in expected.values() if item.kind == "file")
    for volume in (seen.primary, seen.joliet):
        files = [item for item in view_of(volume).values() if item.kind == "file"]
        links = sum(item.kind == "link" for item in expected.values()) if volume is seen.primary else 0
        found = sorted((item.size, item.sha256) for item in files)
        assert len(found) == len(contents) + links
        if not links:
            assert found == contents


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60).filter(
    lambda name: name not in (".", "..") and len(name.encode()) <= 255
)
SIMPLE = st.sampled_from(
    ["a", "A", "a.txt", "A.TXT", "README", "readme", "x.tar.gz", ".x", "x.", "-", "a" * 40, "B" * 40]
)
TREES = st.dictionaries(
    st.lists(NAMES | SIMPLE, min_size=1, max_size=4).map("/".join), st.binary(max_size=3000), min_size=1, max_size=25
)


def plant(folder: Path, tree: dict[str, bytes]) -> bool:
    """Make a random tree, as far as its paths do not get in each other's way."""
    planted = False
    for path, content in tree.items():
        try:
            write_files(folder, {path: content})
        except OSError:
            continue
        planted = True
    return planted


@settings(max_examples=60, deadline=None)
@given(tree=TREES, level=st.integers(1, 3), full=st.booleans())
def test_any_tree(tree: dict[str, bytes], level: int, full: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "in"
        folder.mkdir()
        if not plant(folder, tree):
            return
        options = f"--iso-level={level} {'--rock-ridge' if full else '--limited-rock-ridge'}"
        found = open_viso(write_recipe(Path(name), options, "/=in"))
        assert_same_tree(judged(found, LONG_JOLIET), folder, level=level)


def test_more_than_one_sector_of_everything(tmp_path: Path) -> None:
    files = {f"in/{'d' * 20}{index:04}/{'f' * 60}{index}.extension": b"%d" % index for index in range(1500)}
    found = opened(tmp_path, "--rock-ridge", "/=in", files=files)
    seen = judged(found, LONG_JOLIET)
    assert_same_tree(seen, tmp_path / "in")
    assert len(found.image.read(0, found.image.size)) == found.image.size


def test_path_tables_beyond_64_kib(tmp_path: Path) -> None:
    for index in range(2500):
        (tmp_path / "in" / f"directory_with_a_long_name_{index:04}").mkdir(parents=True)
    found = opened(tmp_path, "/=in")
    seen = judged(found)
    assert seen.primary is not None
    assert sum(node.kind == "dir" for node in seen.primary.tree.values()) >= 2500


def test_files_in_several_extents(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    sizes = {"one": 0xFFFFFFFF, "two": 0x100000000, "exact": 2 * 0xFFFFF800, "five": 20_000_000_001}
    for name, size in sizes.items():
        with open(tmp_path / "in" / name, "wb") as file:
            file.truncate(size)
    found = opened(tmp_path, "/=in")
    seen = judged(found)
    for volume in (seen.primary, seen.rock, seen.joliet):
        assert volume is not None
        found_sizes = sorted(node.size for node in volume.tree.values() if node.kind == "file")
        assert found_sizes == sorted(sizes.values())


def test_links_of_every_shape(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    targets = [
        "a",
        "../a",
        "/",
        "/abs/olute",
        "./here",
        "..",
        ".",
        "x/" * 300 + "end",
        "n" * 250,
        "ü" * 120 + "/" + "y" * 240,
    ]
    for index, target in enumerate(targets):
        os.symlink(target, folder / f"link{index}")
    os.symlink("z" * 2000, folder / ("l" * 250))
    found = opened(tmp_path, "--rock-ridge", "/=in")
    seen = judged(found)
    assert seen.rock is not None
    shown = {path: node.target for path, node in seen.rock.tree.items() if node.kind == "link"}
    for index, target in enumerate(targets):
        assert shown[f"/link{index}"] == target.rstrip("/") or target == "/"
    assert shown["/" + "l" * 250] == "z" * 2000
    assert seen.joliet is not None
    assert not [node for node in seen.joliet.tree.values() if node.kind == "link"]


def test_undecodable_names(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with open(os.fsencode(tmp_path / "in") + b"/\xff\xfe name", "wb") as file:
        file.write(b"x")
    seen = judged(opened(tmp_path, "/=in"))
    assert seen.rock is not None
    assert os.fsdecode(b"/\xff\xfe name") in seen.rock.tree


def test_deep_directories(tmp_path: Path) -> None:
    path = "in/" + "/".join(f"level{index}" for index in range(40)) + "/bottom"
    found = opened(tmp_path, "/=in", files={path: b"x"})
    assert_same_tree(judged(found, DEEP), tmp_path / "in")


@pytest.mark.parametrize("namespaces", ["--no-joliet", "--no-rock-ridge", "--no-joliet --no-rock-ridge"])
def test_namespaces_that_are_off_leave_nothing(tmp_path: Path, namespaces: str) -> None:
    found = opened(tmp_path, namespaces, "/=in", files={"in/a/b": b"x"})
    seen = judged(found)
    assert (seen.joliet is None) == ("--no-joliet" in namespaces)
    assert (seen.rock is None) == ("--no-rock-ridge" in namespaces)
    assert (b"%/E" in found.image.read(0, 20 * 2048)) == (seen.joliet is not None)


def test_padding(tmp_path: Path) -> None:
    write_files(tmp_path, {"a": b"x"})
    padded = open_viso(write_recipe(tmp_path, "/a=a")).image
    bare = open_viso(write_recipe(tmp_path, "--no-pad", "/a=a")).image
    assert padded.size - bare.size == 150 * 2048
    assert not any(padded.read(bare.size, 150 * 2048))


def test_a_sparse_tebibyte_costs_no_more_than_a_byte(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with open(tmp_path / "in" / "huge", "wb") as file:
        file.truncate(1 << 40)
    found = opened(tmp_path, "/=in")
    assert found.image.size > 1 << 40
    assert len(found.image.regions) < 20
    assert found.image.read(found.image.size // 2, 10) == bytes(10)
