"""Sockets, activation and notification."""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from qemu_viso.errors import CannotCreateError, ConfigurationError, TryAgainError, UsageError
from qemu_viso.nbd import listen, listen_activated, listen_tcp, listen_unix, notify
from qemu_viso.nbd.uri import TcpAddress, UnixAddress, build
from tests.nbd.wire import Client

ROOT = Path(__file__).parents[2]


def test_a_private_socket_comes_and_goes_with_its_directory() -> None:
    with listen_unix() as listener:
        assert isinstance(listener.address, UnixAddress)
        path = Path(listener.address.path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not path.parent.exists()
    listener.close()


def test_a_named_socket_has_its_mode_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "nbd.sock"
    before = os.umask(0)
    try:
        with listen_unix(str(path)):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(before)
    assert not path.exists()


def test_the_socket_of_a_dead_server_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "nbd.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with listen_unix(str(path)), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_the_socket_of_a_living_server_is_not(tmp_path: Path) -> None:
    path = tmp_path / "nbd.sock"
    with listen_unix(str(path)):
        with pytest.raises(TryAgainError, match="another program listens"):
            listen_unix(str(path))
        assert path.exists()


def test_a_file_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "nbd.sock"
    path.write_text("mine")
    with pytest.raises(CannotCreateError, match=r"nbd\.sock"):
        listen_unix(str(path))
    assert path.read_text() == "mine"


def test_paths_that_cannot_be_bound(tmp_path: Path) -> None:
    with pytest.raises(CannotCreateError, match="No such file"):
        listen_unix(str(tmp_path / "none" / "nbd.sock"))
    with pytest.raises(CannotCreateError) as caught:
        listen_unix(str(tmp_path / ("x" * 200)))
    assert caught.value.hint is not None
    assert "107" in caught.value.hint


def test_tcp_is_loopback_unless_told_otherwise() -> None:
    with listen_tcp(port=0) as listener:
        assert isinstance(listener.address, TcpAddress)
        assert listener.address.host == "localhost"
        assert listener.address.port != 0
        assert not listener.exposed
        ports = {sock.getsockname()[1] for sock in listener.sockets}
        assert ports == {listener.address.port}
    with listen_tcp("0.0.0.0", 0) as listener:
        assert listener.exposed


def test_tcp_that_cannot_be_had() -> None:
    with listen_tcp("127.0.0.1", 0) as listener:
        assert isinstance(listener.address, TcpAddress)
        with pytest.raises(CannotCreateError, match="in use"):
            listen_tcp("127.0.0.1", listener.address.port)
    with pytest.raises(CannotCreateError, match="cannot be listened on"):
        listen_tcp("192.0.2.1", 0)  # an address that no machine has (RFC 5737)


def test_a_port_that_is_taken_on_one_family_is_not_to_be_had() -> None:
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as other:
            other.bind((address, 0))
            other.listen()
            port = other.getsockname()[1]
            with pytest.raises(CannotCreateError, match=f"port {port} of 'localhost' .* in use"):
                listen_tcp(port=port)


def test_any_free_port_is_free_on_both_families(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET6) as other:
        other.bind(("::1", 0))
        other.listen()
        taken = other.getsockname()[1]
        bind, asked = listen._bind, []

        def unlucky(family: socket.AddressFamily, address: str, port: int, scope: int) -> socket.socket:
            asked.append(port)
            return bind(family, address, taken if len(asked) == 1 else port, scope)

        monkeypatch.setattr(listen, "_bind", unlucky)
        with listen_tcp(port=0) as listener:
            assert isinstance(listener.address, TcpAddress)
            assert [sock.getsockname()[:2] for sock in listener.sockets] == [
                ("127.0.0.1", listener.address.port),
                ("::1", listener.address.port),
            ]
            assert listener.address.port != taken
    assert asked[:3] == [0, taken, 0]


@pytest.mark.parametrize("reason", [errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT])
def test_a_family_that_the_host_lacks_is_passed_over(monkeypatch: pytest.MonkeyPatch, reason: int) -> None:
    bind = listen._bind

    def only_v4(family: socket.AddressFamily, address: str, port: int, scope: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(reason, os.strerror(reason))
        return bind(family, address, port, scope)

    monkeypatch.setattr(listen, "_bind", only_v4)
    with listen_tcp(port=0) as listener:
        assert [sock.family for sock in listener.sockets] == [socket.AF_INET]


def test_an_address_that_a_host_has_twice_is_bound_once(monkeypatch: pytest.MonkeyPatch) -> None:
    twice = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))] * 2
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: twice)
    with listen_tcp("host.invalid", 0) as listener:
        assert len(listener.sockets) == 1


