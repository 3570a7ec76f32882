"""UDF of existing images: what genisoimage writes, what is put into it by hand, and what our own images have."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import RecipeError
from qemu_viso.image import FileSlice, Hole, Joined
from qemu_viso.image.render import render
from qemu_viso.tree.existing.image import ExistingImage
from qemu_viso.tree.existing.medium import Medium
from qemu_viso.tree.existing.udf_volume import dcharacters, dstring
from qemu_viso.tree.nodes import File, Link, Namespace
from qemu_viso.tree.origin import Clock, HostOrigin, WalkOptions
from tests.judges.compare import difference, view_of
from tests.recipes import opened
from tests.tree.makers import genisoimage, seen

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from qemu_viso.tree.nodes import Node

BLOCK = 2048
DATA = bytes(range(256)) * 40


@pytest.fixture
def bridge(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    (folder / "dir").mkdir(parents=True)
    (folder / "dir" / "file").write_bytes(DATA)
    (folder / "other").write_bytes(b"other")
    return genisoimage(tmp_path / "u.iso", "-udf", "-no-pad", folder)


def udf_tree(folder: Path, *lines: str) -> dict[str, Node]:
    return dict(opened(folder, "--udf", *lines).tree.walk(Namespace.UDF))


def file_entry(data: bytearray, size: int) -> int:
    """Where the file entry of the file of this size is."""
    found = []
    for at in range(0, len(data), BLOCK):
        tag, length = struct.unpack_from("<H", data, at)[0], struct.unpack_from("<Q", data, at + 56)[0]
        if tag == 261 and data[at + 27] == 5 and length == size:
            found.append(at)
    assert len(found) == 1
    return found[0]


def edited(path: Path, edit: Callable[[bytearray, int], None]) -> None:
    """Change the file entry of `/dir/file`."""
    data = bytearray(path.read_bytes())
    edit(data, file_entry(data, len(DATA)))
    path.write_bytes(data)


def descriptors(data: bytearray, entry: int) -> tuple[int, int, int]:
    """Where the allocation descriptors are; length and block of the first one."""
    (attributes,) = struct.unpack_from("<I", data, entry + 168)
    at = entry + 176 + attributes
    return at, *struct.unpack_from("<II", data, at)


def put(data: bytearray, entry: int, flags: int, new: bytes) -> None:
    at, _, _ = descriptors(data, entry)
    struct.pack_into("<H", data, entry + 34, flags)
    struct.pack_into("<I", data, entry + 172, len(new))
    data[at : at + len(new)] = new


def content(node: Node) -> bytes:
    assert isinstance(node, File)
    parts = node.data.parts if isinstance(node.data, Joined) else (node.data,)
    found = b""
    for part in parts:
        if isinstance(part, Hole):
            found += bytes(part.size)
        else:
            assert isinstance(part, FileSlice)
            with open(part.file.path, "rb") as file:
                file.seek(part.offset)
                found += file.read(part.size)
    return found


def test_data_inside_the_file_entry(bridge: Path, tmp_path: Path) -> None:
    def edit(data: bytearray, entry: int) -> None:
        put(data, entry, 3, b"embedded")
        struct.pack_into("<Q", data, entry + 56, 8)

    edited(bridge, edit)

    found = opened(tmp_path, "--udf --import-iso u.iso")
    assert content(dict(found.tree.walk(Namespace.UDF))["/dir/file"]) == b"embedded"
    udf = seen(found).udf
    assert udf is not None
    assert udf.tree["/dir/file"].content is not None
    assert udf.tree["/dir/file"].content.data() == b"embedded"


def test_pieces_in_any_order_with_holes(bridge: Path, tmp_path: Path) -> None:
    def edit(data: bytearray, entry: int) -> None:
        _, _, block = descriptors(data, entry)
        pieces = ((BLOCK, block + 2), (BLOCK | 1 << 30, 0), (BLOCK | 2 << 30, 0), (BLOCK, block), (BLOCK, block + 1))
        put(data, entry, 0, b"".join(struct.pack("<II", *piece) for piece in pieces))

    edited(bridge, edit)
    wanted = DATA[2 * BLOCK : 3 * BLOCK] + bytes(2 * BLOCK) + DATA[: 2 * BLOCK]

    found = opened(tmp_path, "--udf --import-iso u.iso")
    node = dict(found.tree.walk(Namespace.UDF))["/dir/file"]

    assert isinstance(node, File)
    assert isinstance(node.data, Joined)
    assert [part.size for part in node.data.parts] == [BLOCK, 2 * BLOCK, 2 * BLOCK]
    assert content(node) == wanted
    # And the same through the image that is served, in pieces of all kinds.
    start = node.extent * BLOCK
    assert found.image.read(start, len(wanted)) == wanted
    for offset, length in ((0, 1), (2000, 100), (BLOCK - 1, BLOCK + 2), (3 * BLOCK - 1, 2), (4 * BLOCK, BLOCK)):
        assert found.image.read(start + offset, length) == wanted[offset : offset + length]
    udf = seen(found).udf
    assert udf is not None
    assert udf.tree["/dir/file"].content is not None
    assert udf.tree["/dir/file"].content.data() == wanted


def test_long_descriptors_that_go_on_elsewhere(bridge: Path, tmp_path: Path) -> None:
    """The rest of the descriptors is put where the other file's data is."""

    def edit(data: bytearray, entry: int) -> None:
        _, _, block = descriptors(data, entry)
        _, _, spare = descriptors(data, file_entry(data, 5))
        start = data.index(DATA) - block * BLOCK  # of the partition
        rest = struct.pack("<IIH6x", 4 * BLOCK, block + 1, 0)
        struct.pack_into("<H14xI4xI", data, start + spare * BLOCK, 258, 0, len(rest))
        data[start + spare * BLOCK + 20 : start + spare * BLOCK + 24] = struct.pack("<I", len(rest))
        data[start + spare * BLOCK + 24 : start + spare * BLOCK + 24 + len(rest)] = rest
        first = struct.pack("<IIH6x", BLOCK, block, 0)
        put(data, entry, 1, first + struct.pack("<IIH6x", BLOCK | 3 << 30, spare, 0))

    edited(bridge, edit)

    node = udf_tree(tmp_path, "--import-iso u.iso")["/dir/file"]

    assert content(node) == DATA
    assert isinstance(node, File)
    assert isinstance(node.data, FileSlice)  # the pieces lie one behind the other


