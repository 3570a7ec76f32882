"""What `-hide` and `-sort` match: what genisoimage does."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import RecipeError
from qemu_viso.tree.nodes import Namespace
from qemu_viso.tree.patterns import Weights
from tests.recipes import opened, write_files
from tests.tree.makers import genisoimage, xorrisofs

if TYPE_CHECKING:
    from pathlib import Path

FILES = ("so/a", "so/z", "so/c/d", "so/c/e/g", "so/f/d")
TREE = {name: name.encode() for name in FILES}

# Lines, sources, and what weighs something then, from heavy to light; '-' stands for all others.
SORTS = [
    ("so/c/d 10", "so", "so/c/d -"),
    ("so/c/d\t10", "so", "so/c/d -"),
    ("so/c 10", "so", "so/c/d,so/c/e/g -"),
    ("so/c/ 10", "so", "-"),
    ("c/d 10", "so", "-"),
    ("d 10", "so", "-"),
    ("*/d 10", "so", "-"),
    ("so/*/d 10", "so", "so/c/d,so/f/d -"),
    ("so/c -1", "so", "- so/c/d,so/c/e/g"),
    ("so/c 10|so/c/e -5", "so", "so/c/d - so/c/e/g"),
    ("so/c/e -5|so/c 10", "so", "so/c/d - so/c/e/g"),
    ("so/c/d 5|so/c/* 1|so/a 3", "so", "so/a so/c/d,so/c/e/g -"),
    ("so/c/* 1|so/c/d 5|so/a 3", "so", "so/c/d so/a so/c/e/g -"),
    ("so/c 010|so/a 9", "so/", "so/c/d,so/c/e/g so/a -"),
    ("./so/c 9", "./so", "so/c/d,so/c/e/g -"),
    ("so/c 9", "./so", "-"),
    ("so/c/d 9", "so/a X/Y=so/c/d", "so/c/d -"),
    ("so/c 9", "so/a X/Y=so/c/d", "-"),
    ("X/Y 9", "so/a X/Y=so/c/d", "-"),
    ("so/c 9", "X/=so", "so/c/d,so/c/e/g -"),
    ("X/c 9", "X/=so", "-"),
]
HIDES = [
    ("so/c", "so"),
    ("c", "so"),
    ("c/d", "so"),
    ("*/d", "so"),
    ("so/*/d", "so"),
    ("so/c/*", "so"),
    ("so/f/d", "so"),
    ("z", "so"),
    ("so", "so"),
    ("./so/c", "./so"),
    ("so/c", "./so"),
    ("@/so/c", "@/so"),
    ("[!cf]", "so"),
    ("X/c", "X/=so"),
    ("so/c", "X/=so"),
    ("Y", "X/Y=so/c/d"),
    ("d", "X/Y=so/c/d"),
    ("X/Y", "X/Y=so/c/d"),
    ("so/c/d", "X/Y=so/c/d"),
]


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """A folder with the tree, and one that the image goes to."""
    folder, elsewhere = tmp_path / "in", tmp_path / "out"
    write_files(folder, TREE)
    elsewhere.mkdir()
    return folder, elsewhere


def specs(sources: str) -> str:
    """The file specs that mean what genisoimage's sources do: what has no name goes into the root."""
    return " ".join(f"/{source}" if "=" in source else f"/={source}" for source in sources.split())


def order(content: bytes) -> list[str]:
    """The files as their data follow each other: the data are the names."""
    found = ((content.find(name.encode().ljust(2048, b"\0")), name) for name in FILES)
    return [name for at, name in sorted(found) if at >= 0]


def sorted_as(names: list[str], weights: str) -> list[str]:
    """Names as they are after they were sorted by weight."""
    groups = [group.split(",") for group in weights.split()]
    return sorted(
        names, key=lambda name: next((at for at, group in enumerate(groups) if name in group), groups.index(["-"]))
    )


@pytest.mark.parametrize(("lines", "sources", "weights"), SORTS)
def test_files_lie_as_genisoimage_has_them(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, lines: str, sources: str, weights: str
) -> None:
    """Files of one weight keep their order, which is another one there."""
    folder, elsewhere = places
    (folder / "weights").write_text(lines.replace("|", "\n") + "\n")
    monkeypatch.chdir(folder)
    words = ("-R", "-graft-points", *sources.split())
    theirs = order(genisoimage(elsewhere / "sorted.iso", "-sort", "weights", *words).read_bytes())
    assert theirs == sorted_as(order(genisoimage(elsewhere / "i.iso", *words).read_bytes()), weights)

    plain, ours = (opened(folder, "-R", f"{specs(sources)} {end}").image for end in ("", "-sort weights"))
    assert order(ours.read(0, ours.size)) == sorted_as(order(plain.read(0, plain.size)), weights)


