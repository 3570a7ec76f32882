"""GRUB's own file system drivers, as a second opinion on what Linux reads."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import GuestError
from qemu_viso.guest.build import build_guest
from qemu_viso.guest.definition import load_definition
from qemu_viso.opening import Opened, open_viso
from qemu_viso.verify.run import verify
from tests.recipes import opened, write_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qemu_viso.guest.build import GuestBuild
    from qemu_viso.guest.view import Namespace
    from qemu_viso.verify.report import Report

IMAGES = Path(__file__).resolve().parent.parent / "images"


@pytest.fixture(scope="module")
def grub() -> GuestBuild:
    if shutil.which("grub-mkimage") is None:
        pytest.skip("grub-mkimage is not installed")
    return build_guest(load_definition("grub"), progress=print)


def seen(found: Opened, build: GuestBuild, namespaces: Sequence[Namespace], bus: str = "virtio-blk") -> list[Report]:
    return asyncio.run(verify(found, build, bus, namespaces))


def assert_as_promised(reports: list[Report], expected: int) -> None:
    assert reports
    for report in reports:
        assert report.differences == (), report.table()
        assert report.expected == expected


def names(folder: Path, *options: str) -> Opened:
    """The recipe of difficult names, with other options."""
    shutil.copytree(IMAGES / "names", folder / "names")
    lines = (IMAGES / "names.viso").read_text(encoding="utf-8").splitlines()[1:]
    return opened(folder, *lines, *options)


def test_names_in_rock_ridge_and_udf(grub: GuestBuild, tmp_path: Path) -> None:
    assert_as_promised(seen(names(tmp_path, "--udf"), grub, ["rock", "udf"]), 82)


@pytest.mark.parametrize(
    ("options", "namespace"), [("--no-rock-ridge", "joliet"), ("--no-rock-ridge --no-joliet", "plain")]
)
def test_names_without_rock_ridge(grub: GuestBuild, tmp_path: Path, options: str, namespace: Namespace) -> None:
    assert_as_promised(seen(names(tmp_path, options), grub, [namespace]), 82)


def test_a_drive_on_ahci_by_its_own_driver(grub: GuestBuild) -> None:
    assert_as_promised(seen(open_viso(str(IMAGES / "demo.viso")), grub, ["rock"], "ahci-cd"), 11)


def test_what_is_wrong_is_noticed(grub: GuestBuild, tmp_path: Path) -> None:
    """A byte, a name and a kind; GRUB sees nothing of the mode."""
    promised, served = tmp_path / "promised", tmp_path / "served"
    files = {"in/same": b"same", "in/byte": b"x" * 5000, "in/missing": b"", "in/turned": b""}
    write_files(promised, files)
    first = opened(promised, "--udf -R --volume-id=TWO", "/=in")
    write_files(served, files | {"in/byte": b"x" * 4000 + b"y" + b"x" * 999, "in/extra": b""})
    (served / "in" / "missing").unlink()
    (served / "in" / "turned").unlink()
    (served / "in" / "turned").mkdir()
    (served / "in" / "same").chmod(0o600)
    second = opened(served, "--udf -R --volume-id=TWO", "/=in")
    for report in seen(Opened(first.recipe, first.tree, second.image), grub, ["rock", "udf"]):
        fields = {difference.path: difference.field for difference in report.differences}
        assert fields == {"/byte": "content", "/missing": "name", "/extra": "name", "/turned": "kind"}


def test_a_namespace_that_is_not_there(grub: GuestBuild, tmp_path: Path) -> None:
    promised = opened(tmp_path, "--udf --volume-id=NONE", "/in=in", files={"in": b"x"})
    served = opened(tmp_path, "--volume-id=NONE", "/in=in")
    with pytest.raises(GuestError, match="GRUB does not find the namespace udf on the medium"):
        seen(Opened(promised.recipe, promised.tree, served.image), grub, ["udf"])