@pytest.mark.parametrize(
    ("flags", "descriptors_", "message"),
    [
        (0, struct.pack("<II", BLOCK, 0), "8,192 bytes less in its extents"),
        (0, struct.pack("<II", 0x3FFFFFFF, 0x7FFFFFFF), "beyond its end"),
        (2, b"", "of kind 2"),
        (3, b"short", "inside its file entry"),
        (1, struct.pack("<IIH6x", len(DATA), 0, 9), "no partition 9"),
    ],
)
def test_what_cannot_be_right(flags: int, descriptors_: bytes, message: str, bridge: Path, tmp_path: Path) -> None:
    edited(bridge, lambda data, entry: put(data, entry, flags, descriptors_))

    with pytest.raises(RecipeError, match=message):
        opened(tmp_path, "--udf --import-iso u.iso")


def test_descriptors_that_go_round_in_circles_end(bridge: Path, tmp_path: Path) -> None:
    """An extent of descriptors leads to itself, and adds nothing to the file."""

    def edit(data: bytearray, entry: int) -> None:
        _, _, spare = descriptors(data, file_entry(data, 5))
        _, _, block = descriptors(data, entry)
        start = data.index(DATA) - block * BLOCK
        again = struct.pack("<II", BLOCK | 3 << 30, spare)
        at = start + spare * BLOCK
        struct.pack_into("<H", data, at, 258)
        data[at + 20 : at + 32] = struct.pack("<I", len(again)) + again
        put(data, entry, 0, again)

    edited(bridge, edit)

    with pytest.raises(RecipeError, match="extents"):
        opened(tmp_path, "--udf --import-iso u.iso")


def test_our_own_udf_is_read_back(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "日本語").write_text("names")
    (folder / "empty").write_text("")
    (folder / "link").symlink_to("../a/./b")
    (folder / "absolute").symlink_to("/etc/日本語")
    with open(folder / "large", "wb") as large:
        large.truncate(3 << 30)
    (folder / "sub").chmod(0o1750)
    for path in folder.rglob("*"):
        os.utime(path, (1_500_000_000, 1_500_000_000), follow_symlinks=False)
    first = opened(tmp_path, "-R --udf /=in")
    render(first.image, str(tmp_path / "own.iso"))
    again = tmp_path / "again"
    again.mkdir()

    second = opened(again, "--strict-attribs --udf", f"--import-iso={tmp_path / 'own.iso'}")

    was, now = seen(first).udf, seen(second).udf
    assert was is not None
    assert now is not None
    before, after = view_of(was, content=False), view_of(now, content=False)  # the large file is holes
    del before["/"], after["/"]
    assert difference(before, after, ("first", "second")) == []
    assert before["/large"].size == 3 << 30
    assert content(dict(second.tree.walk(Namespace.UDF))["/sub/日本語"]) == b"names"


def test_a_volume_that_is_udf_only(tmp_path: Path) -> None:
    if shutil.which("mkudffs", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        pytest.skip("mkudffs is not installed")
    image = tmp_path / "only.udf"
    with open(image, "wb") as file:
        file.truncate(8 << 20)
    command = ["mkudffs", "--utf8", "--blocksize=2048", "--media-type=hd", "--udfrev=1.02", "--label=ONLY", str(image)]
    path = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    done = subprocess.run(command, capture_output=True, check=False, env=path)
    assert done.returncode == 0, done.stderr

    tree = opened(tmp_path, "--udf --import-iso only.udf /a=TEST.viso").tree

    assert "ONLY" in tree.settings.texts[Namespace.UDF].values()
    assert set(tree.root.nodes(Namespace.UDF)) == {"a"}


def test_what_only_udf_has_is_told_of(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "only in udf").write_text("x")
    (folder / "in both").write_text("y")
    genisoimage(tmp_path / "w.iso", "-udf", "-hide", "only in udf", folder)

    tree = opened(tmp_path, "--import-iso w.iso").tree
    assert [warning for warning in tree.warnings if "--udf" in warning]
    tree = opened(tmp_path, "--udf --import-iso w.iso").tree
    assert not tree.warnings


def test_strings() -> None:
    assert dstring(b"\x08Name" + bytes(26) + b"\x05") == "Name"
    assert dstring(b"\x10\x65\xe5" + bytes(28) + b"\x03") == "日"
    assert dstring(bytes(32)) == ""
    assert dcharacters(b"\x08\xe9") == "é"
    assert dcharacters(b"\xfe") == ""


def test_links_are_links(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to("x")
    render(opened(tmp_path, "--udf --no-rock-ridge /=in").image, str(tmp_path / "own.iso"))
    file = HostOrigin(str(tmp_path), WalkOptions(), Clock(None), []).file("own.iso")

    image = ExistingImage(Medium(file, "own.iso"))

    assert image.preferred().kind == "UDF"
    root = image.preferred().root.location
    assert root is not None
    [found] = image.preferred().entries(root)
    assert found.target == "x"
    assert isinstance(opened(tmp_path, "--push-iso own.iso /=/").tree.root.nodes(Namespace.ISO)["link"], Link)
