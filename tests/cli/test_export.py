"""`qemu-viso export` as a process: sockets and files that other programs read, and what is left behind."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.test_commands import qemu_viso
from tests.recipes import write_files, write_recipe

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = (("nbd",), ("vhost-user-blk",), ("vhost-user-blk", "--direct"), ("fuse",))


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    write_files(tmp_path, {"one": b"the first\n", "two": os.urandom(3_000_000)})
    return write_recipe(tmp_path, "--rock-ridge /one=one /two=two")


def need(kind: str) -> None:
    programs = {"nbd": ("nbdcopy",), "fuse": ("fusermount3", "isoinfo"), "vhost-user-blk": ("qemu-system-x86_64",)}
    for program in (*programs[kind], "qemu-storage-daemon"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    if kind == "fuse" and not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("/dev/fuse is not there, or not for us")


@contextlib.contextmanager
def exporting(
    recipe: str, kind: str, *words: str, below: tuple[str, ...] = ()
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process, begun by the command `below`, and the line that it printed; it must have ended in the end."""
    need(kind)
    with subprocess.Popen(
        [*below, sys.executable, "-m", "qemu_viso", "export", recipe, "--type", kind, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline().strip()
            assert line, process.communicate()[1]
            yield process, line
            assert process.wait(30) is not None
        finally:
            process.kill()


def rendered(recipe: str) -> bytes:
    out = Path(recipe).with_suffix(".iso")
    assert qemu_viso("render", recipe, "-o", str(out)).returncode == 0
    return out.read_bytes()


def children(pid: int) -> dict[str, int]:
    """The children of an export by what they are: `daemon`, `bridge`, `janitor`, and guards of the first two."""
    names = {"qemu-storage-daemon": "daemon", os.path.basename(sys.executable): "bridge", "sh": "janitor"}
    found = {}
    for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        program = Path(f"/proc/{word}/cmdline").read_text().partition("\0")[0]
        found[program if program.endswith(": guard") else names[os.path.basename(program)]] = int(word)
    return found


def mounted(path: str) -> bool:
    return path in Path("/proc/self/mounts").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("kind", KINDS)
def test_it_leaves_nothing_behind(recipe: str, tmp_path: Path, kind: tuple[str, ...], number: signal.Signals) -> None:
    path = tmp_path / "exported"
    for place in ((), ("--path", str(path))):
        with exporting(recipe, *kind, *place) as (process, line):
            shown = line.partition("socket=")[2] or line
            assert os.path.exists(shown)
            assert (shown == str(path)) == bool(place)
            below = children(process.pid)
            direct = "--direct" in kind
            guards = {name for name in below if name.endswith(": guard")}
            assert below.keys() - guards == {"bridge", "janitor"} | (set() if direct else {"daemon"})
            assert len(guards) == (1 if direct else 2)
            process.send_signal(number)
            assert process.wait(30) == 0
            assert process.stderr is not None
            assert process.stderr.read() == ""
        assert not os.path.exists(shown)
        assert not mounted(shown)
        assert not any(os.path.exists(f"/proc/{pid}") for pid in below.values())
        assert os.listdir(tmp_path / "tmp") == []


def test_nbd(recipe: str, tmp_path: Path) -> None:
    with exporting(recipe, "nbd") as (process, uri):
        done = subprocess.run(["nbdcopy", uri, str(tmp_path / "copy")], check=False, timeout=60)
        process.terminate()
    assert done.returncode == 0
    assert (tmp_path / "copy").read_bytes() == rendered(recipe)


@pytest.mark.parametrize("kind", ["nbd", "fuse"])
def test_the_tools_of_qemu(recipe: str, tmp_path: Path, kind: str) -> None:
    if shutil.which("qemu-img") is None:
        pytest.skip("qemu-img is not installed")
    size = len(rendered(recipe))
    reference = str(Path(recipe).with_suffix(".iso"))
    with exporting(recipe, kind) as (process, line):

        def said(*argv: str, status: int = 0) -> str:
            done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
            assert done.returncode == status, done.stderr
            return done.stdout + done.stderr

        assert json.loads(said("qemu-img", "info", "-f", "raw", "--output=json", line))["virtual-size"] == size
        said("qemu-img", "convert", "-f", "raw", "-O", "raw", line, str(tmp_path / "copy"))
        for other in (reference, str(tmp_path / "copy")):
            said("qemu-img", "compare", "-f", "raw", "-F", "raw", line, other)
        with open(reference, "r+b") as file:
            file.seek(size // 2)
            file.write(b"another")
        assert "mismatch" in said("qemu-img", "compare", "-f", "raw", "-F", "raw", line, reference, status=1)
        told = said("qemu-io", "-r", "-f", "raw", "-c", "read -P 0 0 32k", "-c", "read -v 32768 16", line)
        assert "CD001" in told
        assert "failed" not in told
        assert said("qemu-io", "-f", "raw", "-c", "write 0 512", line, status=1)
        process.terminate()


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_folder_for_temporary_files(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: tuple[str, ...]
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    with exporting(recipe, *kind) as (process, line):
        assert os.path.exists(line.partition("socket=")[2] or line)
        process.terminate()
        assert process.wait(30) == 0
    assert os.listdir(long) == []


def test_fuse(recipe: str, tmp_path: Path) -> None:
    """A program that knows nothing of us reads a file that is nowhere; one that was there is there again."""
    path = tmp_path / "file.iso"
    path.write_text("covered")
    with exporting(recipe, "fuse", "--path", str(path)) as (process, line):
        assert line == str(path)
        done = subprocess.run(["isoinfo", "-i", line, "-R", "-x", "/two"], capture_output=True, check=False, timeout=60)
        content = path.read_bytes()
        with pytest.raises(PermissionError), path.open("r+b", buffering=0) as file:
            file.write(b"x")
        process.terminate()
    assert done.stdout == (tmp_path / "two").read_bytes()
    assert content == rendered(recipe)
    assert path.read_text() == "covered"


@pytest.mark.parametrize("kind", ["nbd", "fuse"])
def test_the_daemon_dies(recipe: str, tmp_path: Path, kind: str) -> None:
    with exporting(recipe, kind) as (process, line):
        os.kill(children(process.pid)["daemon"], signal.SIGKILL)
        assert process.wait(30) == 74
        assert process.stderr is not None
        assert process.stderr.read() == "qemu-viso: qemu-storage-daemon was ended by SIGKILL\n"
    assert not mounted(line)
    assert os.listdir(tmp_path / "tmp") == []


@pytest.mark.parametrize("kind", KINDS)
def test_when_we_are_killed_nothing_is_left(recipe: str, tmp_path: Path, kind: tuple[str, ...]) -> None:
    """No process, no mount, no socket, no file: the janitor sees to it."""
    qmp = () if "--direct" in kind else ("--qmp", str(tmp_path / "qmp"))
    before = set(os.listdir(tmp_path))
    with exporting(recipe, *kind, "--path", str(tmp_path / "exported"), *qmp) as (process, line):
        below = [os.pidfd_open(pid) for pid in children(process.pid).values()]
        assert mounted(line) == (kind == ("fuse",))
        process.kill()
        for descriptor in below:
            assert select.select([descriptor], [], [], 30)[0]  # readable when it has ended
            os.close(descriptor)
    assert not mounted(line)
    assert set(os.listdir(tmp_path)) == before
    assert os.listdir(tmp_path / "tmp") == []


def test_what_cannot_be(recipe: str, tmp_path: Path) -> None:
    for kind in ("nbd", "fuse"):
        done = qemu_viso("export", recipe, "--type", kind, "--direct")
        assert (done.returncode, done.stdout) == (2, "")
    assert qemu_viso("export", recipe).returncode == 2
    for option in ("--writable-overlay", "--qmp"):
        for wrong_words in (("--direct", option, str(tmp_path / "x")), (option, "")):
            done = qemu_viso("export", recipe, "--type", "vhost-user-blk", *wrong_words)
            assert (done.returncode, done.stdout) == (2, ""), done.stderr
    for words in KINDS:
        need(words[0])
        for wrong in (tmp_path / "no" / "x", tmp_path / "tmp"):
            done = qemu_viso("export", recipe, "--type", *words, "--path", str(wrong))
            assert (done.returncode, done.stdout) == (73, ""), done.stderr
            assert str(wrong) in done.stderr
        done = qemu_viso("export", str(tmp_path / "missing.viso"), "--type", *words)
        assert (done.returncode, done.stdout) == (66, ""), done.stderr
        assert done.stderr.count("qemu-viso:") == 1
    assert os.listdir(tmp_path / "tmp") == []
