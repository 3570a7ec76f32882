"""Fields of ECMA-119 section 7 and 8.4.26/9.1.5: numbers in both byte orders, characters, dates."""

from __future__ import annotations

import calendar
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.judges.reader.model import Findings

D_CHARACTERS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
A_CHARACTERS = D_CHARACTERS | frozenset(b" !\"%&'()*+,-./:;<=>?")


class Fields:
    """A structure's bytes, read by offset; each disagreement between byte orders is a finding."""

    def __init__(self, data: bytes, where: str, findings: Findings) -> None:
        self.data = data
        self.where = where
        self.findings = findings

    def little(self, offset: int, width: int) -> int:
        return int.from_bytes(self.data[offset : offset + width], "little")

    def big(self, offset: int, width: int) -> int:
        return int.from_bytes(self.data[offset : offset + width], "big")

    def both(self, offset: int, width: int, name: str) -> int:
        """7.2.3 (2 bytes) and 7.3.3 (4 bytes): the value twice, least significant byte first, then most."""
        value, again = self.little(offset, width), self.big(offset + width, width)
        if value != again:
            clause = "ECMA-119 7.2.3" if width == 2 else "ECMA-119 7.3.3"
            self.findings.add(clause, f"{name} is {value} in one byte order and {again} in the other", self.where)
        return value

    def zeros(self, start: int, stop: int, name: str, clause: str) -> None:
        if any(self.data[start:stop]):
            self.findings.add(clause, f"{name} is not zero", self.where)


@lru_cache(4096)
def short_date(raw: bytes) -> tuple[int | None, str | None]:
    """The 7-byte date of 9.1.5: nanoseconds since 1970 (None: not specified), and what is wrong with it."""
    year, month, day, hour, minute, second = raw[:6]
    offset = int.from_bytes(raw[6:7], "big", signed=True)
    if raw == bytes(7):
        return None, None
    try:
        when = datetime(1900 + year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        return None, f"date {raw.hex()}: {error}"
    if not -48 <= offset <= 52:
        return None, f"date {raw.hex()}: {offset} quarters of an hour from Greenwich are not between -48 and 52"
    return (calendar.timegm(when.timetuple()) - offset * 900) * 10**9, None


@lru_cache(4096)
def long_date(raw: bytes) -> tuple[int | None, str | None]:
    """The 17-byte date of 8.4.26.1: nanoseconds since 1970 (None: not specified), and what is wrong with it."""
    digits, offset = raw[:16], int.from_bytes(raw[16:17], "big", signed=True)
    if digits == b"0" * 16:
        return None, None if offset == 0 else f"an unspecified date has offset {offset}"
    if not re.fullmatch(rb"[0-9]{16}", digits):
        return None, f"date {raw!r} is not made of digits"
    parts = [int(digits[a:b]) for a, b in ((0, 4), (4, 6), (6, 8), (8, 10), (10, 12), (12, 14), (14, 16))]
    try:
        year, month, day, hour, minute, second, hundredths = parts
        when = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        return None, f"date {raw!r}: {error}"
    if not -48 <= offset <= 52:
        return None, f"date {raw!r}: {offset} quarters of an hour from Greenwich are not between -48 and 52"
    return (calendar.timegm(when.timetuple()) - offset * 900) * 10**9 + hundredths * 10**7, None


def illegal(raw: bytes, allowed: frozenset[int]) -> str:
    """The bytes outside a character set, for a sentence."""
    return repr(bytes(sorted(set(raw) - allowed)))[1:]
