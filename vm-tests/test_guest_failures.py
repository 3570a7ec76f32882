"""Guests and media that fail for real: what a person is told, soon, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import os
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import GuestError
from qemu_viso.guest.agent import Agent
from qemu_viso.guest.cpio import CpioWriter
from qemu_viso.guest.run import spec_for, view
from qemu_viso.qemu.deadline import Deadline
from qemu_viso.qemu.devices import BUSES, FileMedium, NbdMedium
from qemu_viso.qemu.machine import Machine
from qemu_viso.qemu.process import Child
from qemu_viso.qemu.storage_daemon import StorageDaemon
from qemu_viso.sockets import UnixListener

if TYPE_CHECKING:
    from pathlib import Path

    from qemu_viso.guest.build import GuestBuild

LONG = 60.0


def with_init(build: GuestBuild, folder: Path, script: bytes) -> GuestBuild:
    """The guest with another first process: the kernel unpacks a second archive over the first."""
    over = io.BytesIO()
    archive = CpioWriter(over)
    archive.file("init", script, 0o755)
    archive.close()
    initrd = folder / "initrd"
    initrd.write_bytes(build.initrd.read_bytes() + over.getvalue())
    return dataclasses.replace(build, initrd=initrd)


def failure(build: GuestBuild, medium: FileMedium | NbdMedium, bus: str, seconds: float = LONG) -> str:
    with pytest.raises(GuestError) as caught:
        asyncio.run(view(build, BUSES[bus], medium, ["rock"], Deadline.after(seconds)))
    return str(caught.value)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    if shutil.which("xorriso") is None:
        pytest.skip("xorriso is missing")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "content").write_bytes(bytes(400_000))
    path = tmp_path / "image.iso"
    argv = ["xorriso", "-as", "mkisofs", "-quiet", "-R", "-o", str(path), str(tmp_path / "files")]
    subprocess.run(argv, check=True, capture_output=True)
    return path


def test_a_panic_ends_the_wait_at_once(linux_cloud: GuestBuild, tmp_path: Path, image: Path) -> None:
    build = with_init(linux_cloud, tmp_path, b"#!/bin/busybox sh\nexit 1\n")
    began = time.monotonic()
    text = failure(build, FileMedium(str(image)), "virtio-blk")
    assert "Kernel panic - not syncing: Attempted to kill init!" in text
    assert time.monotonic() - began < LONG / 2


@pytest.mark.full
def test_a_medium_that_ends_too_early(linux_cloud: GuestBuild, image: Path) -> None:
    with image.open("r+b") as file:
        file.truncate(image.stat().st_size - 600_000)
    text = failure(linux_cloud, FileMedium(str(image)), "virtio-blk")
    assert "the guest broke off while it sent the content of '/content': " in text


def test_a_medium_that_never_answers(linux_cloud: GuestBuild, image: Path, tmp_path: Path) -> None:
    """A server that took the connection and then sleeps: QEMU waits for it, and we do not wait for QEMU."""
    path = str(tmp_path / "silent")
    with UnixListener.bind(path):
        text = failure(linux_cloud, NbdMedium(path), "scsi-cd", 0.5)
    assert "waiting for QEMU to start" in text or "in time" in text


@pytest.mark.full
def test_a_medium_that_stops_answering(linux_cloud: GuestBuild, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is frozen while the guest reads: the deadline says where, and QEMU's wait for it is not ours."""
    assert Child.__init__.__kwdefaults__ is not None
    monkeypatch.setitem(Child.__init__.__kwdefaults__, "grace", 0.5)

    async def run() -> int:
        deadline = Deadline.after(LONG)
        bus = BUSES["virtio-blk"]
        async with (
            StorageDaemon(FileMedium(str(image)), {"nbd"}, deadline) as daemon,
            Machine(spec_for(linux_cloud, bus, daemon.nbd), deadline) as machine,
        ):
            agent = Agent(machine)
            await machine.release(deadline)
            await agent.greet(deadline)
            daemon.child.signal(signal.SIGSTOP)
            with pytest.raises(GuestError, match="time ran out while the guest reads vda as rock"):
                await agent.view(bus.guest_device, "rock", Deadline.after(1.0))
            return machine.pid

    pid = asyncio.run(run())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_storage_daemon_that_is_killed(linux_cloud: GuestBuild, image: Path) -> None:
    async def run() -> None:
        deadline = Deadline.after(LONG)
        bus = BUSES["vhost-user-blk"]
        async with (
            StorageDaemon(FileMedium(str(image)), {"vhost-user"}, deadline) as daemon,
            Machine(spec_for(linux_cloud, bus, daemon.vhost_user), deadline) as machine,
        ):
            machine.watch(daemon.child)
            agent = Agent(machine)
            await machine.release(deadline)
            await agent.greet(deadline)
            daemon.child.signal(signal.SIGKILL)
            await agent.view(bus.guest_device, "rock", deadline)

    with pytest.raises(GuestError, match="qemu-storage-daemon was ended by SIGKILL"):
        asyncio.run(run())
