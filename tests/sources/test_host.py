"""Host files and directories: their identity, and what is said when it is another one."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import nullcontext
from typing import TYPE_CHECKING
from unittest.mock import Mock, patch

import pytest

from qemu_viso.errors import AccessError, InputOutputError, MissingInputError, StaleSourceError
from qemu_viso.sources.host import HostDirectory, HostFile, open_error, read_files, scan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def host_file(path: Path) -> HostFile:
    status = path.stat()
    directory = HostDirectory(None, str(path.parent), status.st_dev)
    return HostFile(directory, path.name, status.st_size, status.st_mtime_ns, status.st_ino)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(b"content")
    return tmp_path / "file"


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_paths() -> None:
    top = HostDirectory(None, "/top", 1)
    below = HostDirectory(HostDirectory(top, "a", 1), "b", 1)

    assert (top.path, below.path) == ("/top", "/top/a/b")
    assert (top.prefix, below.prefix) == ("/top/", "/top/a/b/")
    assert below.prefix is below.prefix
    assert HostDirectory(None, "/", 1).prefix == "/"
    assert HostFile(below, "file", 0, 0, 0).path == "/top/a/b/file"


# --- identity ------------------------------------------------------------------------------------------------------


def grow(path: Path) -> None:
    keep_time(path, lambda: path.write_bytes(b"content and more"))


def touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def replace(path: Path) -> None:
    """The same size and time, but another file."""

    def change() -> None:
        path.rename(path.with_name("old"))
        path.write_bytes(b"CONTENT")

    keep_time(path, change)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def keep_time(path: Path, change: Callable[[], object]) -> None:
    status = path.stat()
    change()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (grow, "has changed"),
        (touch, "has changed"),
        (replace, "has been replaced"),
        (directory, "is no longer a regular file"),
        (fifo, "is no longer a regular file"),
    ],
)
def test_another_file_is_not_opened(change: Callable[[Path], None], said: str, path: Path) -> None:
    file = host_file(path)
    change(path)
    before = descriptors()

    with pytest.raises(StaleSourceError, match=f"file' {said}.* since the recipe was opened"):
        file.open()
    with pytest.raises(StaleSourceError, match=said):
        file.read()
    assert descriptors() == before


def test_the_same_inode_on_another_device_is_another_file(path: Path) -> None:
    file = host_file(path)
    moved = HostFile(HostDirectory(None, str(path.parent), -1), "file", file.size, file.mtime_ns, file.inode)

    with pytest.raises(StaleSourceError, match="has been replaced"):
        moved.open()


def test_the_same_file_under_another_path_is_the_same(path: Path) -> None:
    """A path is only a hint how to find it."""
    file = host_file(path)
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")

    assert file.read() == b"content"


# --- reading -------------------------------------------------------------------------------------------------------


def test_an_open_file(path: Path) -> None:
    descriptor = host_file(path).open()
    try:
        assert os.pread(descriptor, 100, 0) == b"content"
        assert not os.get_inheritable(descriptor)
        with pytest.raises(OSError, match="Bad file"):
            os.write(descriptor, b"x")
    finally:
        os.close(descriptor)


def test_a_change_while_it_is_read(path: Path) -> None:
    file = host_file(path)
    real = os.pread

    def pread(descriptor: int, size: int, offset: int) -> bytes:
        data = real(descriptor, size, offset)
        touch(path)
        return data

    with patch("os.pread", pread), pytest.raises(StaleSourceError, match="has changed"):
        file.read()


def test_a_file_that_gives_less_than_its_size(path: Path) -> None:
    before = descriptors()
    with patch("os.pread", lambda *_: b"con"), pytest.raises(InputOutputError, match="ends before its size"):
        host_file(path).read()
    assert descriptors() == before


def test_a_file_that_is_gone(path: Path) -> None:
    file = host_file(path)
    path.unlink()

    for call in (file.read, file.open):
        with pytest.raises(MissingInputError, match="file' does not exist"):
            call()


@pytest.mark.parametrize(
    ("number", "kind", "said"),
    [
        (errno.ENOENT, MissingInputError, "does not exist"),
        (errno.ENOTDIR, MissingInputError, "does not exist"),
        (errno.EACCES, AccessError, "may not be read"),
        (errno.EPERM, AccessError, "may not be read"),
        (errno.EIO, InputOutputError, "cannot be read: Input/output error"),
        (errno.EMFILE, InputOutputError, "cannot be read: Too many open files"),
    ],
)
def test_what_the_host_says(number: int, kind: type[Exception], said: str) -> None:
    error = open_error("a\nb", OSError(number, os.strerror(number)))

    assert type(error) is kind
    assert error.message == f"the source 'a\\x0ab' {said}"


# --- directories ---------------------------------------------------------------------------------------------------


def test_entries_in_byte_order_with_their_own_status(tmp_path: Path) -> None:
    names = ["b", "B", "a", "ä", "10", "9", os.fsdecode(b"\xff")]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "z link").symlink_to("nowhere")

    found = scan(str(tmp_path))

    assert [name for name, _ in found] == sorted([*names, "z link"])
    assert stat.S_ISLNK(dict(found)["z link"].st_mode)


@pytest.mark.parametrize(("name", "kind"), [("none", MissingInputError), ("file", MissingInputError)])
def test_what_is_no_directory(name: str, kind: type[Exception], path: Path) -> None:
    before = descriptors()
    with pytest.raises(kind, match=f"{name}' does not exist"):
        scan(str(path.with_name(name)))
    assert descriptors() == before


def test_an_entry_that_cannot_be_looked_at_is_named(path: Path) -> None:
    entry = Mock()
    entry.name = "gone"
    entry.stat.side_effect = FileNotFoundError(errno.ENOENT, "No such file or directory")
    before = descriptors()
    with (
        patch("qemu_viso.sources.host.os.scandir", lambda _: nullcontext([entry])),
        pytest.raises(MissingInputError, match=f"'{path.parent}/gone' does not exist"),
    ):
        scan(str(path.parent))
    assert descriptors() == before


def test_neighbours_of_another_device_are_other_files(tmp_path: Path) -> None:
    files = []
    for number in range(8):
        (tmp_path / str(number)).write_bytes(b"%d" % number)
        files.append(host_file(tmp_path / str(number)))
    elsewhere = HostDirectory(None, str(tmp_path), files[0].directory.device + 1)
    moved = [HostFile(elsewhere, each.name, each.size, each.mtime_ns, each.inode) for each in files]
    here = files[0].directory
    together = [HostFile(here, each.name, each.size, each.mtime_ns, each.inode) for each in files]
    assert read_files(together) == [b"%d" % number for number in range(8)]
    with pytest.raises(StaleSourceError, match="has been replaced"):
        read_files(moved)
