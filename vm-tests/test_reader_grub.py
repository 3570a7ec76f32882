"""GRUB's own file system drivers, as a second opinion on what Linux reads."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import GuestError
from qemu_viso.qemu import PLATFORMS
from tests.recipes import write_files

if TYPE_CHECKING:
    from qemu_viso.pytest_plugin import Namespace, Opened, Recipes, Session, Views

IMAGES = Path(__file__).resolve().parent.parent / "images"
pytestmark = [pytest.mark.viso_guest("grub"), pytest.mark.viso_bus("virtio-blk")]


def names(viso: Recipes, *options: str) -> Opened:
    """The recipe of difficult names, with other options."""
    shutil.copytree(IMAGES / "names", viso.folder / "names")
    lines = (IMAGES / "names.viso").read_text(encoding="utf-8").splitlines()[1:]
    return viso(*lines, *options)


def test_names_in_rock_ridge_and_udf(viso: Recipes, viso_view: Views) -> None:
    recipe = names(viso, "--udf")
    assert viso_view(recipe, "rock").verify().expected == 82
    assert viso_view(recipe, "udf").verify().expected == 82


@pytest.mark.parametrize(
    ("options", "namespace"), [("--no-rock-ridge", "joliet"), ("--no-rock-ridge --no-joliet", "plain")]
)
def test_names_without_rock_ridge(viso: Recipes, viso_view: Views, options: str, namespace: Namespace) -> None:
    assert viso_view(names(viso, options), namespace).verify().expected == 82


def test_a_name_that_reads_like_a_failure(viso: Recipes, viso_view: Views) -> None:
    recipe = viso("-R", files={"/Kernel panic - not syncing.txt": b"x", "/room": bytes(4 << 20)})  # for SeaBIOS
    assert viso_view(recipe, "rock").verify().expected == 3


@pytest.mark.viso_bus("ahci-cd")
def test_a_drive_on_ahci_by_its_own_driver(viso: Recipes, viso_view: Views, viso_session: Session) -> None:
    report = viso_view(viso(IMAGES / "demo.viso"), "rock").verify()
    assert report.expected == 11
    assert report.accelerator == viso_session.accelerator(PLATFORMS["amd64"]).accelerator


def test_what_is_wrong_is_noticed(viso_session: Session, viso_view: Views, tmp_path: Path) -> None:
    """A byte, a name and a kind; GRUB sees nothing of the mode."""
    promised, served = tmp_path / "promised", tmp_path / "served"
    files = {"in/same": b"same", "in/byte": b"x" * 5000, "in/missing": b"", "in/turned": b""}
    write_files(promised, files)
    first = viso_session.open(promised, "--udf -R --volume-id=TWO", "/=in")
    write_files(served, files | {"in/byte": b"x" * 4000 + b"y" + b"x" * 999, "in/extra": b""})
    (served / "in" / "missing").unlink()
    (served / "in" / "turned").unlink()
    (served / "in" / "turned").mkdir()
    (served / "in" / "same").chmod(0o600)
    second = viso_session.open(served, "--udf -R --volume-id=TWO", "/=in")
    namespaces: tuple[Namespace, ...] = ("rock", "udf")
    for namespace in namespaces:
        report = viso_view(second, namespace).held_to(first).report
        fields = {difference.path: difference.field for difference in report.differences}
        assert fields == {"/byte": "content", "/missing": "name", "/extra": "name", "/turned": "kind"}


def test_a_namespace_that_is_not_there(viso: Recipes, viso_view: Views, tmp_path: Path) -> None:
    without = viso("--volume-id=NONE", files={"/in": b"x"}).image
    (tmp_path / "without.iso").write_bytes(without.read(0, without.size))
    with pytest.raises(GuestError, match="GRUB does not find the namespace udf on the medium"):
        viso_view(tmp_path / "without.iso", "udf")
