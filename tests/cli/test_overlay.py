"""`qemu-viso export --writable-overlay` and `--qmp`: what other programs write and ask."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.cli.test_commands import qemu_viso
from tests.cli.test_export import exporting, rendered
from tests.recipes import write_files, write_recipe

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is missing (qemu-utils)")
AT = 700_416
SOURCES = ("one", "two")


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    write_files(tmp_path, {"one": b"the first\n", "two": os.urandom(3_000_000)})
    return write_recipe(tmp_path, "--rock-ridge /one=one /two=two")


def qemu_io(uri: str, *commands: str) -> str:
    argv = ["qemu-io", "-f", "raw", *(word for command in commands for word in ("-c", command)), uri]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_is_written_stays_and_the_sources_too(recipe: str, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.qcow2"
    sources = [(tmp_path / name).read_bytes() for name in SOURCES]
    image = rendered(recipe)
    written = image[:AT] + b"\x07" * 65_536 + image[AT + 65_536 :]
    with exporting(recipe, "nbd", "--writable-overlay", str(overlay)) as (process, uri):
        told = qemu_io(uri, f"write -P 7 {AT} 64k", "flush", f"read -P 7 {AT} 64k", f"read -P 0 {len(image) - 512} 512")
        assert "Pattern verification failed" not in told
        process.terminate()
    for kind in ("nbd", "fuse"):
        with exporting(recipe, kind, "--writable-overlay", str(overlay)) as (process, line):
            copy = ["qemu-img", "convert", "-f", "raw", "-O", "raw", line, str(tmp_path / "copy")]
            done = subprocess.run(copy, capture_output=True, check=False, timeout=60)
            if kind == "fuse":
                with open(line, "r+b", buffering=0) as file:
                    file.seek(40_960)
                    file.write(b"\x08" * 4096)
                    os.fsync(file.fileno())
                    file.seek(40_960)
                    assert file.read(4096) == b"\x08" * 4096
            process.terminate()
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "copy").read_bytes() == written
    with exporting(recipe, "nbd", "--writable-overlay", str(overlay)) as (process, uri):
        assert "Pattern verification failed" not in qemu_io(uri, "read -P 8 40k 4k", f"read -P 7 {AT} 64k")
        process.terminate()
    assert [(tmp_path / name).read_bytes() for name in SOURCES] == sources
    assert rendered(recipe) == image


def test_an_overlay_of_another_image_is_refused(recipe: str, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.qcow2"
    words = ("export", recipe, "--type", "nbd", "--writable-overlay", str(overlay))
    with exporting(recipe, "nbd", "--writable-overlay", str(overlay)) as (process, _):
        done = qemu_viso(*words)  # two daemons would spoil it
        assert done.returncode == 74
        assert "lock" in done.stderr
        assert "Traceback" not in done.stderr
        process.terminate()
    os.utime(tmp_path / "one", ns=(5, 5))
    before = overlay.read_bytes()
    done = qemu_viso(*words)
    assert (done.returncode, done.stdout) == (73, "")
    assert f"qemu-viso: the overlay '{overlay}' does not fit: it was made over another image" in done.stderr
    assert overlay.read_bytes() == before


def test_an_overlay_that_was_made_for_nothing_goes(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    daemon = tmp_path / "bin" / "qemu-storage-daemon"
    daemon.write_text("#!/bin/sh\necho no; exit 3\n")
    daemon.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    overlay = tmp_path / "overlay.qcow2"
    done = qemu_viso("export", recipe, "--type", "nbd", "--writable-overlay", str(overlay))
    assert done.returncode == 74
    assert "qemu-storage-daemon exited with status 3" in done.stderr
    assert "Traceback" not in done.stderr
    assert not overlay.exists()


def test_others_ask_the_daemon(recipe: str, tmp_path: Path) -> None:
    path = tmp_path / "qmp"
    with exporting(recipe, "nbd", "--qmp", str(path)) as (process, _), socket.socket(socket.AF_UNIX) as qmp:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        qmp.settimeout(60)
        qmp.connect(str(path))
        with qmp.makefile("rw") as lines:
            assert "QMP" in json.loads(lines.readline())
            answers = []
            for command in ("qmp_capabilities", "query-block-exports"):
                lines.write(json.dumps({"execute": command}) + "\n")
                lines.flush()
                answers.append(json.loads(lines.readline()))
        process.terminate()
        assert process.wait(30) == 0
        assert process.stderr is not None
        assert process.stderr.read() == f"qemu-viso: the daemon speaks QMP on {path}\n"
    (export,) = answers[1]["return"]
    assert (export["type"], export["node-name"]) == ("nbd", "medium")
    assert not path.exists()
