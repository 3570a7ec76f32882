"""`render` as a process: what a terminal shows of it."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.recipes import opened

if TYPE_CHECKING:
    from pathlib import Path


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
