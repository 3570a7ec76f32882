import io
import shutil
import subprocess
from pathlib import Path

import pytest

from qemu_viso.guest.cpio import CpioWriter


def archive() -> bytes:
    sink = io.BytesIO()
    writer = CpioWriter(sink)
    writer.file("etc/a/b", b"content\n", 0o640)
    writer.file("etc/empty", b"")
    writer.symlink("bin/sh", "busybox")
    writer.directory("dev")
    writer.directory("dev")
    writer.file("Größe", bytes(range(256)) * 5)
    writer.close()
    return sink.getvalue()


def test_another_program_unpacks_it(tmp_path: Path) -> None:
    if shutil.which("bsdtar") is None:
        pytest.skip("bsdtar is missing (libarchive-tools)")
    subprocess.run(["bsdtar", "-xpf", "-", "-C", tmp_path], input=archive(), check=True, env={"LC_ALL": "C.UTF-8"})
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert found == {"etc", "etc/a", "etc/a/b", "etc/empty", "bin", "bin/sh", "dev", "Größe"}
    assert (tmp_path / "etc/a/b").read_bytes() == b"content\n"
    assert (tmp_path / "etc/a/b").stat().st_mode & 0o7777 == 0o640
    assert (tmp_path / "bin/sh").readlink() == Path("busybox")
    assert (tmp_path / "Größe").read_bytes() == bytes(range(256)) * 5


def test_its_bytes_depend_on_nothing_else() -> None:
    assert archive() == archive()
    assert archive().endswith(b"TRAILER!!!\0\0\0\0")


def test_parts_begin_at_multiples_of_four() -> None:
    data = archive()
    at = data.find(b"070701")
    while at >= 0:
        assert at % 4 == 0
        at = data.find(b"070701", at + 1)
