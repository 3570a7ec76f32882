"""TLS, with GnuTLS on the other side (libnbd, qemu-img) and with Python's OpenSSL where a client must misbehave."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import ConfigurationError, MissingInputError
from qemu_viso.nbd import Limits, Server, listen_tcp, listen_unix, server_context
from qemu_viso.nbd.uri import UnixAddress
from tests.nbd.images import Mixed, mixed
from tests.nbd.test_clients import run
from tests.nbd.wire import OPT, READ, REP, option, request, split_replies

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def openssl(*arguments: str) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def certificate(folder: Path, name: str, *, signer: str = "ca") -> None:
    """A key and a certificate for localhost under the names that libnbd and QEMU look for."""
    key, asked, signed = (str(folder / f"{name}{suffix}") for suffix in ("-key.pem", ".csr", "-cert.pem"))
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", key, "-out", asked)
    extensions = folder / f"{name}.ext"
    extensions.write_text("subjectAltName=DNS:localhost\n")
    openssl(
        *("x509", "-req", "-in", asked, "-CA", str(folder / f"{signer}-cert.pem")),
        *("-CAkey", str(folder / f"{signer}-key.pem"), "-CAcreateserial", "-days", "7"),
        *("-extfile", str(extensions), "-out", signed),
    )


def authority(folder: Path, name: str) -> None:
    openssl(
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "7", "-subj", f"/CN={name}"),
        *("-keyout", str(folder / f"{name}-key.pem"), "-out", str(folder / f"{name}-cert.pem")),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("ca", "stranger"):
        authority(folder, name)
    certificate(folder, "server")
    certificate(folder, "client")
    (folder / "anonymous").mkdir()
    shutil.copy(folder / "ca-cert.pem", folder / "anonymous")
    return folder


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Mixed:
    return mixed(tmp_path_factory.mktemp("image"))


def context(folder: Path, *, verify: bool = False) -> ssl.SSLContext:
    authority = str(folder / "ca-cert.pem") if verify else None
    return server_context(str(folder / "server-cert.pem"), str(folder / "server-key.pem"), authority)


@pytest.fixture
def listening(folder: Path, image: Mixed) -> Iterator[str]:
    listener = listen_unix()
    assert isinstance(listener.address, UnixAddress)
    with Server({"test": image.image}, listener, tls=context(folder), limits=Limits(handshake=5)):
        yield listener.address.path


def test_nbdcopy_and_nbdinfo(folder: Path, image: Mixed, tmp_path: Path) -> None:
    with Server({"test": image.image}, listen_tcp(port=0), tls=context(folder)) as server:
        assert server.uri.startswith("nbds://localhost:")
        uri = f"{server.uri}?tls-certificates={folder / 'anonymous'}"
        assert "with TLS" in run("nbdinfo", uri)
        run("nbdcopy", uri, str(tmp_path / "copy"))
        assert (tmp_path / "copy").read_bytes() == image.expected
        assert "TLS" in run("nbdinfo", server.uri.replace("nbds:", "nbd:") + "?tls-type=none", status=1)


def test_qemu_img(folder: Path, image: Mixed, tmp_path: Path) -> None:
    with Server({"test": image.image}, listen_tcp(port=0), tls=context(folder)) as server:
        port = server.uri.rpartition(":")[2].rstrip("/")
        secret = f"tls-creds-x509,id=tls,endpoint=client,dir={folder / 'anonymous'}"
        source = f"driver=nbd,host=localhost,port={port},export=test,tls-creds=tls"
        run("qemu-img", "convert", "--object", secret, "--image-opts", source, "-O", "raw", str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == image.expected


def test_clients_without_a_good_certificate_stay_outside(folder: Path, image: Mixed, tmp_path: Path) -> None:
    with Server({"test": image.image}, listen_tcp(port=0), tls=context(folder, verify=True)) as server:
        run("nbdinfo", f"{server.uri}?tls-certificates={folder}")
        run("nbdinfo", f"{server.uri}?tls-certificates={folder / 'anonymous'}", status=1)
        certificate_of_stranger = tmp_path / "stranger"
        shutil.copytree(folder, certificate_of_stranger)
        certificate(certificate_of_stranger, "client", signer="stranger")
        run("nbdinfo", f"{server.uri}?tls-certificates={certificate_of_stranger}", status=1)
        run("nbdinfo", f"{server.uri}?tls-certificates={folder}")


def start(path: str, *, flags: int = 3) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(30)
    sock.connect(path)
    assert sock.recv(18, socket.MSG_WAITALL) == b"NBDMAGICIHAVEOPT\0\x03"
    sock.sendall(struct.pack(">I", flags))
    return sock


def acknowledged(sock: socket.socket) -> None:
    sock.sendall(option(OPT["starttls"]))
    ((_, reply, _),) = split_replies(sock.recv(20, socket.MSG_WAITALL))
    assert REP[reply] == "ACK"


def ended(sock: socket.socket) -> bool:
    try:
        while sock.recv(4096):
            pass
    except ConnectionResetError:
        pass
    return True


def wrapped(sock: socket.socket, folder: Path) -> ssl.SSLSocket:
    client = ssl.create_default_context(cafile=str(folder / "ca-cert.pem"))
    return client.wrap_socket(sock, server_hostname="localhost")


def test_every_option_but_starttls_and_abort_wants_tls(listening: str) -> None:
    with start(listening) as sock:
        for kind in ("list", "info", "go", "structured", "extended", "list_meta", "set_meta"):
            sock.sendall(option(OPT[kind]))
            magic, _, reply, length = struct.unpack(">QIII", sock.recv(20, socket.MSG_WAITALL))
            assert (magic, REP[reply]) == (0x0003E889045565A9, "TLS_REQD")
            sock.recv(length, socket.MSG_WAITALL)
        sock.sendall(option(OPT["export_name"], b"test"))
        assert ended(sock)


def test_reads_over_tls_of_every_length(listening: str, folder: Path, image: Mixed) -> None:
    with start(listening) as plain:
        acknowledged(plain)
        with wrapped(plain, folder) as sock:
            assert sock.version() in ("TLSv1.2", "TLSv1.3")
            sock.sendall(option(OPT["export_name"], b"test"))
            received = b""
            while len(received) < 10:
                received += sock.recv(10 - len(received))
            assert received[:8] == struct.pack(">Q", len(image.expected))
            for offset, length in ((0, 512), (40_000, 5_000), (0, len(image.expected)), (50_000, 600_000)):
                sock.sendall(request(READ, offset, length))
                received = b""
                while len(received) < 16 + length:
                    received += sock.recv(16 + length - len(received))
                assert received[16:] == image.expected[offset : offset + length]
            sock.sendall(request(2))
            assert sock.recv(1) == b""  # a close_notify: without one, Python would raise SSLEOFError


def test_starttls_twice(listening: str, folder: Path) -> None:
    with start(listening) as plain:
        acknowledged(plain)
        with wrapped(plain, folder) as sock:
            sock.sendall(option(OPT["starttls"]))
            _, _, reply, length = struct.unpack(">QIII", sock.recv(20))
            assert REP[reply] == "INVALID"
            sock.recv(length)
            sock.sendall(option(OPT["structured"]))
            assert REP[struct.unpack(">QIII", sock.recv(20))[2]] == "ACK"


@pytest.mark.parametrize("injected", [option(OPT["list"]), b"\x16", b"x" * 5000])
def test_clear_text_behind_starttls_ends_the_session(listening: str, injected: bytes) -> None:
    with start(listening) as sock:
        sock.sendall(option(OPT["starttls"]) + injected)
        assert ended(sock)


def test_no_tls_where_there_should_be(listening: str) -> None:
    with start(listening) as sock:
        acknowledged(sock)
        sock.sendall(b"this is not a ClientHello, is it?" * 10)
        assert ended(sock)
    with start(listening) as sock:
        acknowledged(sock)


def test_old_tls_is_refused(listening: str, folder: Path) -> None:
    assert context(folder).minimum_version == ssl.TLSVersion.TLSv1_2
    with start(listening) as plain:
        acknowledged(plain)
        # A ClientHello of TLS 1.0 by hand: no library of today would send one.
        suites, random = bytes.fromhex("c013c014002f0035"), bytes(32)
        body = b"\3\1" + random + b"\0" + len(suites).to_bytes(2, "big") + suites + b"\1\0"
        hello = b"\1" + len(body).to_bytes(3, "big") + body
        plain.sendall(b"\x16\3\1" + len(hello).to_bytes(2, "big") + hello)
        answer = plain.recv(7, socket.MSG_WAITALL)
        assert (answer[0], answer[5], answer[6]) == (21, 2, 70)  # alert, fatal, protocol_version
        assert ended(plain)


def test_files_that_are_not_there_or_not_what_they_should_be(folder: Path, tmp_path: Path) -> None:
    good, key = str(folder / "server-cert.pem"), str(folder / "server-key.pem")
    none = str(tmp_path / "none")
    for arguments in ((none, key), (good, none), (good, key, none)):
        with pytest.raises(MissingInputError) as caught:
            server_context(*arguments)
        assert caught.value.message == f"the TLS file '{none}' does not exist"
    with pytest.raises(ConfigurationError, match="cannot be used"):
        server_context(good, str(folder / "client-key.pem"))
    nonsense = tmp_path / "nonsense"
    nonsense.write_text("not PEM")
    for arguments in ((str(nonsense), key), (good, str(nonsense)), (good, key, str(nonsense))):
        with pytest.raises(ConfigurationError):
            server_context(*arguments)
    locked = str(tmp_path / "locked")
    openssl("rsa", "-aes256", "-passout", "pass:secret", "-in", key, "-out", locked)
    with pytest.raises(ConfigurationError):
        server_context(good, locked)
    assert os.path.exists(locked)
