"""Images that others made, imported, and then seen by a reader that is not ours."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING
from unittest.mock import patch

import pycdlib
import pytest

from qemu_viso.errors import MissingInputError, RecipeError
from qemu_viso.image import FileSlice
from qemu_viso.tree.nodes import Directory, File, Link, Namespace
from qemu_viso.viso.recipe import VolumeField
from tests.judges.compare import difference
from tests.judges.reader.image import opened as opened_image
from tests.recipes import opened
from tests.tree.makers import DEEP, assert_same, both, difficult_tree, genisoimage, handmade, seen, view, xorrisofs

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return difficult_tree(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def images(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each has the difficult tree, with what its name says."""
    folder = tmp_path_factory.mktemp("images")
    return {
        "genisoimage": genisoimage(
            folder / "g.iso", "-R", "-J", "-joliet-long", "-V", "OLD", "-allow-lowercase", source
        ),
        "xorriso": xorrisofs(folder / "x.iso", "-R", "-J", "-joliet-long", "-V", "OLD", source),
        "rock": genisoimage(folder / "r.iso", "-R", source),
        "relocated": xorrisofs(folder / "d.iso", "-r", "-disallow_dir_id_ext", source),
        "joliet": genisoimage(folder / "j.iso", "-J", "-D", "-joliet-long", source),
        "udf": genisoimage(folder / "u.iso", "-R", "-J", "-udf", "-D", "-joliet-long", "-V", "OLD", source),
    }


@pytest.mark.parametrize("name", ["genisoimage", "xorriso", "rock", "relocated", "udf"])
def test_rock_ridge_is_taken_over_whole(name: str, images: dict[str, Path], tmp_path: Path) -> None:
    found = opened(tmp_path, "--strict-attribs", f"--import-iso={images[name]}")

    with opened_image(images[name]) as old:
        assert old.rock is not None
        old.rock.tree.pop("/rr_moved", None)
        assert_same(old.rock, seen(found).rock, ignore=("links",))


def test_targets_of_links_in_several_entries(tmp_path: Path) -> None:
    """genisoimage cannot write them; xorriso can."""
    targets = {
        "many": "/".join(("component " * 9).strip() for _ in range(9)),
        "long": "x" * 255 + "/" + "y" * 255,
        "absolute": "/" + "z" * 250 + "/../" + "w" * 250,
    }
    for name, target in targets.items():
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).symlink_to(target)
    xorrisofs(tmp_path / "l.iso", "-R", tmp_path / "in")

    rock = view(seen(opened(tmp_path, "--import-iso l.iso")).rock)

    assert {name: rock[f"/{name}"].target for name in targets} == targets


def test_relocated_directories_are_back_in_their_place(images: dict[str, Path], tmp_path: Path) -> None:
    found = opened(tmp_path, f"--import-iso={images['rock']}")

    rock = seen(found).rock
    assert rock is not None
    assert f"/{DEEP}/deeper/deepest" in rock.tree
    assert not [path for path in rock.tree if "moved" in path]


@pytest.mark.parametrize("name", ["genisoimage", "xorriso", "joliet", "udf"])
def test_joliet_is_taken_over_whole(name: str, images: dict[str, Path], tmp_path: Path) -> None:
    found = opened(tmp_path, f"--import-iso={images[name]}")

    with opened_image(images[name]) as old:
        # An empty file that stands for a link is known for what it is, where Rock Ridge tells.
        shadows = {path for path, item in view(old.rock).items() if item.kind == "link"} if old.rock else set()
        before, after = view(old.joliet), view(seen(found).joliet)
        del before["/"], after["/"]
        before = {path: item for path, item in before.items() if not (path in shadows and item.size == 0)}
        assert difference(before, after, ("the old image", "the new image"), ignore=("mtime",)) == []


