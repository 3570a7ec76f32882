"""A gallery of bugs that people met with other programs that make, serve or read such images.

Each test tells one of them, and shows that it is not one of ours.
"""

from __future__ import annotations

import os
import re
import struct
import time
from contextlib import closing
from itertools import pairwise
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from qemu_viso import __version__
from qemu_viso.image.render import render
from qemu_viso.verify.consumers import missed_by
from tests.cli.test_new import ANSWERS
from tests.gallery.raw import SECTOR, all_records, descriptors, directories, record, records
from tests.judges.external import Bsdtar, Isoinfo, Pycdlib, SevenZip, run
from tests.judges.whole import Blkid, Udfinfo
from tests.recipes import opened, write_files
from tests.tree.makers import DEEP, genisoimage, seen, view

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from qemu_viso.opening import Opened
    from tests.judges.external import Judge
    from tests.judges.whole import FileMagic

OLD = 1_000_000_000
"""2001-09-09, when the sources of some of these tests were last written."""


def asked(judge: Judge | Blkid | Udfinfo | FileMagic) -> None:
    if reason := judge.available():
        pytest.skip(reason)


def rendered(found: Opened, folder: Path, name: str = "image.iso") -> Path:
    render(found.image, str(folder / name))
    return folder / name


# --- directories ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 16, 17, 100])
def test_a_directory_is_as_long_as_its_sectors(count: int, tmp_path: Path) -> None:
    """A library told the length of its root directory to the last record, 1,814 bytes, and not to the sector's end.

    Checking tools complained, and a guest that was to configure itself from the image found nothing on it.
    """
    files = {f"in/directory/file number {number}": b"" for number in range(count)}
    found = opened(tmp_path, "--rock-ridge /=in", files=files | {"in/x": b""})

    lengths = [each.size for each in all_records(found.image) if each.is_directory]
    assert len(lengths) == 2 * (1 + 3 + 1 + 2)  # each hierarchy: the root, what is in it; a directory, what is in it
    assert [length for length in lengths if length % SECTOR or not length] == []
    asked(Isoinfo())
    assert b"No errors found" in run("isovfy", rendered(found, tmp_path)).stdout


def test_no_file_is_lost_beside_any_number_of_directories(tmp_path: Path) -> None:
    """A library wrote a record that did not fit behind the end of a sector, where no reader looks.

    So a file was gone, but only where a certain number of directories stood before it.
    """
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "zz-meta-data").write_bytes(b"instance-id: 1\n")
    lost = []
    for number in range(70):
        (tmp_path / "in" / f"mount{number:02}").mkdir()
        image = seen(opened(tmp_path, "/=in"))
        lost += [
            (number, volume)
            for volume in (image.rock, image.joliet)
            if volume is None or "/zz-meta-data" not in volume.tree or len(volume.tree) != number + 3
        ]
    assert lost == []


def test_another_reader_finds_the_file_behind_a_full_sector(tmp_path: Path) -> None:
    """The same, at the very place where records and sectors come apart."""
    asked(Bsdtar())
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "zz-meta-data").write_bytes(b"instance-id: 1\n")
    sizes = {}
    for number in range(40):
        (tmp_path / "in" / f"mount{number:02}").mkdir()
        found = opened(tmp_path, "/=in")
        sizes[number] = next(directories(found.image))[0].size
        if number and sizes[number] != sizes[number - 1]:
            listed = run("bsdtar", "-tf", rendered(found, tmp_path)).stdout.decode().split()
            assert len(listed) == number + 3
            assert "zz-meta-data" in listed
    assert len(set(sizes.values())) > 1


# --- the image's own size ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line", ["/a=a", "--no-pad /a=a", "--no-pad --udf /a=a", "--no-joliet --no-pad /a=a", "-J /=d"]
)
def test_an_image_is_not_shorter_than_its_volume(line: str, tmp_path: Path) -> None:
    """Small images for cloud-init ended before the size in their volume descriptor, 43,008 bytes for instance.

    A tool that reads to the end of the volume failed with a short read.
    """
    found = opened(tmp_path, line, files={"a": b"a" * 3000, "d/b": b""})

    sizes = {struct.unpack_from("<I", descriptor, 80)[0] * SECTOR for descriptor in descriptors(found.image)}
    path = rendered(found, tmp_path)
    assert sizes == {found.image.size} == {path.stat().st_size}
    assert all(each.extent * SECTOR + each.size <= found.image.size for each in all_records(found.image))
    asked(Isoinfo())
    assert run("isoinfo", "-J" if "no-joliet" not in line else "-R", "-f", "-i", path).stderr == b""


