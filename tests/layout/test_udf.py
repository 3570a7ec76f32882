"""UDF volumes, read by the strict reader and by programs that others wrote."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qemu_viso.image.render import render
from qemu_viso.layout import lay_out
from qemu_viso.ondisk.ecma167 import EXTENT_LIMIT
from qemu_viso.opening import Opened, open_viso
from qemu_viso.tree.builder import build_tree
from qemu_viso.tree.nodes import Namespace
from qemu_viso.viso import read_recipe
from tests.judges.compare import blind, difference, view_of, view_of_directory
from tests.judges.external import SevenZip, Xorriso
from tests.judges.grub import Grub
from tests.judges.reader.image import inspect
from tests.judges.reader.image import opened as opened_image
from tests.judges.whole import Blkid, Udfinfo
from tests.recipes import opened, write_files, write_recipe

if TYPE_CHECKING:
    from tests.judges.reader.image import Image as Seen
    from tests.judges.reader.model import Volume

TOLERATED = ("ECMA-119 6.8.2.1", "Joliet 64 units")


def judged(found: Opened, *allowed: str) -> Volume:
    seen = inspect(found.image.read, found.image.size)
    assert seen.violations(*TOLERATED, *allowed) == []
    assert seen.udf is not None
    return seen.udf


def assert_same(volume: Volume, folder: Path, *unseen: str) -> None:
    assert difference(blind(view_of_directory(folder), *unseen), blind(view_of(volume), "links", *unseen)) == []


def write_all(folder: Path) -> None:
    """A bit of everything."""
    write_files(
        folder,
        {
            "in/plain.txt": b"plain" * 1000,
            "in/empty": b"",
            "in/größe-尺寸-μέγεθος.txt": b"16 bits",
            "in/größe.txt": b"8 bits",
            "in/.hidden/x": b"hidden",
            **{f"in/many/{index:04}": b"%d" % index for index in range(300)},
            **{f"in/deep/{'/'.join('abcdefghijkl'[:depth])}/file": b"deep" for depth in range(1, 13)},
        },
    )
    (folder / "in" / "empty directory").mkdir()
    (folder / "in" / "plain.txt").chmod(0o4751)
    os.chown(folder / "in" / "plain.txt", 1234, 567)
    os.utime(folder / "in" / "empty", ns=(0, 1_234_567_890_123_456_000))


def test_everything(tmp_path: Path) -> None:
    write_all(tmp_path)
    for number, target in enumerate(("plain.txt", "../in/./plain.txt", "/absolute/größe", "/", "尺" * 80 + "/x")):
        os.symlink(target, tmp_path / "in" / f"link {number}")
    found = opened(tmp_path, "--udf --strict-attribs --volume-id='größe 尺'", "/=in")
    volume = judged(found, "ECMA-119 8.4.6")
    assert_same(volume, tmp_path / "in")
    assert volume.identifiers["logical_volume_id"] == volume.identifiers["volume_id"] == "größe 尺"
    assert volume.tree["/empty"].mtime == 1_234_567_890_123_456_000


def test_without_files_or_padding(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    found = opened(tmp_path, "--udf --no-pad", "/=in")
    assert list(judged(found).tree) == ["/"]


def test_off_by_default(tmp_path: Path) -> None:
    found = opened(tmp_path, "/a=in/a", files={"in/a": b"a"})
    assert inspect(found.image.read, found.image.size).udf is None


def test_names_in_udf_only(tmp_path: Path) -> None:
    lines = ("--udf --name-setup=iso+joliet,udf", "/a=/b/c=in/a", "=/only=in/a")
    found = opened(tmp_path, *lines, files={"in/a": b"content"})
    assert sorted(judged(found).tree) == ["/", "/b", "/b/c", "/only"]


def test_a_node_with_several_names_has_one_icb(tmp_path: Path) -> None:
    """Files become hard links; a directory cannot have a second name, so it is there twice with the same files."""
    write_files(tmp_path, {"in/a": b"content", "in/d/x": b"x" * 5000, "in/d/y": b"", "in/d/e/z": b"z", "in/z": b"z"})
    recipe = read_recipe(write_recipe(tmp_path, "--udf", "/=in"))
    tree = build_tree(recipe)
    (listing,) = tree.root.own_listings(frozenset((Namespace.UDF,)))
    listing.add("again", listing.nodes["a"])
    listing.add("d2", listing.nodes["d"])
    seen = judged(Opened(recipe, tree, lay_out(tree))).tree
    assert (seen["/a"].links, seen["/again"].links, seen["/z"].links) == (2, 2, 1)
    assert seen["/d/x"].links == seen["/d2/e/z"].links == 2
    assert seen["/d2/x"].content is not None
    assert seen["/d2/x"].content.data() == b"x" * 5000
    below = [f"/d{again}{path}" for again in ("", "2") for path in ("", "/x", "/y", "/e", "/e/z")]
    assert sorted(seen) == sorted(["/", "/a", "/again", "/z", *below])


def test_more_extents_than_an_icb_holds(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    limit = EXTENT_LIMIT
    sizes = [limit, limit + 1, 234 * limit, 234 * limit + 1, 486 * limit, 486 * limit + 1, 738 * limit + 1, 1 << 40]
    for size in sizes:
        path = tmp_path / "in" / str(size)
        path.touch()
        os.truncate(path, size)
        with open(path, "r+b") as file:
            file.seek(size - 4)
            file.write(b"last")
    found = opened(tmp_path, "--udf", "/=in")
    tree = judged(found, "ECMA-119 9.1.4").tree
    for size in sizes:
        node = tree[f"/{size}"]
        assert node.size == size
        assert node.content is not None
        last = node.content.extents[-1]
        assert sum(extent.length for extent in node.content.extents) == size
        assert found.image.read(last.start + last.length - 4, 4) == b"last" if last.length >= 4 else True
        assert node.content.extents[0].start + size == last.start + last.length


def test_link_targets_beyond_an_icb(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    targets = {"short": "x" * 200, "long": "/".join(["y" * 200] * 10), "longer": "/".join(["尺" * 80] * 15)}
    for name, target in targets.items():
        os.symlink(target, tmp_path / "in" / name)
    tree = judged(opened(tmp_path, "--udf", "/=in")).tree
    assert {name: tree[f"/{name}"].target for name in targets} == targets


def test_icbs_of_large_directories_come_in_pieces(tmp_path: Path) -> None:
    """Every piece of the image is read alone, whatever was read before."""
    write_all(tmp_path)
    found = opened(tmp_path, "--udf", "/=in")
    whole = found.image.read(0, found.image.size)
    again = open_viso(write_recipe(tmp_path, "--udf", "/=in"))
    starts = range(0, found.image.size, 2048)
    assert b"".join(again.image.read(start, 2048) for start in reversed(starts)) == b"".join(
        whole[start : start + 2048] for start in reversed(starts)
    )


def test_texts_and_times_of_the_volume(tmp_path: Path) -> None:
    found = opened(tmp_path, f"--udf --volume-id={'x' * 40} --volset=SET", "/a=in/a", files={"in/a": b"a"})
    identifiers = judged(found, "ECMA-119 8.4.6").identifiers
    assert identifiers["volume_id"] == "x" * 30
    assert identifiers["logical_volume_id"] == "x" * 40
    assert identifiers["volume_set_id"].endswith("SET")
    assert any("UDF" in warning for warning in found.tree.warnings)


def test_two_volumes_are_told_apart(tmp_path: Path) -> None:
    ids = set()
    for label in ("A", "B"):
        found = opened(tmp_path, f"--udf --volume-id={label}", "/a=in/a", files={"in/a": b"a"})
        ids.add(judged(found).identifiers["volume_set_id"][:16])
    assert len(ids) == 2


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=80).filter(
    lambda name: (
        name not in (".", "..") and len(name.encode()) <= 255 and not {"\ufeff", "\ufffe", "\uffff"} & set(name)
    )
)
TREES = st.dictionaries(
    st.lists(NAMES, min_size=1, max_size=4).map("/".join), st.binary(max_size=5000), min_size=1, max_size=20
)


@settings(max_examples=40, deadline=None)
@given(tree=TREES)
def test_any_tree(tree: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as name:
        for path, content in tree.items():
            try:
                write_files(Path(name) / "in", {path: content})
            except OSError:  # a file is where a directory would have to be
                continue
        found = open_viso(write_recipe(Path(name), "--udf", "/=in"))
        assert_same(judged(found), Path(name) / "in", "mode", "uid", "gid")


# --- judges that others wrote ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An image with everything but links, which 7-Zip cannot read in UDF, and the folder that it shows."""
    folder = tmp_path_factory.mktemp("bridge")
    write_all(folder)
    found = opened(folder, "--udf -R --strict-attribs --volume-id=BRIDGE --publisher=Owner", "/=in")
    image = folder / "bridge.iso"
    render(found.image, str(image))
    return image, folder / "in"


