"""EDK2's own driver of UDF, under the shell that lies in the firmware."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import GuestError
from tests.recipes import write_files

if TYPE_CHECKING:
    from qemu_viso.pytest_plugin import Recipes, Session, Views

IMAGES = Path(__file__).resolve().parent.parent / "images"
pytestmark = [pytest.mark.full, pytest.mark.viso_guest("uefi-shell"), pytest.mark.viso_bus("scsi-cd")]


def plant(folder: Path) -> None:
    """Whatever its driver can read: names of every script, many names, a larger file, links that lead somewhere."""
    names = ("größe-尺寸.txt", "🙂 smile", ".hidden", "it's (1) [2] %cwd% ^x", "n" * 120, "sub/deeper/still")
    write_files(folder, {f"in/{name}": name.encode() * 9 for name in names})
    write_files(folder, {f"in/many/file{number:03}": b"%d" % number for number in range(60)})
    write_files(folder, {"in/large": bytes(range(256)) * 12_000, "in/empty": b""})
    os.utime(folder / "in" / "empty", ns=(0, 981_173_106_789_000_000))
    os.symlink("../../large", folder / "in" / "sub" / "deeper" / "link")
    os.symlink("sub", folder / "in" / "link to a directory")


@pytest.mark.viso_bus("scsi-cd", "ide-cd", "ahci-cd")
def test_a_tree(viso: Recipes, viso_view: Views) -> None:
    plant(viso.folder)
    assert viso_view(viso("--udf -R --volume-id='größe 尺'", "/=in"), "udf").verify().expected == 74


def test_what_is_wrong_is_noticed(viso_session: Session, viso_view: Views, tmp_path: Path) -> None:
    """A byte, a size, a time, a name and a kind; the shell sees nothing of the mode."""
    promised, served = tmp_path / "promised", tmp_path / "served"
    for folder in (promised, served):
        write_files(
            folder, {f"in/{name}": b"x" * 5000 for name in ("same", "byte", "size", "time", "turned", "missing")}
        )
    first = viso_session.open(promised, "--udf -R --volume-id=TWO", "/=in")
    write_files(served, {"in/byte": b"x" * 4000 + b"y" + b"x" * 999, "in/size": b"x" * 4999, "in/extra": b""})
    (served / "in" / "missing").unlink()
    (served / "in" / "turned").unlink()
    (served / "in" / "turned").mkdir()
    (served / "in" / "same").chmod(0o600)
    for name in ("same", "byte", "size", "turned"):
        times = (promised / "in" / name).stat()
        os.utime(served / "in" / name, ns=(times.st_mtime_ns, times.st_mtime_ns))
    os.utime(served / "in" / "time", (1_000_000_000, 1_000_000_000))
    second = viso_session.open(served, "--udf -R --volume-id=TWO", "/=in")
    report = viso_view(second, "udf").held_to(first).report
    assert {difference.path: difference.field for difference in report.differences} == {
        "/byte": "content",
        "/size": "size",
        "/time": "mtime",
        "/missing": "name",
        "/extra": "name",
        "/turned": "kind",
    }


def test_a_medium_without_udf(viso: Recipes, viso_view: Views, tmp_path: Path) -> None:
    without = viso("--volume-id=NONE", files={"/in": b"x"}).image
    (tmp_path / "without.iso").write_bytes(without.read(0, without.size))
    with pytest.raises(GuestError, match="UEFI finds no UDF volume on the medium"):
        viso_view(tmp_path / "without.iso", "udf")