def test_namespaces_share_what_they_agree_on(images: dict[str, Path], tmp_path: Path) -> None:
    root = opened(tmp_path, f"--import-iso={images['udf']}").tree.root

    deep = root.nodes(Namespace.ISO)["dir"]
    assert isinstance(deep, Directory)
    assert deep.nodes(Namespace.JOLIET)["sub"] is deep.nodes(Namespace.ISO)["sub"]
    assert deep.nodes(Namespace.UDF)["exe"] is deep.nodes(Namespace.ISO)["exe"]
    assert deep.listings[Namespace.JOLIET] is deep.listings[Namespace.ISO]


def test_names_of_one_thing_that_differ_are_removed_together(images: dict[str, Path], tmp_path: Path) -> None:
    found = opened(
        tmp_path, f"--import-iso={images['joliet']}", "'/MiXeD CaSe.TaR.gz=:must-remove:' /dir=:must-remove:"
    )

    image = seen(found)
    assert image.primary is not None
    assert image.joliet is not None
    assert not [path for path in image.primary.tree if path.startswith(("/DIR", "/MIXED"))]
    assert not [path for path in image.joliet.tree if path.startswith(("/dir", "/MiXeD"))]


def test_udf_names_and_data(images: dict[str, Path], source: Path, tmp_path: Path) -> None:
    tree = opened(tmp_path, "--udf", f"--import-iso={images['udf']}").tree

    paths = {path: node for path, node in tree.walk(Namespace.UDF) if not isinstance(node, Link)}
    with opened_image(images["udf"]) as old:
        assert old.udf is not None
        assert {path for path in old.udf.tree if path not in ("/", "/link", "/absolute")} >= set(paths)
        for path, node in paths.items():
            was = old.udf.tree[path]
            assert was.content is not None or was.kind == "dir"
            assert (was.kind == "dir") == isinstance(node, Directory)
            if isinstance(node, File) and isinstance(node.data, FileSlice):
                with open(images["udf"], "rb") as image:
                    image.seek(node.data.offset)
                    assert image.read(node.data.size) == (was.content.data() if was.content else b"")


def test_identifiers_are_imported_unless_given(images: dict[str, Path], source: Path, tmp_path: Path) -> None:
    image = genisoimage(
        tmp_path / "t.iso", "-J", "-V", "VOLUME", "-publisher", "PUBLISHER", "-p", "PREPARER", "-A", "APPLICATION",
        "-volset", "SET", "-sysid", "SYSTEM", "-copyright", "README.TXT", source / "readme.txt",
    )  # fmt: skip
    found = opened(tmp_path, "--volume-id=MINE", f"--import-iso={image}", "-volset HIS")

    texts = found.tree.settings.texts[Namespace.ISO]
    assert texts == {
        VolumeField.VOLUME_ID: "MINE",
        VolumeField.VOLUME_SET_ID: "HIS",
        VolumeField.PUBLISHER_ID: "PUBLISHER",
        VolumeField.SYSTEM_ID: "SYSTEM",
        VolumeField.COPYRIGHT_FILE: "README.TXT",
    }
    assert found.tree.settings.texts[Namespace.JOLIET][VolumeField.PUBLISHER_ID] == "PUBLISHER"


def test_later_imports_have_the_last_word_on_identifiers(source: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(name.encode())
        genisoimage(tmp_path / f"{name}.iso", "-R", "-V", name.upper(), tmp_path / name)

    tree = opened(tmp_path, "--import-iso one.iso --import-iso two.iso").tree

    assert tree.volume_id == "TWO"
    assert set(tree.root.nodes(Namespace.ISO)) == {"one", "two"}


def test_two_images_with_common_directories_merge(tmp_path: Path) -> None:
    for name in ("one", "two"):
        folder = tmp_path / name / "common" / "sub"
        folder.mkdir(parents=True)
        (folder / name).write_text(name)
        genisoimage(tmp_path / f"{name}.iso", "-R", "-J", tmp_path / name)
    (tmp_path / "three").write_text("three")

    image = seen(opened(tmp_path, "--import-iso one.iso --import-iso two.iso /common/sub/three=three"))

    for volume in (image.rock, image.joliet):
        assert set(view(volume)) == {
            "/",
            "/common",
            "/common/sub",
            *(f"/common/sub/{n}" for n in ("one", "two", "three")),
        }


def test_a_file_that_is_there_already_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "file").write_text("old")
    genisoimage(tmp_path / "one.iso", "-R", "-J", tmp_path / "one")

    with pytest.raises(RecipeError, match="already has '/file'"):
        opened(tmp_path, "/file=one.iso --import-iso one.iso")

    image = seen(opened(tmp_path, "--import-iso one.iso /file=:must-remove: /file=TEST.viso"))
    assert view(image.rock)["/file"].size == (tmp_path / "TEST.viso").stat().st_size