def skip_without(reason: str | None) -> None:
    if reason is not None:
        pytest.skip(reason)


def test_udfinfo(bridge: tuple[Path, Path]) -> None:
    judge = Udfinfo()
    skip_without(judge.available())
    facts = judge.facts(bridge[0])
    assert judge.complaints(bridge[0]) == []
    names = list(view_of_directory(bridge[1]))
    directories = sum(item.kind == "dir" for item in view_of_directory(bridge[1]).values())
    expected = {
        "label": "BRIDGE",
        "owner": "Owner",
        "udfrev": "1.02",
        "integrity": "closed",
        "accesstype": "readonly",
        "numdirs": str(directories),
        "numfiles": str(len(names) - directories),
        "behindblocks": "0",
        "freeblocks": "0",
    }
    assert {key: facts[key] for key in expected} == expected


def test_blkid(bridge: tuple[Path, Path]) -> None:
    judge = Blkid()
    skip_without(judge.available())
    facts = judge.facts(bridge[0])
    assert (facts["TYPE"], facts["LABEL"], facts["VERSION"]) == ("udf", "BRIDGE", "1.02")


@pytest.mark.parametrize("judge", [SevenZip(), Grub(), Xorriso()], ids=lambda judge: str(judge.name))
def test_the_trees_of_others(bridge: tuple[Path, Path], judge: SevenZip | Grub | Xorriso) -> None:
    skip_without(judge.available())
    with opened_image(bridge[0]) as seen:
        assert judge.disagreements(bridge[0], seen) == []


def test_grub_compares_contents(bridge: tuple[Path, Path]) -> None:
    judge = Grub()
    skip_without(judge.available())
    assert judge.complaints(*bridge) == []


def seen_of(image: Path) -> Seen:
    with opened_image(image) as seen:
        return seen


def test_files_are_there_once(bridge: tuple[Path, Path]) -> None:
    """All namespaces share the data."""
    seen = seen_of(bridge[0])
    places = set()
    for volume in (seen.rock, seen.joliet, seen.udf):
        assert volume is not None
        content = volume.tree["/plain.txt"].content
        assert content is not None
        places.add(content.extents)
    assert len(places) == 1
