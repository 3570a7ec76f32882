"""What `-m` and `-x` leave out: what genisoimage does, and fnmatch(3) says."""

from __future__ import annotations

import ctypes
import ctypes.util
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qemu_viso.tree.globs import translated
from qemu_viso.tree.nodes import Namespace
from tests.recipes import opened, write_files
from tests.tree.makers import genisoimage, xorrisofs

if TYPE_CHECKING:
    from pathlib import Path

FILES = {"d/e/x": b"", "d/f/e/y.tmp": b"", "d/a.tmp": b"", "d/.h/z": b"", "d/b[1]": b"", "d/b1": b"", "d/b/c1": b""}
# Options, and a source; '@' is the folder.
CASES = [
    ("-x d/e", "d"),
    ("-m d/e", "d/"),
    ("-x d/e", "./d"),
    ("-x ./d/e", "./d"),
    ("-x d/e/x -m y.tmp", "d"),
    ("-x d/e/", "d"),
    ("-x e", "d"),
    ("-x */e", "d"),
    ("-x d/*", "d"),
    ("-x d/*/e", "d"),
    ("-x d*", "d"),
    ("-x d -m d", "d"),
    ("-x @/d/e", "d"),
    ("-x @/d/e", "@/d"),
    ("-x */d/e", "@/d"),
    ("-m *.tmp -m *h", "d"),
    ("-m b[1]", "d"),
    (r"-m b\[1\]", "d"),
    ("-m [!b]*", "d"),
    ("-m [^b]*", "d"),
    ("-x d[/]e", "d"),
    ("-m b[", "d"),
    ("-m b[]1[]*", "d"),
    ("-m A.TMP", "d"),
    ("-x ./d/e", "."),
    ("-x d/e", "."),
    ("-x d/b/c?", "d"),
    ("-x b/c?", "d"),
    ("-x d/b/c?", "d/b"),
]


def listed(image: Path) -> set[str]:
    done = subprocess.run(["isoinfo", "-R", "-f", "-i", str(image)], check=True, capture_output=True, text=True)
    return set(done.stdout.splitlines())


@pytest.mark.parametrize(("options", "source"), CASES)
def test_as_genisoimage_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str, source: str) -> None:
    """It knows paths of its working directory, a recipe those of its own directory."""
    if shutil.which("genisoimage") is None or shutil.which("isoinfo") is None:
        pytest.skip("genisoimage is not installed")
    folder, elsewhere = tmp_path / "in", tmp_path / "out"
    write_files(folder, FILES)
    elsewhere.mkdir()
    options, source = (text.replace("@", str(folder)) for text in (options, source))
    monkeypatch.chdir(folder)
    theirs = listed(genisoimage(elsewhere / "theirs.iso", "-R", *options.split(), source))
    monkeypatch.chdir(elsewhere)

    quoted = " ".join(f"'{word}'" for word in options.split())
    tree = opened(folder, "-R", f"{quoted} '/={source}'").tree
    ours = {path for path, _ in tree.walk(Namespace.ISO)} - {"/TEST.viso"}

    assert ours == theirs


def test_sources_by_another_separator_and_out_of_images(tmp_path: Path) -> None:
    write_files(tmp_path, FILES)
    image = xorrisofs(tmp_path / "i.iso", "-R", "-graft-points", f"d={tmp_path / 'd'}")

    for before, source, glob, gone in (
        ("", "d\\f", "d/f/e", "/t/e"),
        (f"--push-iso={image}", "d\\f", "d/f/e", "/t/e"),
        (f"--push-iso={image}", "/d", "/d/f/e", "/t/f/e"),
        (f"--push-iso={image}", "/", "/d/f/e", "/t/d/f/e"),
    ):
        for options, there in (("", True), (f"-x {glob}", False)):
            tree = opened(tmp_path, f"{before} {options} '/t={source}'").tree
            assert (gone in {path for path, _ in tree.walk(Namespace.ISO)}) is there


def _libc() -> ctypes.CDLL:
    found = ctypes.CDLL(ctypes.util.find_library("c"))
    found.fnmatch.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int)
    return found


FNM_PATHNAME = 1
LIBC = _libc()
# Closed brackets without a slash: the rest is not specified.
PIECES = r"a b / * ** ? \a \* \[ - . ! ] [ab] [!a] [^b] [a-b] [b-a] [!b-a] []a] [!]] [a-] [-b] [\]] [[a] [[:alpha:]]"
PATTERNS = st.lists(st.sampled_from(PIECES.split()), max_size=7).map("".join)
TEXTS = st.text(st.sampled_from("ab/]-[.!*"), max_size=7)


@given(PATTERNS, TEXTS)
@example("[[:alpha:]]*", "a")
@example("[![:digit:]]", "1")
@example("*a/*b", "xa/yb")
@example("[b-a]", "a")
@example("[!b-a]", "a")
def test_as_fnmatch_says(pattern: str, text: str) -> None:
    said = LIBC.fnmatch(pattern.encode(), text.encode(), FNM_PATHNAME) == 0

    assert (translated(pattern).fullmatch(text) is not None) == said


def test_hostile_patterns_end() -> None:
    assert translated("*a" * 500 + "b").fullmatch("a" * 5000) is None