# --- names and labels ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["", "--no-joliet", "--no-joliet --no-rock-ridge", "--udf"])
def test_windows_setup_finds_its_answers(line: str, tmp_path: Path) -> None:
    """An image was made without Joliet and Rock Ridge, at level 1: AUTOUNAT.XML, which Windows Setup does not know."""
    found = opened(tmp_path, f"{line} /=in", files={"in/autounattend.xml": ANSWERS})

    assert missed_by(found.tree, "autounattend") == []
    image = seen(found)
    assert image.primary is not None
    assert "/AUTOUNATTEND.XML;1" in image.primary.tree
    assert "joliet" in line or "/autounattend.xml" in view(image.joliet)
    short = opened(tmp_path, "--iso-level=1 --no-joliet --no-rock-ridge /=in")
    assert [sentence for sentence in missed_by(short.tree, "autounattend") if "is not there" in sentence]


LABELS = ("OEMDRV", "cidata", "CIDATA", "config-2", "Fedora-S-dvd-x86_64-39")


@pytest.mark.parametrize("option", ["-V {}", "-V{}", "--volume-id={}", "-volid {}", "--volid:{}"])
def test_there_is_an_option_for_the_label(option: str, tmp_path: Path) -> None:
    """A tool had none, so that the disk that it made was never found by the installer that looks for a label."""
    for label in LABELS:
        found = opened(tmp_path, option.format(label), "/a=a", files={"a": b"a"})
        assert found.tree.volume_id == label
        primary = next(descriptors(found.image))
        assert primary[40:72] == label.encode().ljust(32)


@pytest.mark.parametrize("line", ["", "--no-joliet", "--no-rock-ridge", "--udf", "--udf --no-joliet", "--iso-level=1"])
def test_the_label_is_where_it_is_looked_for(line: str, tmp_path: Path) -> None:
    """A tool wrote the label that was asked for, but not to the volume that the installer's system reads it from.

    It reads what libblkid reads: of a bridge the UDF volume, else the Joliet one where it agrees, else the primary one.
    """
    asked(Blkid())
    for label in LABELS:
        found = opened(tmp_path, line, f"--volume-id={label}", "/a=a", files={"a": b"a"})
        assert Blkid().facts(rendered(found, tmp_path))["LABEL"] == label


# --- Rock Ridge ----------------------------------------------------------------------------------------------------


def with_sharing_everywhere(image: Path) -> None:
    """VirtualBox's own images have SP in each record of "." and "..", not only in the root's first one."""
    data = bytearray(image.read_bytes())
    place = 0
    for at in [found.start() for found in re.finditer(rb"\x01[\x00\x01]PX\x24\x01|\x01[\x00\x01]RR\x05\x01", data)]:
        start = at - 32
        entries = bytes(data[at + 2 : start + data[start]])
        if len(entries) + 7 + 34 > 254 or b"SP\7\1" in entries:
            continue
        # The PX entry is kept, what else there is makes room.
        px = entries[entries.index(b"PX") :][:36]
        use = b"SP\7\1\xbe\xef\0" + px
        if len(use) <= len(entries):
            data[at + 2 : start + data[start]] = use.ljust(len(entries), b"\0")
            place += 1
    assert place > 2
    image.write_bytes(data)


def test_the_sharing_protocol_announced_more_than_once(tmp_path: Path) -> None:
    """A library refused VirtualBox's own disc of guest additions, because SP stood in records other than the first."""
    write_files(tmp_path, {"in/Long Name.text": b"a", f"in/{DEEP}/Other Name": b"b"})
    folders = [path for path in sorted((tmp_path / "in").rglob("*")) if path.is_dir()]
    for number, folder in enumerate(folders):
        folder.chmod(0o700 + number)
    image = genisoimage(tmp_path / "i.iso", "-R", tmp_path / "in")
    with_sharing_everywhere(image)

    rock = view(seen(opened(tmp_path, "--strict-attribs --import-iso=i.iso")).rock)
    assert {"/Long Name.text", f"/{DEEP}/Other Name"} <= set(rock)
    assert len(folders) == 12
    for number, folder in enumerate(folders):  # of directories that were too deep, "." tells the mode
        assert rock[f"/{folder.relative_to(tmp_path / 'in')}"].mode == 0o700 + number


def test_the_sharing_protocol_is_announced_once(tmp_path: Path) -> None:
    """And an image of ours has it where SUSP 5.3 wants it, and nowhere else."""
    found = opened(tmp_path, "--no-joliet /=in", files={"in/a": b"a", "in/d/e/b": b"b"})

    every = list(directories(found.image))
    assert [each.use[:7] == b"SP\7\1\xbe\xef\0" for _, of in every for each in of].count(True) == 1
    assert every[0][1][0].use.startswith(b"SP\7\1\xbe\xef\0")


