"""Success, failure, Ctrl-C: no process, no socket, no temporary file stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "images" / "demo.viso"
MARK = "QEMU_VISO_TEST_MARK"
LONG = 120.0


def marked(mark: str) -> list[str]:
    """The command lines of all processes that carry a mark in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def start(tmp_path: Path, mark: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "qemu_viso", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path), "XDG_STATE_HOME": f"{tmp_path}-state", MARK: mark},
    )


@pytest.mark.parametrize(
    ("number", "bus"),
    [
        (None, "vhost-user-blk"),
        (signal.SIGINT, "vhost-user-blk"),
        (signal.SIGTERM, "vhost-user-blk"),
    ],
)
def test_a_verification_that_is_ended(tmp_path: Path, number: signal.Signals | None, bus: str) -> None:
    mark = str(uuid.uuid4())
    with start(tmp_path, mark, "verify", "--bus", bus, "--namespace", "rock", str(DEMO)) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert any("booting" in line for line in child.stderr)
        if number is None:
            assert "as expected" in child.stdout.read()
            assert child.wait(LONG) == 0
        else:
            while not any("qemu-system" in line for line in marked(mark)):
                assert child.poll() is None
            child.send_signal(number)
            assert child.wait(LONG) == 128 + number
            assert "Traceback" not in child.stderr.read()
    assert marked(mark) == []
    assert os.listdir(tmp_path) == []


def test_a_guest_that_never_answers(tmp_path: Path) -> None:
    """The demo has nothing to boot from: the firmware says so, and the verification ends with its words."""
    mark = str(uuid.uuid4())
    with start(tmp_path, mark, "verify", "--boot-medium", "--timeout", "20", str(DEMO)) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        said = child.stdout.read() + child.stderr.read()
        assert child.wait(LONG) == 74
    assert "the guest failed: No bootable device" in said
    assert "Traceback" not in said
    assert marked(mark) == []
    assert os.listdir(tmp_path) == []


def test_time_that_is_too_short_for_anything(tmp_path: Path) -> None:
    mark = str(uuid.uuid4())
    with start(tmp_path, mark, "verify", "--timeout", "0.001", str(DEMO)) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        said = child.stdout.read() + child.stderr.read()
        assert child.wait(LONG) == 74
    assert "time ran out" in said
    assert "Traceback" not in said
    assert marked(mark) == []
    assert os.listdir(tmp_path) == []


def test_a_namespace_that_the_image_lacks_is_told_without_a_machine(tmp_path: Path) -> None:
    with start(tmp_path, "", "verify", "--namespace", "udf", str(DEMO)) as child:
        assert child.stderr is not None
        said = child.stderr.read()
        assert child.wait(LONG) == 2
    assert "the image has no udf namespace" in said
