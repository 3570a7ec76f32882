"""The short ways into an image (spans, gathered files, runs of structures) lead to the same bytes as the long one."""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import InternalError, StaleSourceError
from qemu_viso.image import Generated, Image, RegionMap
from qemu_viso.image.memory import CACHE_BYTES, MemorySpans
from qemu_viso.sources.host import HostFile, read_files
from tests.recipes import opened

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Image, bytes]:
    folder = tmp_path_factory.mktemp("sample")
    files = {f"in/d{index % 7}/file {index}": os.urandom(index * 37 % 5000) for index in range(200)}
    files["in/boot.bin"] = os.urandom(10_001)
    files["in/big"] = os.urandom(300_000)
    files |= {f"in/d0/middling {index}": os.urandom(40_000) for index in range(3)}
    image = opened(folder, "/=in", "-b /boot.bin -no-emul-boot -boot-info-table", files=files).image
    return image, image.read(0, image.size)


def test_gathered_bytes_are_those_of_read(sample: tuple[Image, bytes]) -> None:
    image, whole = sample
    chooser = random.Random(1)
    for _ in range(500):
        offset = chooser.randrange(image.size)
        length = min(chooser.choice((0, 1, 700, 2048, 50_000, image.size)), image.size - offset)
        assert b"".join(image.gather(offset, length)) == whole[offset : offset + length]


def test_which_files_are_gathered_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small ones, and those of middling size that lie in the range."""
    read: list[str] = []

    def note(files: list[HostFile]) -> list[bytes]:
        read.extend(file.name for file in files)
        return read_files(files)

    monkeypatch.setattr("qemu_viso.image.image.read_files", note)
    names = {"a": 3000, "b": 40_000, "c": 3000, "d": 40_000, "e": 3000, "f": 70_000}
    image = opened(tmp_path, "/=in", files={f"in/{name}": bytes(size) for name, size in names.items()}).image
    starts = {content.name: start for start, _, content in image.regions.spans() if isinstance(content, HostFile)}
    for first, skipped, last, kept, expected in (
        ("a", 1, "e", 1, "abcde"),
        ("b", 0, "d", 40_000, "bcd"),
        ("b", 1, "d", 40_000, "cd"),
        ("b", 0, "d", 39_999, "bc"),
        ("b", 1, "c", 1, "c"),
        ("a", 0, "f", 70_000, "abcde"),
    ):
        read.clear()
        offset = starts[first] + skipped
        image.gather(offset, starts[last] + kept - offset)
        assert read == list(expected)


def test_spans_are_stretches_of_the_image(sample: tuple[Image, bytes]) -> None:
    image, whole = sample
    found = 0
    for offset in range(0, image.size, 512):
        span = image.span(offset)
        if span is None:
            continue
        found += 1
        assert span.start <= offset < span.stop
        if span.data is None:
            data = os.pread(span.descriptor, span.stop - span.start, span.start - span.delta)
        else:
            data = bytes(span.data)
        assert data == whole[span.start : span.stop]
    assert found > image.size // 512 // 2


def test_a_changed_file_is_noticed_when_it_is_gathered(tmp_path: Path) -> None:
    image = opened(tmp_path, "/=in", files={"in/a": b"a" * 3000, "in/b": b"b" * 3000}).image
    assert image.gather(0, image.size)
    (tmp_path / "in" / "b").write_bytes(b"c" * 3000)
    os.utime(tmp_path / "in" / "b", ns=(0, 1))
    with pytest.raises(StaleSourceError):
        image.gather(0, image.size)
    assert image.stale is not None


def structures(count: int, size: int) -> RegionMap:
    regions = RegionMap()
    for number in range(count):
        data = number.to_bytes(4, "big") * (size // 4)
        regions.append(regions.size, size, Generated(size, lambda data=data: data, f"number {number}"))  # type: ignore[misc]
    return regions


def test_structures_are_produced_once_and_forgotten_when_there_are_too_many() -> None:
    produced = []
    regions = RegionMap()
    size = 32 << 10
    for number in range(2 * CACHE_BYTES // size):

        def produce(number: int = number) -> bytes:
            produced.append(number)
            return number.to_bytes(4, "big") * (size // 4)

        regions.append(regions.size, size, Generated(size, produce, "structure"))
    image = Image(regions, "structures")
    for _ in range(3):
        image.read(0, size)
    assert produced == [0, 1]  # its neighbour in the block of 64 KiB came along
    for offset in range(0, image.size, size):
        image.read(offset, size)
    assert sorted(produced) == list(range(len(regions)))
    image.read(image.size - size, size)
    assert len(produced) == len(regions)
    image.read(0, size)
    assert len(produced) == len(regions) + 2


def test_many_threads_share_the_structures() -> None:
    regions = structures(4000, 2048)
    image = Image(regions, "structures")

    def read(seed: int) -> bool:
        number = seed * 7919 % 4000
        return image.read(number * 2048, 2048) == number.to_bytes(4, "big") * 512

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(read, range(8000)))


def test_a_structure_of_another_length_is_a_bug_that_shows() -> None:
    regions = RegionMap()
    regions.append(0, 2048, Generated(100, lambda: b"short", "directory"))
    with pytest.raises(InternalError, match="5 bytes long, not 100"):
        Image(regions, "wrong").read(0, 2048)
    empty = RegionMap()
    empty.append(0, 1 << 20, None)
    with pytest.raises(InternalError, match="no content"):
        MemorySpans(empty).slice(0, 0, 10)
