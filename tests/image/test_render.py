"""An image as a file: the same bytes, holes kept, nothing left behind."""

from __future__ import annotations

import errno
import os
import resource
import signal
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import CannotCreateError, InputOutputError, StaleSourceError
from qemu_viso.image.render import render
from tests.recipes import opened

if TYPE_CHECKING:
    from pathlib import Path


def test_the_file_holds_the_bytes_of_the_image(tmp_path: Path) -> None:
    files = {f"in/{size}": os.urandom(size) for size in (0, 1, 2047, 2048, 2049, 65_535, 65_536, 70_000, 3_000_000)}
    image = opened(tmp_path, "/=in", files=files).image
    done: list[int] = []
    render(image, str(tmp_path / "out.iso"), done.append)
    assert (tmp_path / "out.iso").read_bytes() == image.read(0, image.size)
    assert done[-1] == image.size
    assert sorted(done) == done


def test_file_systems_that_cannot_allocate_are_written_to_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = opened(tmp_path, "/=in", files={"in/a": os.urandom(3_000_000)}).image
    asked: list[int] = []

    def refuse(_descriptor: int, _start: int, size: int) -> None:
        asked.append(size)
        raise OSError(errno.EOPNOTSUPP, "not here")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    render(image, str(tmp_path / "out.iso"))
    assert asked == [3_000_000]
    assert (tmp_path / "out.iso").read_bytes() == image.read(0, image.size)


def test_holes_stay_holes(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with open(tmp_path / "in" / "sparse", "wb") as file:
        file.truncate(1 << 30)
        file.seek(500_000_000)
        file.write(b"island")
        file.seek((1 << 30) - 3)
        file.write(b"end")
    image = opened(tmp_path, "/=in").image
    render(image, str(tmp_path / "out.iso"))
    status = (tmp_path / "out.iso").stat()
    assert status.st_size == image.size
    assert status.st_blocks * 512 < 4 << 20
    with open(tmp_path / "out.iso", "rb") as file:
        for offset in (0, 16 * 2048, 500_000_000, image.size - (1 << 20)):
            file.seek(offset)
            assert file.read(1 << 20) == image.read(offset, min(1 << 20, image.size - offset))


def test_an_existing_file_is_replaced_and_keeps_usual_permissions(tmp_path: Path) -> None:
    image = opened(tmp_path, "/a=a", files={"a": b"a"}).image
    (tmp_path / "out.iso").write_bytes(b"old")
    render(image, str(tmp_path / "out.iso"))
    assert (tmp_path / "out.iso").read_bytes() == image.read(0, image.size)
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "out.iso").stat().st_mode & 0o777 == 0o666 & ~umask


def test_special_files_and_missing_folders_are_refused(tmp_path: Path) -> None:
    image = opened(tmp_path, "/a=a", files={"a": b"a"}).image
    with pytest.raises(CannotCreateError, match="regular"):
        render(image, "/dev/null")
    with pytest.raises(CannotCreateError, match="No such file"):
        render(image, str(tmp_path / "nowhere" / "out.iso"))


@pytest.mark.parametrize("size", [100, 100_000])
def test_nothing_is_left_when_a_source_changed(tmp_path: Path, size: int) -> None:
    """A small file is checked after it was read, a large one before and after."""
    image = opened(tmp_path, "/=in", files={"in/a": b"a" * size}).image
    (tmp_path / "in" / "a").write_bytes(b"b")
    with pytest.raises(StaleSourceError) as raised:
        render(image, str(tmp_path / "out.iso"))
    assert str(image.stale) == str(raised.value)
    assert sorted(os.listdir(tmp_path)) == ["TEST.viso", "in"]


@pytest.mark.parametrize(("size", "most"), [(200_000, 150_000), (3_000_000, 100_000)])
def test_nothing_is_left_when_the_disk_is_full(tmp_path: Path, size: int, most: int) -> None:
    """Of a file for which there is no room, not even the beginning is copied if it is large."""
    image = opened(tmp_path, "/=in", files={"in/a": os.urandom(size)}).image
    done: list[int] = []
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, before[1]))
    try:
        with pytest.raises(InputOutputError, match="cannot be written"):
            render(image, str(tmp_path / "out.iso"), done.append)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert max(done) <= most
    assert sorted(os.listdir(tmp_path)) == ["TEST.viso", "in"]


def test_nothing_is_left_after_an_interruption(tmp_path: Path) -> None:
    image = opened(tmp_path, "/=in", files={"in/a": os.urandom(200_000)}).image

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render(image, str(tmp_path / "out.iso"), interrupt)
    assert sorted(os.listdir(tmp_path)) == ["TEST.viso", "in"]


@pytest.mark.parametrize("name", ["n" * 300, "missing/out.iso"])
def test_a_name_that_cannot_be(tmp_path: Path, name: str) -> None:
    image = opened(tmp_path, "/a=a", files={"a": b"a"}).image
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(CannotCreateError, match="cannot be made"):
        render(image, str(tmp_path / name))
    with pytest.raises(CannotCreateError, match="'' cannot be made"):
        render(image, "")
    assert sorted(os.listdir(tmp_path)) == before
