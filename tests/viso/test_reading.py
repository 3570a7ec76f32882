"""Markers, UUIDs, limits, places, and the files on the host."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from qemu_viso.errors import AccessError, InputOutputError, MissingInputError, Place, QemuVisoError, RecipeError
from qemu_viso.viso import Quoting, parse_recipe, probe, read_recipe
from qemu_viso.viso import parse as parsing
from qemu_viso.viso import recipe as r
from qemu_viso.viso.source import Source, Spot, shown
from tests.viso.recipes import BOURNE, MS_CRT, UUID_TEXT, body, parse

if TYPE_CHECKING:
    from pathlib import Path

MARKER = "--iprt-iso-maker-file-marker"
LIMIT = 32 << 20


def load_nothing(name: str) -> bytes:
    return b""


@pytest.mark.parametrize(
    ("text", "quoting"),
    [
        (f"{MARKER} {UUID_TEXT}", Quoting.BOURNE),
        (f"{MARKER}={UUID_TEXT}", Quoting.BOURNE),
        (f"{MARKER}:{UUID_TEXT}\n", Quoting.BOURNE),
        (f"{MARKER}\n\n\t{UUID_TEXT}", Quoting.BOURNE),
        (f" \r\n\t{MARKER}-bourne={{{UUID_TEXT.upper()}}} ", Quoting.BOURNE),
        (f"{MARKER}-bourne-sh {UUID_TEXT}", Quoting.BOURNE),
        (f"{MARKER}-ms {UUID_TEXT}", Quoting.MS_CRT),
        (f"{MARKER}-ms-crt {UUID_TEXT}", Quoting.MS_CRT),
    ],
)
def test_markers(text: str, quoting: Quoting) -> None:
    recipe = parse(text)

    assert (recipe.uuid, recipe.quoting, recipe.steps) == (UUID(UUID_TEXT), quoting, ())


@pytest.mark.parametrize(
    "text",
    [
        MARKER,
        f"{MARKER} ",
        f"{MARKER}= {UUID_TEXT}",
        f"{MARKER} = {UUID_TEXT}",
        f"{MARKER}='{UUID_TEXT}'",
        f'{MARKER} "{UUID_TEXT}"',
        f"{MARKER}={{{UUID_TEXT}",
        f"{MARKER}={UUID_TEXT}}}",
        f"{MARKER}={{{UUID_TEXT}0",
        f"{MARKER}=0{UUID_TEXT}}}",
        f"{MARKER}={UUID_TEXT}0",
        f"{MARKER}={UUID_TEXT.replace('-', '')}",
        f"{MARKER}=urn:uuid:{UUID_TEXT}",
        f"{MARKER} /a=b",
    ],
)
def test_uuids_that_are_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="UUID"):
        parse(text)


@pytest.mark.parametrize(
    "text", ["", "x", "\ufeff" + BOURNE, BOURNE[1:], MARKER[:-1], "\0" + BOURNE, "\u00a0" + BOURNE]
)
def test_not_a_recipe(text: str) -> None:
    with pytest.raises(RecipeError, match="not a VISO"):
        parse(text)


def test_unknown_marker_is_an_unknown_option() -> None:
    with pytest.raises(RecipeError, match="-ms-sh' is not an option"):
        parse(f"{MARKER}-ms-sh {UUID_TEXT}")


def test_the_zero_uuid_is_one() -> None:
    assert parse(f"{MARKER} {UUID(int=0)}").uuid.int == 0


@pytest.mark.parametrize("space", ["\v", "\f"])
def test_white_space_that_is_no_separator(space: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="vertical tab") as caught:
        parse(" \n" + space + BOURNE)
    assert str(caught.value.place) == "dir/a.viso:2:1"

    path = tmp_path / "a.viso"
    path.write_text(space + BOURNE)
    assert probe(str(path)).uuid == UUID(UUID_TEXT)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"\n  \xff", "a.viso:2:3: byte 0xff is not UTF-8"),
        (b"\xc3\xa9 \xed\xa0\x80", "a.viso:1:3: byte 0xed"),
        (b"\xc0\x80", "a.viso:1:1: byte 0xc0"),
        (b"\xc3\xa9\n\xc3\xa9\xc3\xa9\0", "a.viso:2:3: there is a NUL character"),
    ],
)
def test_encoding(text: bytes, error: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(BOURNE.encode() + text, "a.viso", load_nothing)

    file, line, rest = error.split(":", 2)
    assert str(caught.value).startswith(f"{file}:{int(line) + 1}:{rest}")


def test_probe_reads_1023_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.viso"
    head = f"{MARKER} {UUID_TEXT}"
    path.write_text(" " * (1023 - len(head)) + head + "0 /a=b \xff")
    found = probe(str(path))
    assert (found.uuid, found.quoting, found.size) == (UUID(UUID_TEXT), Quoting.BOURNE, path.stat().st_size)

    path.write_text(" " * (1024 - len(head)) + head)
    with pytest.raises(RecipeError, match="which is not a UUID"):
        probe(str(path))
    assert read_recipe(str(path)).uuid == UUID(UUID_TEXT)


def test_size_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.viso"
    path.write_text(BOURNE)
    os.truncate(path, LIMIT)
    assert probe(str(path)).size == LIMIT
    with pytest.raises(RecipeError, match="NUL"):
        read_recipe(str(path))

    os.truncate(path, LIMIT + 1)
    for read in (probe, read_recipe):
        with pytest.raises(RecipeError, match="33,554,433 bytes, and 33,554,432 is the most") as caught:
            read(str(path))
        assert caught.value.place == Place(str(path), 1, 1)


def test_the_largest_recipe_is_read() -> None:
    data = BOURNE.encode()
    assert not parse_recipe(data + b"\n" * (LIMIT - len(data)), "a", load_nothing).steps
    with pytest.raises(RecipeError, match="is the most"):
        parse_recipe(data + b"\n" * (LIMIT - len(data) + 1), "a", load_nothing)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda _: None, MissingInputError),
        (lambda path: path.mkdir(), InputOutputError),
        (os.mkfifo, InputOutputError),
        (lambda path: path.symlink_to(path), InputOutputError),
        (lambda path: path.symlink_to("/dev/zero"), InputOutputError),
    ],
)
def test_what_is_no_file(tmp_path: Path, make: object, error: type[QemuVisoError]) -> None:
    assert callable(make)
    path = tmp_path / "a.viso"
    make(path)
    for read in (probe, read_recipe):
        with pytest.raises(error) as caught:
            read(str(path))
        assert type(caught.value) is error

    recipe = tmp_path / "b.viso"
    recipe.write_text(BOURNE + " @a.viso")
    with pytest.raises(error) as caught:
        read_recipe(str(recipe))
    assert caught.value.place == Place(str(recipe), 2, 2)


def test_a_name_that_no_file_can_have() -> None:
    with pytest.raises(InputOutputError, match="embedded null"):
        read_recipe("a\0b")
    with pytest.raises(QemuVisoError):
        body("@x", {"y": ""})


def test_forbidden_files(tmp_path: Path) -> None:
    def load(name: str) -> bytes:
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "a.viso"
    path.write_text(BOURNE + "@x")
    with pytest.raises(AccessError, match="'@x' may not be read"):
        read_recipe(str(path), load)


def test_response_files_are_beside_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "d" / "a.viso").write_text(BOURNE + "/1=1 @e/one.rsp /5=5")
    (tmp_path / "d" / "e" / "one.rsp").write_text("# first\n /2=2\n@e/two.rsp '/a b=4'")
    (tmp_path / "d" / "e" / "two.rsp").write_text(f'{MARKER}-ms x "/\'=3\\"')
    monkeypatch.chdir(tmp_path)

    recipe = read_recipe("d/a.viso")

    assert [step.source for step in recipe.steps if isinstance(step, r.AddSource)] == ["1", "2", '3"', "4", "5"]
    assert [str(step.place) for step in recipe.steps] == [
        "d/a.viso:2:1",
        "d/e/one.rsp:2:2",
        "d/e/two.rsp:1:35",
        "d/e/one.rsp:3:12",
        "d/a.viso:2:17",
    ]


def test_response_files_nest_to_three_levels() -> None:
    files = {"1": "@2", "2": "@3", "3": "/a=b", "4": "@1"}
    assert len(body("@1 @1", files).steps) == 2

    with pytest.raises(RecipeError, match="more than 3 levels") as caught:
        body("@4", files)
    assert str(caught.value.place) == "dir/2:1:1"


def test_a_cycle_of_response_files_ends() -> None:
    with pytest.raises(RecipeError, match="more than 3 levels"):
        body("@a", {"a": "/x=y @b", "b": "@a"})


def test_response_files_have_limits() -> None:
    limit = 2 << 20
    assert len(body("@a", {"a": "/x=y" + " " * (limit - 5)}).steps) == 1
    with pytest.raises(RecipeError, match="2,097,152 bytes or more"):
        body("@a", {"a": " " * limit})
    with pytest.raises(RecipeError, match="33,554,432 characters together"):
        body("@a " * 17, {"a": " " * (limit - 1)})


@pytest.mark.parametrize("text", ["@", "@nope", "/a=b\n @d/nope"])
def test_response_files_that_are_not_there(text: str) -> None:
    with pytest.raises(QemuVisoError) as caught:
        body(text)

    assert caught.value.status == (65 if text == "@" else 66)
    assert caught.value.place is not None


def test_words_of_response_files_end_with_them() -> None:
    with pytest.raises(RecipeError, match="--volume-id needs a value") as caught:
        body("@a x", {"a": "--volume-id"})
    assert str(caught.value.place) == "dir/a:1:1"

    names = [step.names for step in body("@a -J @b", {"a": "-- -x", "b": "-l"}).steps if isinstance(step, r.AddSource)]
    assert names == [("/-x",)]
    assert len(body("-- @a", {"a": "-J"}).steps) == 1


def test_encoding_of_response_files() -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(BOURNE.encode() + b"@a", "d/x.viso", lambda _: b"/a=b\n\xff")
    assert str(caught.value.place) == "d/a:2:1"


def test_the_number_of_words_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "MOST_WORDS", 10)
    # The marker is one of them.
    assert len(body("a " * 5 + "@r", {"r": "-J -J"}).steps) == 7
    with pytest.raises(RecipeError, match="one word more than the 10") as caught:
        body("a " * 9 + "@r", {"r": " -quiet"})
    assert str(caught.value.place) == "dir/r:1:2"


def test_warnings_are_limited() -> None:
    assert len(body("\u2013J " * 500).warnings) == 101


def test_the_collector_is_as_it_was() -> None:
    assert gc.isenabled()
    body("a=b")
    assert gc.isenabled()
    gc.disable()
    try:
        with pytest.raises(RecipeError):
            body("-")
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_places() -> None:
    recipe = parse(MS_CRT + 'é\u2028=a  b\r\n\t"c d"\n\nf --volid x')

    assert [(step.place.line, step.place.column) for step in recipe.steps] == [(2, 1), (2, 7), (3, 2), (5, 1), (5, 3)]
    assert {step.place.file for step in recipe.steps} == {"dir/a.viso"}


def test_a_spot_is_a_place() -> None:
    spot = Spot(Source("f", "a\nbc"), 3)

    assert spot == Place("f", 2, 2)
    assert Spot(Source("f", "a\nbc"), 1) == Place("f", 1, 2)
    assert Place("f", 2, 2) == spot
    assert spot != Place("f", 2, 1)
    assert hash(spot) == hash(Place("f", 2, 2))
    assert str(spot) == "f:2:2"
    assert isinstance(spot, Place)


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("it's", "'it's'"),
        ("a\n\x1b[31m\u202eb\udcff", r"'a\n\x1b[31m\u202eb\udcff'"),
        ("x" * 60, "'" + "x" * 60 + "'"),
        ("a" * 50 + "b" * 50, "'" + "a" * 40 + "…" + "b" * 20 + "'"),
        ("\a" * 10_000, "'" + r"\x07" * 10 + "…" + r"\x07" * 5 + "'"),
    ],
)
def test_words_in_messages(word: str, text: str) -> None:
    assert shown(word) == text


def test_a_spot_can_be_sent_elsewhere() -> None:
    import copy
    import pickle

    spot = Spot(Source("f", "a\nbc"), 3)

    for other in (pickle.loads(pickle.dumps(spot)), copy.deepcopy(spot)):
        assert other == spot
        assert type(other) is Place
