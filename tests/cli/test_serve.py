"""`qemu-viso serve` as a process: several recipes, where it listens, who may connect, reloading, and its end."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from tests.cli.test_commands import NEEDS_LIBNBD, qemu_viso
from tests.nbd.test_tls import authority, certificate
from tests.nbd.wire import Client
from tests.recipes import write_files, write_recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = NEEDS_LIBNBD
COMMAND = (sys.executable, "-m", "qemu_viso", "serve")


@pytest.fixture
def recipes(tmp_path: Path) -> tuple[str, str]:
    write_files(tmp_path, {"one": b"the first\n", "two": os.urandom(100_000)})
    return write_recipe(tmp_path, "/f=one", name="one.viso"), write_recipe(tmp_path, "/f=two", name="two.viso")


@contextlib.contextmanager
def serving(
    *words: str, lines: int = 1, status: int = 0, below: tuple[str, ...] = ()
) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """The process, begun by the command `below`, and what it printed when it was ready; it is ended by SIGTERM."""
    with subprocess.Popen(
        [*below, *COMMAND, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            yield server, [server.stdout.readline().strip() for _ in range(lines)]
            server.terminate()
            assert server.wait(30) == status
        finally:
            server.kill()


def judge(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def copied(uri: str, folder: Path) -> bytes:
    judge("nbdcopy", uri, str(folder / "copy"))
    return (folder / "copy").read_bytes()


def rendered(recipe: str, folder: Path) -> bytes:
    assert qemu_viso("render", recipe, "-o", str(folder / "rendered")).returncode == 0
    return (folder / "rendered").read_bytes()


def test_several_recipes(recipes: tuple[str, str], tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with serving(*recipes, "--socket", path, lines=2) as (_, uris):
        assert uris == [f"nbd+unix:///{name}?socket={path}" for name in ("one", "two")]
        listed = json.loads(judge("nbdinfo", "--list", "--json", f"nbd+unix:///?socket={path}"))["exports"]
        assert sorted(export["export-name"] for export in listed) == ["one", "two"]
        for uri, recipe in zip(uris, recipes, strict=True):
            assert copied(uri, tmp_path) == rendered(recipe, tmp_path)
        assert subprocess.run(["nbdinfo", f"nbd+unix:///?socket={path}"], capture_output=True, check=False).returncode


def test_two_recipes_of_one_name(recipes: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    same = write_recipe(tmp_path / "other", "/f=../two", name="one.viso")
    done = qemu_viso("serve", recipes[0], same, "--run", "true")
    assert (done.returncode, done.stdout) == (2, "")
    assert same in done.stderr


def test_tcp_on_loopback(recipes: tuple[str, str]) -> None:
    for host in (":0", "127.0.0.1:0", "localhost:0"):
        done = qemu_viso("serve", recipes[0], "--listen", host, "--run", 'echo "$uri"; nbdinfo --size "$uri"')
        assert (done.returncode, done.stderr) == (0, "")
        uri, size = done.stdout.split()
        assert uri.startswith("nbd://")
        assert int(size) == json.loads(qemu_viso("info", "--json", recipes[0]).stdout)["size"]


def test_tcp_for_other_machines(recipes: tuple[str, str]) -> None:
    done = qemu_viso("serve", recipes[0], "--listen", "0.0.0.0:0", "--run", "echo served")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--insecure" in done.stderr
    run = 'nbdinfo --size "nbd://127.0.0.1:${uri##*:}"'
    assert qemu_viso("serve", recipes[0], "--listen", "0.0.0.0:0", "--insecure", "--run", run).returncode == 0


@pytest.mark.parametrize("address", ["", "[::1", "h:x", "h:65536", "[]:1", "[::1]x"])
def test_no_address(recipes: tuple[str, str], address: str) -> None:
    done = qemu_viso("serve", recipes[0], "--listen", address, "--run", "true")
    assert done.returncode == 2
    assert "is no address to listen on" in done.stderr


def test_tls(recipes: tuple[str, str], tmp_path: Path) -> None:
    known, stranger = tmp_path / "known", tmp_path / "stranger"
    for folder in (known, stranger):
        folder.mkdir()
        authority(folder, "ca")
        certificate(folder, "client")
    certificate(known, "server")
    os.replace(known / "ca-cert.pem", stranger / "ca-cert.pem")  # it trusts the server, which does not know it
    judge("cp", str(stranger / "ca-cert.pem"), str(known / "ca-cert.pem"))
    base = ("serve", recipes[0], "--listen", ":0", "--tls-certificates", str(known))

    def run(*more: str, client: Path) -> subprocess.CompletedProcess[str]:
        return qemu_viso(*base, *more, "--run", f'nbdinfo --size "$uri?tls-certificates={client}"')

    assert run(client=known).returncode == 0
    assert run("--tls-verify-peer", client=known).returncode == 0
    assert run(client=stranger).returncode == 0
    assert run("--tls-verify-peer", client=stranger).returncode == 1
    assert qemu_viso(*base, "--run", 'nbdinfo "nbd${uri#nbds}?tls-type=none"').returncode == 1
    assert qemu_viso("serve", recipes[0], "--tls-verify-peer", "--run", "true").returncode == 2
    done = qemu_viso("serve", recipes[0], "--tls-certificates", str(tmp_path), "--run", "true")
    assert done.returncode == 66
    assert "server-cert.pem" in done.stderr


def activated(path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Started as a service manager does it: the socket is descriptor 3."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
        # The shell takes care of the number and of the process id, which only the process itself knows.
        script = f'exec 3<&{sock.fileno()}; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@"'
        return subprocess.run(
            ["bash", "-c", script, "bash", *COMMAND, *words],
            pass_fds=[sock.fileno()],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


def test_socket_activation(recipes: tuple[str, str], tmp_path: Path) -> None:
    path = tmp_path / "socket"
    done = activated(path, recipes[0], "--run", 'echo "$uri"; nbdinfo --size "$uri"; echo "$LISTEN_FDS"')
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split()[0] == f"nbd+unix:///?socket={path}"
    assert int(done.stdout.split()[1]) == json.loads(qemu_viso("info", "--json", recipes[0]).stdout)["size"]
    assert path.exists()  # it is the service manager's
    path.unlink()
    for option in (("--socket", str(tmp_path / "x")), ("--listen", ":0")):
        done = activated(path, recipes[0], *option, "--run", "echo served")
        assert (done.returncode, done.stdout) == (2, "")
        assert "service manager" in done.stderr
        path.unlink()


def test_sd_notify(recipes: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(30)
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        with serving(recipes[0]) as (server, _):
            assert manager.recv(100) == b"READY=1"
            server.send_signal(signal.SIGHUP)
            assert manager.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
            assert manager.recv(100) == b"READY=1"
        assert manager.recv(100) == b"STOPPING=1"


DIGEST_FOR_EACH_LINE = """
import hashlib, sys
for line in sys.stdin:
    print(hashlib.sha256(h.pread(h.get_size(), 0)).hexdigest(), flush=True)
