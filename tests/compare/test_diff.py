"""Two images that differ: each kind of difference, seen; and nothing told of two that do not."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qemu_viso.anatomy import explain
from qemu_viso.cli import main
from qemu_viso.compare import compare
from qemu_viso.errors import RecipeError
from qemu_viso.image import Image, Literal, RegionMap
from qemu_viso.image.render import render
from qemu_viso.opening import open_image
from qemu_viso.sources.host import HostFile
from qemu_viso.tree.existing.listing import file_systems, walk
from qemu_viso.tree.existing.medium import ImageMedium
from tests.anatomy.images import MAKERS
from tests.judges import samples
from tests.judges.compare import view_of
from tests.judges.reader.image import inspect
from tests.recipes import write_files, write_recipe
from tests.tree.makers import handmade

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


FILES = {"in/hello.txt": b"hello\n", "in/sub/data.bin": bytes(range(256)) * 20, "in/boot.bin": b"b" * 3000}
BASE = ("--udf --rock-ridge /=in", "-b /boot.bin -no-emul-boot")


def in_memory(data: bytes) -> Image:
    regions = RegionMap()
    regions.append(0, len(data), Literal(data, "image"))
    return Image(regions, "memory")


def settle(folder: Path) -> None:
    samples.settle(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_files(tmp_path, FILES)
    os.symlink("hello.txt", tmp_path / "in" / "link")
    settle(tmp_path / "in")
    return tmp_path


def recipe(folder: Path, *lines: str, name: str = "TEST.viso") -> Image:
    return open_image(write_recipe(folder, *lines, name=name))


def bytes_of(image: Image) -> bytes:
    return image.read(0, image.size)


def told(left: Image, right: Image, part: str, *, placement: bool = False) -> list[tuple[str, str, str, str]]:
    """What is told of one part of the images: subject, field, left, right."""
    found = compare(left, right, placement=placement).differences
    assert found
    return [(each.subject, each.field, each.left, each.right) for each in found if each.part == part]


# --- no difference ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["hybrid", "difficult", "plain"])
def test_a_recipe_and_its_image_do_not_differ(name: str, tmp_path: Path) -> None:
    image = open_image(MAKERS[name](tmp_path))
    render(image, str(tmp_path / "out.iso"))
    found = compare(image, open_image(str(tmp_path / "out.iso")))
    assert found.differences == ()
    assert found.looked_at == image.size


@settings(max_examples=40)
@given(data=st.data())
def test_any_byte_that_is_changed_is_told_of(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    content, image = _sample(tmp_path_factory)
    at = data.draw(st.integers(0, len(content) - 1))
    changed = bytearray(content)
    changed[at] ^= data.draw(st.integers(1, 255))
    try:
        found = compare(image, in_memory(bytes(changed))).differences
    except RecipeError:
        return  # it is no image any more
    assert found
    (where,) = explain(image, at, 1)
    if where.structure == "file":
        (content_,) = (each for each in found if each.field == "content" and each.part == "file")
        assert content_.offset == at
        assert f"byte {where.offset} is {content[at]:#04x}" == content_.left


_SAMPLES: list[tuple[bytes, Image]] = []


def _sample(factory: pytest.TempPathFactory) -> tuple[bytes, Image]:
    if not _SAMPLES:
        folder = factory.mktemp("sample")
        write_files(folder, FILES)
        content = bytes_of(recipe(folder, *BASE))
        _SAMPLES.append((content, in_memory(content)))
    return _SAMPLES[0]


# --- each kind -------------------------------------------------------------------------------------------------------


def remove(folder: Path) -> None:
    (folder / "in" / "hello.txt").unlink()


def become_directory(folder: Path) -> None:
    remove(folder)
    (folder / "in" / "hello.txt").mkdir()


def change_content(folder: Path) -> None:
    (folder / "in" / "sub" / "data.bin").write_bytes(bytes(range(100)) + b"!" + (bytes(range(256)) * 20)[101:])


def change_size(folder: Path) -> None:
    (folder / "in" / "hello.txt").write_bytes(b"hello, world\n")


def change_target(folder: Path) -> None:
    (folder / "in" / "link").unlink()
    os.symlink("elsewhere", folder / "in" / "link")


def change_mode(folder: Path) -> None:
    (folder / "in" / "hello.txt").chmod(0o600)


CHANGES: dict[str, tuple[Callable[[Path], None], tuple[str, str, str, str]]] = {
    "missing": (remove, ("/hello.txt", "name", "a file", "absent")),
    "kind": (become_directory, ("/hello.txt", "kind", "file", "directory")),
    "content": (change_content, ("/sub/data.bin", "content", "byte 100 is 0x64", "byte 100 is 0x21")),
    "size": (change_size, ("/hello.txt", "size", "6", "13")),
    "target": (change_target, ("/link", "target", "hello.txt", "elsewhere")),
    "mode": (change_mode, ("/hello.txt", "mode", "0644", "0600")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_files(folder: Path, change: str) -> None:
    make, expected = CHANGES[change]
    before = bytes_of(recipe(folder, "--strict-attribs", *BASE))
    make(folder)
    settle(folder / "in")
    found = compare(in_memory(before), recipe(folder, "--strict-attribs", *BASE)).differences
    (difference,) = [each for each in found if (each.subject, each.field, each.left, each.right) == expected]
    assert difference.part == "file"
    assert set(difference.namespaces) >= {"rock", "udf"}
    assert ("joliet" in difference.namespaces) == (change not in ("mode", "target"))
    others = {each.subject.lower().replace("_", ".") for each in found if each.part == "file"}
    assert others == {expected[0]}


def test_owner_time_and_what_is_the_other_way_round(folder: Path) -> None:
    left = bytes_of(recipe(folder, "--rational-attribs", *BASE))
    os.utime(folder / "in" / "hello.txt", (samples.TIME, samples.TIME - 3600))
    write_files(folder, {"in/more": b"more"})
    right = recipe(folder, "-uid 7 -gid 8", *BASE)
    found = told(in_memory(left), right, "file")
    assert ("/hello.txt", "owner", "0", "7") in found
    assert ("/hello.txt", "group", "0", "8") in found
    assert ("/hello.txt", "time", "2020-09-13 12:26:40", "2020-09-13 11:26:40") in found
    assert ("/more", "name", "absent", "a file") in found


@pytest.mark.parametrize("line", ["--rock-ridge", "--udf --rock-ridge", "--no-rock-ridge --no-joliet"])
@pytest.mark.parametrize("path", ["in", "in/sub", "in/sub/deep/x", "in/hello.txt"])
def test_one_change_is_told_once(folder: Path, line: str, path: str) -> None:
    """A directory's second record, and those of the directories in it, say again what it is like."""
    write_files(folder, {"in/sub/deep/x": b"x"})
    settle(folder / "in")
    left = bytes_of(recipe(folder, "--strict-attribs", line, "/=in"))
    (folder / path).chmod(0o700)
    os.utime(folder / path, (samples.TIME - 60, samples.TIME - 60))
    found = compare(in_memory(left), recipe(folder, "--strict-attribs", line, "/=in")).differences
    assert {each.part for each in found} == {"file"}
    assert {each.subject.lower().rstrip(".") for each in found} == {"/" + path.removeprefix("in").lstrip("/")}
    fields = [(each.field, namespace) for each in found for namespace in each.namespaces]
    assert len(fields) == len(set(fields))
    if "--no-rock" not in line:
        assert {("mode", "rock"), ("time", "rock"), ("time", "joliet")} <= set(fields)


