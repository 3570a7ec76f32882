from __future__ import annotations

import asyncio
import ctypes
import errno
import os
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import ConfigurationError
from qemu_viso.sources import watch as module
from qemu_viso.sources.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LONG = 60.0


async def noticed(watch: Watch) -> None:
    async with asyncio.timeout(LONG):
        await watch.changed()


async def nothing(watch: Watch) -> bool:
    """Whether no event is there now; inotify queues them before the system call that causes them returns."""
    try:
        async with asyncio.timeout(0.01):
            await watch.changed()
    except TimeoutError:
        return True
    return False


def write(folder: Path) -> None:
    (folder / "file").write_text("changed")


def touch(folder: Path) -> None:
    os.utime(folder / "file", (5, 5))


def replace(folder: Path) -> None:
    (folder / "new").write_text("new")
    os.rename(folder / "new", folder / "file")


def remove(folder: Path) -> None:
    (folder / "file").unlink()


def create(folder: Path) -> None:
    (folder / "empty" / "file").touch()


@pytest.mark.parametrize("change", [write, touch, replace, remove, create])
def test_a_change_is_noticed(tmp_path: Path, change: Callable[[Path], None]) -> None:
    (tmp_path / "file").write_text("content")
    (tmp_path / "empty").mkdir()

    async def run() -> None:
        with Watch() as watch:
            assert watch.look_at([str(tmp_path), str(tmp_path / "empty")])
            assert not watch.look_at([str(tmp_path), str(tmp_path / "empty")])
            assert await nothing(watch)
            change(tmp_path)
            await noticed(watch)
            assert await nothing(watch)

    asyncio.run(run())


def test_reading_is_no_change(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")

    async def run() -> None:
        with Watch() as watch:
            watch.look_at([str(tmp_path)])
            assert (tmp_path / "file").read_text() == "content"
            assert os.listdir(tmp_path) == ["file"]
            assert await nothing(watch)

    asyncio.run(run())


def test_where_links_lead_is_watched(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("content")
    (tmp_path / "here" / "link").symlink_to("../there/file")

    async def run() -> None:
        with Watch() as watch:
            watch.look_at([str(tmp_path / "here")])
            write(tmp_path / "there")
            await noticed(watch)

    asyncio.run(run())


def test_a_directory_that_has_gone_is_noticed_when_it_comes_back(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)

    async def run() -> None:
        with Watch() as watch:
            watch.look_at([str(folder)])
            folder.rmdir()
            folder.parent.rmdir()
            await noticed(watch)
            assert watch.look_at([str(folder)]), "the one above is new"
            folder.mkdir(parents=True)
            await noticed(watch)
            assert watch.look_at([str(folder)]), "this is another directory"
            write(folder)
            await noticed(watch)

    asyncio.run(run())


def test_two_paths_of_one_directory_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def run() -> None:
        with Watch() as watch:
            watch.look_at([".", str(tmp_path)])
            watch.look_at(["."])
            write(tmp_path)
            await noticed(watch)
            watch.look_at([])
            await noticed(watch)  # the end of a watch is an event too
            remove(tmp_path)
            assert await nothing(watch)

    asyncio.run(run())


def test_a_burst_that_does_not_end_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.5)

    async def run() -> None:
        with Watch() as watch, (tmp_path / "log").open("w") as log:
            watch.look_at([str(tmp_path)])

            async def write_on() -> None:
                while True:
                    print("line", file=log, flush=True)
                    await asyncio.sleep(0)

            writing = asyncio.create_task(write_on())
            await noticed(watch)
            assert not writing.done()
            writing.cancel()

    asyncio.run(run())


def test_a_host_that_allows_no_more_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        """inotify on a host whose limit is reached."""

        def inotify_init1(self, flags: int) -> int:
            return os.open(os.devnull, os.O_RDONLY | (flags & os.O_CLOEXEC))

        def inotify_add_watch(self, *_: object) -> int:
            return -1

    monkeypatch.setattr(ctypes, "get_errno", lambda: errno.ENOSPC)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Full())
    with Watch() as watch, pytest.raises(ConfigurationError, match="limit is reached") as caught:
        watch.look_at([str(tmp_path)])
    assert caught.value.hint is not None
    assert "max_user_watches" in caught.value.hint
