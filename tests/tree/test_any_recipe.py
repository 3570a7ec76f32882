"""Recipes of random steps: each gives an image, or is refused with a place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qemu_viso.errors import Place, QemuVisoError
from qemu_viso.opening import open_viso
from qemu_viso.tree.facts import Facts
from qemu_viso.tree.portable import portability
from qemu_viso.viso.options import Version
from tests.recipes import write_files, write_recipe
from tests.tree.makers import genisoimage

if TYPE_CHECKING:
    from pathlib import Path

    from qemu_viso.opening import Opened

NAMES = st.sampled_from(["/", "//", "/a", "/A", "/d", "/d/s", "/d/s/x", "/b/", "/.", "/d/.", "/d/..", "x", "", "/boot"])
SOURCES = st.sampled_from(
    ["a", "d", "d/s", "boot", "./d/", "d/s/..", ":remove:", ":must-remove:", "b.iso", ":iprtvfs:file(stdfile,b.iso)"]
)
PATHS = st.lists(NAMES, min_size=1, max_size=2).map("=".join)
SPECS = st.tuples(st.lists(NAMES, max_size=3), SOURCES).map(lambda parts: "=".join((*parts[0], parts[1])))
SETUPS = st.sampled_from(["iso", "joliet", "iso,joliet", "iso,rr,joliet", "iso+joliet,udf", "joliet,iso"])
OPTIONS = st.one_of(
    SETUPS.map("--name-setup={}".format),
    st.tuples(PATHS, PATHS).map(lambda both: f"--rename '{both[0]}' '{both[1]}'"),
    PATHS.map("-c '{}'".format),
    NAMES.map("-b '/{}'".format),
    NAMES.map("--efi-boot '/{}'".format),
    NAMES.map("--chmod 'u+s:/{}'".format),
    SPECS.map("--eltorito-add-image '{}'".format),
    st.sampled_from(["d/s", "*", "s"]).map("-x '{}'".format),
    st.sampled_from(
        [
            "-eltorito-alt-boot",
            "--eltorito-platform-id=efi",
            "--import-iso=b.iso",
            "--push-iso=b.iso",
            "--pop",
            "--no-rock-ridge",
            "--no-joliet",
            "--udf",
            "-hide-joliet=a",
            "-T",
            "-l",
            "--iso-level=1",
            "--name-setup-from-import",
        ]
    ),
)
LINES = st.lists(st.one_of(SPECS.map("'{}'".format), SPECS.map("'{}'".format), OPTIONS), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("any")
    write_files(folder, {"a": b"a", "d/s/x": b"x", "d/b": b"b", "boot": bytes(3000)})
    inside = tmp_path_factory.mktemp("inside")
    write_files(inside, {"boot": bytes(3000), "d/s/y": b"y"})
    genisoimage(folder / "b.iso", "-R", "-J", "-b", "boot", "-c", "d/cat", "-no-emul-boot", inside)
    return folder


def outcome(path: str, facts: Facts) -> Opened | QemuVisoError:
    try:
        return open_viso(path, facts)
    except QemuVisoError as error:
        return error


@settings(max_examples=300)
@given(SETUPS, LINES)
def test_an_image_or_a_refusal(folder: Path, setup: str, lines: list[str]) -> None:
    path = write_recipe(folder, f"--name-setup={setup}", *lines)
    facts = Facts(Place(path, 1, 1))

    found = outcome(path, facts)

    if isinstance(found, QemuVisoError):
        assert found.place is not None
        return
    found.image.read(0, min(found.image.size, 1 << 20))
    for version in Version:
        portability(found.recipe, facts, version)
