"""An image as a disk: the Master Boot Record of ISOLINUX's isohybrid, and the GUID Partition Table (UEFI 5.2, 5.3)."""

from __future__ import annotations

import struct
import uuid
import zlib
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.judges.reader.eltorito import BootCatalog
    from tests.judges.reader.model import Source

SECTOR = 512
PROTECTIVE = 0xEE
_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_ENTRY = struct.Struct("<16s16sQQQ72s")
_GEOMETRIES = ((255, 63), (64, 32))
_ISOLINUX = b"isolinux.bin missing or corrupt"


@dataclass(frozen=True, slots=True)
class MbrPartition:
    """A partition of the MBR; start and count in sectors of 512 bytes."""

    number: int
    active: bool
    kind: int
    start: int
    count: int


@dataclass(frozen=True, slots=True)
class GptPartition:
    """A partition of the GPT; first and last sector of 512 bytes, both inside."""

    number: int
    kind: uuid.UUID
    identifier: uuid.UUID
    first: int
    last: int
    attributes: int
    name: str


@dataclass(frozen=True, slots=True)
class Disk:
    """What the system area says of partitions; `disk_guid` is None without a GPT."""

    mbr: tuple[MbrPartition, ...]
    gpt: tuple[GptPartition, ...]
    disk_guid: uuid.UUID | None


@dataclass(frozen=True, slots=True)
class _Header:
    here: int
    other: int
    first_usable: int
    last_usable: int
    guid: uuid.UUID
    table: int
    count: int
    width: int
    table_crc: int


def read_disk(source: Source, boot: BootCatalog | None) -> Disk | None:
    """The partitions; None where the first sector carries no boot signature."""
    mbr = source.peek(0, SECTOR)
    if mbr[510:] != b"\x55\xaa":
        if source.peek(SECTOR, 8) == b"EFI PART":
            source.findings.add("UEFI 5.2.3", "a GPT without any MBR", "MBR")
        return None
    partitions = _mbr(source, mbr)
    _check_isolinux(source, mbr, boot)
    header = _header(source, 1, "GPT header") if source.peek(SECTOR, 8) == b"EFI PART" else None
    if header is None:
        if any(partition.kind == PROTECTIVE for partition in partitions):
            source.findings.add("UEFI 5.3.2", "a protective partition, but no GPT", "MBR")
        return Disk(partitions, (), None)
    if not any(partition.kind == PROTECTIVE for partition in partitions):
        source.findings.add("UEFI 5.2.3 protective MBR", "a GPT without a protective partition", "MBR")
    found = _gpt(source, header)
    return Disk(partitions, found, header.guid)


def _mbr(source: Source, data: bytes) -> tuple[MbrPartition, ...]:
    add = source.findings.add
    found: list[MbrPartition] = []
    for number in range(1, 5):
        at = 430 + 16 * number
        status, first, kind, last, start, count = struct.unpack("<B3sB3sII", data[at : at + 16])
        where = f"MBR partition {number}"
        if status not in (0, 0x80):
            add("UEFI 5.2.1", f"boot indicator {status:#x}", where)
        if not count:
            if any(data[at : at + 16]):
                add("UEFI 5.2.1", "an unused partition whose record is not zero", where)
            continue
        if (start + count) * SECTOR > source.size:
            add("UEFI 5.2.1", f"{count} sectors from {start} leave the image", where)
        _check_chs(source, first, start, f"{where}, first sector")
        _check_chs(source, last, start + count - 1, f"{where}, last sector")
        found.append(MbrPartition(number, status == 0x80, kind, start, count))
    if sum(partition.active for partition in found) > 1:
        add("UEFI 5.2.1", "more than one active partition", "MBR")
    inner = sorted((item for item in found if item.start), key=lambda item: item.start)  # one from 0 is the whole disk
    for before, after in pairwise(inner):
        if before.start + before.count > after.start:
            add("UEFI 5.2.1", f"partition {after.number} begins inside partition {before.number}", "MBR")
    return tuple(found)


def _check_chs(source: Source, raw: bytes, sector: int, where: str) -> None:
    """Cylinder, head and sector agree with the sector number in a usual geometry, or say that they cannot."""
    said = (raw[2] | (raw[1] & 0xC0) << 2, raw[0], raw[1] & 0x3F)
    allowed = {(1023, 254, 63), (1023, 255, 63)}
    for heads, sectors in _GEOMETRIES:
        cylinder, rest = divmod(sector, heads * sectors)
        allowed.add((min(cylinder, 1023), rest // sectors, rest % sectors + 1))
    if said not in allowed and raw not in (b"\0\0\0", b"\0\x02\0"):
        source.findings.add("UEFI 5.2.1 CHS", f"cylinder, head, sector {said} for sector {sector}", where)


def _check_isolinux(source: Source, mbr: bytes, boot: BootCatalog | None) -> None:
    """ISOLINUX's MBR code finds its image by the sector number at offset 432."""
    if _ISOLINUX not in mbr:
        return
    said = int.from_bytes(mbr[432:440], "little")
    images = [entry.sector * 4 for entry in boot.entries] if boot is not None else []
    if said not in images:
        what = f"the boot code loads sector {said}; the boot images are in {images}"
        source.findings.add("isohybrid", what, "MBR")


def _header(source: Source, sector: int, where: str) -> _Header | None:
    add = source.findings.add
    data = source.peek(sector * SECTOR, SECTOR)
    if data[:8] != b"EFI PART":
        add("UEFI 5.3.2", f"no header in sector {sector}", where)
        return None
    (_, revision, size, crc, reserved, here, other, first, last, guid, table, count, width, table_crc) = (
        _HEADER.unpack_from(data)
    )
    if revision != 0x10000 or not 92 <= size <= SECTOR or reserved:
        add("UEFI 5.3.2", f"revision {revision:#x}, {size} bytes, reserved {reserved}", where)
        return None
    if zlib.crc32(data[:16] + bytes(4) + data[20:size]) != crc:
        add("UEFI 5.3.2 CRC", f"the header's CRC is not {crc:#010x}", where)
    if any(data[size:]):
        add("UEFI 5.3.2", "the rest of the header's sector is not zero", where)
    if here != sector:
        add("UEFI 5.3.2", f"it says sector {here}, it is in {sector}", where)
    if width < 128 or width % 128 or count * width > 1 << 20:
        add("UEFI 5.3.2", f"{count} entries of {width} bytes", where)
        return None
    return _Header(here, other, first, last, uuid.UUID(bytes_le=guid), table, count, width, table_crc)


def _gpt(source: Source, header: _Header) -> tuple[GptPartition, ...]:
    add = source.findings.add
    end = source.size // SECTOR - 1
    table = _table(source, header, "GPT")
    table_sectors = -(-header.count * header.width // SECTOR)
    if header.other != end:
        add("UEFI 5.3.2", f"the backup is in sector {header.other}, the last one is {end}", "GPT header")
    backup = _header(source, header.other, "backup GPT header")
    if backup is not None:
        source.space.claim(header.other * SECTOR, SECTOR, "backup GPT header")
        source.space.claim(backup.table * SECTOR, backup.count * backup.width, "backup GPT entries")
        if backup.other != 1 or (backup.first_usable, backup.last_usable, backup.guid) != (
            header.first_usable,
            header.last_usable,
            header.guid,
        ):
            add("UEFI 5.3.2", "it disagrees with the main header", "backup GPT header")
        if _table(source, backup, "backup GPT") != table:
            add("UEFI 5.3.2", "its entries are not those of the main table", "backup GPT")
        if backup.table <= header.last_usable:
            add("UEFI 5.3.2", "the entries lie in the usable sectors", "backup GPT")
    if header.table < 2 or header.table + table_sectors > header.first_usable:
        add("UEFI 5.3.2", f"entries in sector {header.table}, usable from {header.first_usable}", "GPT header")
    found = [
        item
        for number in range(header.count)
        if (item := _partition(table[number * header.width :], number + 1)) is not None
    ]
    for item in found:
        if not header.first_usable <= item.first <= item.last <= header.last_usable:
            what = f"sectors {item.first} to {item.last}, usable {header.first_usable} to {header.last_usable}"
            add("UEFI 5.3.3", what, f"GPT partition {item.number}")
    ordered = sorted(found, key=lambda item: item.first)
    for before, after in pairwise(ordered):
        if before.last >= after.first:
            add("UEFI 5.3.3", f"it begins inside partition {before.number}", f"GPT partition {after.number}")
    if len({item.identifier for item in found}) != len(found):
        add("UEFI 5.3.3", "two partitions have one identifier", "GPT")
    return tuple(found)


def _table(source: Source, header: _Header, where: str) -> bytes:
    table = source.take(header.table * SECTOR, header.count * header.width, f"{where} entries")
    if zlib.crc32(table) != header.table_crc:
        source.findings.add("UEFI 5.3.2 CRC", f"the entries' CRC is not {header.table_crc:#010x}", where)
    return table


def _partition(raw: bytes, number: int) -> GptPartition | None:
    kind, identifier, first, last, attributes, name = _ENTRY.unpack_from(raw)
    if not any(kind):
        return None
    text = name.decode("utf-16-le", "backslashreplace").split("\0", 1)[0]
    return GptPartition(number, uuid.UUID(bytes_le=kind), uuid.UUID(bytes_le=identifier), first, last, attributes, text)
