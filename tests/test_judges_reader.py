"""The strict reader against images that others made: it sees what was put in, and what the other judges see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.judges import samples
from tests.judges.compare import difference, view_of, view_of_directory
from tests.judges.external import SevenZip, Xorriso, run
from tests.judges.grub import TREE_JUDGES, Grub
from tests.judges.reader.image import inspect, opened
from tests.judges.whole import Blkid, FileMagic, Isovfy, Udfinfo

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.judges.reader.image import Image

pytestmark = pytest.mark.skipif(
    bool(samples.without("genisoimage", "xorriso")), reason=samples.without("genisoimage", "xorriso")
)

# What these makers get wrong, and the strict reader therefore tells of their images.
GENISOIMAGE = {
    "Joliet 64 units": "-joliet-long is meant to go beyond the specification",
    "ECMA-167 3/8.4.2.2": "its reserve sequence has a volume set identifier of its own",
}
GENISOIMAGE_RELOCATED = {
    "ECMA-119 7.5.1": "the placeholder of a relocated directory is a file with a directory's identifier",
    "RRIP 4.1.1": "the .. of rr_moved has a PX entry of zeros",
    "RRIP 4.1.1 . and ..": "the .. of the root and of rr_moved are not up to date",
    "RRIP 4.1.1 links": "rr_moved counts the directories that were moved into it",
}
XORRISO = {
    "Joliet 64 units": "-joliet-long is meant to go beyond the specification",
    "RRIP 4.1.1 links": "it writes a link count of 1 for directories",
    "ECMA-119 6.8.2.2": "the .. of a Joliet directory below the root is the directory itself",
    "ECMA-119 6.8.2.1": "it does not move directories below the eighth level unless told to",
    "ECMA-119 7.5.1": "the placeholder of a relocated directory is a file with a directory's identifier",
    "RRIP 4.1.5.3": "it marks the directory for relocated ones as relocated itself, so that it is hidden",
    "ECMA-119 7.4.1": "with an ISOLINUX boot image it writes the names as they are",
    "ECMA-119 7.6.1": "with an ISOLINUX boot image it writes the names as they are",
    "UEFI 5.2.3 protective MBR": "isohybrid has real partitions beside the GPT",
    "UEFI 5.3.3": "isohybrid's first partition is the whole image",
}

Images = dict[str, "tuple[Path, dict[str, str]]"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("difficult") / "tree"
    root.mkdir()
    samples.difficult_tree(root)
    return root


@pytest.fixture(scope="module")
def bootable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bootable") / "tree"
    root.mkdir()
    samples.small_tree(root)
    return root


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, source: Path, bootable: Path) -> Images:
    """By name: the image, and the clauses that its maker breaks."""
    folder = tmp_path_factory.mktemp("images")
    both = ("-R", "-J", "-joliet-long", "-V", "VOLUME")
    boot = ("-b", "boot.img", "-c", "boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table")
    efi = ("-eltorito-alt-boot", "-b", "efi.img", "-no-emul-boot")
    unmoved = GENISOIMAGE | {"ECMA-119 6.8.2.1": "-D keeps directories below the eighth level"}
    moved = GENISOIMAGE | GENISOIMAGE_RELOCATED
    return {
        "genisoimage": (samples.genisoimage(folder / "g.iso", source, "-D", *both), unmoved),
        "genisoimage plain": (samples.genisoimage(folder / "p.iso", bootable, "-iso-level", "1", "-V", "P"), {}),
        "genisoimage relocated": (samples.genisoimage(folder / "r.iso", source, *both), moved),
        "genisoimage udf": (samples.genisoimage(folder / "u.iso", source, "-D", "-udf", *both), unmoved),
        "genisoimage boot": (samples.genisoimage(folder / "gb.iso", bootable, *both, *boot, *efi), GENISOIMAGE),
        "xorriso": (samples.xorriso(folder / "x.iso", source, *both), XORRISO),
        "xorriso relocated": (samples.xorriso(folder / "xr.iso", source, "--rr_reloc_dir", "/moved", *both), XORRISO),
        "xorriso boot": (samples.xorriso(folder / "xb.iso", bootable, *both, *boot, *efi), XORRISO),
    }


NAMES = (
    "genisoimage", "genisoimage plain", "genisoimage relocated", "genisoimage udf", "genisoimage boot", "xorriso",
    "xorriso relocated", "xorriso boot",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_only_known_quirks(images: Images, name: str) -> None:
    path, quirks = images[name]
    with opened(path) as image:
        assert image.violations(*quirks) == []


@pytest.mark.parametrize(
    "name", ["genisoimage", "genisoimage relocated", "genisoimage udf", "xorriso", "xorriso relocated"]
)
def test_rock_ridge_is_the_source(images: Images, source: Path, name: str) -> None:
    with opened(images[name][0]) as image:
        assert image.rock is not None
        seen = view_of(image.rock)
    seen.pop("/rr_moved", None)  # where genisoimage keeps what lies too deep
    assert difference(view_of_directory(source), seen, ("the source", "the image")) == []


@pytest.mark.parametrize("name", ["genisoimage boot", "xorriso boot"])
def test_joliet_and_primary_hold_the_files(images: Images, bootable: Path, name: str) -> None:
    want = {path: item.sha256 for path, item in view_of_directory(bootable).items() if item.kind == "file"}
    want = {path: sum_ for path, sum_ in want.items() if path != "/boot.img" and len(path) < 100}
    with opened(images[name][0]) as image:
        assert image.joliet is not None
        assert image.primary is not None
        joliet = view_of(image.joliet)
        primary = {path.split(";")[0].rstrip(".").lower(): item.sha256 for path, item in view_of(image.primary).items()}
    assert {path: joliet[path].sha256 for path in want} == want
    assert {path: primary[path] for path in want} == want


def test_udf_holds_the_files(images: Images, source: Path) -> None:
    want = {path: item for path, item in view_of_directory(source).items() if item.kind in ("file", "dir")}
    # genisoimage gives UDF its Joliet names: shortened, some characters replaced, others left out.
    kept = {path for path in want if len(path.rpartition("/")[2]) <= 100 and not set(path) & set('*?\\";\n')}
    unshortened = {path for path in kept if max(path) <= "\uffff"}
    with opened(images["genisoimage udf"][0]) as image:
        assert image.udf is not None
        seen = {path: item for path, item in view_of(image.udf).items() if path in unshortened}
    wanted = {path: want[path] for path in unshortened}
    assert difference(wanted, seen, ("the source", "UDF"), ignore=("mode", "uid", "gid")) == []


@pytest.mark.parametrize("judge", TREE_JUDGES, ids=lambda judge: judge.name)
@pytest.mark.parametrize("name", [name for name in NAMES if "relocated" not in name])
def test_the_judges_agree(images: Images, name: str, judge: object) -> None:
    assert any(judge is known for known in TREE_JUDGES)
    chosen = next(known for known in TREE_JUDGES if judge is known)
    if reason := chosen.available():
        pytest.skip(reason)
    path, _ = images[name]
    with opened(path) as image:
        assert chosen.disagreements(path, image) == []


@pytest.mark.parametrize("name", ["genisoimage relocated", "xorriso relocated"])
def test_xorriso_follows_relocated_directories_as_the_reader_does(images: Images, name: str) -> None:
    path, _ = images[name]
    with opened(path) as image:
        assert Xorriso().disagreements(path, image) == []


@pytest.mark.parametrize("name", NAMES)
def test_nobody_complains(images: Images, source: Path, name: str) -> None:
    path, _ = images[name]
    for judge in (Xorriso(), Isovfy(), SevenZip()):
        if judge.available() is None:
            assert judge.complaints(path) == [], judge.name


def test_grub_compares_content(images: Images, bootable: Path, tmp_path: Path) -> None:
    if reason := Grub().available():
        pytest.skip(reason)
    path, _ = images["xorriso boot"]
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "hello.txt").write_bytes((bootable / "hello.txt").read_bytes())
    assert Grub().complaints(path, copy) == []
    (copy / "hello.txt").write_text("hallo\n")
    assert Grub().complaints(path, copy) != []


def test_small_judges_name_the_volume(images: Images) -> None:
    for judge, name, key in ((Blkid(), "xorriso", "LABEL"), (Udfinfo(), "genisoimage udf", "lvid")):
        if judge.available() is None:
            assert judge.facts(images[name][0])[key] == "VOLUME"
    if FileMagic().available() is None:
        assert "'VOLUME' (bootable)" in FileMagic().says(images["xorriso boot"][0])


def test_udfinfo_counts_what_the_reader_counts(images: Images) -> None:
    if reason := Udfinfo().available():
        pytest.skip(reason)
    path, _ = images["genisoimage udf"]
    assert Udfinfo().complaints(path) == []
    facts = Udfinfo().facts(path)
    with opened(path) as image:
        assert image.udf is not None
        kinds = [node.kind for node in image.udf.tree.values()]
        assert (facts["numfiles"], facts["numdirs"]) == (str(len(kinds) - kinds.count("dir")), str(kinds.count("dir")))
        assert facts["udfrev"] == image.udf.identifiers["revision"] == "1.02"


@pytest.mark.parametrize(("name", "final"), [("genisoimage boot", 0x91), ("xorriso boot", 0x91)])
def test_boot_catalog(images: Images, bootable: Path, name: str, final: int) -> None:
    with opened(images[name][0]) as image:
        assert image.boot is not None
        first, second = image.boot.entries
        assert [section.header for section in image.boot.sections] == [1, final]
        assert first.bootable
        assert (first.media, first.sector_count, first.load_segment) == (0, 4, 0)
        assert first.info_table is not None
        assert (first.info_table.descriptor, first.info_table.sector, first.info_table.length) == (
            16,
            first.sector,
            6000,
        )
        original = (bootable / "boot.img").read_bytes()
        assert first.image.data()[64:] == original[64:]
        assert second.info_table is None
        assert second.image.data() == (bootable / "efi.img").read_bytes()


def test_path_tables_beyond_64_kib(tmp_path: Path) -> None:
    source = tmp_path / "tree"
    samples.many_directories(source)
    path = samples.genisoimage(tmp_path / "many.iso", source, "-R", "-V", "MANY")
    with opened(path) as image:
        assert image.violations() == []
        assert image.rock is not None
        assert image.rock.tree.keys() == view_of_directory(source).keys()


def test_a_link_that_genisoimage_breaks_is_told(tmp_path: Path) -> None:
    """Where the SL entries of one link need two continuation areas, its image is wrong; isovfy says so too."""
    source = tmp_path / "tree"
    source.mkdir()
    (source / "long").symlink_to("/".join(f"part{number:03}" for number in range(60)))
    path = samples.genisoimage(tmp_path / "long.iso", source, "-R", "-V", "LONG")
    with opened(path) as image:
        assert {finding.clause for finding in image.findings} >= {"SUSP 4.1", "RRIP 4.1.3.1", "RRIP 1.09 4.1.9"}
    if Isovfy().available() is None:
        assert any("BAD SUSP" in line for line in Isovfy().complaints(path))


def test_rock_ridge_112(bootable: Path, tmp_path: Path) -> None:
    """xorriso's newer form: PX entries of 44 bytes with serial numbers, under the identifier IEEE_1282."""
    path = tmp_path / "new.iso"
    run("xorriso", "-no_rc", "-compliance", "new_rr", "-as", "mkisofs", "-quiet", "-R", "-o", path, bootable)
    with opened(path) as image:
        assert image.violations(*XORRISO) == []
        assert image.rock is not None
        assert image.rock.identifiers["extension"] == "IEEE_1282"
        assert difference(view_of_directory(bootable), view_of(image.rock)) == []


