"""Every byte is something, and what it is said to be is what others say too."""

from __future__ import annotations

import io
import struct
from bisect import bisect_right
from functools import cache
from typing import TYPE_CHECKING

import pycdlib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qemu_viso.anatomy import Anatomy, explain
from qemu_viso.anatomy.explain import decode
from qemu_viso.anatomy.model import Source
from qemu_viso.anatomy.survey import survey
from qemu_viso.image import Image, Literal, RegionMap
from qemu_viso.opening import open_image, open_image_file
from tests.anatomy.images import MAKERS, SPILLED, TARGET, make
from tests.judges.reader.image import inspect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from qemu_viso.anatomy import Explained


class Made:
    """An image, and what is found out about it once for all tests."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.anatomy = Anatomy(image)
        self.whole = self.anatomy.explain(0, image.size)
        self.structures = list(structures(self.whole))
        self.starts = [each.start for each in self.whole]
        self.data = image.read(0, image.size)
        self.seen = inspect(lambda offset, length: self.data[offset : offset + length], image.size)

    def about(self, structure: str, subject: str) -> list[dict[str, object]]:
        """The fields of each structure of a name and a subject."""
        return [found for name, about, found in self.structures if (name, about) == (structure, subject)]


def structures(found: list[Explained]) -> Iterator[tuple[str, str, dict[str, object]]]:
    """Structure, subject and fields of each structure, in order; what is left over behind inner ones is left out."""
    key, values = ("", ""), dict[str, object]()
    for each in [*found, found[0]]:
        if (each.structure, each.subject) != key or each.field in values:
            if values.keys() - {"unused", "system use", "padding"}:
                yield *key, values
            key, values = (each.structure, each.subject), {}
        if each.field:
            values[each.field] = each.value


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    return cache(lambda name: Made(make(name, tmp_path_factory.mktemp(name))))


@pytest.fixture(scope="module")
def made(request: pytest.FixtureRequest, images: Callable[[str], Made]) -> Made:
    return images(request.param)


every_image = pytest.mark.parametrize("made", MAKERS, indirect=True)


# --- every byte ------------------------------------------------------------------------------------------------------


@every_image
def test_the_explanation_of_a_whole_image_is_contiguous(made: Made) -> None:
    position = 0
    for each in made.whole:
        assert each.start == position
        assert each.size > 0
        assert str(each)
        position += each.size
    assert position == made.image.size


@every_image
def test_fields_do_not_overlap_and_stay_inside_their_structure(made: Made) -> None:
    source = Source(made.image)
    for claim in survey(source):
        if claim.kind in ("UDF directory", "UDF link"):
            continue  # of which a field may begin in one piece and end in another
        position = claim.start
        for part in decode(source, claim, claim.start, claim.stop):
            assert part.start >= position, (claim, part)
            position = part.start + part.field.size
        assert position <= claim.stop, claim


@every_image
@settings(max_examples=30)
@given(data=st.data())
def test_any_range_says_what_the_whole_says(made: Made, data: st.DataObject) -> None:
    offset = data.draw(st.integers(0, made.image.size - 1))
    length = data.draw(st.integers(1, min(5000, made.image.size - offset)))
    position = offset
    for each in made.anatomy.explain(offset, length):
        assert each.start == position
        same = made.whole[bisect_right(made.starts, position) - 1]
        assert each[2:5] == same[2:5]
        if each.field not in ("", "content", "unused"):
            assert each[5:10] == same[5:10]
            assert each.offset == same.offset + position - same.start
        position += each.size
    assert position == offset + length


@every_image
def test_what_is_unused_is_zeros_or_says_what_it_is(made: Made) -> None:
    for each in made.whole:
        data = made.data[each.start : each.start + each.size]
        if str(each.value).startswith("zeros") and each.offset == 0:
            assert not any(data), each
        elif each.structure == "unused":
            assert any(data), each


@settings(max_examples=20)
@given(data=st.data())
@pytest.mark.parametrize("made", ["hybrid", "relocated", "xorriso"], indirect=True)
def test_a_damaged_image_is_explained_too(made: Made, data: st.DataObject) -> None:
    content = bytearray(made.data)
    for _ in range(data.draw(st.integers(1, 30))):
        at = data.draw(st.integers(0, min(len(content), 700_000) - 5))
        content[at : at + 4] = struct.pack("<I", data.draw(st.sampled_from((0, 1, 255, 0xFFFFFFFF, 0x7F, at // 2048))))
    regions = RegionMap()
    size = data.draw(st.integers(len(content) // 4096, len(content) // 2048)) * 2048
    regions.append(0, size, Literal(bytes(content[:size]), "damaged"))
    anatomy = Anatomy(Image(regions, "damaged"))
    assert sum(each.size for each in anatomy.explain(0, size)) == size


def test_what_is_no_image_is_unused(tmp_path: Path) -> None:
    path = tmp_path / "noise"
    path.write_bytes(b"\xff" * 70_001)
    image = open_image_file(str(path))
    assert [each.structure for each in explain(image, 0, image.size)] == ["system area", "unused"]
    for offset, size in ((-1, 1), (0, 0), (image.size, 1)):
        with pytest.raises(ValueError, match="not inside"):
            explain(image, offset, size)


# --- what others say -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("made", sorted(set(MAKERS) - {"plain", "mkudffs", "mkudffs 2.01"}), indirect=True)
def test_records_say_what_the_strict_reader_reads(made: Made) -> None:
    rock = made.seen.rock
    assert rock is not None
    records = {about: found for name, about, found in made.structures if name == "directory record"}
    attributes = {about: found for name, about, found in made.structures if name.startswith("PX ")}
    files = [(path, node) for path, node in rock.tree.items() if node.kind == "file" and len(node.extents) == 1]
    assert files
    for path, node in files:
        assert records[path]["location of extent"] == node.extents[0].start // 2048, path
        assert records[path]["data length"] == node.size
    for path, node in rock.tree.items():
        if node.kind == "dir":
            continue  # several records are about one directory
        assert attributes[path]["file mode"] == node.mode
        assert (attributes[path]["user id"], attributes[path]["group id"]) == (node.uid, node.gid)


@pytest.mark.parametrize("made", ["hybrid", "difficult", "genisoimage", "mkudffs"], indirect=True)
def test_udf_entries_say_what_the_strict_reader_reads(made: Made) -> None:
    assert made.seen.udf is not None
    entries = {about: found for name, about, found in made.structures if name == "file entry"}
    assert "/" in entries
    for path, node in made.seen.udf.tree.items():
        if path not in entries:
            continue  # of a file with several names, one has the entry
        assert entries[path]["file link count"] == node.links
        if node.kind == "file":
            assert entries[path]["information length"] == node.size
        owner = entries[path]["uid"], entries[path]["gid"]
        assert owner in ((node.uid, node.gid), (0xFFFFFFFF, 0xFFFFFFFF))


@pytest.mark.parametrize("made", ["hybrid", "xorriso"], indirect=True)
def test_the_disk_side(made: Made) -> None:
    boot, disk = made.seen.boot, made.seen.disk
    assert boot is not None
    assert disk is not None
    loads = [found["load RBA"] for name, _, found in made.structures if name in ("default entry", "section entry")]
    assert loads == [entry.sector for entry in boot.entries]
    partitions = [found for name, _, found in made.structures if name == "GPT partition entry"]
    ranges = [(found["starting LBA"], found["ending LBA"], found["partition name"]) for found in partitions]
    assert ranges == 2 * [(each.first, each.last, each.name) for each in disk.gpt]
    (record,) = made.about("master boot record", "")
    assert [record[f"partition record {each.number}: starting LBA"] for each in disk.mbr] == [
        each.start for each in disk.mbr
    ]
    (table,) = made.about("boot information table", "/isolinux.bin")
    entry = boot.entries[0]
    assert entry.info_table is not None
    assert table["LBA of boot file"] == entry.sector
    assert table["checksum"] == entry.info_table.checksum


@pytest.mark.parametrize("made", ["genisoimage", "xorriso", "hybrid"], indirect=True)
def test_the_primary_descriptor_says_what_pycdlib_reads(made: Made) -> None:
    iso = pycdlib.PyCdlib()
    iso.open_fp(io.BytesIO(made.data))
    try:
        (said,) = made.about("primary volume descriptor", "")
        assert said["volume space size"] == iso.pvd.space_size
        assert said["path table size"] == iso.pvd.path_tbl_size
        assert said["location of occurrence of type M path table"] == iso.pvd.path_table_location_be
        assert said["volume identifier"] == iso.pvd.volume_identifier.decode().rstrip()
        root = iso.pvd.root_dir_record
        assert said["directory record for root directory: data length"] == root.get_data_length()
        record = iso.get_record(rr_path="/dir/data.bin")
        for mine in made.about("directory record", "/dir/data.bin"):  # in Joliet too
            assert mine["location of extent"] == record.extent_location()
            assert mine["data length"] == record.get_data_length()
    finally:
        iso.close()


# --- single structures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("made", ["relocated"], indirect=True)
def test_relocated_directories(made: Made) -> None:
    signatures = {each.structure[:2] for each in made.whole if each.structure[2:9] == " entry "}
    assert {"CL", "PL", "RE", "SP", "ER", "CE", "NM", "SL", "PX", "TF"} <= signatures
    links = [found for name, _, found in made.structures if name.startswith("CL ")]
    records = [found for name, _, found in made.structures if name == "directory record"]
    places = {found["location of extent"] for found in records if "location of extent" in found}
    assert links
    assert all(each["location of child directory"] in places for each in links)


def test_what_an_icb_cannot_hold(tmp_path: Path) -> None:
    anatomy = Anatomy(open_image(SPILLED(tmp_path)))
    found = [
        each
        for start, (stop, claim) in zip(anatomy.starts, anatomy.stretches, strict=True)
        if claim.kind in ("UDF link", "UDF descriptor")
        for each in anatomy.explain(start, stop - start)
    ]
    names = [str(each.value) for each in found if each.field == "component identifier" and each.offset == 0]
    assert "/".join(names) == TARGET
    assert any(each.structure == "allocation extent descriptor" for each in found)


@pytest.mark.parametrize("made", ["difficult"], indirect=True)
def test_what_is_in_files_is_told_with_the_host_file(made: Made) -> None:
    place = next(each for each in made.whole if each.structure == "file" and each.subject == "/large")
    (each,) = made.anatomy.explain(place.start + 1000, 10)
    assert each.offset == each.source_offset == 1000
    with open(each.source, "rb") as file:
        file.seek(each.source_offset)
        assert file.read(10) == made.data[each.start : each.start + 10]
    assert str(each).startswith("file /large, from its byte 1000 on; host file ")


@pytest.mark.parametrize("made", ["hybrid"], indirect=True)
def test_sentences(made: Made) -> None:
    sentences = [str(each) for each in made.whole]
    wanted = "directory record of /dir (ECMA-119 9.1), field 'location of extent' (9.1.3, both-endian): "
    assert sum(sentence.startswith(wanted) for sentence in sentences) == 4  # its own and its parent's, in both trees
    assert "line of a translation table of /dir/TRANS.TBL (mkisofs -T), field 'kind': 70 (file)" in sentences


@pytest.mark.parametrize("made", ["mkudffs 2.01"], indirect=True)
def test_extended_file_entries(made: Made) -> None:
    (root,) = made.about("extended file entry", "/")
    assert root["ICB tag: file type"] == 4
    assert root["object size"] == root["information length"] == 40
    (parent,) = made.about("file identifier descriptor", "the parent of /")
    assert parent["descriptor tag: tag location"] == root["descriptor tag: tag location"]  # it is inside the entry
    assert made.about("extended file entry", "the system stream directory")
    assert not [each for each in made.whole if each.structure == "unused" and not str(each.value).startswith("zeros")]
