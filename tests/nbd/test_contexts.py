"""Metadata contexts of large trees, where small holes are not worth an extent."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from qemu_viso.image import Generated, Patched
from qemu_viso.nbd.contexts import MAX_EXTENTS, Status
from tests.nbd.images import SECTOR, Builder, host_file, random_bytes

if TYPE_CHECKING:
    from pathlib import Path

ALLOCATION, ORIGIN = 1, 2
HOLE = 3


def small_files(builder: Builder, folder: Path, count: int, prefix: str) -> None:
    path = folder / prefix
    path.write_bytes(b"x" * 700)
    file = host_file(path)
    for _ in range(count):
        builder.add(file, b"x" * 700)


def test_the_padding_of_many_small_files_is_not_worth_an_extent(tmp_path: Path) -> None:
    builder = Builder()
    builder.add(None, bytes(32_768))
    small_files(builder, tmp_path, 1000, "first")
    builder.add(None, bytes(2048))  # with the padding before it a hole of 3,072 bytes: still under a block
    small_files(builder, tmp_path, 1000, "second")
    hole = builder.add(None, bytes(4096)) - 1024  # it begins with the padding of the file before
    builder.file(tmp_path / "big", random_bytes(100_000))
    small_files(builder, tmp_path, 1000, "third")
    tail = builder.add(None, bytes(150 * SECTOR)) - 1024
    size = builder.regions.size
    status = Status(builder.image())
    assert status.extents(ALLOCATION, 0, size, one=False) == [
        (32_768, HOLE),
        (hole - 32_768, 0),
        (4096 + 1024, HOLE),
        (tail - hole - 4096 - 1024, 0),
        (size - tail, HOLE),
    ]
    assert status.extents(ALLOCATION, 33_280, size - 33_280, one=True) == [(hole - 33_280, 0)]
    assert status.extents(ALLOCATION, hole + 512, size - hole - 512, one=True) == [(4096 + 512, HOLE)]
    # A short question is still answered to the unit.
    assert status.extents(ALLOCATION, 32_768, 4096, one=False) == [(1024, 0), (1024, HOLE), (1024, 0), (1024, HOLE)]


def test_no_chunk_is_longer_than_it_may_be(tmp_path: Path) -> None:
    builder = Builder()
    small_files(builder, tmp_path, MAX_EXTENTS, "many")
    status = Status(builder.image())
    size = builder.regions.size
    extents = status.extents(ORIGIN, 0, size, one=False)
    assert len(extents) == MAX_EXTENTS
    covered = sum(length for length, _ in extents)
    rest = status.extents(ORIGIN, covered, size - covered, one=False)
    assert covered + sum(length for length, _ in rest) == size
    assert rest[0] == (700, 3 << 28 | MAX_EXTENTS // 2)


@pytest.mark.parametrize("fate", ["stays", "goes", "is emptied while it is open"])
def test_holes_of_a_sparse_file_while_it_is_the_same(tmp_path: Path, fate: str) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(3 << 20)
        file.seek(1 << 20)
        file.write(b"x" * (1 << 20))
    if os.stat(path).st_blocks * 512 > 2 << 20:
        pytest.skip("the file system of the temporary directory has no holes")
    builder = Builder()
    builder.add(host_file(path), path.read_bytes())
    image = builder.image()
    if fate == "goes":
        path.unlink()
    elif fate != "stays":
        image.read(0, 512)
        os.truncate(path, 0)
        os.truncate(path, 3 << 20)
    extents = Status(image).extents(ALLOCATION, 0, 3 << 20, one=False)
    mib = 1 << 20
    assert extents == ([(mib, HOLE), (mib, 0), (mib, HOLE)] if fate == "stays" else [(3 * mib, 0)])


def test_a_patched_file_is_data(tmp_path: Path) -> None:
    path = tmp_path / "boot"
    path.write_bytes(bytes(100_352))
    builder = Builder()
    builder.add(Patched(host_file(path), 8, Generated(56, lambda: bytes(56), "table")), bytes(100_352))
    status = Status(builder.image())
    assert status.extents(ALLOCATION, 0, 100_352, one=False) == [(100_352, 0)]
    assert status.extents(ORIGIN, 0, 100_352, one=False) == [(100_352, 5 << 28)]
