"""The guest and its agent, judged with images that others made: one boot, several media, namespaces and requests."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import GuestError, RefusedError

if TYPE_CHECKING:
    from qemu_viso.pytest_plugin import GuestView, Machines, Namespace

BIG = bytes(range(256)) * 1024


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of every kind that ISO 9660 with Rock Ridge can hold."""
    root = tmp_path / "files"
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "hello.txt").write_text("hello\n")
    (root / "empty").touch()
    (root / "big").write_bytes(BIG)
    (root / "sub" / "Größe und Maß").write_text("x")
    (root / "sub" / "line\nbreak").write_text("y")
    (root / "sub" / "deep" / "link").symlink_to("../../hello.txt")
    (root / "sub" / "deep" / "far").symlink_to("t" * 200)
    os.mkfifo(root / "fifo")
    (root / "hello.txt").chmod(0o4751)
    for path in [*root.rglob("*"), root]:
        os.utime(path, (1_500_000_000, 1_500_000_000), follow_symlinks=False)
    return root


def make(program: str, *arguments: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is missing")
    subprocess.run([program, *arguments], check=True, capture_output=True)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_one_boot_many_questions(folder: Path, tmp_path: Path, viso_machine: Machines) -> None:
    first, second = tmp_path / "first.iso", tmp_path / "second.iso"
    make("xorriso", "-as", "mkisofs", "-quiet", "-V", "FIRST", "-R", "-o", str(first), str(folder))
    make("genisoimage", "-quiet", "-V", "Second", "-J", "-R", "-udf", "-o", str(second), str(folder / "sub" / "deep"),
         str(folder / "big"))  # fmt: skip
    machine = viso_machine(first)
    assert machine.guest.startswith("x86_64 ")
    assert_rock(machine.view("rock", limit=100_000).view)
    with pytest.raises(RefusedError, match="no Joliet volume descriptor"):
        machine.view("joliet")
    with pytest.raises(RefusedError, match="cannot do what was asked: mount:"):
        machine.view("udf")
    with pytest.raises(RefusedError, match="dd ended with status 1"):
        machine.read("/missing", "rock", 0, 1)
    assert machine.read("/sub/line\nbreak", "rock", 0, 5) == b"y"
    assert machine.read("/big", "rock", len(BIG) - 300, 1 << 20) == BIG[-300:]

    machine.change_medium(second)
    others: tuple[Namespace, ...] = ("joliet", "plain", "udf")
    views = [machine.view(each).view for each in others]
    assert [view.label for view in views] == ["Second"] * 3
    assert [sorted(view.entries) for view in views] == [["/", "/big", "/far", "/link"]] * 3
    assert all(view.entries["/big"].sha256 == digest(BIG) for view in views)

    with pytest.raises(GuestError, match=r"refuses the QMP command 'blockdev-add'.*No such file"):
        machine.change_medium(Path("/nowhere.iso"))
    assert machine.view("plain").view == views[1]
    assert machine.power_off() == 0


def assert_rock(view: GuestView) -> None:
    """Every field against what was put in."""
    entries = view.entries
    assert view.label == "FIRST"
    assert sorted(entries) == [
        "/", "/big", "/empty", "/fifo", "/hello.txt", "/sub", "/sub/Größe und Maß", "/sub/deep", "/sub/deep/far",
        "/sub/deep/link", "/sub/line\nbreak",
    ]  # fmt: skip
    hello = entries["/hello.txt"]
    assert (hello.kind, hello.size, hello.mode, hello.mtime) == ("file", 6, 0o4751, 1_500_000_000)
    assert (hello.uid, hello.gid, hello.sha256) == (os.getuid(), os.getgid(), digest(b"hello\n"))
    assert entries["/sub/deep/link"].target == "../../hello.txt"
    assert entries["/sub/deep/far"].target == "t" * 200
    assert entries["/fifo"].kind == "fifo"
    assert entries["/empty"].sha256 == digest(b"")
    assert entries["/sub/line\nbreak"].sha256 == digest(b"y")
    assert (entries["/big"].size, entries["/big"].sha256) == (len(BIG), None)
