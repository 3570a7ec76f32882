"""Writable overlays as files; tests/cli/test_overlay.py writes to them."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import AccessError, CannotCreateError, InputOutputError
from qemu_viso.qemu.overlay import prepare

if TYPE_CHECKING:
    from pathlib import Path

ONE, OTHER = "1" * 64, "2" * 64
MIB = 1 << 20

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is missing (qemu-utils)")


def test_made_once_and_then_taken(tmp_path: Path) -> None:
    path = tmp_path / "a,b=c.qcow2"
    assert asyncio.run(prepare(str(path), MIB, ONE))
    done = subprocess.run(["qemu-img", "info", "--output=json", path], capture_output=True, check=True)
    info = json.loads(done.stdout)
    assert (info["format"], info["virtual-size"], info["backing-filename"]) == ("qcow2", MIB, f"qemu-viso:{ONE}")
    before = path.read_bytes()
    assert not asyncio.run(prepare(str(path), MIB, ONE))
    assert path.read_bytes() == before
    # Alone it is not opened, and so never shows zeros where the image should be.
    alone = subprocess.run(["qemu-io", "-c", "read 0 512", path], capture_output=True, text=True, check=False)
    assert "Unknown protocol 'qemu-viso'" in alone.stderr


def test_what_does_not_fit_is_kept_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "overlay"
    asyncio.run(prepare(str(path), MIB, ONE))
    plain = tmp_path / "plain"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", plain, "1M"], check=True)
    (tmp_path / "text").write_text("precious")
    (tmp_path / "empty").touch()
    for name, size, fingerprint, reason in (
        ("overlay", 2 * MIB, ONE, "made for an image of 1048576 bytes"),
        ("overlay", MIB, OTHER, "over another image"),
        ("plain", MIB, ONE, "no overlay that was made here"),
        ("text", MIB, ONE, "not a qcow2 file"),
        ("empty", MIB, ONE, "not a qcow2 file"),
        (".", MIB, ONE, "cannot be read: Is a directory"),
    ):
        before = (tmp_path / name).read_bytes() if name != "." else b""
        with pytest.raises(CannotCreateError, match=reason):
            asyncio.run(prepare(str(tmp_path / name), size, fingerprint))
        assert before == ((tmp_path / name).read_bytes() if name != "." else b"")


def test_what_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CannotCreateError, match="cannot be made: "):
        asyncio.run(prepare(str(tmp_path / "no" / "overlay"), MIB, ONE))
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InputOutputError, match="Too many levels"):
        asyncio.run(prepare(str(tmp_path / "loop"), MIB, ONE))

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(AccessError, match="may not be read"):
        asyncio.run(prepare(str(tmp_path / "x"), MIB, ONE))