def patched(path: Path, change: Callable[[bytearray], None], *, size: int | None = None) -> Image:
    """An image as it reads after a change; bytes beyond the file, up to `size`, are zeros."""
    data = bytearray(path.read_bytes())
    change(data)
    length = len(data) if size is None else size
    return inspect(lambda offset, count: bytes(data[offset : offset + count]).ljust(count, b"\0"), length)


def record(data: bytearray, identifier: bytes) -> int:
    """The offset of the first directory record of an identifier."""
    at = data.index(bytes([len(identifier)]) + identifier, 18 * 2048) - 32
    assert data[at] >= 33 + len(identifier)
    return at


def both(value: int) -> bytes:
    return value.to_bytes(4, "little") + value.to_bytes(4, "big")


@pytest.fixture(scope="module")
def sections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of two files that follow each other, to be made one of two sections."""
    root = tmp_path_factory.mktemp("sections")
    (root / "tree").mkdir()
    (root / "tree" / "a.bin").write_bytes(samples.noise("a", 4096))
    (root / "tree" / "b.bin").write_bytes(samples.noise("b", 1000))
    samples.settle(root / "tree")
    return samples.genisoimage(root / "sections.iso", root / "tree", "-V", "SECTIONS")


def join(data: bytearray) -> None:
    data[record(data, b"A.BIN;1") + 25] = 0x80
    at = record(data, b"B.BIN;1") + 33
    data[at : at + 1] = b"A"


def test_a_file_of_several_sections(sections: Path, tmp_path: Path) -> None:
    image = patched(sections, join)
    assert image.violations() == []
    assert image.primary is not None
    node = image.primary.tree["/A.BIN;1"]
    assert node.size == 5096
    assert node.content is not None
    assert node.content.data() == samples.noise("a", 4096) + samples.noise("b", 1000)
    assert [extent.length for extent in node.extents] == [4096, 1000]
    data = bytearray(sections.read_bytes())
    join(data)
    path = tmp_path / "joined.iso"
    path.write_bytes(data)
    for judge in TREE_JUDGES:
        if judge.available() is None and judge.name in ("isoinfo", "bsdtar", "pycdlib"):
            assert judge.disagreements(path, image) == [], judge.name


def test_a_file_of_more_than_four_gib(sections: Path) -> None:
    """Sizes and places only: the image has holes for data."""
    first, second = 0xFFFFF800, 0x1234
    total = 0

    def grow(data: bytearray) -> None:
        nonlocal total
        join(data)
        a = record(data, b"A.BIN;1")
        b = data.index(b"\x07A.BIN;1", a + 40) - 32
        start = int.from_bytes(data[a + 2 : a + 6], "little")
        data[a + 10 : a + 18] = both(first)
        data[b + 2 : b + 10] = both(start + first // 2048)
        data[b + 10 : b + 18] = both(second)
        total = start * 2048 + first + 3 * 2048
        data[16 * 2048 + 80 : 16 * 2048 + 88] = both(total // 2048)

    before = patched(sections, grow)  # so that `total` is known
    image = patched(sections, grow, size=total)
    assert image.violations() == []
    assert before.violations() != []
    assert image.primary is not None
    assert image.primary.tree["/A.BIN;1"].size == first + second
