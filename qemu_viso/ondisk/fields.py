"""Structures as tables of fields: one definition to write their bytes by, and to explain them by.

A table gives each field's name as its standard has it, its length, how its bytes are read, and the clause. Fields
follow one another, so that they fill the structure by construction.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Value = int | str
"""What a field says: a number, or a text."""

SHOWN_BYTES = 32
"""Bytes that are spelled out of a field that is neither number nor text."""


class Kind(Enum):
    """How the bytes of a field are read, in words."""

    LITTLE = "little-endian"
    BIG = "big-endian"
    BOTH = "both-endian"
    TEXT = "characters"
    WIDE = "UTF-16BE"
    UTF16 = "UTF-16LE"
    DATE = "seven-byte date"
    DIGITS = "date in digits"
    TIMESTAMP = "time stamp"
    DSTRING = "dstring"
    COMPRESSED = "OSTA compressed Unicode"
    GUID = "GUID"
    BYTES = "bytes"
    UNUSED = "unused"


class Field(NamedTuple):
    """A field of a structure.

    Attributes:
        name: as the standard calls it, in lower case.
        size: bytes.
        kind: how they are read.
        clause: where the standard defines it, without the standard's name; empty where the structure's does.
        meanings: what its values mean, or what its bits mean if `bits`.
        bits: a number made of flags.
    """

    name: str
    size: int
    kind: Kind = Kind.LITTLE
    clause: str = ""
    meanings: Mapping[int, str] | None = None
    bits: bool = False

    def value(self, data: bytes) -> Value:
        """What the bytes of the field say; any bytes say something."""
        return _READERS[self.kind](data)

    def meaning(self, value: Value) -> str:
        """What a value means, or nothing where it speaks for itself."""
        if self.meanings is None or not isinstance(value, int):
            return ""
        if not self.bits:
            return self.meanings.get(value, "")
        return ", ".join(text for bit, text in self.meanings.items() if value & bit == bit and (bit or not value))

    def pack(self, value: int | bytes) -> bytes:
        """The bytes of a value; text is given as bytes, and filled up with zeros."""
        if isinstance(value, bytes):
            return value.ljust(self.size, b"\0")
        if self.kind is Kind.BOTH:
            half = self.size // 2
            return value.to_bytes(half, "little") + value.to_bytes(half, "big")
        return value.to_bytes(self.size, "big" if self.kind is Kind.BIG else "little")


class Structure:
    """A structure: fields in a row.

    Args:
        name: as the standard calls it.
        standard: the standard and its clause.
        fields: in order; a pair of a name and another structure stands for the latter's fields.

    Attributes:
        fields: each with its offset.
        size: bytes.
    """

    __slots__ = ("fields", "name", "size", "standard")

    def __init__(self, name: str, standard: str, *fields: Field | tuple[str, Structure]) -> None:
        self.name = name
        self.standard = standard
        placed: list[tuple[int, Field]] = []
        at = 0
        for field in _flat(fields):
            placed.append((at, field))
            at += field.size
        self.fields = tuple(placed)
        self.size = at

    def pack(self, **values: int | bytes) -> bytes:
        """Its bytes; a field is named with underscores for spaces, and zeros where it is not named.

        Raises:
            KeyError: there is no such field.
        """
        parts = [
            field.pack(values.pop(field.name.replace(" ", "_").replace("-", "_"), b"")) for _, field in self.fields
        ]
        if values:
            raise KeyError(*values)
        return b"".join(parts)

    def read(self, data: bytes, at: int = 0) -> dict[str, Value]:
        """What the fields say, by their names; `data` is long enough."""
        return {field.name: field.value(data[at + offset : at + offset + field.size]) for offset, field in self.fields}


def _flat(fields: tuple[Field | tuple[str, Structure], ...]) -> Iterator[Field]:
    for field in fields:
        if isinstance(field, Field):
            yield field
            continue
        prefix, inner = field
        for _, each in inner.fields:
            number = inner.standard.rpartition(" ")[2]
            name = f"{prefix}: {each.name}"
            yield Field(name, each.size, each.kind, each.clause or number, each.meanings, each.bits)


# --- how bytes are read ----------------------------------------------------------------------------------------------


def _both(data: bytes) -> Value:
    half = len(data) // 2
    little, big = int.from_bytes(data[:half], "little"), int.from_bytes(data[half:], "big")
    return little if little == big else f"{little} little-endian, but {big} big-endian"


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape").rstrip("\0 ")


def _wide(data: bytes) -> str:
    return data.decode("utf-16-be", "replace").rstrip("\0 ")


def _date(data: bytes) -> str:
    if len(data) < 7 or not any(data):
        return "not specified"
    year, month, day, hour, minute, second = data[:6]
    return f"{1900 + year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} {_zone(data[6])}"


def _digits(data: bytes) -> str:
    digits = data[:16].decode("latin-1")
    if len(data) < 17 or not digits.strip("0\0 "):
        return "not specified"
    if not (digits.isascii() and digits.isdigit()):
        return data.hex(" ")
    day = f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}"
    return f"{day} {digits[8:10]}:{digits[10:12]}:{digits[12:14]}.{digits[14:]} {_zone(data[16])}"


def _zone(quarters: int) -> str:
    minutes = 15 * (quarters - 256 if quarters > 127 else quarters)
    return _offset(minutes)


def _offset(minutes: int) -> str:
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def _timestamp(data: bytes) -> str:
    if len(data) < 12 or not any(data):
        return "not specified"
    kind, year = int.from_bytes(data[:2], "little"), int.from_bytes(data[2:4], "little", signed=True)
    month, day, hour, minute, second, centi, hundreds, micro = data[4:]
    zone = (kind & 0xFFF) - (0x1000 if kind & 0x800 else 0)
    shown = _offset(zone) if -1440 <= zone <= 1440 else "no zone"
    fraction = centi * 10_000 + hundreds * 100 + micro
    return f"{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{fraction:06} {shown}"


def _dstring(data: bytes) -> str:
    return _compressed(data[: min(data[-1], len(data) - 1)]) if data else ""


def _compressed(data: bytes) -> str:
    if not data:
        return ""
    return data[1:].decode("utf-16-be" if data[0] in (16, 255) else "latin-1", "replace")


def _guid(data: bytes) -> str:
    from uuid import UUID

    return str(UUID(bytes_le=data)) if len(data) == 16 else data.hex(" ")


def shown_bytes(data: bytes) -> str:
    """Bytes in hexadecimal, the first of many; zeros in words."""
    if not any(data):
        return "zeros"
    more = f" … ({len(data)} bytes)" if len(data) > SHOWN_BYTES else ""
    return data[:SHOWN_BYTES].hex(" ") + more


def _little(data: bytes) -> Value:
    return int.from_bytes(data, "little")


def _big(data: bytes) -> Value:
    return int.from_bytes(data, "big")


def _utf16(data: bytes) -> str:
    return data.decode("utf-16-le", "replace").rstrip("\0")


_READERS: dict[Kind, Callable[[bytes], Value]] = {
    Kind.LITTLE: _little,
    Kind.BIG: _big,
    Kind.BOTH: _both,
    Kind.TEXT: _text,
    Kind.WIDE: _wide,
    Kind.UTF16: _utf16,
    Kind.DATE: _date,
    Kind.DIGITS: _digits,
    Kind.TIMESTAMP: _timestamp,
    Kind.DSTRING: _dstring,
    Kind.COMPRESSED: _compressed,
    Kind.GUID: _guid,
    Kind.BYTES: shown_bytes,
    Kind.UNUSED: shown_bytes,
}
