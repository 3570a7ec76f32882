"""Texts of volumes: as much as their fields hold, never a part of a character, and what is lost is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qemu_viso.layout.volumes import fitted
from qemu_viso.ondisk import udf
from qemu_viso.tree.nodes import Namespace
from tests.judges.reader.image import inspect
from tests.recipes import opened

if TYPE_CHECKING:
    from pathlib import Path

OPTIONS = {
    "volume_id": "--volume-id", "volume_set_id": "--volset", "publisher_id": "--publisher",
    "preparer_id": "--preparer", "application_id": "--application-id", "copyright_file": "--copyright",
    "abstract_file": "--abstract", "bibliographic_file": "--biblio", "system_id": "--sysid",
}  # fmt: skip
SIZES = {field: 37 if "file" in field else 32 if field in ("volume_id", "system_id") else 128 for field in OPTIONS}
DEMANDS = ("ECMA-119 8.", "Joliet 8.")  # that texts are of d- and a-characters, which these are not


@pytest.mark.parametrize("field", OPTIONS)
@pytest.mark.parametrize("character", ["A", "ü", "語", "😀"])
@pytest.mark.parametrize("before", ["", "x"])
def test_a_text_that_is_too_long_is_cut_between_characters(
    field: str, character: str, before: str, tmp_path: Path
) -> None:
    value = before + character * 140
    found = opened(tmp_path, f"{OPTIONS[field]}='{value}'", "/a=a", files={"a": b"a"})
    seen = inspect(found.image.read, found.image.size)
    assert [each for each in seen.violations() if not any(f"[{clause}" in each for clause in DEMANDS)] == []
    for volume, width, name in (
        (seen.primary, len(character.encode()), "primary"),
        (seen.joliet, len(character.encode("utf-16-be")), "Joliet"),
    ):
        assert volume is not None
        lead = len(before.encode() if name == "primary" else before.encode("utf-16-be"))
        kept = before + character * (((SIZES[field] & (~1 if name == "Joliet" else -1)) - lead) // width)
        assert volume.identifiers[field if field.endswith("_id") else f"{field}_id"] == kept
        assert [each for each in found.tree.warnings if f"cut to '{kept}' in the {name} volume" in each]
    assert len(found.tree.warnings) == 2


UDF_FIELDS = {"volume_id": 30, "volume_set_id": 126, "publisher_id": 34, "copyright_file": 30, "abstract_file": 30}


@pytest.mark.parametrize("field", UDF_FIELDS)
@pytest.mark.parametrize("character", ["A", "ü", "語", "😀"])
@pytest.mark.parametrize("before", ["", "x"])
def test_the_same_in_udf(field: str, character: str, before: str, tmp_path: Path) -> None:
    value = before + character * 140
    found = opened(tmp_path, f"--udf {OPTIONS[field]}='{value}'", "/a=a", files={"a": b"a"})
    seen = inspect(found.image.read, found.image.size)
    assert [each for each in seen.violations() if not any(f"[{clause}" in each for clause in DEMANDS)] == []
    wide = len(character.encode("utf-16-be")) if character > "\xff" else 1
    lead = 16 * min(wide, 2) if field == "volume_set_id" else 0
    kept = before + character * ((UDF_FIELDS[field] - lead - len(before) * min(wide, 2)) // wide)
    assert [each for each in found.tree.warnings if f"cut to '{kept}' in the UDF volume" in each]
    assert seen.udf is not None
    if field.startswith("volume"):
        recorded = seen.udf.identifiers[field]
        assert recorded.removeprefix(recorded[:16] if lead else "") == kept


def test_texts_that_fit_are_not_spoken_of(tmp_path: Path) -> None:
    """Lower case is what cloud-init looks for, for one."""
    lines = [f"{option}={'Tt' * (8 if SIZES[field] < 128 else 17)}" for field, option in OPTIONS.items()]
    assert opened(tmp_path, "--udf", *lines, f"/{'Tt' * 8}=a", files={"a": b"a"}).tree.warnings == []


FILE_OPTIONS = {"--copyright": "copyright-file", "--abstract": "abstract-file", "--biblio": "bibliographic-file"}
NAMES = "the {} '{}' in the {} volume names a file that its root directory does not have"


@pytest.mark.parametrize("option", FILE_OPTIONS)
def test_a_text_that_names_no_file_of_the_root_directory_is_told(option: str, tmp_path: Path) -> None:
    field = FILE_OPTIONS[option]
    files = {"a": b"a"}
    volumes = ("primary", "Joliet") if option == "--biblio" else ("UDF", "primary", "Joliet")  # UDF has no such field
    told = opened(tmp_path, f"--udf {option}=GONE.TXT", "/dir/gone.txt=a", files=files).tree.warnings
    assert told == [NAMES.format(field, "GONE.TXT", volume) for volume in volumes]
    told = opened(tmp_path, f"--udf {option}=GONE.TXT", "/gone.txt/a=a", files=files).tree.warnings  # a directory
    assert told == [NAMES.format(field, "GONE.TXT", volume) for volume in volumes]
    told = opened(tmp_path, f"--udf {option}=GONE.TXT -hide-joliet gone.txt", "/gone.txt=a", files=files).tree.warnings
    assert told == [NAMES.format(field, "GONE.TXT", "Joliet")]


@pytest.mark.parametrize("option", FILE_OPTIONS)
@pytest.mark.parametrize("text", ["legal.txt", "LEGAL.TXT", "LEGAL.TXT;1"])
def test_a_text_that_names_a_file_is_not_spoken_of(option: str, text: str, tmp_path: Path) -> None:
    assert opened(tmp_path, f"--udf '{option}={text}'", "/legal.txt=a", files={"a": b"a"}).tree.warnings == []


def test_a_file_is_named_by_its_identifier_or_its_rock_ridge_name(tmp_path: Path) -> None:
    files = {"a": b"a"}
    for level, rock, text, volumes in (
        (1, "--rock-ridge", "LONG_NAM.TXT", ["Joliet"]),
        (1, "--rock-ridge", "long+name.txt", []),
        (1, "--no-rock-ridge", "LONG_NAM.TXT", ["Joliet"]),
        (1, "--no-rock-ridge", "long+name.txt", ["primary"]),
        (2, "--no-rock-ridge", "LONG_NAME.TXT", ["Joliet"]),
    ):
        recipe = (f"--iso-level={level} {rock} --copyright={text}", "/long+name.txt=a")
        told = opened(tmp_path, *recipe, files=files).tree.warnings
        assert told == [NAMES.format("copyright-file", text, volume) for volume in volumes]


def test_characters_beyond_ascii_are_told_of_the_primary_volume(tmp_path: Path) -> None:
    warnings = opened(tmp_path, "--udf --volume-id=Müsli", "/a=a", files={"a": b"a"}).tree.warnings
    assert warnings == [
        "the volume-id 'Müsli' in the primary volume has characters beyond ASCII, which readers may show as others"
    ]


def test_control_characters_are_told(tmp_path: Path) -> None:
    warnings = opened(tmp_path, "--udf --volume-id='A\nB'", "/a=a", files={"a": b"a"}).tree.warnings
    sentence = "the volume-id 'A\\x0aB' in the {} volume has control characters, which readers may not show"
    assert warnings == [sentence.format(volume) for volume in ("UDF", "primary", "Joliet")]


@settings(max_examples=300)
@given(st.text(max_size=60), st.integers(2, 40))
def test_what_is_kept_is_a_beginning_that_fits(value: str, size: int) -> None:
    for namespace, encoding in ((Namespace.ISO, "utf-8"), (Namespace.JOLIET, "utf-16-be")):
        kept = fitted(value, size, namespace)
        known = value.encode(encoding, "replace").decode(encoding)
        assert known.startswith(kept)
        room = size & ~1 if namespace is Namespace.JOLIET else size
        assert len(kept.encode(encoding)) <= room
        assert kept == known or len(known[: len(kept) + 1].encode(encoding)) > room
    written = udf.dstring(value, size)
    assert len(written) == size
    assert udf.representable(value).startswith(
        written[1 : written[-1]].decode("latin-1" if written[0] == 8 else "utf-16-be")
    )
