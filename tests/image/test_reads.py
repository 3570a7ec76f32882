"""Any sequence of reads gives slices of the one image."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qemu_viso.errors import InternalError, MissingInputError, StaleSourceError
from qemu_viso.image import Generated, Image, Literal, Patched, RegionMap, memory
from qemu_viso.image.image import SECTOR
from qemu_viso.image.render import render
from qemu_viso.sources.handles import HandleCache
from tests.recipes import opened, write_files

if TYPE_CHECKING:
    from pathlib import Path

    from qemu_viso.opening import Opened


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Opened, bytes]:
    folder = tmp_path_factory.mktemp("sample")
    files = {f"in/d{index % 7}/file {index}": os.urandom(index * 37 % 5000) for index in range(200)}
    files["in/boot.bin"] = os.urandom(10_001)
    found = opened(folder, "/=in", "-b /boot.bin -no-emul-boot -boot-info-table", files=files)
    return found, found.image.read(0, found.image.size)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_every_read_is_a_slice(sample: tuple[Opened, bytes], data: st.DataObject) -> None:
    found, whole = sample
    offset = data.draw(st.integers(0, found.image.size))
    length = data.draw(st.integers(0, found.image.size - offset) | st.integers(0, min(4096, found.image.size - offset)))
    assert found.image.read(offset, length) == whole[offset : offset + length]


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> tuple[RegionMap, bytes]:
    """The regions of an image with everything in it, and its bytes as one reader got them."""
    folder = tmp_path_factory.mktemp("rich")
    files = {f"in/d{index % 7}/file {index}": os.urandom(index * 37 % 5000) for index in range(200)}
    files |= {"in/boot.bin": os.urandom(10_001), "in/efi.img": os.urandom(3000), "code": b"\x33\xed" + bytes(400)}
    files |= {f"in/{'long' * 60}{index}": b"" for index in range(20)}
    lines = (
        "--udf --rock-ridge --import-iso=other.iso /=in -T",
        "-b /boot.bin -no-emul-boot -boot-info-table --efi-boot /efi.img -isohybrid-gpt-basdat",
    )
    write_files(folder, files | {"other/x": os.urandom(5000), "other/y/z": b"z"})
    os.symlink("d1", folder / "in" / "link")
    render(opened(folder, "--rock-ridge /=other").image, str(folder / "other.iso"))
    image = opened(folder, *lines).image
    return image.regions, image.read(0, image.size)


READS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 40_000) | st.integers(0, 1 << 20)), min_size=1, max_size=25)


@settings(max_examples=60, deadline=None)
@given(
    readers=st.lists(READS, min_size=2, max_size=8),
    handles=st.integers(1, 4),
    cache=st.sampled_from([1, 1 << 16, memory.CACHE_BYTES]),
)
def test_any_number_of_readers_get_slices_at_once(
    rich: tuple[RegionMap, bytes], readers: list[list[tuple[float, int]]], handles: int, cache: int
) -> None:
    """Of an image that nobody has read before, with room for little or much of what is made when it is first read."""
    regions, whole = rich
    image = Image(regions, "rich", HandleCache(handles))
    together = Barrier(len(readers))

    def read(places: list[tuple[float, int]]) -> list[tuple[int, int]]:
        together.wait()
        wrong = []
        for share, length in places:
            offset = int(share * image.size)
            length = min(length, image.size - offset)
            if image.read(offset, length) != whole[offset : offset + length]:
                wrong.append((offset, length))
        return wrong

    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that readers take turns at any place
    try:
        with patch.object(memory, "CACHE_BYTES", cache), ThreadPoolExecutor(len(readers)) as threads:
            assert [wrong for found in threads.map(read, readers) for wrong in found] == []
    finally:
        sys.setswitchinterval(usual)


def test_many_threads_read_one_image(sample: tuple[Opened, bytes]) -> None:
    found, whole = sample
    # A cache of three handles: most reads open a file while others have dropped it.
    image = Image(found.image.regions, "few handles", HandleCache(3))

    def read(seed: int) -> bool:
        offset = seed * 7919 * 512 % image.size
        length = min(seed % 9000, image.size - offset)
        return image.read(offset, length) == whole[offset : offset + length]

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(read, range(3000)))


def test_reads_outside_are_refused(sample: tuple[Opened, bytes]) -> None:
    image = sample[0].image
    for offset, length in ((-1, 1), (image.size, 1), (0, image.size + 1), (5, -1)):
        with pytest.raises(ValueError, match="not inside"):
            image.pieces(offset, length)


def test_handles_are_closed_in_the_end(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    found = opened(tmp_path, "/=in", files={f"in/{index}": b"x" for index in range(40)})
    found.image.read(0, found.image.size)
    assert len(os.listdir("/proc/self/fd")) > before
    del found
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("change", ["grow", "shrink", "touch", "replace", "remove"])
def test_a_changed_source_is_an_error_and_never_a_mixture(tmp_path: Path, change: str) -> None:
    found = opened(tmp_path, "/=in", files={"in/a": b"a" * 9000, "in/b": b"b" * 9000})
    start = found.tree.root.listings[0].nodes["a"].extent * SECTOR  # type: ignore[union-attr]
    path = tmp_path / "in" / "a"
    if change == "grow":
        path.write_bytes(b"c" * 9001)
    elif change == "shrink":
        path.write_bytes(b"c")
    elif change == "touch":
        os.utime(path, ns=(0, 0))
    elif change == "replace":
        status = path.stat()
        path.rename(tmp_path / "old")
        path.write_bytes(b"c" * 9000)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    else:
        path.unlink()
    expected = MissingInputError if change == "remove" else StaleSourceError
    with pytest.raises(expected, match="in/a"):
        found.image.read(start, 100)
    other = found.tree.root.listings[0].nodes["b"].extent * SECTOR  # type: ignore[union-attr]
    assert found.image.read(other, 9000) == b"b" * 9000
    assert (found.image.stale is not None) == (change != "remove")


def test_a_source_that_changes_while_it_is_open(tmp_path: Path) -> None:
    found = opened(tmp_path, "/=in", files={"in/a": b"a" * 9000})
    start = found.tree.root.listings[0].nodes["a"].extent * SECTOR  # type: ignore[union-attr]
    assert found.image.read(start, 10) == b"a" * 10
    with open(tmp_path / "in" / "a", "r+b") as file:
        file.write(b"changed")
    os.utime(tmp_path / "in" / "a", ns=(1, 1))
    with pytest.raises(StaleSourceError) as caught:
        found.image.read(start, 10)
    # What the image remembers is the sentence, and no frame of whoever read.
    stale = found.image.stale
    assert stale is not None
    assert str(stale) == str(caught.value)
    assert caught.value.__traceback__ is not None
    assert (stale.__traceback__, stale.__context__, stale.__cause__) == (None, None, None)


def test_a_fifo_in_place_of_a_source_does_not_hang(tmp_path: Path) -> None:
    found = opened(tmp_path, "/=in", files={"in/a": b"a" * 10})
    (tmp_path / "in" / "a").unlink()
    os.mkfifo(tmp_path / "in" / "a")
    with pytest.raises(StaleSourceError, match="replaced"):
        found.image.read(0, found.image.size)


def test_patches_cover_exactly_their_bytes(tmp_path: Path) -> None:
    found = opened(tmp_path, "/=in", files={"in/a": bytes(range(256)) * 3})
    base = found.tree.root.listings[0].nodes["a"].data  # type: ignore[union-attr]
    regions = RegionMap()
    regions.append(0, SECTOR, Patched(base, 10, Generated(5, lambda: b"-----", "patch")))  # type: ignore[arg-type]
    image = Image(regions, "patched")
    whole = bytearray(bytes(range(256)) * 3)
    whole[10:15] = b"-----"
    whole += bytes(SECTOR - len(whole))
    for offset in range(30):
        for length in range(30):
            assert image.read(offset, length) == whole[offset : offset + length]


class TestRegionMap:
    def test_gaps_are_bugs(self) -> None:
        regions = RegionMap()
        regions.append(0, SECTOR, None)
        for start, span, content in (
            (SECTOR + 1, SECTOR, None),
            (0, SECTOR, None),
            (SECTOR, 0, None),
            (SECTOR, 2, Literal(b"abc", "too long")),
        ):
            with pytest.raises(InternalError):
                regions.append(start, span, content)

    def test_an_image_ends_with_a_sector(self) -> None:
        regions = RegionMap()
        regions.append(0, 100, None)
        with pytest.raises(InternalError, match="sector"):
            Image(regions, "short")

    def test_generated_bytes_have_the_promised_size(self) -> None:
        regions = RegionMap()
        regions.append(0, SECTOR, Generated(10, lambda: b"short", "label"))
        with pytest.raises(InternalError, match="label"):
            Image(regions, "wrong").read(0, 1)