def test_data_is_served_from_the_old_image(images: dict[str, Path], tmp_path: Path) -> None:
    found = opened(tmp_path, f"--import-iso={images['genisoimage']}")
    big = dict(found.tree.walk(Namespace.ISO))["/dir/sub/big"]

    assert isinstance(big, File)
    assert isinstance(big.data, FileSlice)
    assert big.data.file.path == str(images["genisoimage"])
    assert found.image.read(big.extent * 2048, 102400) == bytes(range(256)) * 400


def test_hard_links_stay_one_file(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a").write_bytes(b"x" * 5000)
    os.link(folder / "a", folder / "b")
    xorrisofs(tmp_path / "h.iso", "-R", "-J", folder)

    nodes = opened(tmp_path, "--import-iso h.iso").tree.root.nodes(Namespace.ISO)

    assert nodes["a"] is nodes["b"]


def test_a_file_of_more_than_four_gibibytes(tmp_path: Path) -> None:
    first = 0xFFFFF800
    extents = [(b"BIG.;1", 24, first, 0x80), (b"BIG.;1", 24 + first // 2048, (5 << 30) - first, 0)]
    handmade(tmp_path / "b.iso", {20: extents}, sectors=24 + (5 << 30) // 2048)

    found = opened(tmp_path, "--import-iso b.iso")

    node = found.tree.root.nodes(Namespace.ISO)["BIG."]
    assert isinstance(node, File)
    assert isinstance(node.data, FileSlice)
    assert node.data.size == 5 << 30
    rock = seen(found).rock
    assert rock is not None
    assert rock.tree["/BIG."].size == 5 << 30


def test_missing_and_cut_images(images: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"none\.iso' does not exist"):
        opened(tmp_path, "--import-iso none.iso")
    with open(images["rock"], "rb") as whole, open(tmp_path / "cut.iso", "wb") as cut:
        cut.write(whole.read(60 * 2048))
    with pytest.raises(RecipeError, match="beyond its end") as caught:
        opened(tmp_path, "--import-iso cut.iso")
    assert caught.value.hint is not None
    assert "cut short" in caught.value.hint


def test_an_image_that_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "zeros.iso").write_bytes(bytes(100_000))

    with pytest.raises(RecipeError, match="neither an ISO 9660 nor a UDF volume"):
        opened(tmp_path, "--import-iso zeros.iso")


def test_names_from_import(images: dict[str, Path], tmp_path: Path) -> None:
    shutil.copyfile(images["rock"], tmp_path / "r.iso")
    (tmp_path / "a").write_text("a")

    found = opened(tmp_path, "--import-iso r.iso --name-setup-from-import /a=a")

    assert seen(found).joliet is None
    assert "/a" in view(seen(found).rock)


def test_rational_attributes_and_forced_modes(images: dict[str, Path], tmp_path: Path) -> None:
    rock = view(seen(opened(tmp_path, f"--import-iso={images['rock']}")).rock)
    assert (rock["/dir/exe"].mode, rock["/dir/exe"].uid) == (0o4555, 0)
    assert rock["/dir/sub"].mode == 0o555
    assert rock["/readme.txt"].mode == 0o444

    forced = view(seen(opened(tmp_path, f"--file-mode=0640 --dir-mode=0750 --import-iso={images['rock']}")).rock)
    assert (forced["/dir/exe"].mode, forced["/dir/sub"].mode) == (0o640, 0o750)


def test_a_target_with_an_empty_component(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to("a//b")
    xorrisofs(tmp_path / "l.iso", "-R", tmp_path / "in")

    link = opened(tmp_path, "--import-iso l.iso").tree.root.nodes(Namespace.ISO)["link"]

    assert isinstance(link, Link)
    assert link.target == "a//b"


def test_a_file_in_pieces_that_lie_apart(tmp_path: Path) -> None:
    """What lies between the pieces belongs to another file."""
    extents = [(b"A.;1", 25, 2048, 0x80), (b"A.;1", 27, 100, 0), (b"B.;1", 26, 2048, 0)]
    path = handmade(tmp_path / "p.iso", {20: extents}, sectors=30)
    data = bytearray(path.read_bytes())
    for sector in (25, 26, 27):
        data[sector * 2048 : (sector + 1) * 2048] = bytes((sector,)) * 2048
    path.write_bytes(data)

    found = opened(tmp_path, "--import-iso p.iso")
    nodes = found.tree.root.nodes(Namespace.ISO)

    assert isinstance(nodes["A."], File)
    assert found.image.read(nodes["A."].extent * 2048, 2148) == bytes((25,)) * 2048 + bytes((27,)) * 100
    assert isinstance(nodes["B."], File)
    assert found.image.read(nodes["B."].extent * 2048, 2048) == bytes((26,)) * 2048


def test_a_directory_inside_itself(tmp_path: Path) -> None:
    handmade(tmp_path / "l.iso", {20: [(b"D", 21, 2048, 2)], 21: [(b"E", 22, 2048, 2)], 22: [(b"F", 21, 2048, 2)]})

    with pytest.raises(RecipeError, match="the directory '/D/E/F' holds itself"):
        opened(tmp_path, "--import-iso l.iso")


def test_directories_that_unfold_without_end(tmp_path: Path) -> None:
    """Each of forty directories holds the next one twice: a million million paths."""
    chain = {20 + n: [(b"A", 21 + n, 2048, 2), (b"B", 21 + n, 2048, 2)] for n in range(40)}
    handmade(tmp_path / "b.iso", chain)

    for line in ("--import-iso b.iso", "--push-iso b.iso /=/"):
        with pytest.raises(RecipeError, match="listed again and again"):
            opened(tmp_path, line)


def test_a_directory_under_two_names(tmp_path: Path) -> None:
    handmade(tmp_path / "t.iso", {20: [(b"A", 21, 2048, 2), (b"B", 21, 2048, 2)], 21: [(b"X.;1", 0, 0, 0)]})

    rock = seen(opened(tmp_path, "--import-iso t.iso")).rock

    assert set(view(rock)) == {"/", "/A", "/B", "/A/X.", "/B/X."}


def test_directories_that_are_too_deep_or_too_long(tmp_path: Path) -> None:
    handmade(tmp_path / "d.iso", {20 + n: [(b"D", 21 + n, 2048, 2)] for n in range(300)})
    with pytest.raises(RecipeError, match="more than 255 levels deep"):
        opened(tmp_path, "--import-iso d.iso")
    handmade(tmp_path / "l.iso", {20: [(b"D", 21, 0xFFFFFFFF, 2)]})
    with pytest.raises(RecipeError, match="longer than the 134,217,728 supported"):
        opened(tmp_path, "--import-iso l.iso")


def test_rock_ridge_entries_without_end(tmp_path: Path) -> None:
    """The continuation area leads to itself."""
    again = b"CE\x1c\x01" + both(30) + both(0) + both(28)
    path = handmade(tmp_path / "c.iso", {20: [(b"X.;1", 0, 0, 0, again)]}, sectors=40, rock=True)
    with open(path, "r+b") as file:
        file.seek(30 * 2048)
        file.write(again)

    with pytest.raises(RecipeError, match="go on and on"):
        opened(tmp_path, "--import-iso c.iso")


def test_names_that_are_none(tmp_path: Path) -> None:
    def named(name: bytes) -> bytes:
        return b"NM" + bytes((5 + len(name), 1, 0)) + name + b"PX\x24\x01" + both(0o100644) + both(1) + both(0) * 2

    records = [
        (b"A.;1", 0, 0, 0, named(b"a/b")),
        (b"B.;1", 0, 0, 0, named(b"..")),
        (b"C.;1", 0, 0, 0, named(b"fine\n")),
    ]
    handmade(tmp_path / "n.iso", {20: [*records, (b"D.;1", 0, 0, 0, named(b"fine\n"))]}, rock=True)

    tree = opened(tmp_path, "--import-iso n.iso").tree

    assert set(tree.root.nodes(Namespace.ISO)) == {"a_b", "__", "fine\n"}
    assert len(tree.warnings) == 3


def test_an_installer_of_five_gigabytes_with_one_changed_file(tmp_path: Path) -> None:
    """Opening it reads but the directories, and what is not changed is served out of the old image's file."""
    first, total = 0xFFFFF800, 5 << 30
    names = [(b"GRUB.CFG;1", 21, 100, 0), *((b"P%05d.;1" % n, 30 + n, 2048, 0) for n in range(40))]
    extents = [(b"SQUASH.;1", 100, first, 0x80), (b"SQUASH.;1", 100 + first // 2048, total - first, 0)]
    image = handmade(tmp_path / "b.iso", {20: [*names[:30], *extents]}, sectors=100 + total // 2048)
    with open(image, "r+b") as file:
        file.seek(100 * 2048 + total - 8)
        file.write(b"the end!")
    asked: list[int] = []

    def counted(descriptor: int, size: int, offset: int) -> bytes:
        asked.append(size)
        return pread(descriptor, size, offset)

    pread = os.pread
    with patch("os.pread", counted):
        found = opened(
            tmp_path,
            "--import-iso b.iso /GRUB.CFG=:must-remove: /GRUB.CFG=changed",
            files={"changed": b"set timeout=1\n"},
        )
    assert sum(asked) < 1 << 20
    assert len(asked) < 20

    nodes = found.tree.root.nodes(Namespace.ISO)
    big, changed = nodes["SQUASH."], nodes["GRUB.CFG"]
    assert isinstance(big, File)
    assert isinstance(changed, File)
    assert found.image.read(changed.extent * 2048, 14) == b"set timeout=1\n"
    assert found.image.read(big.extent * 2048 + total - 8, 8) == b"the end!"
    span = found.image.span(big.extent * 2048)
    assert span is not None
    assert span.handle is not None
    assert span.handle.file.path == str(image)


@pytest.mark.parametrize("what", ["an unused byte of the descriptor", "the path table in the other byte order"])
def test_images_that_a_strict_reader_refuses(what: str, images: dict[str, Path], tmp_path: Path) -> None:
    """pycdlib looks at what Linux, and so we, have no use for."""
    image = tmp_path / "odd.iso"
    shutil.copyfile(images["rock"], image)
    with open(image, "r+b") as file:
        descriptor = os.pread(file.fileno(), 2048, 16 * 2048)
        table = int.from_bytes(descriptor[148:152], "big") * 2048
        file.seek(16 * 2048 + 7 if "unused" in what else table + 5)
        file.write(b"\x07")
    with open(image, "rb") as file, pytest.raises(pycdlib.pycdlibexception.PyCdlibInvalidISO):
        pycdlib.PyCdlib().open_fp(file)

    assert f"/{DEEP}/deeper/deepest" in view(seen(opened(tmp_path, "--import-iso odd.iso")).rock)
