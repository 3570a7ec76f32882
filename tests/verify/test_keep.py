"""The failure folder."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import CannotCreateError
from qemu_viso.nbd.constants import Mode
from qemu_viso.nbd.trace import ReadTrace
from qemu_viso.nbd.transmission import read_head
from qemu_viso.qemu.remains import Remains
from qemu_viso.verify.diff import Difference
from qemu_viso.verify.keep import KEPT, Failure, default_place, keep_failure
from qemu_viso.verify.report import Report
from tests.recipes import opened

if TYPE_CHECKING:
    from pathlib import Path

REMAINS = Remains(
    (("qemu-storage-daemon", "--x"), ("qemu-system-x86_64", "-append", "console=ttyS0 quiet")),
    ('> {"execute": "cont"}', '< {"return": {}}'),
    b"\x1b[2JLinux\r\n\xff",
    (("qemu-system-x86_64", "it said so\ntwice"),),
    b"\x89PNG",
)
REPORT = Report("r", "g", "b", "rock", 2, (Difference("/\udcff\n", "mode", "1", "2"),), 1.0)


def read_trace(*reads: tuple[int, int]) -> ReadTrace:
    trace = ReadTrace()
    trace.note("x", [(read_head(Mode.STRUCTURED), 0, offset, length, b"") for offset, length in reads])
    return trace


def test_everything_is_there(tmp_path: Path) -> None:
    image = opened(tmp_path, "/a=a /b=b", files={"a": b"a" * 3000, "b": b"b"}).image
    start = next(start for start, _, content in image.regions.spans() if getattr(content, "path", "").endswith("/a"))
    trace = read_trace((32768, 2048), (start + 2048, 4096), (0, image.size), (image.size, 512))
    failure = Failure("de mo/..", "it failed", "echo 'a b'", REMAINS, image, trace, "x", (REPORT,))
    folder = keep_failure(failure, tmp_path / "new" / "kept")
    assert folder.parent == tmp_path / "new" / "kept"
    assert folder.name.endswith("-de-mo")
    assert (folder / "failure.txt").read_text() == "it failed\n\nonce more:\necho 'a b'\n"
    assert subprocess.run([folder / "repeat.sh"], capture_output=True, text=True, check=True).stdout == "a b\n"
    assert (folder / "commands.txt").read_text().splitlines()[1].endswith("-append 'console=ttyS0 quiet'")
    assert (folder / "qmp.txt").read_text().splitlines() == list(REMAINS.transcript)
    assert (folder / "console.txt").read_bytes() == REMAINS.console
    assert (folder / "output.txt").read_text() == "qemu-system-x86_64 said:\nit said so\ntwice\n"
    assert (folder / "screen.png").read_bytes() == b"\x89PNG"
    assert json.loads((folder / "reports.json").read_text())["reports"][0]["differences"][0]["path"] == "/\udcff\n"
    assert len((folder / "regions.txt").read_text().splitlines()) == len(image.regions)
    _, first, second, third, outside = (folder / "reads.txt").read_text().splitlines()
    assert first.split(maxsplit=3)[1:] == ["32768", "2048", "volume descriptor"]
    assert second.endswith("  file /a; unused; file /b; unused")
    assert third.endswith("; and more")
    assert outside.endswith("not in the image")


def test_reads_of_an_image_that_is_not_taken_apart(tmp_path: Path) -> None:
    image = opened(tmp_path, "/a=a", files={"a": b"a"}).image
    (tmp_path / "a").write_bytes(b"changed")
    failure = Failure("x", "it failed", image=image, trace=read_trace((18 * 2048, image.size - 18 * 2048)), export="x")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("qemu_viso.verify.keep.MOST_REGIONS", 0)
        line = (keep_failure(failure, tmp_path / "kept") / "reads.txt").read_text().splitlines()[1]
    assert "volume descriptor set terminator; ISO directory; " in line
    # Nothing of the file is read to tell that it was.
    assert "; directory /; " in (keep_failure(failure, tmp_path / "kept") / "reads.txt").read_text()


def test_little_is_known(tmp_path: Path) -> None:
    folder = keep_failure(Failure("x", "it failed"), tmp_path)
    assert os.listdir(folder) == ["failure.txt"]


def test_a_folder_for_each_failure_of_a_second(tmp_path: Path) -> None:
    folders = {keep_failure(Failure("x", "it failed"), tmp_path) for _ in range(5)}
    assert len(folders) == 5


def test_the_default_place_does_not_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    place = default_place()
    assert place == tmp_path / "qemu-viso" / "failures"
    for number in range(KEPT + 3):
        (place / f"20200101-0000{number:02}-old").mkdir(parents=True)
    (place / "mine").mkdir()
    folder = keep_failure(Failure("new", "it failed"))
    left = sorted(path.name for path in place.iterdir())
    assert len(left) == KEPT + 1
    assert {"mine", folder.name, "20200101-000022-old"} <= set(left)
    assert "20200101-000003-old" not in left
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_place() == tmp_path / ".local" / "state" / "qemu-viso" / "failures"


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotCreateError, match="the failure cannot be kept in"):
        keep_failure(Failure("x", "it failed"), tmp_path / "file")
