"""El Torito 1.0: the boot record, the boot catalog, and the boot information table of the mkisofs manual."""

from __future__ import annotations

import struct

from qemu_viso.ondisk.ecma119 import SECTOR, STANDARD_IDENTIFIER

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


def boot_record(catalog: int) -> bytes:
    """Figure 7: the volume descriptor of type 0 that names the catalog's sector."""
    head = b"\0" + STANDARD_IDENTIFIER + b"\x01" + b"EL TORITO SPECIFICATION".ljust(32, b"\0") + bytes(32)
    return (head + struct.pack("<I", catalog)).ljust(SECTOR, b"\0")


def validation_entry(platform: int, identifier: bytes = b"") -> bytes:
    """Figure 2: its sixteen words sum to zero."""
    entry = bytearray(struct.pack("<BBH24sHBB", 1, platform, 0, identifier, 0, 0x55, 0xAA))
    struct.pack_into("<H", entry, 28, -sum(struct.unpack("<16H", entry)) & 0xFFFF)
    return bytes(entry)


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
    return struct.pack("<BBH28s", 0x91 if last else 0x90, platform, entries, identifier)


def info_table(volume_descriptor: int, extent: int, size: int, checksum: int) -> bytes:
    """The 56 bytes from offset 8 of a boot image on: where it lies, how long it is, and the sum of its words."""
    return struct.pack("<IIII40s", volume_descriptor, extent, size, checksum, b"")


def grub_info(extent: int) -> bytes:
    """GRUB's note in its boot image: the 512-byte sector of the image at which its second part begins."""
    return struct.pack("<Q", extent * 4 + 5)
