"""What VirtualBox takes otherwise for what the sources are."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import Place, QemuVisoError
from qemu_viso.image import Literal
from qemu_viso.opening import open_viso
from qemu_viso.tree.facts import Fact, Facts
from qemu_viso.tree.nodes import Attributes, Directory, File, Namespace
from qemu_viso.tree.portable import portability, rules
from qemu_viso.tree.tree import Settings, Tree
from qemu_viso.viso.options import Version
from qemu_viso.viso.portable import NAME_RULES
from tests.judges import cases
from tests.recipes import write_files, write_recipe
from tests.tree.makers import genisoimage, xorrisofs

if TYPE_CHECKING:
    from pathlib import Path

    from qemu_viso.viso.portable import Finding

EVERY = (Version.V6_1, Version.V7_0, Version.TRUNK)
OLD = EVERY[:2]
TRUNK = EVERY[2:]
EMPTY_IDENTIFIER, LONG_JOLIET, ILLEGAL, LONG_ROCK, WIDE_UDF, LONG_UDF = (
    rule.what for rule in NAME_RULES if "TRANS.TBL" not in rule.what
)
DEEP = "deep/" + "/".join("d" * 33)

# A line, what is found, in which versions, and where: place and path.
CASES: list[tuple[str, str, tuple[Version, ...], str]] = [
    ("/=one /=two", Fact.MERGED, EVERY, "2:7 /s"),
    ("/x=one /x=two", Fact.MERGED, EVERY, "2:8 /x/s"),
    ("/x/s/t=one /x=two", Fact.MERGED, EVERY, "2:12 /x/s"),
    ("/=cases", Fact.CASE, EVERY, "2:1 cases/sub/bA"),
    ("/=links", Fact.LINK, EVERY, "2:1 links/link"),
    ("/=./links --ignore-symlinks /i=links", Fact.LINK, EVERY, "2:1 ./links/link"),
    ("/=pipes /x=pipes/s", Fact.SPECIAL, EVERY, "2:1 pipes/s/pipe 2:9 pipes/s/pipe"),
    (f"/={DEEP[:-4]} /x=deep", Fact.DEEP, EVERY, "2:70 deep" + "/d" * 32),
    ("/=tables", Fact.TABLE, EVERY, "2:1 tables/s/Trans.tbl"),
    ("/x/=a /y=a", Fact.IN_DIRECTORY, EVERY, "2:1 /x/"),
    ("/=a", Fact.IN_DIRECTORY, EVERY, "2:1 /"),
    ("--eltorito-add-image /x/=a", Fact.IN_DIRECTORY, EVERY, "2:1 /x/"),
    ("/=large", Fact.LARGE, EVERY, "2:1 large/l"),
    ("-l /=large --iso-level 3", Fact.LARGE_LOW, EVERY, "2:4 large/l"),
    ("--iso-level 2 /x=large/l --iso-level 3", Fact.LARGE_LOW, EVERY, "2:15 large/l"),
    ("/=empty /x=empty", Fact.EMPTY, EVERY, "1:1 /"),
    ("--import-iso plain.iso /s=one", Fact.MERGED, EVERY, ""),
    ("/s=one --import-iso plain.iso", Fact.IMPORTED_MERGED, EVERY, "2:8 /S"),
    ("--import-iso plain.iso --import-iso rock.iso", Fact.IMPORTED_MERGED, EVERY, "2:24 /s"),
    ("--no-rock-ridge --import-iso rock.iso", Fact.IMPORTED_ROCK, EVERY, "2:17 rock.iso"),
    ("--no-rock-ridge --import-iso plain.iso", Fact.IMPORTED_ROCK, EVERY, ""),
    ("--import-iso boot.iso", Fact.IMPORTED_ENTRIES, OLD, "2:1 boot.iso"),
    ("--import-iso-skip-eltorito boot.iso", Fact.IMPORTED_ENTRIES, OLD, ""),
    ("--import-iso disk.iso", Fact.IMPORTED_DISK, EVERY, "2:1 disk.iso"),
    ("--volume-id=X --import-iso rock.iso --sysid=X", Fact.IMPORTED_TEXT, EVERY, "2:15 volume-id"),
    ("--import-iso rock.iso --volume-id=X", Fact.IMPORTED_TEXT, EVERY, ""),
    ("--push-iso rock.iso /=s --pop /x=a", Fact.PUSHED_ROCK, OLD, "2:21 s"),
    ("--push-iso both.iso /=s /a=a", Fact.PUSHED_JOLIET, EVERY, "2:21 s 2:25 a"),
    ("--push-iso both.iso /=s", Fact.LINK, EVERY, ""),
    ("--push-iso-no-joliet both.iso /=s", Fact.PUSHED_ROCK, OLD, "2:31 s"),
    ("--push-iso plain.iso /=s", Fact.PUSHED_ROCK, OLD, ""),
    ("--name-setup iso,joliet /A=/X=a --name-setup joliet --chmod 0700:/X", Fact.PARTLY, EVERY, "2:53 /X"),
    ("--udf --name-setup iso,udf /A=/X=a --name-setup iso --chgrp 7:/A", Fact.PARTLY, EVERY, "2:53 /A"),
    ("--udf --name-setup iso /a=a --name-setup udf /=one --chown 7:/", Fact.PARTLY, EVERY, "2:52 /"),
    ("--name-setup iso /a=a --chmod 0700:/a --chmod 0700:/", Fact.PARTLY, EVERY, ""),
    ("--name-setup iso,udf /a=/a=a --name-setup iso --chmod 0700:/a", Fact.PARTLY, EVERY, ""),
    ("--no-rock-ridge --name-setup iso,joliet /A=/X=a --name-setup joliet --chmod 0700:/X", Fact.PARTLY, EVERY, ""),
    ("--import-iso hard.iso --chmod 0600:/a", Fact.HARD_LINK, EVERY, "2:23 /a"),
    ("--push-iso hard.iso /=/ --chown 1:/d/c", Fact.HARD_LINK, EVERY, "2:25 /d/c"),
    ("--import-iso hard.iso --chmod 0600:/d --chmod 0600:/one", Fact.HARD_LINK, EVERY, ""),
    ("/=names", LONG_JOLIET, EVERY, f"2:1 names/{'j' * 111}"),
    ("--no-joliet /=names", LONG_JOLIET, EVERY, ""),
    ("/=names", LONG_ROCK, EVERY, f"2:1 names/{'j' * 111}"),
    ("--no-rock-ridge /=names", LONG_ROCK, EVERY, ""),
    ("/=names", ILLEGAL, EVERY, "2:1 names/a:b"),
    ("/=names", EMPTY_IDENTIFIER, EVERY, "2:1 names/\u00e4.txt"),
    ("--udf /=wide", WIDE_UDF, TRUNK, "2:7 wide/\u0100"),
    ("/=wide", WIDE_UDF, TRUNK, ""),
    ("--udf /=wide", LONG_UDF, TRUNK, "2:7 wide/" + "k" * 255),
    ("--import-iso moved.iso", Fact.IMPORTED_DEEP, EVERY, "2:1 moved.iso"),
    ("--import-iso rock.iso", Fact.IMPORTED_DEEP, EVERY, ""),
    ("--import-iso names.iso", LONG_ROCK, EVERY, f"2:1 /{'r' * 105}"),
    ("--no-rock-ridge --import-iso names.iso", LONG_ROCK, EVERY, ""),
    ("--import-iso names.iso", EMPTY_IDENTIFIER, EVERY, ""),
    ("--udf --import-iso udf.iso", WIDE_UDF, TRUNK, "2:7 /\u65e5"),
    ("--import-iso udf.iso", WIDE_UDF, TRUNK, ""),
    ("--import-iso both.iso", ILLEGAL, EVERY, ""),
    ("@late /a=a", Fact.LATE_BOOT_IMAGE, EVERY, "1:1 /a"),
    ("/a=a @late", Fact.LATE_BOOT_IMAGE, EVERY, ""),
    ("-b /a /a=a", Fact.LATE_BOOT_IMAGE, EVERY, ""),
]
PORTABLE = [
    "/=one /x=two",
    "/=one --import-iso plain.iso".replace("one", "two/t"),
    "/x=empty /y=a",
    "/=one /s/u=two/t",
    "/=empty/../one",
    "/a=a --eltorito-add-image /b=a",
    "--import-iso rock.iso",
]


def plant(folder: Path) -> None:
    write_files(
        folder,
        {
            "a": b"a",
            "one/s/x": b"", "two/s/y": b"", "two/t/z": b"",
            "cases/sub/Ba": b"", "cases/sub/bA": b"",
            "tables/s/Trans.tbl": b"", "tables/s/x": b"",
            f"names/{'j' * 111}": b"", "names/a:b": b"", "names/\u00e4.txt": b"",
            f"{DEEP}/x": b"",
            "large/l": b"",
            "wide/\u0100": b"", f"wide/{'k' * 255}": b"", "late": b"-b /a -no-emul-boot",
        },
    )  # fmt: skip
    for name in ("empty", "links", "pipes/s"):
        (folder / name).mkdir(parents=True)
    (folder / "links" / "link").symlink_to("nowhere")
    os.mkfifo(folder / "pipes" / "s" / "pipe")
    os.truncate(folder / "large" / "l", 1 << 32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("portable")
    plant(folder)
    inside, outside = tmp_path_factory.mktemp("inside"), tmp_path_factory.mktemp("outside")
    write_files(inside, {"s/file": b"file", "a": b"a" * 4096, "b": b"b" * 4096})
    (inside / "s" / "link").symlink_to("file")
    genisoimage(folder / "plain.iso", "-m", "link", "-graft-points", f"s={inside / 's'}")
    genisoimage(folder / "rock.iso", "-R", inside)
    genisoimage(folder / "both.iso", "-R", "-J", inside)
    hard = tmp_path_factory.mktemp("hard")
    write_files(hard, {"a": b"a", "d/x": b"x", "one": b"one"})
    for name in ("b", "d/c"):
        os.link(hard / "a", hard / name)
    genisoimage(folder / "hard.iso", "-R", "-cache-inodes", hard)
    write_files(
        outside,
        {
            f"{'d/' * 9}x": b"",
        },
    )
    genisoimage(folder / "moved.iso", "-R", "-no-pad", outside)
    write_files(outside, {"r" * 105: b"", "\u65e5": b""})
    xorrisofs(folder / "names.iso", "-R", "-J", outside)
    genisoimage(folder / "udf.iso", "-R", "-udf", outside)
    boot = ("-b", "a", "-no-emul-boot", "-eltorito-alt-boot", "-e", "b", "-no-emul-boot")
    xorrisofs(folder / "boot.iso", "-R", *boot, inside)
    disk = bytearray((folder / "boot.iso").read_bytes())
    disk[:512] = b"boot code".ljust(510) + b"\x55\xaa"
    (folder / "disk.iso").write_bytes(disk)
    return folder


def found(folder: Path, line: str, version: Version) -> list[Finding]:
    path = write_recipe(folder, line)
    facts = Facts(Place(path, 1, 1))
    return portability(open_viso(path, facts).recipe, facts, version)


@pytest.mark.parametrize(("line", "what", "versions", "places"), CASES)
def test_findings(folder: Path, line: str, what: str, versions: tuple[Version, ...], places: str) -> None:
    words = places.split()
    wanted = list(zip(words[::2], words[1::2], strict=True))
    for version in Version:
        given = [
            (f"{finding.place.line}:{finding.place.column}", finding.path)
            for finding in found(folder, line, version)
            if finding.what == what
        ]
        assert given == (wanted if version in versions else [])


@pytest.mark.parametrize("line", PORTABLE)
def test_nothing_is_found_in_portable_recipes(folder: Path, line: str) -> None:
    assert [str(finding) for version in Version for finding in found(folder, line, version)] == []


def test_each_fact_has_its_row_and_its_case() -> None:
    assert [rule.what for rule in rules()] == list(Fact)
    assert {what for _, what, _, places in CASES if places} | {Fact.CROWDED} == {
        *Fact,
        EMPTY_IDENTIFIER,
        LONG_JOLIET,
        ILLEGAL,
        LONG_ROCK,
        WIDE_UDF,
        LONG_UDF,
    }


def test_a_directory_with_more_names_than_virtualbox_takes() -> None:
    root, full = (Directory(Attributes(0o755, 0, 0), None) for _ in range(2))
    root.listings[0].extend({"full": full})
    for count, met in ((262_144, []), (262_145, [(Fact.CROWDED, "/full")])):
        full.listings[Namespace.ISO].extend(
            dict.fromkeys(map(str, range(count)), File(Literal(b"", "x"), full.attributes, None))
        )
        facts = Facts(Place("x.viso", 1, 1))
        facts.source(full, "full", Settings())
        facts.finish(Tree("x", root))
        assert [(each.what, each.path) for each in facts] == met


def test_several_of_a_kind_in_one_step_are_one_finding(tmp_path: Path) -> None:
    write_files(tmp_path, {f"d/{name}": b"" for name in ("a", "A", "b", "B", "c", "C")})
    write_files(tmp_path, {"d/sub/e": b""})

    [finding] = found(tmp_path, "/=d", Version.V6_1)
    assert finding.more == 2
    assert str(finding).startswith(f"{tmp_path}/TEST.viso:2:1: {Fact.CASE} ('d/")
    assert "and 2 more): they are one name" in str(finding)


CONFORMANCE = {case.name: case for case in cases.load() if case.verdict != "error"}
# Where the images are alike all the same: the identifiers of the primary tree, and the attributes of what comes out of
# an image, are not compared; the rule about Rock Ridge names means identifiers of full length.
ALIKE = {
    "iso-level-default": {EMPTY_IDENTIFIER, LONG_ROCK},
    "iso-level1-then-l": {EMPTY_IDENTIFIER, LONG_ROCK},
    "long-joliet-104": {LONG_ROCK},
    "nonbmp": {EMPTY_IDENTIFIER},
    "push": {Fact.PUSHED_JOLIET},
    "push-root": {Fact.PUSHED_JOLIET},
}


@pytest.mark.parametrize("name", CONFORMANCE)
def test_each_measured_difference_is_found(tmp_path: Path, name: str) -> None:
    case = CONFORMANCE[name]
    try:
        path = str(cases.materialise(case, tmp_path))
    except cases.UnavailableError as error:
        pytest.skip(str(error))
    facts = Facts(Place(path, 1, 1))
    opened = open_viso(path, facts)

    whats = {finding.what for finding in portability(opened.recipe, facts, Version.V6_1)}

    if case.verdict == "beyond":
        assert whats
    else:
        assert whats == ALIKE.get(name, set())


def test_a_recipe_that_cannot_be_carried_out_is_refused_as_ever(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, "/x=missing")
    with pytest.raises(QemuVisoError) as caught:
        open_viso(path, Facts(Place(path, 1, 1)))
    assert caught.value.status == 66
