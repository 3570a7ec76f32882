from __future__ import annotations

import os
import socket
import stat
import tempfile
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import CannotCreateError, TryAgainError
from qemu_viso.sockets import UnixListener

if TYPE_CHECKING:
    from pathlib import Path


def test_it_listens_for_this_user_alone_and_goes_without_a_trace(tmp_path: Path) -> None:
    path = tmp_path / "s"
    umask = os.umask(0)
    try:
        listener = UnixListener.bind(str(path))
    finally:
        os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    listener.close()
    listener.close()
    assert os.listdir(tmp_path) == []


def test_without_a_path_it_has_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with UnixListener.bind() as listener:
        assert listener.path is not None
        folder = os.path.dirname(listener.path)
        assert os.path.dirname(folder) == str(tmp_path)
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    assert os.listdir(tmp_path) == []


def test_where_temporary_files_have_long_paths_it_lies_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long, short = tmp_path / ("x" * 100), tmp_path / "run"
    long.mkdir()
    short.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short))
    with UnixListener.bind(), UnixListener.bind(), socket.socket(socket.AF_UNIX) as client:
        (first, _) = short.iterdir()
        client.connect(str(first / "socket"))
    assert [*long.iterdir(), *short.iterdir()] == []
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short / "missing"))
    with UnixListener.bind() as listener:
        assert listener.path is not None
        assert listener.path.startswith("/tmp/")
    with pytest.raises(CannotCreateError, match="every path is too long"):
        UnixListener.bind(name="x" * 100)


def test_a_dead_socket_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
        dead.listen()
    with UnixListener.bind(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(path)


def test_a_living_one_is_not(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with UnixListener.bind(path):
        with pytest.raises(TryAgainError, match="another program listens"):
            UnixListener.bind(path)
        assert os.path.exists(path)


def test_what_is_no_socket_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(CannotCreateError, match="Address already in use"):
        UnixListener.bind(str(path))
    assert path.read_text() == "precious"


@pytest.mark.parametrize("name", ["missing/s", "x" * 200])
def test_paths_that_cannot_be(tmp_path: Path, name: str) -> None:
    with pytest.raises(CannotCreateError, match=r"the socket '.*' cannot be made"):
        UnixListener.bind(str(tmp_path / name))


def test_somebody_elses_socket_is_kept(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    listener = UnixListener.bind(path)
    os.rename(path, path + ".old")
    with UnixListener.bind(path):
        listener.close()
        assert os.path.exists(path)


def test_a_socket_from_elsewhere_has_no_path(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    sock.listen()
    with UnixListener(sock):
        pass
    assert os.path.exists(path)
