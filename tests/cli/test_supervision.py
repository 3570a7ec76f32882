"""The bridge below `qemu-viso export` is killed: what its readers see, and when it is given up."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from qemu_viso.cli.bridge import open_again
from qemu_viso.cli.supervisor import MOST_ENDS, Bridge, NotServedError
from qemu_viso.errors import GuestError, InputOutputError
from qemu_viso.opening import open_viso
from qemu_viso.sockets import UnixListener
from tests.cli.test_export import children, exporting, mounted, rendered
from tests.qemu.fakes import child_pids, open_descriptors
from tests.recipes import write_files, write_recipe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZE = 24_000_000

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is missing (qemu-utils)")


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    write_files(tmp_path, {"one": b"the first\n", "two": os.urandom(SIZE)})
    return write_recipe(tmp_path, "--rock-ridge /one=one /two=two")


def kill_bridge(export: subprocess.Popen[str]) -> None:
    """And see that it is gone."""
    pid = children(export.pid)["bridge"]
    descriptor = os.pidfd_open(pid)
    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    os.close(descriptor)


def test_the_bridge_may_open_as_many_files_as_its_clients_need(recipe: str) -> None:
    with exporting(recipe, "nbd", below=("prlimit", "--nofile=128:8192")) as (process, _):
        assert resource.prlimit(children(process.pid)["bridge"], resource.RLIMIT_NOFILE) == (3072, 8192)
        process.terminate()


def progress(convert: subprocess.Popen[bytes]) -> Iterator[float]:
    """The percentages that `qemu-img convert -p` prints."""
    assert convert.stdout is not None
    text = b""
    while data := os.read(convert.stdout.fileno(), 4096):
        text += data
        *lines, text = re.split(rb"[\r\n]", text)
        for line in lines:
            found = re.search(rb"\(([0-9.]+)/100%\)", line)
            if found:
                yield float(found[1])


def read(uri: str, offset: int) -> str:
    """What qemu-io says of a read of 512 bytes."""
    argv = ["qemu-io", "-r", "-f", "raw", "-c", f"read {offset} 512", uri]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    return done.stdout + done.stderr


def test_a_reader_notices_nothing_but_a_pause(recipe: str, tmp_path: Path) -> None:
    """Killed three times while qemu-img reads slowly."""
    with exporting(recipe, "nbd") as (process, uri):
        slowly = [
            "qemu-img",
            "convert",
            "-p",
            "-m",
            "1",
            "-r",
            "12M",
            "-f",
            "raw",
            "-O",
            "raw",
            uri,
            str(tmp_path / "copy"),
        ]
        thresholds = [10.0, 40.0, 70.0]
        with subprocess.Popen(slowly, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as convert:
            for done in progress(convert):
                if thresholds and done >= thresholds[0]:
                    thresholds.pop(0)
                    kill_bridge(process)
            assert convert.stderr is not None
            assert (convert.wait(60), convert.stderr.read()) == (0, b"")
        assert thresholds == []
        process.terminate()
        assert process.stderr is not None
        assert process.stderr.read().count("qemu-viso: the bridge was ended by SIGKILL; it is started again\n") == 3
    assert (tmp_path / "copy").read_bytes() == rendered(recipe)


@pytest.mark.parametrize("kind", ["nbd", "fuse"])
def test_when_we_are_killed_while_somebody_reads(recipe: str, tmp_path: Path, kind: str) -> None:
    """The daemon waits for a bridge that never comes again; it is not waited for."""
    with exporting(recipe, kind) as (process, line):
        slowly = ["qemu-img", "convert", "-p", "-m", "1", "-r", "12M", "-f", "raw", "-O", "raw", line]
        with subprocess.Popen(
            [*slowly, str(tmp_path / "copy")], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as convert:
            assert next(each for each in progress(convert) if each > 20)
            below = [os.pidfd_open(pid) for pid in children(process.pid).values()]
            process.kill()
            for descriptor in below:
                assert select.select([descriptor], [], [], 30)[0]  # readable when it has ended
                os.close(descriptor)
            assert convert.wait(60) == 1
    assert not mounted(line)
    assert os.listdir(tmp_path / "tmp") == []


def test_other_bytes_are_errors(recipe: str, tmp_path: Path) -> None:
    """What was read before the source changed is never mixed with what is there now; not even other files are."""
    with exporting(recipe, "nbd") as (process, uri):
        assert "read 512/512 bytes" in read(uri, 0)
        (tmp_path / "one").write_bytes(b"another  \n")
        kill_bridge(process)
        for offset in (0, 1 << 20, SIZE):
            assert "read failed: Input/output error" in read(uri, offset)
        convert = ["qemu-img", "convert", "-f", "raw", "-O", "raw", uri, str(tmp_path / "copy")]
        done = subprocess.run(convert, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 1
        assert "Input/output error" in done.stderr
        process.terminate()
        assert process.stderr is not None
        said = process.stderr.read()
    assert f"the recipe '{recipe}' or its sources have changed since the image was first read; every read of" in said


def test_over_fuse(recipe: str, tmp_path: Path) -> None:
    with exporting(recipe, "fuse") as (process, line):
        kill_bridge(process)
        with open(line, "rb") as file:
            content = file.read()
        os.utime(tmp_path / "two", ns=(1, 1))
        kill_bridge(process)
        with open(line, "rb", buffering=0) as file, pytest.raises(OSError, match="Input/output error"):
            os.pread(file.fileno(), 4096, 0)
        process.terminate()
    os.utime(tmp_path / "two", ns=(1, 1))
    assert len(content) > SIZE
    assert content[32768:32774] == b"\x01CD001"


def test_the_recipe_is_opened_again(recipe: str, tmp_path: Path) -> None:
    image = open_viso(recipe).image
    again = open_again(recipe, image.size, image.fingerprint())
    assert again.read(0, image.size) == image.read(0, image.size)
    for gone in (False, True):
        os.utime(tmp_path / "one", ns=(5, 5))
        if gone:
            os.unlink(tmp_path / "one")
        lost = open_again(recipe, image.size, image.fingerprint())
        assert (lost.size, lost.fingerprint()) != (image.size, image.fingerprint())
        assert lost.size == image.size
        with pytest.raises(InputOutputError):
            lost.read(40_000, 1)


def test_it_is_started_again_whatever_we_do_meanwhile(recipe: str) -> None:
    async def run() -> bytes:
        with UnixListener.bind() as listener:
            async with Bridge(recipe, "nbd", listener.socket) as bridge:
                bridge._child.signal(signal.SIGKILL)
                await bridge._child.wait()
                reader, writer = await asyncio.open_unix_connection(listener.path)
                greeting = await reader.readexactly(16)
                writer.close()
                return greeting

    before = open_descriptors(), child_pids()
    assert asyncio.run(run()) == b"NBDMAGICIHAVEOPT"
    assert (open_descriptors(), child_pids()) == before


def test_one_that_never_lives_long_is_given_up(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> GuestError:
        with UnixListener.bind() as listener:
            async with Bridge(recipe, "nbd", listener.socket) as bridge:
                monkeypatch.setattr(sys, "executable", "/bin/false")
                bridge._child.signal(signal.SIGKILL)
                return await bridge.given_up()

    before = open_descriptors(), child_pids()
    assert asyncio.run(run()).message == f"the bridge exited with status 1, for the {MOST_ENDS + 1}th time in 60 s"
    assert (open_descriptors(), child_pids()) == before


@pytest.mark.parametrize(("program", "caught"), [("false", NotServedError), ("true", GuestError)])
def test_one_that_does_not_begin(
    recipe: str, monkeypatch: pytest.MonkeyPatch, program: str, caught: type[Exception]
) -> None:
    async def run() -> None:
        with UnixListener.bind() as listener:
            async with Bridge(recipe, "nbd", listener.socket):
                pass

    monkeypatch.setattr(sys, "executable", f"/bin/{program}")
    before = open_descriptors(), child_pids()
    with pytest.raises(caught):
        asyncio.run(run())
    assert (open_descriptors(), child_pids()) == before


def test_an_export_whose_bridge_is_given_up_ends(recipe: str, tmp_path: Path) -> None:
    with exporting(recipe, "nbd") as (process, uri):
        for _ in range(MOST_ENDS + 1):
            kill_bridge(process)
            read(uri, 0)  # answered by the next bridge, or by nobody any more
        assert process.wait(30) == 74
        assert process.stderr is not None
        assert process.stderr.read().endswith("qemu-viso: the bridge was ended by SIGKILL, for the 11th time in 60 s\n")
    assert os.listdir(tmp_path / "tmp") == []