def test_long_names_in_continuation_areas(tmp_path: Path) -> None:
    """A library took an image for the other version of Rock Ridge where a name of 93 bytes or more led to a CE entry.

    Its PX entry was behind CE then, and the length of that is what the versions differ in.
    """
    asked(Pycdlib())
    import pycdlib

    wanted = {"n" * size for size in range(85, 256, 3)}
    files = {f"in/{name}": b"" for name in wanted}
    for options in ("--rock-ridge", "--limited-rock-ridge"):
        found = opened(tmp_path, f"{options} --no-joliet /=in", files=files)
        assert {path[1:] for path in view(seen(found).rock)} - {""} == wanted
        spilled = [each for each in next(directories(found.image))[1][2:] if b"CE\x1c\1" in each.use]
        assert 10 < len(spilled) < len(files)
        assert all(each.use.startswith(b"PX\x2c\1") for each in spilled)
    library = pycdlib.PyCdlib()
    library.open(str(rendered(opened(tmp_path, "--rock-ridge --no-joliet /=in"), tmp_path)))
    with closing(library):
        listed = {
            each.rock_ridge.name().decode() for each in library.list_children(rr_path="/") if not each.is_dot()
            if not each.is_dotdot()
        }  # fmt: skip
    assert listed == wanted


def test_long_names_of_others_in_continuation_areas(tmp_path: Path) -> None:
    """The same the other way round: what genisoimage puts into continuation areas is read."""
    names = {"n" * size for size in range(85, 248, 3)}
    write_files(tmp_path, {f"in/{name}": b"" for name in names})
    genisoimage(tmp_path / "i.iso", "-R", tmp_path / "in")

    assert {path[1:] for path in view(seen(opened(tmp_path, "--import-iso=i.iso")).rock)} - {""} == names


# --- UDF -----------------------------------------------------------------------------------------------------------


def udf_sizes(read: Callable[[int, int], bytes]) -> tuple[int, int, int]:
    """Start and length of the partition, and its length as the integrity descriptor has it."""
    start = length = integrity = 0
    for sector in range(32, 257 + 64):
        data = read(sector * SECTOR, SECTOR).ljust(SECTOR, b"\0")
        tag = struct.unpack_from("<H", data)[0]
        if (sum(data[:4]) + sum(data[5:16])) & 0xFF != data[4] or struct.unpack_from("<I", data, 12)[0] != sector:
            continue
        if tag == 5:
            start, length = struct.unpack_from("<II", data, 188)
        elif tag == 9:
            (count,) = struct.unpack_from("<I", data, 72)
            (integrity,) = struct.unpack_from("<I", data, 80 + 4 * count)
    return start, length, integrity


