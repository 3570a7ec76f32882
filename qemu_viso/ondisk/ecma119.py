"""ECMA-119 (ISO 9660): volume descriptors, directory records, path table records.

Each function packs one structure; clauses are those of ECMA-119, 4th edition. All sizes are bytes, all extents are
numbers of 2,048-byte sectors.
"""

from __future__ import annotations

import struct
import time
from functools import lru_cache

from qemu_viso.frozen import Frozen
from qemu_viso.ondisk.fields import Field, Kind, Structure

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


FILE_FLAGS = {
    0x01: "hidden",
    0x02: "directory",
    0x04: "associated file",
    0x08: "record",
    0x10: "protection",
    0x80: "multi-extent",
}
DIRECTORY_RECORD = Structure(
    "directory record",
    "ECMA-119 9.1",
    Field("length of directory record", 1, clause="9.1.1"),
    Field("extended attribute record length", 1, clause="9.1.2"),
    Field("location of extent", 8, Kind.BOTH, "9.1.3"),
    Field("data length", 8, Kind.BOTH, "9.1.4"),
    Field("recording date and time", 7, Kind.DATE, "9.1.5"),
    Field("file flags", 1, Kind.LITTLE, "9.1.6", FILE_FLAGS, bits=True),
    Field("file unit size", 1, clause="9.1.7"),
    Field("interleave gap size", 1, clause="9.1.8"),
    Field("volume sequence number", 4, Kind.BOTH, "9.1.9"),
    Field("length of file identifier", 1, clause="9.1.10"),
)
"""Up to the identifier, which is as long as the last field says (9.1.11)."""

DESCRIPTOR_TYPES = {
    0: "boot record",
    1: "primary volume descriptor",
    2: "supplementary volume descriptor",
    3: "volume partition descriptor",
    255: "volume descriptor set terminator",
}


def descriptor_head(clause: str) -> tuple[Field, Field, Field]:
    """What all volume descriptors begin with (8.1); 8.5 has no clause of its own on the standard identifier."""
    identifier, version = ("8.4.2", "8.5.2") if clause == "8.5" else (f"{clause}.2", f"{clause}.3")
    return (
        Field("volume descriptor type", 1, Kind.LITTLE, f"{clause}.1", DESCRIPTOR_TYPES),
        Field("standard identifier", 5, Kind.TEXT, identifier),
        Field("volume descriptor version", 1, clause=version),
    )


def _volume_descriptor(name: str, clause: str, flags: Field, text: Kind, escape: Field, first: int) -> Structure:
    """A primary or supplementary volume descriptor, whose clauses on texts begin with number `first`."""

    def own(number: int) -> str:
        return f"{clause}.{first + number}"

    return Structure(
        name,
        f"ECMA-119 {clause}",
        *descriptor_head(clause),
        flags,
        Field("system identifier", 32, text, f"{clause}.{4 if first < 19 else 5}"),
        Field("volume identifier", 32, text, f"{clause}.{5 if first < 19 else 6}"),
        Field("unused field after volume identifier", 8, Kind.UNUSED, "8.4.7"),
        Field("volume space size", 8, Kind.BOTH, "8.4.8"),
        escape,
        Field("volume set size", 4, Kind.BOTH, "8.4.10"),
        Field("volume sequence number", 4, Kind.BOTH, "8.4.11"),
        Field("logical block size", 4, Kind.BOTH, "8.4.12"),
        Field("path table size", 8, Kind.BOTH, own(-6)),
        Field("location of occurrence of type L path table", 4, clause=own(-5)),
        Field("location of optional occurrence of type L path table", 4, clause=own(-4)),
        Field("location of occurrence of type M path table", 4, Kind.BIG, own(-3)),
        Field("location of optional occurrence of type M path table", 4, Kind.BIG, own(-2)),
        ("directory record for root directory", _ROOT_RECORD),
        Field("volume set identifier", 128, text, own(0)),
        Field("publisher identifier", 128, text, own(1)),
        Field("data preparer identifier", 128, text, own(2)),
        Field("application identifier", 128, text, own(3)),
        Field("copyright file identifier", 37, text, own(4)),
        Field("abstract file identifier", 37, text, own(5)),
        Field("bibliographic file identifier", 37, text, own(6)),
        Field("volume creation date and time", 17, Kind.DIGITS, "8.4.26"),
        Field("volume modification date and time", 17, Kind.DIGITS, "8.4.27"),
        Field("volume expiration date and time", 17, Kind.DIGITS, "8.4.28"),
        Field("volume effective date and time", 17, Kind.DIGITS, "8.4.29"),
        Field("file structure version", 1, clause="8.4.30"),
        Field("reserved field after file structure version", 1, Kind.UNUSED, "8.4.31"),
        Field("application use", 512, Kind.BYTES, "8.4.32"),
        Field("reserved for future standardization", 653, Kind.UNUSED, "8.4.33"),
    )


