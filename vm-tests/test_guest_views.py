"""The guest and its agent, judged with images that others made: one boot, several media, namespaces and requests."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import GuestError
from qemu_viso.guest.agent import Agent
from qemu_viso.guest.run import spec_for
from qemu_viso.guest.wire import RefusedError
from qemu_viso.qemu.deadline import Deadline
from qemu_viso.qemu.devices import BUSES, FileMedium
from qemu_viso.qemu.machine import Machine

if TYPE_CHECKING:
    from pathlib import Path

    from qemu_viso.guest.build import GuestBuild
    from qemu_viso.guest.view import GuestView

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


def test_one_boot_many_questions(folder: Path, tmp_path: Path, linux_cloud: GuestBuild) -> None:
    first, second = tmp_path / "first.iso", tmp_path / "second.iso"
    make("xorriso", "-as", "mkisofs", "-quiet", "-V", "FIRST", "-R", "-o", str(first), str(folder))
    make("genisoimage", "-quiet", "-V", "Second", "-J", "-R", "-udf", "-o", str(second), str(folder / "sub" / "deep"),
         str(folder / "big"))  # fmt: skip

    async def run() -> tuple[GuestView, bytes, list[GuestView]]:
        deadline = Deadline.after(60)
        bus = BUSES["scsi-cd"]
        async with Machine(spec_for(linux_cloud, bus, FileMedium(str(first))), deadline) as machine:
            agent = Agent(machine)
            await machine.release(deadline)
            assert (await agent.greet(deadline)).startswith("x86_64 ")
            rock = await agent.view("sr0", "rock", deadline, limit=100_000)
            with pytest.raises(RefusedError, match="no Joliet volume descriptor"):
                await agent.view("sr0", "joliet", deadline)
            with pytest.raises(RefusedError, match="cannot do what was asked: mount:"):
                await agent.view("sr0", "udf", deadline)
            with pytest.raises(RefusedError, match="dd ended with status 1"):
                await agent.read("sr0", "rock", "/missing", 0, 1, deadline)
            piece = await agent.read("sr0", "rock", "/sub/line\nbreak", 0, 5, deadline)
            piece += await agent.read("sr0", "rock", "/big", len(BIG) - 300, 1 << 20, deadline)
            await machine.change_medium(FileMedium(str(second)), deadline)
            views = [await agent.view("sr0", each, deadline) for each in ("joliet", "plain", "udf")]
            with pytest.raises(GuestError, match=r"refuses the QMP command 'blockdev-add'.*No such file"):
                await machine.change_medium(FileMedium("/nowhere.iso"), deadline)
            await agent.quit(deadline)
            return rock, piece, views

    rock, piece, views = asyncio.run(run())
    assert_rock(rock)
    assert piece == b"y" + BIG[-300:]
    assert [view.label for view in views] == ["Second"] * 3
    assert [sorted(view.entries) for view in views] == [["/", "/big", "/far", "/link"]] * 3
    assert all(view.entries["/big"].sha256 == digest(BIG) for view in views)


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