def test_a_host_without_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nothing)
    with pytest.raises(UsageError, match="no address"):
        listen_tcp("nowhere.invalid", 0)


def test_no_activation_without_both_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LISTEN_FDS", raising=False)
    monkeypatch.delenv("LISTEN_PID", raising=False)
    assert listen_activated() is None
    monkeypatch.setenv("LISTEN_FDS", "1")
    assert listen_activated() is None
    monkeypatch.setenv("LISTEN_PID", str(os.getpid() + 1))
    assert listen_activated() is None
    assert os.environ["LISTEN_FDS"] == "1"


@pytest.mark.parametrize("count", ["0", "-1", "one", ""])
def test_activation_with_nonsense(monkeypatch: pytest.MonkeyPatch, count: str) -> None:
    monkeypatch.setenv("LISTEN_FDS", count)
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    with pytest.raises(ConfigurationError, match="LISTEN_FDS"):
        listen_activated()


ACTIVATED = """
import os, sys
from pathlib import Path
from qemu_viso.errors import QemuVisoError
from qemu_viso.nbd import Server, listen_activated
from tests.nbd.images import mixed
os.dup2(int(sys.argv[2]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
try:
    listener = listen_activated()
except QemuVisoError as error:
    sys.exit(f"{type(error).__name__}: {error}")
assert "LISTEN_FDS" not in os.environ and "LISTEN_PID" not in os.environ
with Server({"test": mixed(Path(sys.argv[1])).image}, listener) as server:
    print(server.uri, flush=True)
    sys.stdin.read()
"""


def activated(tmp_path: Path, sock: socket.socket) -> subprocess.Popen[str]:
    descriptor = sock.fileno()
    return subprocess.Popen(
        [sys.executable, "-c", ACTIVATED, str(tmp_path), str(descriptor)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"LISTEN_FDS": "1"},
        pass_fds=(descriptor,),
    )


def test_an_activated_server_uses_the_socket_and_leaves_its_file(tmp_path: Path) -> None:
    path = tmp_path / "activated.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
        with activated(tmp_path, sock) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == f"nbd+unix:///?socket={path}\n"
            with Client(str(path)) as client:
                assert client.read(0, 512) == bytes(512)
            _, told = process.communicate()
            assert (process.returncode, told) == (0, "")
    assert path.exists()


def test_activation_with_a_descriptor_that_does_not_listen(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock, activated(tmp_path, sock) as process:
        _, told = process.communicate()
    assert "ConfigurationError: descriptor 3 is not a listening stream socket" in told


def test_activation_with_a_socket_of_a_family_that_is_not_served(tmp_path: Path) -> None:
    try:
        sock = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        sock.bind((socket.VMADDR_CID_ANY, socket.VMADDR_PORT_ANY))
        sock.listen()
    except OSError as error:
        pytest.skip(f"no socket but Unix and TCP listens here: {error}")
    with sock, activated(tmp_path, sock) as process:
        _, told = process.communicate()
    assert told == "ConfigurationError: descriptor 3 is neither a Unix nor a TCP socket\n"


@pytest.mark.parametrize("abstract", [False, True])
def test_notify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    name = f"@qemu-viso-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name.replace("@", "\0") if abstract else name)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        assert notify("READY=1")
        assert manager.recv(100) == b"READY=1"


def test_notify_without_a_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    assert not notify("READY=1")


@pytest.mark.parametrize(
    ("address", "export", "tls", "expected"),
    [
        (UnixAddress("/run/a b.sock"), "", False, "nbd+unix:///?socket=/run/a%20b.sock"),
        (UnixAddress("/run/a?b&c"), "disk", True, "nbds+unix:///disk?socket=/run/a%3Fb%26c"),
        (TcpAddress("localhost", 10809), "hello world", False, "nbd://localhost/hello%20world"),
        (TcpAddress("example.com", 10810), "/disk", True, "nbds://example.com:10810/%2Fdisk"),
        (TcpAddress("::1", 10810), "ä", False, "nbd://[::1]:10810/%C3%A4"),
    ],
)
def test_uris(address: UnixAddress | TcpAddress, export: str, tls: bool, expected: str) -> None:
    assert build(address, export, tls=tls) == expected