_ROOT_RECORD = Structure(
    DIRECTORY_RECORD.name,
    DIRECTORY_RECORD.standard,
    *(field for _, field in DIRECTORY_RECORD.fields),
    Field("file identifier", 1, Kind.BYTES, "9.1.11"),
)
VOLUME_FLAGS = {0: "only registered escape sequences", 1: "at least one escape sequence is not registered"}
PRIMARY_DESCRIPTOR = _volume_descriptor(
    "primary volume descriptor",
    "8.4",
    Field("unused field", 1, Kind.UNUSED, "8.4.4"),
    Kind.TEXT,
    Field("unused field after volume space size", 32, Kind.UNUSED, "8.4.9"),
    19,
)


def supplementary(name: str, text: Kind) -> Structure:
    """A supplementary volume descriptor (8.5) whose texts are encoded like this."""
    flags = Field("volume flags", 1, Kind.LITTLE, "8.5.3", VOLUME_FLAGS)
    return _volume_descriptor(name, "8.5", flags, text, Field("escape sequences", 32, Kind.TEXT, "8.5.6"), 13)


SUPPLEMENTARY_DESCRIPTOR = supplementary("supplementary volume descriptor", Kind.TEXT)
TERMINATOR = Structure(
    "volume descriptor set terminator",
    "ECMA-119 8.3",
    *descriptor_head("8.3"),
    Field("reserved for future standardization", 2041, Kind.UNUSED, "8.3.4"),
)


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
        table = PRIMARY_DESCRIPTOR if self.type == 1 else SUPPLEMENTARY_DESCRIPTOR
        own: dict[str, int | bytes] = {}
        if self.type != 1:
            own = {"volume_flags": self.flags, "escape_sequences": self.escape_sequences}
        packed = table.pack(
            volume_descriptor_type=self.type,
            standard_identifier=STANDARD_IDENTIFIER,
            volume_descriptor_version=1,
            system_identifier=self.system_id,
            volume_identifier=self.volume_id,
            volume_space_size=self.volume_sectors,
            volume_set_size=self.set_size,
            volume_sequence_number=self.sequence,
            logical_block_size=SECTOR,
            path_table_size=self.path_table_size,
            location_of_occurrence_of_type_L_path_table=self.path_table_l,
            location_of_occurrence_of_type_M_path_table=self.path_table_m,
            volume_set_identifier=self.volume_set_id,
            publisher_identifier=self.publisher_id,
            data_preparer_identifier=self.preparer_id,
            application_identifier=self.application_id,
            copyright_file_identifier=self.copyright_file,
            abstract_file_identifier=self.abstract_file,
            bibliographic_file_identifier=self.bibliographic_file,
            volume_creation_date_and_time=self.created,
            volume_modification_date_and_time=self.modified,
            volume_expiration_date_and_time=NO_DATE,
            volume_effective_date_and_time=NO_DATE,
            file_structure_version=1,
            **own,
        )
        return packed[:ROOT_RECORD_OFFSET] + self.root_record + packed[ROOT_RECORD_OFFSET + len(self.root_record) :]


ROOT_RECORD_OFFSET = next(at for at, field in PRIMARY_DESCRIPTOR.fields if field.name.startswith("directory record"))
"""8.4.18: where the root's directory record lies in a volume descriptor."""

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
    return TERMINATOR.pack(
        volume_descriptor_type=255, standard_identifier=STANDARD_IDENTIFIER, volume_descriptor_version=1
    )
