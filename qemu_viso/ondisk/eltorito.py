"""El Torito 1.0: the boot record, the boot catalog, and the boot information table of the mkisofs manual."""

from __future__ import annotations

import struct

from qemu_viso.ondisk.ecma119 import STANDARD_IDENTIFIER
from qemu_viso.ondisk.fields import Field, Kind, Structure

ENTRY_SIZE = 32
INFO_TABLE_OFFSET = 8
INFO_TABLE_SIZE = 56
CRITERIA_SIZE = 20
"""Selection criteria type and criteria in an entry; an extension has room for 30 bytes more."""
EXTENSION_SIZE = 30
CONTINUED = 0x20
GRUB_INFO_OFFSET = 2548
GRUB_INFO_SIZE = 8
"""Where GRUB's boot image notes where it lies, and how long the note is (`--grub2-boot-info` of xorriso)."""
SYSTEM_TYPE = 1
"""The byte that a disk image has as partition type; meaningless without emulation, 1 as VirtualBox has it."""


PLATFORMS = {0: "80x86", 1: "PowerPC", 2: "Mac", 0xEF: "EFI"}
_MEDIA = {0: "no emulation", 1: "1.2 MB floppy", 2: "1.44 MB floppy", 3: "2.88 MB floppy", 4: "hard disk"}
BOOT_MEDIA = _MEDIA | {kind | CONTINUED: f"{text}, an extension follows" for kind, text in _MEDIA.items()}

BOOT_RECORD = Structure(
    "boot record",
    "El Torito figure 7",
    Field("boot record indicator", 1),
    Field("ISO 9660 identifier", 5, Kind.TEXT),
    Field("version", 1),
    Field("boot system identifier", 32, Kind.TEXT),
    Field("unused", 32, Kind.UNUSED),
    Field("absolute pointer to first sector of boot catalog", 4),
    Field("unused behind the pointer", 1973, Kind.UNUSED),
)
VALIDATION_ENTRY = Structure(
    "validation entry",
    "El Torito figure 2",
    Field("header id", 1),
    Field("platform id", 1, Kind.LITTLE, "", PLATFORMS),
    Field("reserved", 2, Kind.UNUSED),
    Field("id string", 24, Kind.TEXT),
    Field("checksum word", 2),
    Field("key bytes", 2, Kind.BYTES),
)


def _boot_entry(name: str, figure: int) -> Structure:
    return Structure(
        name,
        f"El Torito figure {figure}",
        Field("boot indicator", 1, Kind.LITTLE, "", {0x88: "bootable", 0: "not bootable"}),
        Field("boot media type", 1, Kind.LITTLE, "", BOOT_MEDIA),
        Field("load segment", 2),
        Field("system type", 1),
        Field("unused", 1, Kind.UNUSED),
        Field("sector count", 2),
        Field("load RBA", 4),
        Field("selection criteria type", 1),
        Field("vendor unique selection criteria", 19, Kind.BYTES),
    )


DEFAULT_ENTRY = _boot_entry("default entry", 3)
SECTION_ENTRY = _boot_entry("section entry", 5)
SECTION_HEADER = Structure(
    "section header",
    "El Torito figure 4",
    Field("header indicator", 1, Kind.LITTLE, "", {0x90: "more headers follow", 0x91: "final header"}),
    Field("platform id", 1, Kind.LITTLE, "", PLATFORMS),
    Field("number of section entries", 2),
    Field("id string", 28, Kind.TEXT),
)
EXTENSION_ENTRY = Structure(
    "section entry extension",
    "El Torito figure 6",
    Field("extension indicator", 1),
    Field("flags", 1, Kind.LITTLE, "", {CONTINUED: "an extension follows"}, bits=True),
    Field("vendor unique selection criteria", EXTENSION_SIZE, Kind.BYTES),
)
INFO_TABLE = Structure(
    "boot information table",
    "mkisofs -boot-info-table",
    Field("LBA of primary volume descriptor", 4),
    Field("LBA of boot file", 4),
    Field("boot file length", 4),
    Field("checksum", 4),
    Field("reserved", 40, Kind.UNUSED),
)
GRUB_NOTE = Structure(
    "note of GRUB's boot image",
    "xorriso --grub2-boot-info",
    Field("512-byte sector where its second part begins", GRUB_INFO_SIZE),
)


def boot_record(catalog: int) -> bytes:
    """Figure 7: the volume descriptor of type 0 that names the catalog's sector."""
    return BOOT_RECORD.pack(
        ISO_9660_identifier=STANDARD_IDENTIFIER,
        version=1,
        boot_system_identifier=b"EL TORITO SPECIFICATION",
        absolute_pointer_to_first_sector_of_boot_catalog=catalog,
    )


def validation_entry(platform: int, identifier: bytes = b"") -> bytes:
    """Figure 2: its sixteen words sum to zero."""

    def pack(checksum: int) -> bytes:
        return VALIDATION_ENTRY.pack(
            header_id=1,
            platform_id=platform,
            id_string=identifier[:24],
            checksum_word=checksum,
            key_bytes=b"\x55\xaa",
        )

    return pack(-sum(struct.unpack("<16H", pack(0))) & 0xFFFF)


def boot_entry(
    *,
    bootable: bool,
    media: int,
    segment: int,
    sectors: int,
    extent: int,
    system_type: int = SYSTEM_TYPE,
    criteria: bytes = b"",
) -> bytes:
    """Figures 3, 5 and 6: a default or section entry, with as many extensions as its selection criteria need.

    `criteria` is their type and then their bytes.
    """
    extensions = extension_count(criteria)
    flags = CONTINUED if extensions else 0
    head = struct.pack("<BBHBBHI", 0x88 if bootable else 0, media | flags, segment, system_type, 0, sectors, extent)
    parts = [head + criteria[:CRITERIA_SIZE].ljust(CRITERIA_SIZE, b"\0")]
    for number in range(extensions):
        start = CRITERIA_SIZE + number * EXTENSION_SIZE
        more = CONTINUED if number < extensions - 1 else 0
        parts.append(bytes((0x44, more)) + criteria[start : start + EXTENSION_SIZE].ljust(EXTENSION_SIZE, b"\0"))
    return b"".join(parts)


def extension_count(criteria: bytes) -> int:
    """How many extension entries selection criteria need beyond the room of their entry."""
    return -(-max(0, len(criteria) - CRITERIA_SIZE) // EXTENSION_SIZE)


def section_header(platform: int, entries: int, *, last: bool, identifier: bytes = b"") -> bytes:
    """Figure 4."""
    return SECTION_HEADER.pack(
        header_indicator=0x91 if last else 0x90,
        platform_id=platform,
        number_of_section_entries=entries,
        id_string=identifier[:28],
    )


def info_table(volume_descriptor: int, extent: int, size: int, checksum: int) -> bytes:
    """The 56 bytes from offset 8 of a boot image on: where it lies, how long it is, and the sum of its words."""
    return INFO_TABLE.pack(
        LBA_of_primary_volume_descriptor=volume_descriptor,
        LBA_of_boot_file=extent,
        boot_file_length=size,
        checksum=checksum,
    )


def grub_info(extent: int) -> bytes:
    """GRUB's note in its boot image: the 512-byte sector of the image at which its second part begins."""
    return GRUB_NOTE.fields[0][1].pack(extent * 4 + 5)
