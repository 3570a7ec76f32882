"""qemu-storage-daemon itself, judged by other NBD clients."""

import asyncio
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from qemu_viso.errors import GuestError
from qemu_viso.qemu.deadline import Deadline
from qemu_viso.qemu.devices import FileMedium, NbdMedium
from qemu_viso.qemu.storage_daemon import PROGRAM, StorageDaemon
from tests.qemu.fakes import child_pids, fake_program, open_descriptors

LONG = 60.0


@pytest.fixture
def image(tmp_path: Path) -> Path:
    if shutil.which(PROGRAM) is None:
        pytest.skip(f"{PROGRAM} is missing (qemu-system-common)")
    path = tmp_path / "a,b=c"
    path.write_bytes(os.urandom(1 << 20))
    return path


def test_nbd_in_nbd_out(image: Path, tmp_path: Path) -> None:
    """One daemon reads from another; what comes out is what went in, and it cannot be written to."""
    if shutil.which("qemu-img") is None:
        pytest.skip("qemu-img is missing (qemu-utils)")

    async def run() -> tuple[list[int], list[str]]:
        async with (
            StorageDaemon(FileMedium(str(image)), {"nbd"}) as first,
            StorageDaemon(first.nbd, {"nbd", "vhost-user"}, reconnect=1) as second,
        ):
            url = f"nbd+unix:///?socket={second.nbd.path}"
            convert = ["qemu-img", "convert", "-f", "raw", "-O", "raw", url, str(tmp_path / "out")]
            write = ["qemu-io", "-f", "raw", "-c", "write 0 512", url]
            done = [await asyncio.to_thread(subprocess.run, argv, capture_output=True) for argv in (convert, write)]
            assert os.path.exists(second.vhost_user.path)  # noqa: ASYNC240  # no event loop waits for this test
            return [each.returncode for each in done], [first.nbd.path, second.nbd.path, second.vhost_user.path]

    before = open_descriptors()
    (converted, written), paths = asyncio.run(run())
    assert converted == 0
    assert written != 0
    assert (tmp_path / "out").read_bytes() == image.read_bytes()
    assert not any(os.path.exists(os.path.dirname(path)) for path in paths)
    assert open_descriptors() == before


def test_a_medium_that_cannot_be_opened(image: Path) -> None:
    async def run() -> None:
        async with StorageDaemon(NbdMedium("/nowhere/nbd.sock"), {"vhost-user"}):
            pass

    before = open_descriptors()
    with pytest.raises(GuestError, match=r"(?s)qemu-storage-daemon exited with status 1.*/nowhere/nbd\.sock"):
        asyncio.run(run())
    assert open_descriptors() == before


def test_a_daemon_that_is_killed(image: Path) -> None:
    async def run() -> None:
        async with StorageDaemon(FileMedium(str(image)), {"nbd"}) as daemon:
            daemon.child.signal(signal.SIGKILL)
            await daemon.execute("query-named-block-nodes", Deadline.after(LONG))

    with pytest.raises(GuestError, match="qemu-storage-daemon was ended by SIGKILL"):
        asyncio.run(run())


def test_a_daemon_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_program(tmp_path, "signal.pause()", PROGRAM)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    async def run() -> None:
        async with StorageDaemon(FileMedium("/x"), {"nbd"}, Deadline.after(0.3)):
            pass

    before = child_pids()
    with pytest.raises(GuestError, match=r"time ran out while waiting for qemu-storage-daemon|in time"):
        asyncio.run(run())
    assert child_pids() == before
