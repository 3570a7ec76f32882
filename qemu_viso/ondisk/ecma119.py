"""ECMA-119 (ISO 9660): volume descriptors, directory records, path table records.

Each function packs one structure; clauses are those of ECMA-119, 4th edition. All sizes are bytes, all extents are
numbers of 2,048-byte sectors.
"""

from __future__ import annotations

import struct
import time
from functools import lru_cache

from qemu_viso.frozen import Frozen

SECTOR = 2048
SYSTEM_AREA_SECTORS = 16
"""6.2.1: sectors 0 to 15 belong to the system, not to the volume."""
EXTENT_LIMIT = 0xFFFFF800
"""The most bytes in one extent of a file in several: the largest multiple of a sector in 32 bits (9.1.4)."""

FLAG_DIRECTORY = 0x02
FLAG_MULTI_EXTENT = 0x80

STANDARD_IDENTIFIER = b"CD001"

_BOTH_16 = struct.Struct("<H")
_BOTH_16_BIG = struct.Struct(">H")
_BOTH_32 = struct.Struct("<I")
_BOTH_32_BIG = struct.Struct(">I")


def both_16(value: int) -> bytes:
    """A 16-bit number in both byte orders (7.2.3)."""
    return _BOTH_16.pack(value) + _BOTH_16_BIG.pack(value)


def both_32(value: int) -> bytes:
    """A 32-bit number in both byte orders (7.3.3)."""
    return _BOTH_32.pack(value) + _BOTH_32_BIG.pack(value)


def record_seconds(seconds: int) -> int:
    """The nearest time that a directory record can tell: a byte counts the years from 1900 on (9.1.5)."""
    return min(max(seconds, -2_208_988_800), 5_869_583_999)


@lru_cache(maxsize=65536)
def record_date(seconds: int) -> bytes:
    """The seven bytes of 9.1.5, in UTC, for the nearest time that they can tell."""
    at = time.gmtime(record_seconds(seconds))
    return bytes((at.tm_year - 1900, at.tm_mon, at.tm_mday, at.tm_hour, at.tm_min, min(at.tm_sec, 59), 0))


def volume_date(time_ns: int) -> bytes:
    """The seventeen bytes of 8.4.26.1, in UTC, with hundredths of a second."""
    seconds, rest = divmod(time_ns, 1_000_000_000)
    at = time.gmtime(seconds)
    year = min(max(at.tm_year, 1), 9999)
    text = f"{year:04}{at.tm_mon:02}{at.tm_mday:02}{at.tm_hour:02}{at.tm_min:02}{min(at.tm_sec, 59):02}"
    return f"{text}{rest // 10_000_000:02}".encode() + b"\0"


NO_DATE = b"0" * 16 + b"\0"
"""8.4.26.1: a date that is not specified."""


def record_length(identifier_size: int) -> int:
    """Bytes of a directory record without system use: 33, the identifier, and padding to an even length (9.1.12)."""
    return (34 + identifier_size) & ~1


_RECORD_HEAD = struct.Struct("<BBI4sI4s7sBH4sB")
_SEQUENCE_1 = both_16(1)


def directory_record(
    identifier: bytes,
    extent: int,
    size: int,
    date: bytes,
    flags: int,
    system_use: bytes = b"",
) -> bytes:
    """A directory record (9.1); `system_use` is padded to an even length."""
    length = len(identifier)
    if not length & 1:
        identifier += b"\0"
    if len(system_use) & 1:
        system_use += b"\0"
    head = _RECORD_HEAD.pack(
        33 + len(identifier) + len(system_use),
        0,
        extent,
        _BOTH_32_BIG.pack(extent),
        size,
        _BOTH_32_BIG.pack(size),
        date,
        flags,
        0,  # file unit size and interleave gap: 9.1.7, 9.1.8
        _SEQUENCE_1,
        length,
    )
    return head + identifier + system_use


def path_table_record(identifier: bytes, extent: int, parent: int, *, big_endian: bool) -> bytes:
    """A path table record (9.4), padded to an even length."""
    order = ">" if big_endian else "<"
    record = struct.pack(f"{order}BBIH", len(identifier), 0, extent, parent) + identifier
    return record if len(record) % 2 == 0 else record + b"\0"


def path_table_record_length(identifier_size: int) -> int:
    """Bytes of a path table record (9.4)."""
    return 8 + identifier_size + (identifier_size & 1)


class VolumeDescriptor(Frozen):
    """What a primary or supplementary volume descriptor says (8.4, 8.5); texts are padded to their fields already."""

    type: int
    flags: int
    system_id: bytes
    volume_id: bytes
    volume_sectors: int
    escape_sequences: bytes
    set_size: int
    sequence: int
    path_table_size: int
    path_table_l: int
    path_table_m: int
    root_record: bytes
    volume_set_id: bytes
    publisher_id: bytes
    preparer_id: bytes
    application_id: bytes
    copyright_file: bytes
    abstract_file: bytes
    bibliographic_file: bytes
    created: bytes
    modified: bytes

    def pack(self) -> bytes:
        """One sector."""
        parts = (
            bytes((self.type,)) + STANDARD_IDENTIFIER + b"\x01" + bytes((self.flags,)),
            self.system_id,
            self.volume_id,
            bytes(8),
            both_32(self.volume_sectors),
            self.escape_sequences.ljust(32, b"\0"),
            both_16(self.set_size),
            both_16(self.sequence),
            both_16(SECTOR),
            both_32(self.path_table_size),
            struct.pack("<II", self.path_table_l, 0),
            struct.pack(">II", self.path_table_m, 0),
            self.root_record,
            self.volume_set_id,
            self.publisher_id,
            self.preparer_id,
            self.application_id,
            self.copyright_file,
            self.abstract_file,
            self.bibliographic_file,
            self.created,
            self.modified,
            NO_DATE,
            NO_DATE,
            b"\x01\0",
        )
        return b"".join(parts).ljust(SECTOR, b"\0")


TEXT_SIZES = {
    "system_id": 32,
    "volume_id": 32,
    "volume_set_id": 128,
    "publisher_id": 128,
    "preparer_id": 128,
    "application_id": 128,
    "copyright_file": 37,
    "abstract_file": 37,
    "bibliographic_file": 37,
}
"""Bytes of the text fields of 8.4."""


def terminator() -> bytes:
    """The volume descriptor set terminator (8.3): one sector."""
    return (b"\xff" + STANDARD_IDENTIFIER + b"\x01").ljust(SECTOR, b"\0")
