"""Connections in processes of their own: shared out, ended with the server, and survived when a process dies."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qemu_viso.nbd import Server, listen_unix
from qemu_viso.nbd.session import Session
from qemu_viso.nbd.uri import UnixAddress
from tests.nbd.images import Builder, Mixed, mixed
from tests.nbd.wire import READ, Client

if TYPE_CHECKING:
    from qemu_viso.nbd import Listener


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Mixed:
    return mixed(tmp_path_factory.mktemp("image"))


def path_of(listener: Listener) -> str:
    assert isinstance(listener.address, UnixAddress)
    return listener.address.path


def children(pid: int | None = None) -> set[int]:
    """What a process's main thread has forked."""
    pid = pid or os.getpid()
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def clients_of(pid: int) -> int:
    """How many connections a worker serves: each has a thread beside the main one."""
    return len(list(Path(f"/proc/{pid}/task").iterdir())) - 1


def test_connections_are_shared_out_and_no_process_is_left(image: Mixed) -> None:
    before = children()
    listener = listen_unix()
    with Server({"test": image.image}, listener, workers=2) as server:
        workers = children() - before
        assert len(workers) == 2
        clients = [Client(path_of(listener)) for _ in range(4)]
        for client in clients:
            assert client.read(0, 512) == bytes(512)
        assert {clients_of(pid) for pid in workers} == {2}
        assert server.connections == 4
    assert children() == before
    for client in clients:
        assert client.socket.recv(1) == b""
        client.socket.close()


def test_a_worker_that_dies_takes_only_its_own_clients(image: Mixed, caplog: pytest.LogCaptureFixture) -> None:
    before = children()
    listener = listen_unix()
    with Server({"test": image.image}, listener, workers=2) as server:
        left = children() - before
        with Client(path_of(listener)) as survivor:
            assert survivor.read(0, 512) == bytes(512)
            (serving,) = (pid for pid in left if clients_of(pid))
            (doomed,) = left - {serving}
            with Client(path_of(listener)) as client:
                assert client.read(0, 512) == bytes(512)
                os.kill(doomed, signal.SIGKILL)
                assert client.socket.recv(1) == b""
            assert survivor.read(0, 512) == bytes(512)
        os.kill(serving, signal.SIGKILL)
        for _ in range(3):
            with Client(path_of(listener)) as client:  # served by threads, once nobody else is there
                start = image.starts["big"]
                if ask(client, start, 100_000) == image.expected[start : start + 100_000]:
                    break
        else:
            pytest.fail("nobody is left to serve")
        while server.connections:
            pass
    assert caplog.text.count("has ended; its clients were disconnected") == 2
    assert children() == before


def ask(client: Client, offset: int, length: int) -> bytes:
    """The bytes, or none from a connection that a dying process has taken with it."""
    try:
        return client.read(offset, length)
    except (EOFError, ConnectionError):
        return b""


def test_a_worker_without_descriptors_leaves_the_connection_to_a_thread(image: Mixed) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = children()
    listener = listen_unix()
    with Server({"test": image.image}, listener, workers=1), Client(path_of(listener)) as first:
        (worker,) = children() - before
        assert first.read(0, 512) == bytes(512)
        start = image.starts["big"]
        for limit, served in ((3, 1), (limits[0], 2)):
            resource.prlimit(worker, resource.RLIMIT_NOFILE, (limit, limits[1]))
            with Client(path_of(listener)) as client:
                assert client.read(start, 100_000) == image.expected[start : start + 100_000]
                assert clients_of(worker) == served


def test_new_images_come_with_new_processes(image: Mixed, tmp_path: Path) -> None:
    before = children()
    builder = Builder()
    builder.file(tmp_path / "file", b"other" * 1000)
    listener = listen_unix()
    with Server({"test": image.image}, listener, workers=1) as server:
        (old,) = children() - before
        with Client(path_of(listener)) as kept:
            assert kept.read(0, 512) == bytes(512)
            server.replace({"test": builder.image()})
            (new,) = children() - before - {old}
            with Client(path_of(listener)) as client:
                assert client.read(0, 5) == b"other"
            assert kept.read(0, 512) == bytes(512)
        while old in children():
            with Client(path_of(listener)) as client:
                assert client.read(0, 5) == b"other"
        assert children() - before == {new}
    assert children() == before


def test_a_bug_in_a_worker_is_logged(
    image: Mixed, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_self: Session) -> str | None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Session, "run", fail)
    listener = listen_unix()
    server = Server({"test": image.image}, listener, workers=1)
    with caplog.at_level(logging.ERROR), server, Client(path_of(listener)) as client:
        assert client.socket.recv(1) == b""
    assert "ZeroDivisionError: a bug" in caplog.text


SERVE = """
import sys
from pathlib import Path
from qemu_viso.nbd import Server, listen_unix
from tests.nbd.images import mixed
with Server({"test": mixed(Path(sys.argv[1])).image}, listen_unix(sys.argv[2]), workers=2):
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_workers_die_with_a_server_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "nbd.sock"
    command = [sys.executable, "-c", SERVE, str(tmp_path), str(path)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        workers = [os.pidfd_open(pid) for pid in children(process.pid)]
        assert len(workers) == 2
        with Client(str(path)) as client:
            client.send(READ, 0, 4096)
            process.kill()
            client.socket.settimeout(30)
            with contextlib.suppress(ConnectionResetError):
                while client.socket.recv(1 << 16):
                    pass
        poll = select.poll()
        for worker in workers:
            poll.register(worker, select.POLLIN)
        ended: set[int] = set()
        while len(ended) < 2:
            found = poll.poll(30_000)
            assert found, "a worker outlived its server"
            for worker, _ in found:
                poll.unregister(worker)
                ended.add(worker)
                os.close(worker)