def test_volumes_and_namespaces(folder: Path) -> None:
    left = recipe(folder, "--volume-id=ONE", *BASE)
    right = recipe(folder, "--volume-id=TWO --no-joliet", *BASE)
    found = told(left, right, "volume")
    assert ("primary volume descriptor", "volume identifier", "ONE", "TWO") in found
    assert ("the joliet namespace", "name", "present", "absent") in found
    assert ("Joliet volume descriptor", "name", "present", "absent") in found
    assert ("file set descriptor", "file set identifier", "ONE", "TWO") in found
    assert told(left, right, "file") == []


def test_the_boot_catalog(folder: Path) -> None:
    left = recipe(folder, *BASE)
    right = recipe(folder, *BASE, "-boot-load-size 9 -boot-load-seg 0x100")
    assert told(left, right, "boot") == [
        ("default entry of boot entry 1", "load segment", "1984", "256"),
        ("default entry of boot entry 1", "sector count", "4", "9"),
    ]
    assert told(left, recipe(folder, BASE[0]), "boot")[0][1:] == ("name", "present", "absent")


def test_placement(folder: Path) -> None:
    left = recipe(folder, "--rock-ridge /=in")
    (folder / "sort.txt").write_text("in/sub/data.bin 100\n")
    right = recipe(folder, "--rock-ridge /=in", "-sort sort.txt")
    assert told(left, right, "file") == []
    places = told(left, right, "placement", placement=True)
    assert {subject for subject, *_ in places} == {"/boot.bin", "/hello.txt", "/sub/data.bin"}
    assert {field for _, field, _, _ in places} == {"first byte"}
    fields = {(subject.split(" of ")[0], field) for subject, field, _, _ in told(left, right, "bytes")}
    assert ("directory record", "location of extent") in fields
    assert told(left, right, "placement") == []


