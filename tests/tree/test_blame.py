"""What is too much for an image is told at the step that brings most of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import RecipeError
from qemu_viso.opening import open_viso
from tests.recipes import write_files, write_recipe
from tests.tree.makers import handmade

if TYPE_CHECKING:
    from pathlib import Path

    from _pytest.monkeypatch import MonkeyPatch

BIG = 700_000
FILES = {
    "small": bytes(5000),
    "middle": bytes(300_000),
    "big": bytes(BIG),
    "d/below/x": bytes(BIG),
    "d/small": bytes(5000),
    "many/a": bytes(250_000),
    "many/b": bytes(250_000),
    "words": b"/w=big",
    "F.": bytes(BIG),
}
CHAIN = ":iprtvfs:file(stdfile,i.iso)|vfs(isofs)|F."


@pytest.mark.parametrize(
    ("line", "word", "source"),
    [
        ("/a=small /b=big", "/b", "big"),
        ("/b=big /a=small", "/b", "big"),
        ("/a=small /=d", "/=d", "d"),
        ("/a=small /x=d/ /y=middle", "/x", "d/"),
        ("/a=small /b=d/../big", "/b", "d/../big"),
        ("/a=small /b=d\\\\below\\\\x", "/b", "d\\below\\x"),
        ("/a=big --rename /a /b /c=small", "/a", "big"),
        ("/a=middle /b=many", "/b", "many"),
        ("/a=big /b=big", "/b", "big"),
        ("--eltorito-add-image /a=big -boot-info-table /b=small", "--elt", "big"),
        ("/a=small --import-iso i.iso", "--imp", "i.iso"),
        ("/a=small --import-iso pieces.iso", "--imp", "pieces.iso"),
        ("/a=small --push-iso i.iso /f=F. --pop /b=small", "--push", "i.iso"),
        ("--push-iso i.iso /a=F. --pop /F.=middle", "--push", "i.iso"),
        ("/h=F. --push-iso little.iso /x=F.", "/h", "F."),
        ("--push-iso little.iso /x=F. --pop /h=F.", "/h", "F."),
        (f"/a=small '/c={CHAIN}'", "'/c", "i.iso"),
        (f"--push-iso i.iso /f=F. '/c={CHAIN}' --pop", "'/c", "i.iso"),
    ],
)
def test_the_place_is_that_of_the_largest_source(
    tmp_path: Path, monkeypatch: MonkeyPatch, line: str, word: str, source: str
) -> None:
    """With a smaller limit, because 8 TiB are not everywhere."""
    monkeypatch.setattr("qemu_viso.layout.layout.MOST_SECTORS", 400)
    write_files(tmp_path, FILES)
    handmade(tmp_path / "i.iso", {20: [(b"F.;1", 30, BIG, 0)]})
    handmade(tmp_path / "little.iso", {20: [(b"F.;1", 30, 5000, 0)]})
    handmade(tmp_path / "pieces.iso", {20: [(b"F.;1", 30, 2048 * 100, 0x80), (b"F.;1", 140, BIG - 2048 * 100, 0)]})

    with pytest.raises(RecipeError, match="larger than 8 TiB") as caught:
        open_viso(write_recipe(tmp_path, line))

    place = caught.value.place
    assert place is not None
    assert (place.line, place.column) == (2, line.index(word) + 1)
    assert f"bytes that come with '{source}'" in caught.value.message


def test_a_source_that_a_response_file_names(tmp_path: Path, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr("qemu_viso.layout.layout.MOST_SECTORS", 400)
    write_files(tmp_path, FILES)

    with pytest.raises(RecipeError) as caught:
        open_viso(write_recipe(tmp_path, "/a=small @words"))

    assert str(caught.value).startswith(f"{tmp_path}/words:1:1: the image would be larger than 8 TiB")
    assert f"most of it is {BIG:,} bytes that come with 'big'" in caught.value.message


def test_what_no_source_brings_is_told_of_the_whole(tmp_path: Path, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr("qemu_viso.layout.layout.MOST_SECTORS", 20)
    write_files(tmp_path, {"a": b""})

    with pytest.raises(RecipeError) as caught:
        open_viso(write_recipe(tmp_path, "-T /d/a=a"))

    assert caught.value.message == "the image would be larger than 8 TiB, which ISO 9660 cannot describe"
    assert str(caught.value.place) == f"{tmp_path}/TEST.viso:1:1"
