"""Dates, at the ends of what they can tell."""

from __future__ import annotations

import pytest

from qemu_viso.ondisk.ecma119 import record_date, record_seconds, volume_date


@pytest.mark.parametrize(
    ("seconds", "date"),
    [
        (0, (70, 1, 1, 0, 0, 0)),
        (-1, (69, 12, 31, 23, 59, 59)),
        (951_782_400, (100, 2, 29, 0, 0, 0)),
        (-2_208_988_800, (0, 1, 1, 0, 0, 0)),
        (-2_208_988_801, (0, 1, 1, 0, 0, 0)),
        (-(10**30), (0, 1, 1, 0, 0, 0)),
        (5_869_583_999, (255, 12, 31, 23, 59, 59)),
        (5_869_584_000, (255, 12, 31, 23, 59, 59)),
        (10**30, (255, 12, 31, 23, 59, 59)),
    ],
)
def test_record_dates(seconds: int, date: tuple[int, ...]) -> None:
    assert record_date(seconds) == bytes((*date, 0))
    assert record_date(record_seconds(seconds)) == record_date(seconds)


def test_volume_dates() -> None:
    assert volume_date(1_234_567_890_120_000_000) == b"2009021323313012\0"
    assert volume_date(-10_000_000) == b"1969123123595999\0"
