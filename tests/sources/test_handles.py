"""The handle cache: few descriptors, shared, valid for as long as somebody reads."""

from __future__ import annotations

import errno
import os
import resource
from threading import Thread
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from qemu_viso.errors import InputOutputError, StaleSourceError
from qemu_viso.sources.handles import Handle, HandleCache, default_limit
from tests.sources.test_host import host_file

if TYPE_CHECKING:
    from pathlib import Path

    from qemu_viso.sources.host import HostFile

COUNT = 20


@pytest.fixture
def files(tmp_path: Path) -> list[HostFile]:
    for number in range(COUNT):
        (tmp_path / f"file{number:02}").write_bytes(b"%02d" % number)
    return [host_file(path) for path in sorted(tmp_path.iterdir())]


def is_open(descriptor: int) -> bool:
    return os.path.exists(f"/proc/self/fd/{descriptor}")


def test_a_handle_closes_with_its_last_reference(files: list[HostFile]) -> None:
    handle = Handle(files[0])
    descriptor = handle.descriptor
    again = handle
    del handle
    assert is_open(descriptor)
    del again
    assert not is_open(descriptor)


def test_a_file_that_cannot_be_opened_leaves_nothing(files: list[HostFile]) -> None:
    os.utime(files[0].path, ns=(1, 1))
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(StaleSourceError):
        Handle(files[0])
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_same_handle_until_it_is_dropped(files: list[HostFile]) -> None:
    cache = HandleCache(3)
    first = cache.get(files[0])
    assert cache.get(files[0]) is first
    descriptor = first.descriptor
    for file in files[1:4]:
        cache.get(file)
    # It is out of the cache, and open as long as it is held here.
    assert os.pread(descriptor, 2, 0) == b"00"
    assert cache.get(files[0]) is not first
    del first
    assert not is_open(descriptor)


def test_what_was_used_last_stays(files: list[HostFile]) -> None:
    cache = HandleCache(3)
    one, two, three = (cache.get(file).descriptor for file in files[:3])
    cache.get(files[0])
    with patch.object(os, "close", wraps=os.close) as close:
        cache.get(files[3])
    close.assert_called_once_with(two)
    assert cache.get(files[0]).descriptor == one
    assert cache.get(files[2]).descriptor == three


def test_no_more_than_the_limit(files: list[HostFile]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    cache = HandleCache(5)
    for _ in range(3):
        for file in files:
            assert os.pread(cache.get(file).descriptor, 2, 0) == file.name[-2:].encode()
        assert len(os.listdir("/proc/self/fd")) == before + 5
    cache.clear()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_change_is_seen_though_the_file_is_open(files: list[HostFile]) -> None:
    cache = HandleCache(3)
    handle = cache.get(files[0])
    handle.verify()
    os.utime(files[0].path, ns=(1, 1))
    with pytest.raises(StaleSourceError, match="has changed"):
        handle.verify()


def test_descriptors_that_the_process_has_used_up(files: list[HostFile], monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache gives its own back, and tries once more."""
    cache = HandleCache()
    held = [cache.get(file).descriptor for file in files[:5]]
    real, refused = os.open, [0]

    def scarce(path: str, flags: int) -> int:
        if any(is_open(descriptor) for descriptor in held):
            refused[0] += 1
            raise OSError(errno.EMFILE, "Too many open files")
        return real(path, flags)

    monkeypatch.setattr("qemu_viso.sources.host.os.open", scarce)
    assert os.pread(cache.get(files[6]).descriptor, 2, 0) == b"06"
    assert refused == [1]

    def never(path: str, flags: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("qemu_viso.sources.host.os.open", never)
    with pytest.raises(InputOutputError, match="Too many open files"):
        cache.get(files[7])


def test_a_changed_file_costs_the_others_nothing(files: list[HostFile]) -> None:
    cache = HandleCache()
    kept = cache.get(files[0]).descriptor
    os.utime(files[1].path, ns=(1, 1))
    with pytest.raises(StaleSourceError):
        cache.get(files[1])
    assert is_open(kept)
    assert cache.get(files[0]).descriptor == kept


def test_many_threads(files: list[HostFile]) -> None:
    cache = HandleCache(4)
    wrong: list[object] = []

    def read(start: int) -> None:
        try:
            for step in range(500):
                file = files[(start + step * 7) % COUNT]
                handle = cache.get(file)
                data = os.pread(handle.descriptor, 2, 0)
                if data != file.name[-2:].encode():
                    wrong.append((file.name, data))
        except BaseException as error:  # noqa: BLE001 - it must reach the test, not the thread's end
            wrong.append(error)

    before = len(os.listdir("/proc/self/fd"))
    threads = [Thread(target=read, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(os.listdir("/proc/self/fd")) <= before + 4


@pytest.mark.parametrize(
    ("soft", "limit"),
    [(1024, 512), (resource.RLIM_INFINITY, 512), (256, 128), (20, 10), (4, 8), (1 << 20, 512)],
)
def test_the_limit_leaves_room_for_others(soft: int, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qemu_viso.sources.handles.resource.getrlimit", lambda _: (soft, 1 << 20))
    assert default_limit() == limit
