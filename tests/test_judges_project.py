"""The project's own images before every judge: no rule broken, nobody complains, and all see the same trees."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.judges import images, known
from tests.judges.boot import boot_entries, boot_entries_by_xorriso
from tests.judges.compare import difference, view_of, view_of_directory
from tests.judges.external import SevenZip, Xorriso
from tests.judges.grub import TREE_JUDGES
from tests.judges.images import IMAGES, LABEL, Made, Sample
from tests.judges.whole import Blkid, FileMagic, Isovfy, Udfinfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Protocol

    from tests.judges.external import Judge

    class Named(Protocol):
        """Any judge."""

        def available(self) -> str | None:
            """None, or why it cannot be asked."""


# What these recipes ask for goes beyond the standards on purpose.
INTENDED = {
    "ECMA-119 6.8.2.1": "directories lie as deep as the source has them",
    "Joliet 64 units": "names run to the 110 units that a record holds",
}
FIRST_SECTORS = 8192
"""Of an image with very large files only so many are read, which are all that are not such files."""


@pytest.fixture(scope="module")
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    sample = IMAGES[request.param]
    if reason := images.lacking(sample):
        pytest.skip(reason)
    with images.made(sample, tmp_path_factory.mktemp("project")) as found:
        yield found


def one_by_one(names: Iterable[str]) -> pytest.MarkDecorator:
    """Each image by its name; those that are large or full take their time on a machine that is busy."""
    return pytest.mark.parametrize(
        "made",
        [
            pytest.param(name, id=name, marks=() if IMAGES[name].look == "content" else pytest.mark.timeout(900))
            for name in names
        ],
        indirect=True,
    )


every_image = one_by_one(IMAGES)


def of(*parts: str, which: Callable[[Sample], bool] = lambda _: True) -> pytest.MarkDecorator:
    """The images whose names have one of these words, and of these the ones that are meant."""
    return one_by_one(name for name, sample in IMAGES.items() if any(part in name for part in parts) and which(sample))


def has_udf(sample: Sample) -> bool:
    """Whether an image has UDF."""
    return any("--udf" in line for line in sample.lines)


def ask(judge: Named) -> None:
    if reason := judge.available():
        pytest.skip(reason)


@every_image
def test_no_rule_is_broken(made: Made) -> None:
    assert made.seen.violations(*INTENDED) == []


@every_image
@pytest.mark.parametrize("name", ["xorriso", "isovfy", "7z", "udfinfo"])
def test_nobody_complains(made: Made, name: str, request: pytest.FixtureRequest) -> None:
    is_large = made.sample.look == "sizes"
    if name == "xorriso":
        ask(Xorriso())
        said = Xorriso().complaints(made.path, FIRST_SECTORS if is_large else None)
    elif name == "isovfy":
        ask(Isovfy())
        said = Isovfy().complaints(made.path)
    elif name == "udfinfo":
        ask(Udfinfo())
        said = Udfinfo().complaints(made.path) if made.seen.udf is not None else []
    else:
        ask(SevenZip())
        said = [] if is_large else SevenZip().complaints(made.path)  # it would read them whole
    assert known.others(request.node.callspec.params["made"], name, said) == []


@every_image
@pytest.mark.parametrize("judge", TREE_JUDGES, ids=lambda judge: judge.name)
def test_the_judges_agree(made: Made, judge: Judge, request: pytest.FixtureRequest) -> None:
    ask(judge)
    said = judge.disagreements(made.path, made.seen, made.sample.look)
    assert known.others(request.node.callspec.params["made"], judge.name, said) == []


@every_image
def test_blkid_names_the_volume(made: Made) -> None:
    ask(Blkid())
    facts = Blkid().facts(made.path)
    assert facts["LABEL"] == LABEL
    assert facts["TYPE"] == ("iso9660" if made.seen.udf is None else "udf")
    assert ("PTTYPE" in facts) == (made.seen.disk is not None)


@every_image
def test_file_names_the_volume(made: Made) -> None:
    ask(FileMagic())
    boot_sector = " (DOS/MBR boot sector)" if made.seen.system_area[510:512] == b"\x55\xaa" else ""
    bootable = "" if made.seen.boot is None else " (bootable)"
    assert FileMagic().says(made.path) == f"ISO 9660 CD-ROM filesystem data{boot_sector} '{LABEL}'{bootable}"


@of("", which=has_udf)
def test_udfinfo_counts_what_the_reader_counts(made: Made) -> None:
    ask(Udfinfo())
    assert made.seen.udf is not None
    facts = Udfinfo().facts(made.path)
    kinds = [node.kind for node in made.seen.udf.tree.values()]
    assert (facts["numfiles"], facts["numdirs"]) == (str(len(kinds) - kinds.count("dir")), str(kinds.count("dir")))
    assert (facts["label"], facts["udfrev"], facts["accesstype"]) == (LABEL, "1.02", "readonly")


@every_image
def test_xorriso_sees_the_boot_entries(made: Made) -> None:
    ask(Xorriso())
    assert boot_entries_by_xorriso(made.path) == boot_entries(made.seen)


BOOT_ENTRIES = {
    # As (platform, bootable, emulation, segment, system type, 512-byte sectors to load).
    "floppies": [
        ("BIOS", True, "fd1.2", 0x7C0, 1, 4),
        ("BIOS", True, "fd1.4", 0x7C0, 1, 4),
        ("BIOS", True, "fd2.8", 0x7C0, 1, 4),
        ("BIOS", True, "hd", 0x7C0, 6, 4),  # the type of the one partition
    ],
    "floppies by name": [
        ("BIOS", True, "fd1.2", 0x7C0, 1, 4),
        ("BIOS", True, "fd1.4", 0x7C0, 1, 4),
        ("BIOS", True, "fd2.8", 0x7C0, 1, 4),
        ("BIOS", True, "hd", 0x1000, 6, 1),  # by its size, which is no floppy disk's
    ],
    "small bootable": [("BIOS", True, "none", 0x7C0, 1, 4), ("UEFI", True, "none", 0x7C0, 1, 16)],
    "small platforms": [
        ("BIOS", True, "none", 0x7C0, 1, 4),
        ("PPC", True, "none", 0x7C0, 1, 4),
        ("PPC", False, "none", 0x7C0, 1, 4),  # a new entry is of the platform of the one before it
        ("Mac", True, "none", 0x7C0, 1, 4),
        ("UEFI", True, "none", 0x7C0, 1, 16),  # all of its 8 KiB
    ],
    "small EFI alone": [("UEFI", True, "none", 0x7C0, 1, 16)],
}
"""What recipes ask for, and what El Torito's defaults and the images' sizes make of what they leave open."""


@one_by_one(BOOT_ENTRIES)
def test_the_boot_entries_are_those_of_the_recipe(made: Made, request: pytest.FixtureRequest) -> None:
    ask(Xorriso())
    expected = BOOT_ENTRIES[request.node.callspec.params["made"]]
    for said in (boot_entries(made.seen), boot_entries_by_xorriso(made.path)):
        assert [entry[:6] for entry in said] == expected


@of("", which=lambda sample: sample.lines == (images.FULL,))
def test_rock_ridge_is_the_source(made: Made) -> None:
    assert made.seen.rock is not None
    expected = {path: item for path, item in view_of_directory(made.tree).items() if item.kind != "fifo"}
    assert difference(expected, view_of(made.seen.rock), ("the source", "the image"), ignore=("uid", "gid")) == []


@of("", which=lambda sample: has_udf(sample) and sample.look != "sizes")
def test_udf_shows_what_rock_ridge_shows(made: Made) -> None:
    assert made.seen.rock is not None
    assert made.seen.udf is not None
    # A name in UDF has a byte for its character size, and at most 254 more: a longer one is shortened.
    rock, udf = (
        {path: item for path, item in view_of(volume).items() if "x" * 200 not in path and len(path) < 250}
        for volume in (made.seen.rock, made.seen.udf)
    )
    assert len(made.seen.rock.tree) == len(made.seen.udf.tree)
    assert difference(rock, udf, ("Rock Ridge", "UDF"), ignore=("links",)) == []


@of("small hybrid")
def test_the_disk_and_the_boot_catalog_name_one_image(made: Made) -> None:
    assert made.seen.disk is not None
    assert made.seen.boot is not None
    uefi = made.seen.boot.entries[-1]
    expected = [(uefi.sector * 4, uefi.sector * 4 + uefi.image.size // 512 - 1)]
    assert [(each.first, each.last) for each in made.seen.disk.gpt] == (
        [] if "-isohybrid-gpt-basdat" not in " ".join(made.sample.lines) else expected
    )


@of("many directories")
def test_both_path_tables_are_longer_than_64_kib(made: Made) -> None:
    with open(made.path, "rb") as file:
        for sector in (16, 17):
            file.seek(sector * 2048 + 132)
            assert int.from_bytes(file.read(4), "little") > 65536


@of("crowded")
def test_a_directory_of_200_000_entries(made: Made) -> None:
    for volume in (made.seen.rock, made.seen.joliet):
        assert volume is not None
        assert sum(path.startswith("/crowd/") for path in volume.tree) == 200_000


@of("continuation areas")
def test_a_continuation_area_takes_several_sectors(made: Made) -> None:
    assert made.seen.rock is not None
    root = made.seen.rock.tree["/"]
    assert root.size > 2048
    names = sum(len(path) for path in made.seen.rock.tree if path.count("/") == 1)
    assert names > 5 * 2048  # more than the records have room for


@of("long names")
def test_names_about_the_limits(made: Made) -> None:
    assert made.seen.joliet is not None
    folder = "/about the limits/"
    units = {
        name: len(name.encode("utf-16-le")) // 2
        for name in (path.removeprefix(folder) for path in made.seen.joliet.tree if path.startswith(folder))
    }
    assert len(units) == len(list((made.tree / "about the limits").iterdir()))
    assert max(units.values()) == 110
    assert {"109" + "n" * 106, "110" + "n" * 107} <= units.keys()
    assert "056" + "😀" * 53 in units
    cut = [name for name in units if "😀" in name and not (made.tree / "about the limits" / name).exists()]
    assert [units[name] for name in cut] == [109, 109]  # a half of a pair is not kept
    assert all(re.fullmatch(r"\d{3}😀+(~1)?", name) for name in cut)
    assert len([path for path in made.seen.joliet.tree if path.startswith("/alike/")]) == 60


@of("many boot entries")
def test_a_catalog_of_several_sectors(made: Made) -> None:
    assert made.seen.boot is not None
    assert len(made.seen.boot.entries) == 80
    assert made.seen.boot.size > 2048


@of("", which=lambda sample: not any("-isohybrid" in line for line in sample.lines))
def test_150_sectors_of_padding(made: Made) -> None:
    """Behind the last file; UDF's second anchor is the last sector, behind the padding."""
    volumes = [volume for volume in (made.seen.primary, made.seen.udf) if volume is not None]
    ends = [extent.start + extent.length for each in volumes for node in each.tree.values() for extent in node.extents]
    if made.seen.boot is not None:
        ends += [entry.sector * 2048 + entry.image.size for entry in made.seen.boot.entries]
    padding = (0 if any("--no-pad" in line for line in made.sample.lines) else 150) + (made.seen.udf is not None)
    assert -(-max(ends) // 2048) + padding == made.seen.size // 2048