@pytest.mark.parametrize("pad", ["", "--no-pad"])
def test_the_udf_partition_holds_its_files_and_not_more(pad: str, tmp_path: Path) -> None:
    """Of a large image, a library told a partition that was one block too long in both places that tell it.

    Windows, which compares it with the volume, refused the image. As genisoimage has it, it ends where the last anchor
    of the volume begins, or before the padding in front of that.
    """
    with open(tmp_path / "large", "wb") as file:
        file.truncate((4 << 30) + 5000)
    found = opened(tmp_path, f"--udf {pad} /large=large /a=a", files={"a": b"a"})

    start, length, integrity = udf_sizes(found.image.read)
    assert length == integrity > (4 << 30) // SECTOR
    last = found.image.size // SECTOR - 1
    assert found.image.read(last * SECTOR, 2) == b"\2\0"
    assert start + length == last if pad else start + length < last
    data = genisoimage(tmp_path / "g.iso", "-udf", "-no-pad", tmp_path / "a").read_bytes()
    start, length, integrity = udf_sizes(lambda offset, size: data[offset : offset + size])
    assert (start + length, integrity) == (len(data) // SECTOR - 1, length)
    start, length, _ = udf_sizes(found.image.read)
    udf = seen(found).udf
    assert udf is not None
    ends = [extent.start + extent.length for node in udf.tree.values() for extent in node.extents]
    assert max(ends) <= (start + length) * SECTOR
    asked(Udfinfo())
    path = rendered(found, tmp_path)
    assert Udfinfo().complaints(path) == []
    facts = Udfinfo().facts(path)
    assert int(facts["blocks"]) * int(facts["blocksize"]) <= found.image.size


# --- large files ---------------------------------------------------------------------------------------------------

EXTENT = 0xFFFFF800
"""The bytes of an extent that is as long as whole sectors allow."""
LARGE = [EXTENT - 1, EXTENT, EXTENT + 1, (4 << 30) - 1, 4 << 30, (4 << 30) + 1, 2 * EXTENT, 2 * EXTENT + 1, 9 << 30]


@pytest.mark.parametrize("size", LARGE)
def test_large_files_are_whole_at_the_seams_of_their_extents(size: int, tmp_path: Path) -> None:
    """A library read, of a file in several extents, other bytes than were there from 4 GiB - 2 KiB on."""
    marks = sorted({at for at in (0, EXTENT - 3, EXTENT, EXTENT + 2045, 2 * EXTENT - 1, size - 1) if at < size})
    with open(tmp_path / "large", "wb") as file:
        file.truncate(size)
        for number, place in enumerate(marks, 1):
            os.pwrite(file.fileno(), bytes((number,)), place)
    found = opened(tmp_path, "--udf /large=large")

    image = seen(found)
    assert image.violations() == []
    for volume in (image.rock, image.joliet, image.udf):
        assert volume is not None
        node = volume.tree["/large"]
        assert node.size == size == sum(extent.length for extent in node.extents)
        assert all(one.start + one.length == other.start for one, other in pairwise(node.extents))
        start = node.extents[0].start
        assert [found.image.read(start + place, 1)[0] for place in marks] == list(range(1, len(marks) + 1))
    asked(SevenZip())
    said = run("7z", "l", "-slt", "-tiso", rendered(found, tmp_path)).stdout.decode()
    assert f"\nSize = {size}\n" in said


# --- what must not be in an image ----------------------------------------------------------------------------------


def aged(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        os.utime(path, (OLD, OLD))


def dates(found: Opened) -> Iterator[int]:
    """Every time that the image tells, in seconds since 1970."""
    for each in all_records(found.image):
        year, month, day, hour, minute, second, _ = each.date
        yield int(time.mktime((1900 + year, month, day, hour, minute, second, 0, 0, 0)) - time.timezone)
    for descriptor in descriptors(found.image):
        for at in (813, 830, 847, 864):
            digits = descriptor[at : at + 14].decode()
            if int(digits):
                yield int(time.mktime(time.strptime(digits, "%Y%m%d%H%M%S")) - time.timezone)
    image = seen(found)
    for volume in (image.rock, image.udf):
        assert volume is not None
        yield from (node.mtime // 10**9 for node in volume.tree.values() if node.mtime is not None)


def test_no_clock_gets_into_an_image(tmp_path: Path) -> None:
    """The directories that a tool made on the way had the time of the build, so that no two images were equal.

    So had the volume descriptors of another one, and the files that it copied together before.
    """
    write_files(tmp_path, {"in/a": b"a", "in/d/b": b"b", "boot": bytes(2048)})
    aged(tmp_path / "in")
    os.utime(tmp_path / "boot", (OLD, OLD))
    with patch.dict(os.environ, {"TZ": "UTC"}):
        time.tzset()
        try:
            found = opened(
                tmp_path,
                "--udf --rock-ridge /made/on/the/way=in /boot/boot.img=boot -b /boot/boot.img -c /boot/boot.cat",
            )
            told = list(dates(found))
        finally:
            os.environ.pop("TZ")
            time.tzset()

    assert len(told) > 40
    assert set(told) == {OLD}


def test_an_image_does_not_tell_where_and_by_what_it_was_made(tmp_path: Path) -> None:
    """A tool put its version and the time of its build into the preparer's field: each version, another checksum.

    Nor do the names of the host, of its user, of the recipe's directory, or the inodes of the sources get in.
    """
    images = []
    for name in ("one", "another"):
        folder = tmp_path / name
        write_files(folder, {"in/a": b"a", "in/d/b": b"b"})
        aged(folder / "in")
        with patch.dict(os.environ, {"USER": name, "HOME": str(folder), "HOSTNAME": name}):
            found = opened(folder, "--udf --rock-ridge /=in")
        images.append(found.image.read(0, found.image.size))
        for descriptor in descriptors(found.image):
            assert descriptor[446:574].strip(b" \0") == b""  # the preparer
            application = descriptor[574:702].replace(b"\0", b"").rstrip()
            assert application in (b"QEMU-VISO", b"")  # without a version
    assert images[0] == images[1]
    version = __version__.encode()
    assert version not in images[0]
    assert os.uname().nodename.encode() not in images[0]


def test_the_walker_of_this_page_sees_what_is_there(tmp_path: Path) -> None:
    """What these tests look at records with."""
    found = opened(tmp_path, "--no-joliet /=in", files={"in/a": b"a" * 5000, "in/d/b": b"b"})
    (descriptor,) = descriptors(found.image)
    root = record(descriptor[156:190])
    assert [each.identifier for each in records(found.image, root)] == [b"\0", b"\1", b"A.;1", b"D"]
    assert [each.size for each in records(found.image, root)] == [2048, 2048, 5000, 2048]
    assert len(list(all_records(found.image))) == 1 + 4 + 1 + 3
