"""From a difference to bytes: every field of every namespace leads to the structure that tells it."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

import pytest

from qemu_viso.guest.view import NAMESPACES
from qemu_viso.layout.udf_names import udf_names
from qemu_viso.verify.expected import expected_view
from qemu_viso.verify.place import Extent, Places, find_extent
from tests.broken import broken
from tests.recipes import opened

if TYPE_CHECKING:
    from qemu_viso.guest.view import Namespace
    from qemu_viso.opening import Opened

LABELS = {"rock": b"LABEL ", "plain": b"LABEL ", "joliet": "LABEL ".encode("utf-16-be"), "udf": b"\x08LABEL\0"}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    folder = tmp_path_factory.mktemp("place")
    files = {f"in/many/file number {number}": str(number).encode() * 700 for number in range(120)}
    files |= {"in/größe": b"s" * 3000, "in/d/e/f": b"f", "in/empty": b""}
    (folder / "in").mkdir()
    os.symlink("d", folder / "in" / "link")
    return opened(folder, "--udf -R --volume-id=LABEL", "/=in", files=files)


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_every_path_leads_somewhere(recipe: Opened, namespace: Namespace) -> None:
    records, places = set(), Places(recipe.image)
    for path, wanted in expected_view(recipe.tree, namespace).items():
        extent = find_extent(recipe, namespace, path, "mtime")
        assert extent is not None, path
        assert extent.start not in records
        records.add(extent.start)
        place = places.of(extent, "mtime")
        assert place is not None
        assert any("date" in what or "modify" in what for _, _, what in place.structures)
        shown = path if namespace in ("rock", "udf") else ""
        assert path == "/" or f" of {shown}" in place.structures[0][2]
        if wanted.size:
            data = find_extent(recipe, namespace, path, "content")
            assert data is not None
            assert data.size == wanted.size
            (structure,) = places.of(data, "content").structures  # type: ignore[union-attr]
            assert structure[:2] == (data.start, data.size)
            assert structure[2].startswith(f"file {shown}")
            assert "; host file " in structure[2]


TOLD = {
    "mode": ("file mode", "permissions"),
    "owner": ("user id", "uid"),
    "group": ("group id", "gid"),
    "size": ("data length", "information length"),
    "kind": ("file mode", "file type"),
    "target": ("component content", ""),
}


@pytest.mark.parametrize("namespace", ["rock", "udf"])
@pytest.mark.parametrize("field", TOLD)
def test_the_field_is_told(recipe: Opened, namespace: Namespace, field: str) -> None:
    path = "/link" if field == "target" and namespace == "rock" else "/d/e/f"
    extent = find_extent(recipe, namespace, path, field)
    assert extent is not None
    place = Places(recipe.image).of(extent, field)
    assert place is not None
    expected = "file entry of" if (field, namespace) == ("target", "udf") else f"'{TOLD[field][namespace == 'udf']}'"
    assert any(expected.strip("'") in what for _, _, what in place.structures), place.lines()


def test_an_image_of_many_regions_is_not_taken_apart(recipe: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qemu_viso.verify.place.MOST_REGIONS", 0)
    extent = find_extent(recipe, "rock", "/d/e/f", "mode")
    assert extent is not None
    place = Places(recipe.image).of(extent, "mode")
    assert place is not None
    assert place.structures == ((extent.start, extent.size, "ISO directory"),)


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_the_label(recipe: Opened, namespace: Namespace) -> None:
    extent = find_extent(recipe, namespace, "", "label")
    assert extent is not None
    assert recipe.image.read(extent.start, extent.size).startswith(LABELS[namespace])


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_a_missing_name_leads_to_its_directory(recipe: Opened, namespace: Namespace) -> None:
    extent = find_extent(recipe, namespace, "/d/e/f", "name")
    assert extent is not None
    name = udf_names(["f"])[0] if namespace == "udf" else b"\0f" if namespace == "joliet" else b"F.;1"
    assert name in recipe.image.read(extent.start, extent.size)
    # What should not be there is in a directory that is known; what is below it is not.
    assert find_extent(recipe, namespace, "/d/e/extra", "name") == extent
    assert find_extent(recipe, namespace, "/d/extra/x", "name") is None
    assert find_extent(recipe, namespace, "/d/e/extra", "mode") is None


def test_the_way_is_the_one_that_the_guest_took(recipe: Opened) -> None:
    extent = find_extent(recipe, "rock", "/größe", "mtime")
    data = find_extent(recipe, "rock", "/größe", "content")
    assert extent is not None
    assert data is not None
    shifted = broken(recipe, extent.start + 2, struct.pack("<I", data.start // 2048 + 1))
    assert find_extent(shifted, "rock", "/größe", "content") == Extent(data.start + 2048, data.size)
    away = broken(recipe, extent.start + 2, struct.pack("<I", 0xFFFFFF))
    found = find_extent(away, "rock", "/größe", "content")
    assert found is not None
    assert Places(away.image).of(found, "content") is None


@pytest.mark.parametrize(("offset", "size"), [(16 * 2048, 6), (256 * 2048 + 16, 8)])
def test_a_way_that_cannot_be_followed(recipe: Opened, offset: int, size: int) -> None:
    image = broken(recipe, offset, b"\xff" * size)
    lost = [find_extent(image, namespace, "/d/e/f", "content") for namespace in NAMESPACES]
    assert None in lost
    assert lost != [None] * 4
