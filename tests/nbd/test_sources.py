"""Sources that change, shrink or vanish under the server: an error for that range, and never a mixture."""

from __future__ import annotations

import logging
import os
import resource
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import StaleSourceError
from qemu_viso.image import Image
from qemu_viso.nbd import Server, listen_unix
from qemu_viso.nbd.constants import MAX_PAYLOAD
from qemu_viso.nbd.session import ALONE_BYTES, SEND_FILE_FROM
from qemu_viso.nbd.uri import UnixAddress
from qemu_viso.sources.handles import Handle, HandleCache
from tests.nbd.images import Builder, Mixed, mixed, random_bytes
from tests.nbd.wire import EINVAL, EIO, READ, Client, request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from qemu_viso.sources.host import HostFile

MODES = ("simple", "structured", "extended")
SIZES = {"one page": 4096, "one call": 3 * SEND_FILE_FROM, "sendfile": 3 * ALONE_BYTES}


def changed(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"changed")
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def truncated(path: Path) -> None:
    os.truncate(path, 100)


def replaced(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_bytes(path.read_bytes())
    status = path.stat()
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.rename(path)


def removed(path: Path) -> None:
    path.unlink()


def turned_into_a_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def ask_together(client: Client, asked: Sequence[tuple[int, int]], *, extended: bool) -> None:
    """Reads of offsets and lengths in one send, numbered by their cookies."""
    client.socket.sendall(
        b"".join(request(READ, at, size, cookie=number, extended=extended) for number, (at, size) in enumerate(asked))
    )


@pytest.fixture
def image(tmp_path: Path) -> Mixed:
    return mixed(tmp_path)


@pytest.fixture(params=[0, 1], ids=["threads", "worker"])
def path(image: Mixed, request: pytest.FixtureRequest) -> Iterator[str]:
    listener = listen_unix()
    with Server({"test": image.image}, listener, workers=request.param):
        assert isinstance(listener.address, UnixAddress)
        yield listener.address.path


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("change", [changed, truncated])
def test_a_file_that_changes_while_it_is_open(
    path: str, image: Mixed, mode: str, size: int, change: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    start = image.starts["big"]
    with Client(path, mode) as client:
        assert client.read(start, size) == image.expected[start : start + size]
        change(image.files["big"])
        with caplog.at_level(logging.ERROR):
            for _ in range(3):
                reply = client.ask(READ, start, size)
                assert (reply.error, reply.data) == (EIO, {})
                assert mode == "simple" or str(image.files["big"]) in reply.message
        other = image.starts["slice"]
        assert client.read(other, size) == image.expected[other : other + size]
    assert isinstance(image.image.stale, StaleSourceError)
    lines = [record.message for record in caplog.records if str(image.files["big"]) in record.message]
    assert len(lines) == 1


@pytest.mark.parametrize("workers", [0, 1])
def test_what_is_wrong_is_told_again_of_new_images(
    image: Mixed, workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    listener = listen_unix()
    assert isinstance(listener.address, UnixAddress)
    truncated(image.files["big"])
    with Server({"test": image.image}, listener, workers=workers) as server, caplog.at_level(logging.ERROR):
        for told in (1, 2):
            for _ in range(2):
                with Client(listener.address.path) as client:
                    assert client.ask(READ, image.starts["big"], 512).error == EIO
            assert len([record for record in caplog.records if str(image.files["big"]) in record.message]) == told
            server.replace({"test": Image(image.image.regions, "test")})


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("change", [changed, truncated, replaced, removed, turned_into_a_fifo])
def test_a_file_that_changes_before_it_is_opened(
    path: str, image: Mixed, size: int, change: Callable[[Path], None]
) -> None:
    start = image.starts["big"]
    change(image.files["big"])
    with Client(path) as client:
        reply = client.ask(READ, start, size)
        assert (reply.error, reply.data) == (EIO, {})
        assert str(image.files["big"]) in reply.message
        assert client.read(0, 4096) == bytes(4096)


def shortened(path: Path) -> None:
    os.truncate(path, 10)


@pytest.mark.parametrize("change", [changed, shortened, replaced, removed, turned_into_a_fifo])
def test_a_small_file_that_is_read_as_a_whole(path: str, image: Mixed, change: Callable[[Path], None]) -> None:
    start, other = image.starts["small"], image.starts["slice"]
    length = other + 40_000 - start
    change(image.files["small"])
    with Client(path) as client:
        reply = client.ask(READ, start, 2048)
        assert (reply.error, reply.data) == (EIO, {})
        assert (image.image.stale is not None) == (change is not removed)
        assert client.ask(READ, start - 4096, 8192).error == EIO
        assert client.ask(READ, start, length).error == EIO
        assert client.read(other, 40_000) == image.expected[other : other + 40_000]


@pytest.mark.parametrize("change", [changed, shortened])
def test_a_small_file_that_changes_after_it_was_read(path: str, image: Mixed, change: Callable[[Path], None]) -> None:
    start = image.starts["small"]
    with Client(path) as client:
        assert client.read(start, 2048) == image.expected[start : start + 2048]
        change(image.files["small"])
        reply = client.ask(READ, start, 2048)
        assert (reply.error, reply.data) == (EIO, {})
    assert image.image.stale is not None


@pytest.mark.parametrize("change", [changed, shortened])
@pytest.mark.parametrize("first", ["change", "read"])
@pytest.mark.parametrize("length", [2048, 8192], ids=["one place", "several regions"])
def test_a_small_file_that_changes_in_the_midst_of_a_read(
    image: Mixed, length: int, first: str, change: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has been opened, and is read before or after the change: what was read is not sent."""
    start = image.starts["small"]
    pread = os.pread
    reads: list[int] = []

    def interrupted(descriptor: int, size: int, offset: int) -> bytes:
        reads.append(size)
        if first == "change":
            change(image.files["small"])
        data = pread(descriptor, size, offset)
        if first == "read":
            change(image.files["small"])
        return data

    listener = listen_unix()
    with Server({"test": image.image}, listener):
        assert isinstance(listener.address, UnixAddress)
        with Client(listener.address.path) as client:
            with monkeypatch.context() as patch:
                patch.setattr(os, "pread", interrupted)
                reply = client.ask(READ, start, length)
            assert reads
            assert (reply.error, reply.data) == (EIO, {})
            assert client.read(0, 4096) == bytes(4096)
    assert image.image.stale is not None


def test_a_removed_file_that_is_still_open_is_still_the_same(path: str, image: Mixed) -> None:
    start = image.starts["big"]
    with Client(path) as client:
        client.read(start, 4096)
        removed(image.files["big"])
        assert client.read(start, 4096) == image.expected[start : start + 4096]


@pytest.mark.parametrize("mode", MODES)
def test_one_bad_file_in_a_batch_fails_no_other_request(path: str, image: Mixed, mode: str) -> None:
    good, bad = image.starts["slice"], image.starts["big"]
    asked = [
        (good, 40_000),
        (good, 512),
        (0, 512),
        (bad, 512),
        (good + 1024, 512),
        (bad + 512, 512),
        (good, 40_000),
        (good, 512),
    ]
    with Client(path, mode) as client:
        client.read(bad, 512)
        client.read(good, 512)
        changed(image.files["big"])
        ask_together(client, asked, extended=mode == "extended")
        for number, (at, size) in enumerate(asked):
            reply = client.reply(READ, at, size)
            assert reply.cookie == number
            if bad <= at < bad + 1000:
                assert (reply.error, reply.data) == (EIO, {})
            else:
                assert reply.bytes(at, size) == image.expected[at : at + size]


@pytest.mark.parametrize("mode", MODES)
def test_a_file_that_shrinks_while_it_is_sent(image: Mixed, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Truncated after the check and before the first byte: the reply has begun, so its chunk is filled up."""
    start, size = image.starts["big"], 600_000
    send_file = os.sendfile

    def late(out: int, source: int, offset: int, count: int) -> int:
        os.truncate(image.files["big"], 100_000)
        return send_file(out, source, offset, count)

    listener = listen_unix()
    assert isinstance(listener.address, UnixAddress)
    with Server({"test": image.image}, listener), Client(listener.address.path, mode) as client:
        monkeypatch.setattr(os, "sendfile", late)
        client.send(READ, start, size)
        if mode == "simple":
            with pytest.raises(EOFError, match="100000 of 600000"):
                client.reply(READ, start, size)
            return
        reply = client.reply(READ, start, size)
        assert (reply.error, reply.error_offset) == (EIO, start)  # the file has changed: nothing of it is to be trusted
        sent = reply.data[start]
        assert sent[:100_000] == image.expected[start : start + 100_000]
        assert sent[100_000:] == bytes(500_000)
        monkeypatch.undo()
        assert client.read(0, 512) == bytes(512)


@pytest.mark.parametrize("mode", MODES)
def test_a_file_that_changes_while_it_is_sent(image: Mixed, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its size stays: what has left is a mixture, which must not pass for a good reply."""
    start, size = image.starts["big"], 600_000
    send_file = os.sendfile

    def slow(out: int, source: int, offset: int, count: int) -> int:
        sent = send_file(out, source, offset, min(count, 200_000))
        changed(image.files["big"])
        return sent

    listener = listen_unix()
    assert isinstance(listener.address, UnixAddress)
    with Server({"test": image.image}, listener), Client(listener.address.path, mode) as client:
        monkeypatch.setattr(os, "sendfile", slow)
        client.send(READ, start, size)
        if mode == "simple":
            with pytest.raises(EOFError, match="599488 of 600000"):
                client.reply(READ, start, size)
        else:
            reply = client.reply(READ, start, size)
            assert (reply.error, reply.error_offset) == (EIO, start)
            assert str(image.files["big"]) in reply.message
            monkeypatch.undo()
            assert client.read(0, 512) == bytes(512)
    assert image.image.stale is not None


def test_a_file_that_sendfile_refuses_is_copied(image: Mixed, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(out: int, source: int, offset: int, count: int) -> int:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "sendfile", refuses)
    listener = listen_unix()
    assert isinstance(listener.address, UnixAddress)
    start = image.starts["big"]
    with Server({"test": image.image}, listener), Client(listener.address.path) as client:
        assert client.read(start, 600_000) == image.expected[start : start + 600_000]


@pytest.mark.parametrize("mode", MODES)
def test_a_disk_that_fails(image: Mixed, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pread, preadv = os.pread, os.preadv

    def fails(descriptor: int, length: int, offset: int) -> bytes:
        if offset >= 8192:
            raise OSError(5, "Input/output error")
        return pread(descriptor, length, offset)

    def fails_too(descriptor: int, buffers: Sequence[memoryview], offset: int) -> int:
        if offset >= 8192:
            raise OSError(5, "Input/output error")
        return preadv(descriptor, buffers, offset)

    monkeypatch.setattr(os, "pread", fails)
    monkeypatch.setattr(os, "preadv", fails_too)
    listener = listen_unix()
    assert isinstance(listener.address, UnixAddress)
    start = image.starts["big"]
    with Server({"test": image.image}, listener), Client(listener.address.path, mode) as client:
        assert client.read(start, 4096) == image.expected[start : start + 4096]
        assert client.ask(READ, start + 8192, 4096).error == EIO
        assert client.read(start, 4096) == image.expected[start : start + 4096]


@pytest.mark.parametrize("mode", ["structured", "extended"])
def test_a_disk_that_fails_between_long_reads(image: Mixed, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is the same, and cannot be read to its end; what came before and what comes after is good."""
    start, size = image.starts["big"], 200_000
    send_file = os.sendfile

    def fails(out: int, source: int, offset: int, count: int) -> int:
        if offset < size:
            return send_file(out, source, offset, count)
        if offset == size and count == size:
            return send_file(out, source, offset, 70_000)
        raise OSError(5, "Input/output error")

    def fails_too(descriptor: int, length: int, offset: int) -> bytes:
        raise OSError(5, "Input/output error")

    listener = listen_unix()
    assert isinstance(listener.address, UnixAddress)
    asked = [(start, size), (start + size, size), (start, size), (0, 512)]
    with Server({"test": image.image}, listener), Client(listener.address.path, mode) as client:
        monkeypatch.setattr(os, "sendfile", fails)
        monkeypatch.setattr(os, "pread", fails_too)
        ask_together(client, asked, extended=mode == "extended")
        for number, (at, length) in enumerate(asked):
            reply = client.reply(READ, at, length)
            assert reply.cookie == number
            if at == start + size:
                assert (reply.error, reply.error_offset) == (EIO, at)
                assert "cannot be read to its end" in reply.message
                assert reply.data == {at: image.expected[at : at + 70_000] + bytes(130_000)}
            else:
                assert reply.bytes(at, length) == image.expected[at : at + length]


@pytest.mark.parametrize("mode", MODES)
def test_long_reads_have_a_limit(tmp_path: Path, mode: str) -> None:
    """Wherever the bytes come from, here from one file."""
    builder = Builder()
    start = builder.file(tmp_path / "long", bytes(MAX_PAYLOAD + 4096))
    listener = listen_unix()
    assert isinstance(listener.address, UnixAddress)
    with Server({"test": builder.image()}, listener), Client(listener.address.path, mode) as client:
        assert client.ask(READ, start, MAX_PAYLOAD + 1).error == EINVAL
        assert client.read(start, MAX_PAYLOAD) == bytes(MAX_PAYLOAD)


@pytest.mark.parametrize("mode", MODES)
def test_small_files_that_are_read_together_are_not_kept_open(
    tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = Builder()
    data = [random_bytes(5000, number) for number in range(100)]
    starts = [builder.file(tmp_path / f"{number}", each) for number, each in enumerate(data)]
    get = HandleCache.get
    kept: list[str] = []

    def note(self: HandleCache, file: HostFile) -> Handle:
        kept.append(file.name)
        return get(self, file)

    monkeypatch.setattr(HandleCache, "get", note)
    listener = listen_unix()
    assert isinstance(listener.address, UnixAddress)
    with Server({"test": builder.image()}, listener), Client(listener.address.path, mode) as client:
        expected = b"".join(each + bytes(-len(each) % 2048) for each in data)
        for offset in (0, 1000):
            assert client.read(starts[0] + offset, 500_000) == expected[offset : offset + 500_000]
    assert kept == []


def test_descriptors_run_out_and_reads_go_on(tmp_path: Path) -> None:
    """More files than descriptors, and the cache of handles believes that it may keep them all."""
    builder = Builder()
    starts = [builder.file(tmp_path / f"{number}", random_bytes(100_000, number)) for number in range(100)]
    image = Image(builder.regions, "many", HandleCache(1000))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    listener = listen_unix()
    assert isinstance(listener.address, UnixAddress)
    with Server({"test": image}, listener), Client(listener.address.path) as client:
        used = {int(name) for name in os.listdir("/proc/self/fd")}
        free = [number for number in range(before[0]) if number not in used]
        resource.setrlimit(resource.RLIMIT_NOFILE, (free[20], before[1]))
        try:
            for start in starts:
                for length in (4096, 90_000):
                    assert client.read(start, length) == builder.expected[start : start + length]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
