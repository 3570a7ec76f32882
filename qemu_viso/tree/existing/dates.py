"""Dates of existing images, as nanoseconds since 1970; what is no date is None."""

from __future__ import annotations

import calendar
from functools import lru_cache

_MINUTE = 60
_QUARTER = 15 * _MINUTE


@lru_cache(maxsize=65536)
def record_time(date: bytes) -> int | None:
    """The seven bytes of ECMA-119 9.1.5; all zero is "not specified"."""
    year, month, day, hour, minute, second, quarters = date
    if not month:
        return None
    zone = quarters - 256 if quarters > 127 else quarters
    return moment((1900 + year, month, day, hour, minute, second), zone * _QUARTER)


def volume_time(date: bytes) -> int | None:
    """The seventeen bytes of ECMA-119 8.4.26.1: digits, and a zone."""
    digits = date[:16]
    if not digits.isdigit() or not int(digits[4:6]):
        return None
    fields = tuple(int(digits[start:stop]) for start, stop in ((0, 4), (4, 6), (6, 8), (8, 10), (10, 12), (12, 14)))
    zone = date[16] - 256 if date[16] > 127 else date[16]
    time = moment(fields, zone * _QUARTER)
    return None if time is None else time + int(digits[14:16]) * 10_000_000


def moment(fields: tuple[int, ...], zone: int) -> int | None:
    """A date of year, month, day, hour, minute and second, `zone` seconds east of Greenwich."""
    year, month, day, hour, minute, second = fields
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 62 and 1 <= year <= 9999):
        return None
    return (calendar.timegm((year, month, day, hour, minute, second)) - zone) * 1_000_000_000
