"""`render` as a process: what a terminal shows of it."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from qemu_viso.image.render import render
from tests.recipes import opened


def shown(descriptor: int) -> str:
    """All that a terminal gets until nobody has it open any more."""
    parts: list[bytes] = []
    while True:
        try:
            part = os.read(descriptor, 65536)
        except OSError:  # EIO: the other end is closed
            part = b""
        if not part:
            return b"".join(parts).decode()
        parts.append(part)


def command(folder: Path) -> list[str]:
    opened(folder, "/=in", files={"in/small": b"x", "in/large": os.urandom(5 << 20)})
    return [sys.executable, "-m", "qemu_viso", "render", str(folder / "TEST.viso"), "-o", str(folder / "out.iso")]


def test_a_terminal_shows_progress_and_then_nothing_of_it(tmp_path: Path) -> None:
    words = command(tmp_path)
    ours, theirs = pty.openpty()
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        text = shown(ours)
        os.close(ours)
        assert process.stdout is not None
        assert process.stdout.read() == b""
    assert process.returncode == 0
    lines = text.split("\r")
    assert lines[0] == ""
    assert lines[-1] == "\033[K"
    path = re.escape(str(tmp_path / "out.iso"))
    found = [re.fullmatch(path + r": +(\d+) % of 5 MiB", line) for line in lines[1:-1]]
    percents = [int(match[1]) for match in found if match is not None]
    assert len(percents) == len(found)
    assert percents == sorted(percents)
    assert percents[-1] == 100


def test_without_a_terminal_nothing_is_printed(tmp_path: Path) -> None:
    done = subprocess.run(command(tmp_path), capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")
    assert (tmp_path / "out.iso").stat().st_size > 5 << 20


# --- nothing is left behind ------------------------------------------------------------------------------------------


def sleeps(pid: int) -> bool:
    """Whether a process waits for something, which is not a disk (proc(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("before", [None, b"old"])
def test_nothing_is_left_of_one_that_is_interrupted(
    tmp_path: Path, number: signal.Signals, before: bytes | None
) -> None:
    """The terminal is told to wait, so that the first word of progress does, when the file is there."""
    words = command(tmp_path)
    if before is not None:
        (tmp_path / "out.iso").write_bytes(before)
    names = sorted(os.listdir(tmp_path))
    ours, theirs = pty.openpty()
    termios.tcflow(theirs, termios.TCOOFF)
    with subprocess.Popen(words, stderr=theirs) as process:
        while process.poll() is None and not (list(tmp_path.glob(".out.iso.*.part")) and sleeps(process.pid)):
            pass
        unfinished = sorted(os.listdir(tmp_path))
        process.send_signal(number)
        termios.tcflow(theirs, termios.TCOON)
        os.close(theirs)
        shown(ours)
    os.close(ours)
    assert len(unfinished) == len(names) + 1
    assert process.returncode == 128 + number
    assert sorted(os.listdir(tmp_path)) == names
    if before is not None:
        assert (tmp_path / "out.iso").read_bytes() == before


ON_A_FULL_DISK = 'mount -t tmpfs -o size=2m none "$1" && shift && "$@"; status=$?; ls -A "${0}"; exit $status'


def test_nothing_is_left_on_a_full_disk(tmp_path: Path) -> None:
    """A file system of two megabytes, in a name space of mounts that is the process's own."""
    unshare = ("unshare", "--map-root-user", "--mount", "sh", "-c")
    (tmp_path / "disk").mkdir()
    probe = subprocess.run([*unshare, 'mount -t tmpfs none "$0"', tmp_path / "disk"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("unshare cannot mount a file system here")
    words = command(tmp_path)
    words[-1] = str(tmp_path / "disk" / "out.iso")
    done = subprocess.run(
        [*unshare, ON_A_FULL_DISK, tmp_path / "disk", tmp_path / "disk", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (74, "")
    assert done.stderr == f"qemu-viso: '{words[-1]}' cannot be written: No space left on device\n"


def test_a_name_appears_with_the_whole_image(tmp_path: Path) -> None:
    """Until then there is what was there before."""
    image = opened(tmp_path, "/=in", files={"in/large": os.urandom(5 << 20)}).image
    (tmp_path / "out.iso").write_bytes(b"old")
    found = []
    render(image, str(tmp_path / "out.iso"), lambda _: found.append((tmp_path / "out.iso").read_bytes()))
    assert len(found) > 2
    assert set(found) == {b"old"}
    assert (tmp_path / "out.iso").read_bytes() == image.read(0, image.size)