"""


@contextlib.contextmanager
def connected(uri: str) -> Iterator[Callable[[], str]]:
    """A client that stays connected; called, it reads everything and says its digest."""
    if shutil.which("nbdsh") is None:
        pytest.skip("nbdsh is not installed")
    argv = ["nbdsh", "-u", uri, "-c", DIGEST_FOR_EACH_LINE]
    system = os.environ | {"PATH": f"/usr/bin:{os.environ['PATH']}"}  # where the Python is that has libnbd's module
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=system) as client:

        def digest() -> str:
            assert client.stdin is not None
            assert client.stdout is not None
            print(file=client.stdin, flush=True)
            return client.stdout.readline().strip()

        try:
            yield digest
        finally:
            client.kill()


@pytest.mark.parametrize("workers", ["0", "2"])
def test_hangup_opens_the_recipes_again(
    recipes: tuple[str, str], tmp_path: Path, workers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old connections keep their image, new ones get the new one; a recipe that is wrong now changes nothing."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(30)
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        with serving(recipes[0], "--workers", workers) as (server, (uri,)):
            manager.recv(100)

            def reload() -> None:
                server.send_signal(signal.SIGHUP)
                manager.recv(100)
                manager.recv(100)

            before = rendered(recipes[0], tmp_path)
            with connected(uri) as old:
                assert old() == sha256(before).hexdigest()
                write_files(tmp_path, {"more": bytes(1 << 20)})
                write_recipe(tmp_path, "/f=one /g=more", name="one.viso")
                reload()
                after = copied(uri, tmp_path)
                assert after == rendered(recipes[0], tmp_path)
                assert len(after) > len(before) + (1 << 20) - 1
                assert old() == sha256(before).hexdigest()
                write_recipe(tmp_path, "/f=missing", name="one.viso")
                reload()
                assert copied(uri, tmp_path) == after
            server.terminate()
            assert server.stderr is not None
            said = server.stderr.read().splitlines()
            assert len(said) == 1
            assert "one.viso:2:1" in said[0]
            assert "missing" in said[0]


def test_a_closed_terminal_ends_it(recipes: tuple[str, str], tmp_path: Path) -> None:
    """The hangup of a terminal is not one that somebody sent to have the recipes read."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        ["setsid", "--ctty", *COMMAND, recipes[0], "--socket", str(tmp_path / "socket")],
        stdin=theirs,
        stdout=subprocess.PIPE,
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline().startswith(b"nbd+unix:")
        os.close(theirs)
        os.close(ours)
        try:
            assert server.wait(30) == 0
        finally:
            server.kill()
    assert not (tmp_path / "socket").exists()


