"""Bytes of an image into buffers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qemu_viso.errors import InputOutputError, StaleSourceError
from qemu_viso.image import Generated
from qemu_viso.vhost_user.block import BlockDevice, configuration, read_into
from qemu_viso.vhost_user.virtqueue import Chain
from tests.vhost_user.media import host_file, lay, write_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from qemu_viso.image import Image


def buffers(lengths: Sequence[int]) -> list[memoryview]:
    return [memoryview(bytearray(b"\xee" * length)) for length in lengths]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_range_into_any_buffers(image: Image, data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.one_of(st.integers(1, 100), st.integers(1, 40000)), min_size=1, max_size=8))
    length = sum(lengths)
    offset = data.draw(st.integers(0, image.size - length))
    views = buffers(lengths)
    read_into(image, offset, length, views)
    assert b"".join(views) == image.read(offset, length)


def test_more_buffers_than_one_read_can_fill(image: Image) -> None:
    views = buffers([3] * 5000)
    read_into(image, 50000, 15000, views)
    assert b"".join(views) == image.read(50000, 15000)


def test_reads_that_come_short_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = lay(write_file(tmp_path, "file", 10000))
    want = image.read(0, 8000)
    whole = os.preadv
    monkeypatch.setattr(os, "preadv", lambda number, views, offset: whole(number, [views[0][:7]], offset))
    views = buffers([1, 10, 100, 7889])
    read_into(image, 0, 8000, views)
    assert b"".join(views) == want


def test_a_file_that_ends_too_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = lay(write_file(tmp_path, "file", 10000))
    monkeypatch.setattr(os, "preadv", lambda *_: 0)
    with pytest.raises(InputOutputError, match="ends 8000 bytes too soon"):
        read_into(image, 0, 8000, buffers([8000]))
    os.truncate(tmp_path / "file", 5000)
    with pytest.raises(StaleSourceError):
        read_into(image, 0, 8000, buffers([8000]))


def test_our_own_mistake_is_an_error_for_the_guest_too(caplog: pytest.LogCaptureFixture) -> None:
    def produce() -> bytes:
        raise ZeroDivisionError

    device = BlockDevice(lay(Generated(2048, produce, "broken")))
    [header, data, status] = buffers([16, 512, 1])
    header[:] = bytes(16)
    assert device.answer(Chain(0, [header], [data, status], 16, 513)) == 0
    assert status[0] == 1
    assert caplog.records[0].exc_info


def test_a_source_that_may_not_be_read_is_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(4096))
    device = BlockDevice(lay(host_file(path)))
    path.unlink()
    for _ in range(2):
        [header, data, status] = buffers([16, 512, 1])
        header[:] = bytes(16)
        assert device.answer(Chain(0, [header], [data, status], 16, 513)) == 0
        assert status[0] == 1
    [record] = caplog.records
    assert record.getMessage() == f"sectors from 0 on cannot be read: the source '{path}' does not exist"


def test_configuration_of_a_large_medium() -> None:
    config = configuration(8 << 40, 4)
    assert int.from_bytes(config[:8], "little") == (8 << 40) // 512
    assert len(config) == 36
