"""The server's life: limits, hostile clients, exchange of images, and an end that leaves nothing behind."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import UsageError
from qemu_viso.nbd import Limits, Server, listen_tcp, listen_unix
from qemu_viso.nbd.server import ACCEPT_PAUSE
from qemu_viso.nbd.uri import UnixAddress
from tests.nbd.images import Mixed, mixed
from tests.nbd.wire import OPT, READ, WRITE, Client, info_data, option, request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qemu_viso.nbd import Listener


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Mixed:
    return mixed(tmp_path_factory.mktemp("image"))


@pytest.fixture(params=[0, 2], ids=["threads", "workers"])
def workers(request: pytest.FixtureRequest) -> int:
    count: int = request.param
    return count


def path_of(listener: Listener) -> str:
    assert isinstance(listener.address, UnixAddress)
    return listener.address.path


def connect(listener: Listener) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(30)
    sock.connect(path_of(listener))
    return sock


def ended(sock: socket.socket) -> bool:
    """Read to the end; a server that is fed more than it reads answers with a reset."""
    try:
        while sock.recv(1 << 16):
            pass
    except ConnectionResetError:
        pass
    return True


def open_descriptors() -> set[str]:
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            found.add(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            continue
    return found


def test_nothing_is_left_behind(image: Mixed, workers: int) -> None:
    threads, descriptors = set(threading.enumerate()), open_descriptors()
    listener = listen_unix()
    path = path_of(listener)
    with Server({"test": image.image}, listener, workers=workers) as server:
        clients = [Client(path) for _ in range(5)]
        assert clients[0].read(0, 512) == bytes(512)
        assert server.connections == 5
    assert not os.path.exists(os.path.dirname(path))
    assert set(threading.enumerate()) == threads
    for client in clients:
        assert client.socket.recv(1) == b""
        client.socket.close()
    sockets = {name for name in open_descriptors() - descriptors if not name.endswith(".bin")}
    assert not sockets
    server.close()
    server.stop()


def test_close_lets_replies_finish(image: Mixed, workers: int) -> None:
    listener = listen_unix()
    server = Server({"test": image.image}, listener, workers=workers).__enter__()
    start, size = image.starts["big"], 700_000
    with Client(path_of(listener), "simple") as client:
        client.send(READ, start, size)
        assert client.take(16) == struct.pack(">IIQ", 0x67446698, 0, 7)
        closer = threading.Thread(target=server.close)
        closer.start()
        assert client.take(size) == image.expected[start : start + size]
        closer.join()


def test_close_does_not_wait_for_a_client_that_takes_nothing(
    image: Mixed, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qemu_viso.nbd.server.CLOSE_GRACE", 0.01)
    listener = listen_unix()
    with Server({"test": image.image}, listener, workers=workers), Client(path_of(listener)) as client:
        client.send(READ, 0, len(image.expected), flags=4)
        client.take(1)
    assert all(thread.name != "nbd-connection" for thread in threading.enumerate())


SERVE = """
import signal, sys
from pathlib import Path
from qemu_viso.nbd import Server, listen_unix
from tests.nbd.images import mixed
with Server({"test": mixed(Path(sys.argv[1])).image}, listen_unix(sys.argv[2])) as server:
    signal.signal(signal.SIGTERM, lambda *_: server.stop())
    print(server.uri, flush=True)
    server.serve_forever()