@pytest.mark.parametrize("more", [(), ("--run", "echo ready; sleep 1000")])
def test_it_ends_with_its_parent(recipes: tuple[str, str], tmp_path: Path, more: tuple[str, ...]) -> None:
    path, pid_file = tmp_path / "socket", tmp_path / "pid"
    words = (*COMMAND, recipes[0], "--socket", str(path), "--exit-with-parent", "--pid-file", str(pid_file), *more)
    with subprocess.Popen(
        ["bash", "-c", '"$@" & read', "bash", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as shell:
        assert shell.stdout is not None
        assert shell.stdout.readline()
        pid = int(pid_file.read_text())
        descriptor = os.pidfd_open(pid)
        try:
            assert path.exists()
            shell.kill()
            assert select.select([descriptor], [], [], 30)[0]  # readable when it has ended
        finally:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            os.close(descriptor)
    assert not path.exists()
    assert not pid_file.exists()


def test_pid_file(recipes: tuple[str, str], tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with serving(recipes[0], "--pid-file", str(path)) as (server, _):
        assert path.read_text() == f"{server.pid}\n"
    assert not path.exists()
    done = qemu_viso("serve", recipes[0], "--pid-file", str(tmp_path / "no" / "pid"), "--run", "true")
    assert done.returncode == 73
    assert os.listdir(tmp_path).count("pid") == 0


def test_a_signal_before_the_pid_file_is_there_leaves_nothing(recipes: tuple[str, str], tmp_path: Path) -> None:
    """It comes while the file has a name of its own, and not yet the one that it is to have."""
    folder = tmp_path / "pid files"
    folder.mkdir()
    words = ["serve", recipes[0], "--pid-file", str(folder / "pid"), "--run", "true"]
    program = f"""
import os, signal, sys
from qemu_viso.cli.main import main
def rename(new, path):
    assert os.listdir({str(folder)!r}) == [os.path.basename(new)]
    signal.raise_signal(signal.SIGTERM)
    whole(new, path)
whole, os.rename = os.rename, rename
sys.exit(main({words!r}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (143, "")
    assert os.listdir(folder) == []


def test_a_name_that_is_not_utf_8_is_no_export(tmp_path: Path) -> None:
    write_files(tmp_path, {"one": b"the first\n"})
    recipe = write_recipe(tmp_path, "/f=one", name="bad\udcff.viso")
    for more in ([], [write_recipe(tmp_path, "/f=one", name="two.viso")]):
        done = qemu_viso("serve", recipe, *more, "--run", "echo served")
        assert (done.returncode, done.stdout) == (2, "")
        assert "cannot be the name of an export" in done.stderr
        assert "UTF-8" in done.stderr
        assert len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize("workers", ["0", "2"])
def test_clients_that_need_more_descriptors_than_the_usual_limit(tmp_path: Path, workers: str) -> None:
    """The limit that a process begins with is raised as far as its clients need it: each keeps files open."""
    contents = {f"{number}": f"content of {number:4}".encode() for number in range(160)}
    write_files(tmp_path, contents)
    recipe = write_recipe(tmp_path, " ".join(f"/{name}={name}" for name in contents))
    whole = rendered(recipe, tmp_path)
    places = [(whole.index(content), content) for content in contents.values()]
    path = str(tmp_path / "socket")
    words = (recipe, "--socket", path, "--max-connections", "40", "--workers", workers)
    with serving(*words, below=("prlimit", "--nofile=64:4096")) as (process, _), contextlib.ExitStack() as clients:
        for number in range(40):
            client = clients.enter_context(Client(path))
            for offset, content in places[4 * number : 4 * number + 4]:
                assert client.read(offset, len(content)) == content
        process.terminate()
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_limits(recipes: tuple[str, str], tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    words = ("--socket", path, "--max-connections", "1", "--handshake-limit", "0")
    with serving(recipes[0], *words) as (_, (uri,)), connected(uri) as first:
        assert first()
        refused = subprocess.run(["nbdinfo", uri], capture_output=True, check=False, timeout=60)
        assert refused.returncode == 1
        assert first()
    # Whoever says nothing is disconnected: the read ends.
    # A client that is through with the handshake: fixed newstyle without zeroes, NBD_OPT_EXPORT_NAME, no name.
    chosen = struct.pack(">I8sII", 3, b"IHAVEOPT", 1, 0)
    for option, said in (("--handshake-limit", b""), ("--idle-limit", chosen)):
        with serving(recipes[0], option, "0.2") as (_, (uri,)), socket.socket(socket.AF_UNIX) as client:
            client.settimeout(30)
            client.connect(uri.partition("socket=")[2])
            client.sendall(said)
            heard = b""
            while data := client.recv(100):
                heard += data
            assert len(heard) == (18 + 10 if said else 18)
    for wrong in (
        ("--max-connections", "0"),
        ("--workers", "-1"),
        ("--idle-limit", "-1"),
        ("--handshake-limit", "nan"),
    ):
        assert qemu_viso("serve", recipes[0], *wrong, "--run", "true").returncode == 2
