"""Guests and media that fail for real: what a person is told, soon, and that nothing is left behind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import GuestError
from qemu_viso.pytest_plugin import Export
from qemu_viso.qemu import NbdMedium
from tests.guests import with_init, with_modules
from tests.signals import hasten_sigkill

if TYPE_CHECKING:
    from pathlib import Path

    from qemu_viso.pytest_plugin import Exports, GuestBuild, Machines

LONG = 120.0


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


@pytest.mark.viso_bus("virtio-blk")
def test_a_panic_ends_the_wait_at_once(
    viso_guest: GuestBuild, viso_machine: Machines, tmp_path: Path, image: Path
) -> None:
    build = with_init(viso_guest, tmp_path, b"#!/bin/busybox sh\nexit 1\n")
    began = time.monotonic()
    with pytest.raises(GuestError, match="Kernel panic - not syncing: Attempted to kill init!"):
        viso_machine(image, guest=build, seconds=LONG).view("rock")
    assert time.monotonic() - began < LONG / 2


@pytest.mark.full
@pytest.mark.viso_guest("linux-cloud", "linux-generic", "linux-i386")
@pytest.mark.viso_bus("virtio-blk")
def test_a_panic_of_which_the_console_says_nothing(
    viso_guest: GuestBuild, viso_machine: Machines, tmp_path: Path, image: Path
) -> None:
    """A kernel that prints nothing tells of its panic through the device for that, whose driver is loaded."""
    # Without printing at all (a level of 0) even a panic does not raise the level.
    crash = b"echo 0 >/proc/sys/kernel/printk\necho c >/proc/sysrq-trigger\n"
    build = with_init(viso_guest, tmp_path, with_modules(crash))
    with pytest.raises(GuestError, match=r"^the guest's kernel panicked") as caught:
        viso_machine(image, guest=build, seconds=LONG).view("rock")
    assert "Kernel panic" not in str(caught.value)


@pytest.mark.full
@pytest.mark.viso_bus("virtio-blk")
@pytest.mark.parametrize(
    ("does", "sentence"),
    [
        ("reboot -f", "the guest reset the machine"),
        ("poweroff -f", "the guest shut the machine down"),
        # What a kernel does that has halted: nothing. Noise without end is not remembered without end.
        ("mount -t proc proc /proc; /bin/busybox halt -f", "time ran out while waiting for the guest's agent"),
        ("yes noise", "time ran out while waiting for the guest's agent"),
    ],
)
def test_a_guest_that_does_something_else(
    viso_guest: GuestBuild, viso_machine: Machines, tmp_path: Path, image: Path, does: str, sentence: str
) -> None:
    build = with_init(viso_guest, tmp_path, f"#!/bin/busybox sh\n/bin/busybox {does}\n".encode())
    seconds = LONG if "machine" in sentence else 30.0  # time to boot on a busy host, and no more
    with pytest.raises(GuestError, match=sentence) as caught:
        viso_machine(image, guest=build, seconds=seconds).view("rock")
    assert len(str(caught.value)) < 5000
    if does == "yes noise":
        assert "    noise\n    noise" in str(caught.value)


@pytest.mark.full
@pytest.mark.viso_bus("virtio-blk")
def test_a_medium_that_ends_too_early(viso_machine: Machines, image: Path) -> None:
    with image.open("r+b") as file:
        file.truncate(image.stat().st_size - 600_000)
    with pytest.raises(GuestError, match="the guest broke off while it sent the content of '/content': "):
        viso_machine(image, seconds=LONG).view("rock")


def test_a_medium_that_never_answers(viso_machine: Machines, image: Path, tmp_path: Path) -> None:
    """A server that took the connection and then sleeps: QEMU waits for it, and we do not wait for QEMU."""
    path = str(tmp_path / "silent")
    silent = Export(image, "nbd", path, NbdMedium(path))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        with pytest.raises(GuestError, match=r"waiting for QEMU to start|in time"):
            viso_machine(silent, seconds=0.5).view("rock")


@pytest.mark.full
@pytest.mark.viso_bus("virtio-blk")
def test_a_medium_that_stops_answering(
    viso_export: Exports, viso_machine: Machines, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is frozen while the guest reads: the deadline says where, and QEMU's wait for it is not ours."""
    hasten_sigkill(monkeypatch, 0.5)
    export = viso_export(image, "nbd")
    machine = viso_machine(export, seconds=LONG)
    pid = machine.pid
    assert machine.guest.startswith("x86_64 ")
    assert export.daemon is not None
    os.kill(export.daemon.pid, signal.SIGSTOP)
    with pytest.raises(GuestError, match="time ran out while the guest reads vda as rock"):
        machine.view("rock", seconds=1.0)
    machine.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.viso_bus("vhost-user-blk")
def test_a_storage_daemon_that_is_killed(viso_export: Exports, viso_machine: Machines, image: Path) -> None:
    export = viso_export(image, "vhost-user-blk")
    machine = viso_machine(export, seconds=LONG)
    assert machine.guest.startswith("x86_64 ")
    assert export.daemon is not None
    os.kill(export.daemon.pid, signal.SIGKILL)
    with pytest.raises(GuestError, match="qemu-storage-daemon was ended by SIGKILL"):
        machine.view("rock")