print("ended", flush=True)
"""


def test_serve_forever_ends_at_a_signal(tmp_path: Path) -> None:
    path = tmp_path / "nbd.sock"
    command = [sys.executable, "-c", SERVE, str(tmp_path), str(path)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"nbd+unix:///?socket={path}\n"
        assert path.stat().st_mode & 0o777 == 0o600
        with Client(str(path)) as client:
            assert client.read(0, 512) == bytes(512)
            process.send_signal(signal.SIGTERM)
            assert process.stdout.read() == "ended\n"
        assert process.wait() == 0
    assert not path.exists()


def test_new_clients_get_new_images_and_old_ones_keep_theirs(image: Mixed, workers: int, tmp_path: Path) -> None:
    other = mixed(tmp_path, "other")
    edit = b"LITERAL"
    from qemu_viso.image import Literal

    other.image.regions.contents[1] = Literal(edit, "another descriptor")
    listener = listen_unix()
    start = image.starts["literal"]
    with Server({"test": image.image}, listener, workers=workers) as server, Client(path_of(listener)) as old:
        assert old.read(start, 7) == b"literal"
        server.replace({"test": other.image, "second": image.image})
        with Client(path_of(listener), export="test") as new, Client(path_of(listener), export="second") as second:
            assert (new.read(start, 7), second.read(start, 7), old.read(start, 7)) == (edit, b"literal", b"literal")
        assert server.uri_of("second").startswith("nbd+unix:///second?")


def test_too_many_connections(image: Mixed, workers: int, caplog: pytest.LogCaptureFixture) -> None:
    listener = listen_unix()
    server = Server({"test": image.image}, listener, limits=Limits(connections=2), workers=workers)
    with server, Client(path_of(listener)), Client(path_of(listener)) as second:
        with connect(listener) as third:
            assert ended(third)
        assert "refused" in caplog.text
        second.socket.sendall(request(2))  # DISC
        # The thread forgets the connection under the lock under which it closes the socket.
        assert second.socket.recv(1) == b""
        assert server.connections == 1
        with Client(path_of(listener)) as fourth:
            assert fourth.read(0, 1) == b"\0"


@contextlib.contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """This process may open so many more files, and no others."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    numbers = [os.open("/dev/null", os.O_RDONLY) for _ in range(count + 1)]
    for number in numbers:
        os.close(number)
    resource.setrlimit(resource.RLIMIT_NOFILE, (numbers[-1], before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


class Heard(logging.Handler):
    """Waits for a sentence in the log."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self._words = words
        self._event = threading.Event()
        self.times = 0

    def emit(self, record: logging.LogRecord) -> None:
        if self._words in record.getMessage():
            self.times += 1
            self._event.set()

    def wait(self) -> None:
        assert self._event.wait(30), self._words


def test_a_server_without_descriptors_accepts_again_when_it_has_some(image: Mixed, workers: int) -> None:
    listener = listen_unix()
    heard = Heard("cannot be accepted: Too many open files")
    logging.getLogger("qemu_viso.nbd").addHandler(heard)
    try:
        with Server({"test": image.image}, listener, workers=workers):
            with descriptors_left(1), connect(listener) as waiting:
                heard.wait()
                time.sleep(3 * ACCEPT_PAUSE / 1000)  # it tries again, and does not say so each time
                waiting.shutdown(socket.SHUT_WR)
            with Client(path_of(listener)) as client:
                assert client.read(0, 512) == bytes(512)
        assert heard.times == 1
    finally:
        logging.getLogger("qemu_viso.nbd").removeHandler(heard)


def test_a_connection_that_cannot_be_handed_to_a_worker_is_served_by_a_thread(
    image: Mixed, caplog: pytest.LogCaptureFixture
) -> None:
    listener = listen_unix()
    with (
        Server({"test": image.image}, listener, workers=1),
        descriptors_left(2),  # one for the client's socket, one for the server's
        Client(path_of(listener)) as client,
    ):
        assert client.read(0, 512) == bytes(512)
    assert all(record.levelno < logging.ERROR for record in caplog.records)


def test_the_handshake_has_a_deadline_that_dripping_does_not_escape(image: Mixed) -> None:
    listener = listen_unix()
    with Server({"test": image.image}, listener, limits=Limits(handshake=0.2)), connect(listener) as silent:
        with connect(listener) as dripping:
            try:
                for byte in struct.pack(">I", 3) + option(OPT["list"]) * 100_000:
                    dripping.sendall(bytes([byte]))
            except (BrokenPipeError, ConnectionResetError):
                pass
            else:
                raise AssertionError("the server listened to the end")
        assert ended(silent)


def test_the_handshake_limit_is_no_idle_limit(image: Mixed, workers: int) -> None:
    listener = listen_unix()
    with (
        Server({"test": image.image}, listener, limits=Limits(handshake=0.1), workers=workers),
        Client(path_of(listener)) as client,
    ):
        with connect(listener) as silent:
            assert ended(silent)
        assert client.read(0, 512) == bytes(512)


def test_idle_clients_are_disconnected(image: Mixed, workers: int) -> None:
    listener = listen_unix()
    with (
        Server({"test": image.image}, listener, limits=Limits(idle=0.5), workers=workers),
        Client(path_of(listener)) as client,
    ):
        assert client.read(0, 512) == bytes(512)
        assert client.socket.recv(1) == b""


def test_clients_that_take_nothing_are_disconnected(image: Mixed, workers: int) -> None:
    listener = listen_unix()
    server = Server({"test": image.image}, listener, limits=Limits(idle=0.5), workers=workers)
    with server, Client(path_of(listener)) as client:
        for _ in range(4):  # more than the socket's buffers hold
            client.send(READ, 0, len(image.expected), flags=4)
        while server.connections:
            with Client(path_of(listener)) as other:
                assert ended(other.socket)
        received = 0
        while more := len(client.socket.recv(1 << 20)):
            received += more
        assert received < 4 * len(image.expected)


def garbage() -> bytes:
    return bytes(range(256)) * 300


HOSTILE = {
    "garbage instead of flags": garbage(),
    "an HTTP request": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a TLS hello": bytes.fromhex("16030100c8010000c40303") + bytes(200),
    "a giant option": struct.pack(">I", 3) + b"IHAVEOPT" + struct.pack(">II", 6, 0xFFFFFFFF),
    "a giant export name": struct.pack(">I", 3) + b"IHAVEOPT" + struct.pack(">II", 1, 1 << 20),
    "garbage requests": struct.pack(">I", 3) + option(OPT["go"], info_data("test")) + garbage(),
    "a giant write": struct.pack(">I", 3) + option(OPT["go"], info_data("test")) + request(WRITE, 0, 0xFFFFFFFF),
    "the wrong kind of request": struct.pack(">I", 3)
    + option(OPT["extended"])
    + option(OPT["go"], info_data("test"))
    + request(READ, 0, 512)
    + bytes(4),
}


@pytest.mark.parametrize("sent", HOSTILE.values(), ids=HOSTILE)
def test_hostile_clients_are_disconnected(
    image: Mixed, workers: int, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    listener = listen_unix()
    with Server({"test": image.image}, listener, workers=workers):
        with connect(listener) as sock:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                sock.sendall(sent)
            assert ended(sock)
        with Client(path_of(listener)) as client:
            assert client.read(0, 512) == bytes(512)
    assert all(record.levelno < logging.ERROR for record in caplog.records)


HALVES = {
    "before the flags": b"",
    "in the flags": b"\0\0",
    "in an option": struct.pack(">I", 3) + option(OPT["list"])[:11],
    "in option data": struct.pack(">I", 3) + option(OPT["go"], info_data("test"))[:-3],
    "before a request": struct.pack(">I", 3) + option(OPT["go"], info_data("test")),
    "in a request": struct.pack(">I", 3) + option(OPT["go"], info_data("test")) + request(READ, 0, 512)[:20],
    "in a payload": struct.pack(">I", 3) + option(OPT["go"], info_data("test")) + request(WRITE, 0, 512) + b"half",
    "before a long reply": struct.pack(">I", 3)
    + option(OPT["go"], info_data("test"))
    + request(READ, 0, 2_000_000) * 10,
}


@pytest.mark.parametrize("sent", HALVES.values(), ids=HALVES)
def test_clients_that_go_away(image: Mixed, workers: int, sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    listener = listen_unix()
    with Server({"test": image.image}, listener, workers=workers) as server:
        for _ in range(5):
            with connect(listener) as sock:
                sock.sendall(sent)
        with Client(path_of(listener)) as client:
            assert client.read(0, 512) == bytes(512)
            while server.connections > 1:
                client.read(0, 512)
    assert all(record.levelno < logging.ERROR for record in caplog.records)


def test_a_client_that_goes_away_in_the_middle_of_a_reply(image: Mixed, workers: int) -> None:
    listener = listen_unix()
    with Server({"test": image.image}, listener, workers=workers) as server:
        with Client(path_of(listener)) as client:
            client.send(READ, 0, len(image.expected), flags=4)
            client.take(100_000)
        with Client(path_of(listener)) as client:
            while server.connections > 1:
                client.read(0, 512)


def test_clear_text_is_not_for_other_machines(image: Mixed) -> None:
    with listen_tcp("0.0.0.0", 0) as listener, pytest.raises(UsageError, match="clear text"):
        Server({"test": image.image}, listener)
    with Server({"test": image.image}, listen_tcp("0.0.0.0", 0), insecure=True) as server:
        assert server.uri.startswith("nbd://")


def test_something_must_be_served(image: Mixed) -> None:
    with listen_unix() as listener:
        with pytest.raises(UsageError, match="nothing to serve"):
            Server({}, listener)
        with pytest.raises(UsageError, match="cannot be the name"):
            Server({"a\0b": image.image}, listener)
        with pytest.raises(UsageError, match="cannot be the name"):
            Server({"bad\udcff": image.image}, listener)
        with pytest.raises(UsageError, match="cannot be the name"):
            Server({"x" * 5000: image.image}, listener)


def test_many_clients_at_once(image: Mixed, workers: int) -> None:
    listener = listen_unix()
    wrong: list[object] = []

    def work(seed: int) -> None:
        try:
            mode = ("simple", "structured", "extended")[seed % 3]
            with Client(path_of(listener), mode) as client:
                for number in range(60):
                    length = (1, 512, 4096, 50_000, 200_000)[(seed + number) % 5]
                    offset = (seed * 7919 + number * 104_729) % (len(image.expected) - length)
                    if client.read(offset, length) != image.expected[offset : offset + length]:
                        wrong.append((seed, offset, length))
        except BaseException as error:
            wrong.append(error)
            raise

    with Server({"test": image.image}, listener, workers=workers):
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong
