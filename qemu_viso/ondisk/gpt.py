"""The GUID Partition Table (UEFI 2.10, section 5.3). Places are told in blocks of 512 bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID
from zlib import crc32

from qemu_viso.ondisk.fields import Field, Kind, Structure
from qemu_viso.ondisk.mbr import BLOCK

if TYPE_CHECKING:
    from collections.abc import Sequence

BASIC_DATA = UUID("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7")
"""The partition type that Windows calls basic data."""
REQUIRED, READ_ONLY = 1, 1 << 60
"""Attributes (table 5-8): firmware must leave it alone; and, of basic data, that it cannot be written."""

ENTRY_SIZE = 128
ENTRIES = 128
TABLE_BLOCKS = ENTRIES * ENTRY_SIZE // BLOCK
"""5.3.1: 16 KiB are reserved for the entries at least."""
HEADER_SIZE = 92
PRIMARY_HEADER, PRIMARY_TABLE = 1, 2
PRIMARY_END = PRIMARY_TABLE + TABLE_BLOCKS
BACKUP_BLOCKS = TABLE_BLOCKS + 1
_NAME_UNITS = 36

HEADER = Structure(
    "GPT header",
    "UEFI 5.3.2",
    Field("signature", 8, Kind.TEXT),
    Field("revision", 4),
    Field("header size", 4),
    Field("header CRC32", 4),
    Field("reserved", 4, Kind.UNUSED),
    Field("my LBA", 8),
    Field("alternate LBA", 8),
    Field("first usable LBA", 8),
    Field("last usable LBA", 8),
    Field("disk GUID", 16, Kind.GUID),
    Field("partition entry LBA", 8),
    Field("number of partition entries", 4),
    Field("size of partition entry", 4),
    Field("partition entry array CRC32", 4),
)
ENTRY = Structure(
    "GPT partition entry",
    "UEFI 5.3.3",
    Field("partition type GUID", 16, Kind.GUID),
    Field("unique partition GUID", 16, Kind.GUID),
    Field("starting LBA", 8),
    Field("ending LBA", 8),
    Field("attributes", 8, Kind.LITTLE, "", {1: "required", 2: "no block IO", 4: "legacy BIOS bootable"}, bits=True),
    Field("partition name", 2 * _NAME_UNITS, Kind.UTF16),
)


def entry(kind: UUID, identifier: UUID, first: int, last: int, attributes: int, name: str) -> bytes:
    """A partition entry (5.3.3); `last` is still inside."""
    text = name.encode("utf-16-le", "replace")[: 2 * (_NAME_UNITS - 1)]
    return ENTRY.pack(
        partition_type_GUID=kind.bytes_le,
        unique_partition_GUID=identifier.bytes_le,
        starting_LBA=first,
        ending_LBA=last,
        attributes=attributes,
        partition_name=text,
    )


def table(entries: Sequence[bytes]) -> bytes:
    """All entries, used and unused."""
    return b"".join(entries).ljust(ENTRIES * ENTRY_SIZE, b"\0")


def _header(here: int, other: int, table_at: int, usable: tuple[int, int], disk: UUID, entries: bytes) -> bytes:
    """The header (5.3.2) in block `here`."""

    def pack(checksum: int) -> bytes:
        return HEADER.pack(
            signature=b"EFI PART",
            revision=0x10000,
            header_size=HEADER_SIZE,
            header_CRC32=checksum,
            my_LBA=here,
            alternate_LBA=other,
            first_usable_LBA=usable[0],
            last_usable_LBA=usable[1],
            disk_GUID=disk.bytes_le,
            partition_entry_LBA=table_at,
            number_of_partition_entries=ENTRIES,
            size_of_partition_entry=ENTRY_SIZE,
            partition_entry_array_CRC32=crc32(entries),
        )

    return pack(crc32(pack(0))).ljust(BLOCK, b"\0")


def primary(blocks: int, first_usable: int, disk: UUID, entries: bytes) -> bytes:
    """Header and entries from block 1 on, of a disk that has so many blocks."""
    usable = (first_usable, last_usable(blocks))
    return _header(PRIMARY_HEADER, blocks - 1, PRIMARY_TABLE, usable, disk, entries) + entries


def backup(blocks: int, first_usable: int, disk: UUID, entries: bytes) -> bytes:
    """Entries and header that fill the last `BACKUP_BLOCKS` blocks of a disk."""
    usable = (first_usable, last_usable(blocks))
    return entries + _header(blocks - 1, PRIMARY_HEADER, blocks - BACKUP_BLOCKS, usable, disk, entries)


def last_usable(blocks: int) -> int:
    """The last block that a partition can have."""
    return blocks - BACKUP_BLOCKS - 1
