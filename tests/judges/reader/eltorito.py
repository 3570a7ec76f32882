"""El Torito 1.0: the boot catalog, the images it names, and the boot information table of ISOLINUX."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.judges.reader.model import SECTOR, Content, Extent

if TYPE_CHECKING:
    from tests.judges.reader.model import Source

PLATFORMS = (0, 1, 2, 0xEF)
FLOPPIES = {1: 1_228_800, 2: 1_474_560, 3: 2_949_120}
HARD_DISK = 4
ENTRY = 32
LONGEST_CATALOG = 64 * SECTOR


@dataclass(frozen=True, slots=True)
class BootInfoTable:
    """The 56 bytes at offset 8 that genisoimage calls the boot information table."""

    descriptor: int
    sector: int
    length: int
    checksum: int


@dataclass(frozen=True, slots=True)
class BootEntry:
    """A default or section entry.

    Attributes:
        sector_count: 512-byte sectors that the BIOS loads.
        first_sector: 2,048 bytes at `sector`; none where that is not inside the image.
        image: the file behind it where its start is that of a file, else what the media type or the count say.
        info_table: None where the image has none.
        criteria: the selection criteria type and bytes, continuation entries included.
    """

    bootable: bool
    media: int
    load_segment: int
    system_type: int
    sector_count: int
    sector: int
    first_sector: bytes
    image: Content
    info_table: BootInfoTable | None
    criteria: bytes


@dataclass(frozen=True, slots=True)
class Section:
    """A section header with its entries; the first section is the validation entry with the default entry."""

    header: int
    platform: int
    count: int
    identifier: str
    entries: tuple[BootEntry, ...]


@dataclass(frozen=True, slots=True)
class BootCatalog:
    sector: int
    size: int
    platform: int
    identifier: str
    sections: tuple[Section, ...]

    @property
    def entries(self) -> tuple[BootEntry, ...]:
        return tuple(entry for section in self.sections for entry in section.entries)


class _Catalog:
    """Reads one catalog, entry by entry."""

    def __init__(self, source: Source, sector: int, files: dict[int, Content], descriptor_sector: int) -> None:
        self.source = source
        self.sector = sector
        self.files = files
        self.descriptor_sector = descriptor_sector
        self.data = source.peek(sector * SECTOR, LONGEST_CATALOG)
        self.at = 0

    def add(self, clause: str, what: str) -> None:
        self.source.findings.add(f"El Torito {clause}", what, f"boot catalog in sector {self.sector}, byte {self.at}")

    def next(self) -> bytes:
        entry = self.data[self.at : self.at + ENTRY]
        if len(entry) < ENTRY:
            self.add("2.0", "the catalog is not inside the image")
            entry = entry.ljust(ENTRY, b"\0")
        return entry

    def validation(self) -> tuple[int, str]:
        entry = self.next()
        if entry[0] != 1:
            self.add("2.1", f"the validation entry begins with {entry[0]:#x}")
        if entry[30:] != b"\x55\xaa":
            self.add("2.1", f"the key bytes are {entry[30:].hex()}")
        if sum(struct.unpack("<16H", entry)) & 0xFFFF:
            self.add("2.1", "the words of the validation entry do not add up to zero")
        if entry[1] not in PLATFORMS:
            self.add("2.1", f"platform {entry[1]:#x}")
        if any(entry[2:4]):
            self.add("2.1", "the reserved word is not zero")
        self.at += ENTRY
        return entry[1], entry[4:28].rstrip(b"\0 ").decode("ascii", "backslashreplace")

    def entry(self, *, section: bool) -> BootEntry:
        raw = self.next()
        clause = "2.4" if section else "2.2"
        indicator, media, segment, system, unused, count, sector = struct.unpack("<BBHBBHI", raw[:12])
        if indicator not in (0x00, 0x88):
            self.add(clause, f"boot indicator {indicator:#x}")
        if media & 0x0F > HARD_DISK or media & (0x10 if section else 0xF0):
            self.add(clause, f"media type {media:#x}")
        if unused:
            self.add(clause, "the unused byte 5 is not zero")
        if not section and any(raw[12:]):
            self.add(clause, "the unused bytes 12 to 31 are not zero")
        if section and raw[12] == 0 and any(raw[13:]):
            self.add(clause, "selection criteria without a type")
        if not count:
            self.add(clause, "no sectors to load")
        content = self._image(media & 0x0F, system, count, sector, clause)
        self.at += ENTRY
        criteria = raw[12:]
        goes_on = section and bool(media & 0x20)
        while goes_on:
            more = self.next()
            if more[0] != 0x44:
                self.add("2.5", f"an extension entry begins with {more[0]:#x}")
                break
            goes_on = bool(more[1] & 0x20)
            criteria += more[2:]
            self.at += ENTRY
        table = self._info_table(content, sector)
        kind, first = media & 0x0F, self.source.peek(sector * SECTOR, SECTOR)
        return BootEntry(indicator == 0x88, kind, segment, system, count, sector, first, content, table, criteria)

    def _image(self, media: int, system: int, count: int, sector: int, clause: str) -> Content:
        file = self.files.get(sector)
        if file is not None:
            content = file
        else:
            size = FLOPPIES.get(media, count * 512)
            content = Content(self.source.peek, (Extent(sector * SECTOR, size),), size)
            self.source.space.claim(sector * SECTOR, size, f"boot image in sector {sector}", shared=True)
        if sector < 16 or sector * SECTOR + min(content.size, count * 512) > self.source.size:
            self.add(clause, f"{count} x 512 bytes at sector {sector} are not inside the image")
        if media in FLOPPIES and content.size != FLOPPIES[media]:
            self.add(clause, f"media type {media} needs {FLOPPIES[media]} bytes, the image has {content.size}")
        if media == HARD_DISK:
            mbr = self.source.peek(sector * SECTOR, 512)
            if mbr[510:] != b"\x55\xaa":
                self.add(clause, "the hard disk image has no partition table")
            elif mbr[450] != system:
                self.add(clause, f"system type {system:#x}, but the partition has type {mbr[450]:#x}")
        return content

    def _info_table(self, content: Content, sector: int) -> BootInfoTable | None:
        """A table is taken to be there when its first two words are right; then the rest has to be."""
        raw = self.source.peek(sector * SECTOR + 8, 56)
        if content.size < 64 or len(raw) < 56:
            return None
        table = BootInfoTable(*struct.unpack("<4I", raw[:16]))
        if (table.descriptor, table.sector) != (self.descriptor_sector, sector):
            if table.descriptor == self.descriptor_sector and raw[16:] == bytes(40) and table.length == content.size:
                self.add("boot information table", f"it says sector {table.sector}, the image is in {sector}")
            return None
        if sector not in self.files:  # nothing but the table tells how long it is
            data = self.source.take(sector * SECTOR, table.length, f"boot image in sector {sector}")[64:]
        else:
            if table.length != content.size:
                self.add("boot information table", f"it says {table.length} bytes, the image has {content.size}")
            data = content.data()[64:]
        data += bytes(-len(data) % 4)
        checksum = sum(word for (word,) in struct.iter_unpack("<I", data)) & 0xFFFFFFFF
        if table.checksum != checksum:
            self.add("boot information table", f"it says checksum {table.checksum:#x}, which is {checksum:#x}")
        return table


def read_catalog(
    source: Source, boot_record: bytes, files: dict[int, Content], descriptor_sector: int
) -> BootCatalog | None:
    """The boot catalog; `files` are the contents that begin at a sector, in any namespace."""
    sector = int.from_bytes(boot_record[71:75], "little")
    if not sector or sector * SECTOR >= source.size:
        where = "boot record"
        source.findings.add("El Torito 2.0", f"the catalog's sector {sector} is not inside the image", where)
        return None
    catalog = _Catalog(source, sector, files, descriptor_sector)
    platform, identifier = catalog.validation()
    sections = [Section(1, platform, 1, identifier, (catalog.entry(section=False),))]
    while True:
        raw = catalog.next()
        if raw[0] not in (0x90, 0x91):
            if len(sections) > 1 and sections[-1].header != 0x91:
                catalog.add("2.3", f"no section header follows, though the last one was {sections[-1].header:#x}")
            if any(raw):
                catalog.add("2.3", f"neither a section header nor the end: {raw[:4].hex()}")
            break
        if raw[1] not in PLATFORMS:
            catalog.add("2.3", f"platform {raw[1]:#x}")
        count = int.from_bytes(raw[2:4], "little")
        catalog.at += ENTRY
        if catalog.at + count * ENTRY > len(catalog.data):
            catalog.add("2.3", f"{count} entries do not fit")
            break
        entries = tuple(catalog.entry(section=True) for _ in range(count))
        name = raw[4:].rstrip(b"\0 ").decode("ascii", "backslashreplace")
        sections.append(Section(raw[0], raw[1], count, name, entries))
        if raw[0] == 0x91:
            break
    size = catalog.at
    if any(source.peek(sector * SECTOR + size, -size % SECTOR)):
        catalog.add("2.0", "the rest of the catalog's sector is not zero")
    file = files.get(sector)
    if file is None:
        source.space.claim(sector * SECTOR, size, "boot catalog")
    elif file.size < size:
        catalog.add("2.0", f"the catalog's file has {file.size} bytes, the catalog {size}")
    return BootCatalog(sector, size, platform, identifier, tuple(sections))