@pytest.mark.parametrize(
    ("at", "subject", "field"),
    [
        (5, "system area", "content"),
        (16 * 2048 + 7, "primary volume descriptor", "unused field"),
        (16 * 2048 + 900, "primary volume descriptor", "application use"),
        (17 * 2048 + 2000, "boot record", "unused behind the pointer"),
    ],
)
def test_bytes_that_mean_nothing(folder: Path, at: int, subject: str, field: str) -> None:
    content = bytearray(bytes_of(recipe(folder, *BASE)))
    left = in_memory(bytes(content))
    content[at] ^= 0x55
    (difference,) = compare(left, in_memory(bytes(content))).differences
    assert (difference.subject, difference.field, difference.offset) == (subject, field, at)


def test_sizes(folder: Path) -> None:
    content = bytes_of(recipe(folder, *BASE))
    found = compare(in_memory(content), in_memory(content + bytes(2048))).differences
    assert found[0].part == "image"
    assert (found[0].field, found[0].left, found[0].right) == ("size", str(len(content)), str(len(content) + 2048))
    assert {each.subject for each in found[1:]} <= {"anchor volume descriptor pointer"}  # which is no longer at the end


# --- other makers ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(bool(samples.without("genisoimage", "xorriso")), reason="genisoimage or xorriso is missing")
def test_other_makers_images_differ_where_the_strict_reader_says(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    samples.small_tree(tree)
    left = samples.genisoimage(tmp_path / "left.iso", tree, "-R", "-J")
    shutil.copytree(tree, tmp_path / "other", symlinks=True)
    (tmp_path / "other" / "two" / "a.bin").write_bytes(b"other")
    (tmp_path / "other" / "hello.txt").chmod(0o755)
    (tmp_path / "other" / "new").touch()
    settle(tmp_path / "other")
    right = samples.xorriso(tmp_path / "right.iso", tmp_path / "other", "-R", "-J")
    found = compare(open_image(str(left)), open_image(str(right))).differences
    rock = {each.subject for each in found if "rock" in each.namespaces and each.field != "time"}
    mine, other = facts(left), facts(right)
    assert rock == {path for path in mine.keys() | other.keys() if mine.get(path) != other.get(path)}
    assert "/two/a.bin" in rock


def facts(path: Path) -> dict[str, tuple[object, ...]]:
    """What the strict reader sees in Rock Ridge, without times and links."""
    data = path.read_bytes()
    rock = inspect(lambda at, size: data[at : at + size], len(data)).rock
    assert rock is not None
    return {
        where: (item.kind, item.mode, item.size if item.kind == "file" else 0, item.sha256)
        for where, item in view_of(rock).items()
    }


# --- what is not read ------------------------------------------------------------------------------------------------


def test_host_files_on_both_sides_are_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(folder / "in" / "large", "wb") as file:
        file.truncate(1 << 42)
    opened: list[str] = []
    open_ = HostFile.open

    def noted(file: HostFile) -> int:
        opened.append(file.name)
        return open_(file)

    monkeypatch.setattr(HostFile, "open", noted)
    monkeypatch.setattr(HostFile, "read", lambda file: opened.append(file.name))
    left = recipe(folder, "--volume-id=ONE --rock-ridge /=in")
    right = recipe(folder, "--volume-id=TWO --rock-ridge /=in")
    found = compare(left, right).differences
    assert {each.part for each in found} == {"volume"}
    assert opened == []


def test_holes_are_not_read(folder: Path) -> None:
    """A terabyte that no disk could hold, on both sides, in different files."""
    for name in ("in", "copy"):
        (folder / name).mkdir(exist_ok=True)
        with open(folder / name / "large", "wb") as file:
            file.truncate(1 << 40)
        settle(folder / name)
    left = recipe(folder, "--rock-ridge /large=in/large")
    assert compare(left, recipe(folder, "--rock-ridge /large=copy/large")).differences == ()


# --- the command -----------------------------------------------------------------------------------------------------


def run(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main.main(["diff", *words])
    out, err = capfd.readouterr()
    return status, out, err


def test_the_command(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write_recipe(folder, *BASE)
    render(open_image(path), str(folder / "a.iso"))
    assert run(capfd, path, str(folder / "a.iso")) == (0, "", "")
    content = bytearray((folder / "a.iso").read_bytes())
    content[content.index(b"hello\n")] = ord("j")
    (folder / "b.iso").write_bytes(content)
    status, out, _ = run(capfd, path, str(folder / "b.iso"))
    assert status == 1
    assert "/hello.txt (rock, joliet, udf)" in out
    assert "byte 0 is 0x68" in out
    status, out, _ = run(capfd, "--json", str(folder / "a.iso"), str(folder / "b.iso"))
    assert status == 1
    (difference,) = json.loads(out)["differences"]
    assert difference["offset"] == content.index(b"jello\n")


def test_mistakes(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write_recipe(folder, *BASE)
    assert run(capfd, path, "/nonexistent")[0] == 66
    (folder / "noise.iso").write_bytes(bytes(100_000))
    assert run(capfd, path, str(folder / "noise.iso"))[0] == 65
    broken = bytearray(bytes_of(open_image(path)))
    broken[16 * 2048 + 128] ^= 0xFF
    (folder / "broken.iso").write_bytes(broken)
    circle = handmade(folder / "circle.iso", {20: [(b"D", 20, 2048, 2)]})
    assert "holds itself" in run(capfd, path, str(circle))[2]
    status, _, err = run(capfd, path, str(folder / "broken.iso"))
    assert status == 65
    assert "cannot be read" in err


# --- much, and hidden ------------------------------------------------------------------------------------------------


def test_a_boot_image_that_is_no_file(folder: Path) -> None:
    image = recipe(folder, "--rock-ridge /=in", "-b /boot.bin -no-emul-boot", "/boot.bin=:remove:")
    content = bytearray(bytes_of(image))
    at = content.index(b"b" * 3000) + 1234
    content[at] ^= 1
    (difference,) = compare(image, in_memory(bytes(content))).differences
    assert difference.part == "bytes"
    assert difference.subject == "file boot image 1, which is no file"
    assert (difference.left, difference.right) == ("byte 1234 is 0x62", "byte 1234 is 0x63")
    assert difference.offset == at


def test_a_file_that_no_namespace_shows(folder: Path) -> None:
    """An associated file (ECMA-119 6.5.4) has a record, but no reader lists it."""
    content = bytearray(bytes_of(recipe(folder, "--no-rock-ridge --no-joliet /=in")))
    records = [each for each in explain(in_memory(bytes(content)), 0, len(content)) if each.field == "file flags"]
    (flags,) = (each for each in records if each.subject.startswith("/HELLO.TXT"))
    content[flags.start] = 0x04
    left = in_memory(bytes(content))
    assert ("/HELLO.TXT" in {path for path, _ in walk(file_systems(ImageMedium(left, "left"))["plain"])}) is False
    at = content.index(b"hello\n")
    content[at] ^= 1
    (difference,) = compare(left, in_memory(bytes(content))).differences
    assert (difference.part, difference.subject, difference.offset) == ("bytes", "file /HELLO.TXT;1", at)


@pytest.mark.parametrize("limit", [None, "qemu_viso.compare.raw.MOST_SECTORS", "qemu_viso.compare.diff.MOST_WINDOWS"])
def test_what_is_shifted_is_found_however_much_differs(
    folder: Path, limit: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nearly everything lies elsewhere, and places are no longer compared behind a limit: files are all the same."""
    for number in range(600):
        (folder / "in" / f"file with a rather long name, number {number:05}").write_bytes(b"%d" % number)
    write_files(folder, {f"more/{'n' * 200}{number}": b"" for number in range(60)})
    settle(folder / "in")
    settle(folder / "more")
    left = recipe(folder, "--rock-ridge /=in")
    last = "'/file with a rather long name, number 00599'"
    right = in_memory(bytes_of(recipe(folder, f"--rock-ridge /=in /=more {last}=:must-remove: {last}=in/hello.txt")))
    if limit:
        monkeypatch.setattr("qemu_viso.compare.contents.WINDOW", 1 << 14)
        monkeypatch.setattr("qemu_viso.compare.diff.WINDOW", 1 << 14)
        monkeypatch.setattr(limit, 3)
    found = compare(left, right)
    told_ = {(each.subject, each.field) for each in found.differences if "rock" in each.namespaces}
    assert (last.strip("'"), "size") in told_
    assert len([field for _, field in told_ if field == "name"]) == 60
    assert len(told_) == 61
    assert len([each for each in found.differences if each.part == "bytes"]) < 60
    assert (found.looked_at < left.size) == (limit is not None)
