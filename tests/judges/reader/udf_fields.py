"""Fields of ECMA-167 and UDF: descriptor tags, character strings, time stamps, entity identifiers, allocation."""

from __future__ import annotations

import calendar
import struct
from binascii import crc_hqx
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tests.judges.reader.model import SECTOR

if TYPE_CHECKING:
    from tests.judges.reader.model import Source

TAG = struct.Struct("<HHBBHHHI")
RECORDED, ALLOCATED, HOLE, CONTINUES = 0, 1, 2, 3


@dataclass(frozen=True, slots=True)
class Tag:
    """A descriptor tag (3/7.2, 4/7.2)."""

    identifier: int
    version: int
    serial: int
    crc_length: int
    location: int


@dataclass(frozen=True, slots=True)
class Allocation:
    """An allocation descriptor (4/14.14): its type (the top two bits of the length), bytes, and logical block."""

    kind: int
    length: int
    block: int
    partition: int


def crc16(data: bytes) -> int:
    """The CRC of 3/7.2.6: polynomial x^16 + x^12 + x^5 + 1, begun with zero."""
    return crc_hqx(data, 0)


def read_tag(source: Source, data: bytes, location: int, where: str, *, expected: int | None = None) -> Tag | None:
    """Check a descriptor's tag; None where it is no such descriptor."""
    add = source.findings.add
    if len(data) < 16:
        add("ECMA-167 3/7.2", "no room for a descriptor tag", where)
        return None
    identifier, version, checksum, reserved, serial, crc, crc_length, recorded = TAG.unpack_from(data)
    tag = Tag(identifier, version, serial, crc_length, recorded)
    if (sum(data[:16]) - checksum) & 0xFF != checksum:
        add("ECMA-167 3/7.2.3", f"the tag's checksum is {checksum:#04x}", where)
        if identifier != expected:
            return None
    if expected is not None and identifier != expected:
        add("ECMA-167 3/7.2.1", f"a descriptor of type {identifier} instead of {expected}", where)
        return None
    if version not in (2, 3):
        add("ECMA-167 3/7.2.2", f"descriptor version {version}", where)
    if reserved:
        add("ECMA-167 3/7.2.4", "the tag's reserved byte is not zero", where)
    if recorded != location:
        add("ECMA-167 3/7.2.8", f"the tag says block {recorded}, it is in {location}", where)
    if 16 + crc_length > len(data):
        add("ECMA-167 3/7.2.7", f"a CRC of {crc_length} bytes, beyond the descriptor's {len(data)}", where)
    elif crc16(data[16 : 16 + crc_length]) != crc:
        add("ECMA-167 3/7.2.6", f"the CRC is {crc:#06x}, not {crc16(data[16 : 16 + crc_length]):#06x}", where)
    return tag


def compressed_unicode(source: Source, raw: bytes, where: str) -> str:
    """OSTA compressed Unicode (UDF 2.1.1): a byte 8 or 16, then characters; 16-bit ones are big-endian."""
    if not raw:
        return ""
    kind, body = raw[0], raw[1:]
    if kind in (8, 254):
        return body.decode("latin-1")
    if kind not in (16, 255) or len(body) % 2:
        source.findings.add("UDF 2.1.1", f"compression {kind} of {len(body)} bytes", where)
        return body.decode("latin-1")
    try:
        return body.decode("utf-16-be")
    except UnicodeDecodeError:
        source.findings.add("UDF 2.1.1", f"not Unicode: {body.hex()}", where)
        return body.decode("utf-16-be", "surrogatepass")


def dstring(source: Source, field: bytes, where: str) -> str:
    """A fixed-length string (1/7.2.12, UDF 2.1.3): its last byte counts the bytes used, the others are zero."""
    used = field[-1]
    if used > len(field) - 1:
        source.findings.add("UDF 2.1.3", f"a string of {used} bytes in a field of {len(field)}", where)
        used = len(field) - 1
    if any(field[used:-1]):
        source.findings.add("ECMA-167 1/7.2.12", "bytes after the string are not zero", where)
    if used == 1:
        source.findings.add("UDF 2.1.3", "an empty string with length 1", where)
    return compressed_unicode(source, field[:used], where)


def charspec(source: Source, field: bytes, where: str) -> None:
    """UDF 2.1.2: character set type 0, OSTA Compressed Unicode."""
    if field != b"\0" + b"OSTA Compressed Unicode".ljust(63, b"\0"):
        source.findings.add("UDF 2.1.2", f"character set {field.rstrip(bytes(1))!r}", where)


def entity(source: Source, field: bytes, where: str, *, expected: bytes | None = None) -> bytes:
    """An entity identifier (1/7.4, UDF 2.1.5); gives the suffix."""
    flags, name, suffix = field[0], field[1:24].rstrip(b"\0"), field[24:32]
    if flags:
        source.findings.add("UDF 2.1.5.1", f"entity flags {flags:#x}", where)
    if expected is not None and name != expected:
        source.findings.add("UDF 2.1.5.2", f"the entity is {name!r}, not {expected!r}", where)
    if not name:
        source.findings.add("UDF 2.1.5.2", "an empty entity identifier", where)
    return suffix


def domain(source: Source, field: bytes, where: str) -> int:
    """UDF 2.1.5.3: the revision in the domain identifier, in BCD (0x0102)."""
    suffix = entity(source, field, where, expected=b"*OSTA UDF Compliant")
    return int.from_bytes(suffix[:2], "little")


def timestamp(source: Source, raw: bytes, where: str) -> int | None:
    """A time stamp (1/7.3, UDF 2.1.4) in nanoseconds since 1970."""
    zone, year = struct.unpack("<Hh", raw[:4])
    month, day, hour, minute, second, centi, hundreds, micro = raw[4:]
    if raw == bytes(12):
        return None
    minutes = (zone & 0xFFF) - (0x1000 if zone & 0x800 else 0)
    if zone >> 12 != 1:
        source.findings.add("UDF 2.1.4.1", f"time stamp type {zone >> 12} is not local time", where)
    if minutes != -2047 and not -1440 <= minutes <= 1440:
        source.findings.add("ECMA-167 1/7.3.1", f"{minutes} minutes from Greenwich", where)
    try:
        when = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        source.findings.add("ECMA-167 1/7.3", f"time stamp {raw.hex()}: {error}", where)
        return None
    if max(centi, hundreds, micro) > 99:
        source.findings.add("ECMA-167 1/7.3.8", f"time stamp {raw.hex()}: fractions above 99", where)
    offset = 0 if minutes == -2047 else minutes
    fraction = centi * 10**7 + hundreds * 10**5 + micro * 1000
    return (calendar.timegm(when.timetuple()) - offset * 60) * 10**9 + fraction


def extent(raw: bytes) -> tuple[int, int]:
    """An extent_ad (3/7.1): length in bytes, sector."""
    length, sector = struct.unpack("<II", raw[:8])
    return length, sector


def long_ad(raw: bytes) -> Allocation:
    length, block, partition = struct.unpack("<IIH", raw[:10])
    return Allocation(length >> 30, length & 0x3FFFFFFF, block, partition)


def short_ad(raw: bytes) -> Allocation:
    length, block = struct.unpack("<II", raw[:8])
    return Allocation(length >> 30, length & 0x3FFFFFFF, block, 0)


def blocks(length: int) -> int:
    return -(-length // SECTOR)
