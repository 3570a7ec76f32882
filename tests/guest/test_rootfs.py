"""Root file systems: what its programs are told, and what becomes of their failures."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import InputOutputError
from qemu_viso.guest.rootfs import write_root

if TYPE_CHECKING:
    from pathlib import Path

MMDEBSTRAP = """#!/bin/sh
# Stands in for the minutes of the real one: an archive of what it was told.
while [ $# -gt 3 ]; do shift; done
mkdir "$2.d" && echo "$1 $3" >"$2.d/told" && chmod 4751 "$2.d/told"
tar -C "$2.d" --owner=7 --group=8 -cf "$2" .
"""


def programs(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    (folder / "bin").mkdir()
    (folder / "bin" / "mmdebstrap").write_text(script)
    (folder / "bin" / "mmdebstrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin:/usr/sbin:/sbin")


@pytest.mark.skipif(not all(map(shutil.which, ("genext2fs", "debugfs"))), reason="genext2fs, e2fsprogs not installed")
def test_an_archive_becomes_a_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path, monkeypatch, MMDEBSTRAP)
    image = tmp_path / "root.img"
    write_root("bookworm", "amd64", ["a", "b"], "http://mirror", tmp_path, image)
    done = subprocess.run(["debugfs", "-R", "stat /told", image], capture_output=True, text=True, check=True)
    assert "Mode:  04751" in done.stdout
    assert "User:     7   Group:     8" in done.stdout
    done = subprocess.run(["debugfs", "-R", "cat /told", image], capture_output=True, text=True, check=True)
    assert done.stdout == "bookworm http://mirror\n"
    assert not (tmp_path / "root.tar").exists()


@pytest.mark.skipif(shutil.which("genext2fs") is None, reason="genext2fs is not installed")
def test_what_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path, monkeypatch, "#!/bin/sh\necho 'E: no such suite' >&2\nexit 25\n")
    with pytest.raises(InputOutputError, match=r"(?s)mmdebstrap .* failed with status 25:.*E: no such suite"):
        write_root("nowhere", "amd64", ["a"], "http://mirror", tmp_path, tmp_path / "root.img")