def test_imported_files_go_by_their_paths_in_the_image(tmp_path: Path) -> None:
    write_files(tmp_path, TREE | {"weights": b"c/e 1\n/c/d 2\n"})
    xorrisofs(tmp_path / "i.iso", "-RJ", tmp_path / "so")

    found = opened(tmp_path, "--import-iso=i.iso -sort weights -hide c/d -hide-joliet /f")
    assert order(found.image.read(0, found.image.size))[:2] == ["so/c/d", "so/c/e/g"]
    primary, joliet = ({path for path, _ in found.tree.walk(namespace)} for namespace in Namespace if namespace < 2)
    assert "/c/d" not in primary
    assert "/f/d" in primary
    assert "/c/d" in joliet
    assert "/f" not in joliet


def listed(image: Path, extensions: str) -> set[str]:
    done = subprocess.run(["isoinfo", extensions, "-f", "-i", str(image)], check=True, capture_output=True, text=True)
    return set(done.stdout.splitlines())


@pytest.mark.parametrize(("glob", "source"), HIDES)
def test_names_are_hidden_as_genisoimage_hides_them(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, glob: str, source: str
) -> None:
    if shutil.which("isoinfo") is None:
        pytest.skip("isoinfo is not installed")
    folder, elsewhere = places
    glob, source = (text.replace("@", str(folder)) for text in (glob, source))
    for option, extensions, namespace in (("-hide", "-R", Namespace.ISO), ("-hide-joliet", "-J", Namespace.JOLIET)):
        monkeypatch.chdir(folder)
        theirs = listed(genisoimage(elsewhere / "i.iso", "-RJ", option, glob, "-graft-points", source), extensions)
        monkeypatch.chdir(elsewhere)

        tree = opened(folder, f"{specs(source)} '{option}' '{glob}'").tree
        assert {path for path, _ in tree.walk(namespace)} == theirs


def test_a_directory_that_a_file_spec_names_is_matched_too(tmp_path: Path) -> None:
    """Unlike in mkisofs, where a directory in a file spec has no name of its own."""
    write_files(tmp_path, TREE | {"weights": b"so/f 1\n"})
    found = opened(tmp_path, "/a=so/a /X=so/f -hide X -hide-joliet so/f -sort weights")

    assert {path for path, _ in found.tree.walk(Namespace.ISO)} == {"/a"}
    assert {path for path, _ in found.tree.walk(Namespace.JOLIET)} == {"/a"}
    assert {path for path, _ in found.tree.walk(Namespace.UDF)} == {"/a", "/X", "/X/d"}


def test_the_last_pattern_that_matches_counts() -> None:
    weights = Weights()
    assert not weights
    for glob, weight in (("a/*", 1), ("a/b", 2), ("a/?", 3), ("[x]", 4), ("a/c", 5)):
        weights.add(glob, weight)

    assert weights
    assert [weights.of(path) for path in ("a/bb", "a/b", "a/c", "x", "[x]", "a")] == [1, 3, 5, 4, None, None]


def test_a_line_of_a_million_blanks_ends(tmp_path: Path) -> None:
    write_files(tmp_path, {"a": b"", "weights": b"a".join([b" " * 1_000_000] * 2) + b"1\n" + b" " * 1_000_000 + b"b\n"})
    with pytest.raises(RecipeError, match="is not a path and a weight"):
        opened(tmp_path, "/a=a -sort weights")


@pytest.mark.parametrize("line", ["a", "a b", "a 1.5", "10", " 10", "a " + "9" * 19])
def test_a_line_without_a_weight_is_refused(tmp_path: Path, line: str) -> None:
    write_files(tmp_path, {"a": b"", "weights": f"a 1\r\n \n{line}\n".encode()})
    with pytest.raises(RecipeError, match="is not a path and a weight") as caught:
        opened(tmp_path, "/a=a -sort weights")
    assert caught.value.place is not None
    assert caught.value.place.line == 3
