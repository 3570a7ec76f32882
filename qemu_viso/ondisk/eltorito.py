"""El Torito 1.0: the boot record, the boot catalog, and the boot information table of the mkisofs manual."""

from __future__ import annotations

import struct

from qemu_viso.ondisk.ecma119 import SECTOR, STANDARD_IDENTIFIER

ENTRY_SIZE = 32
INFO_TABLE_OFFSET = 8
INFO_TABLE_SIZE = 56
SYSTEM_TYPE = 1
"""The byte that a disk image has as partition type; meaningless without emulation, 1 as VirtualBox has it."""


def boot_record(catalog: int) -> bytes:
    """Figure 7: the volume descriptor of type 0 that names the catalog's sector."""
    head = b"\0" + STANDARD_IDENTIFIER + b"\x01" + b"EL TORITO SPECIFICATION".ljust(32, b"\0") + bytes(32)
    return (head + struct.pack("<I", catalog)).ljust(SECTOR, b"\0")


def validation_entry(platform: int) -> bytes:
    """Figure 2: its sixteen words sum to zero."""
    entry = bytearray(struct.pack("<BBH24sHBB", 1, platform, 0, b"", 0, 0x55, 0xAA))
    struct.pack_into("<H", entry, 28, -sum(struct.unpack("<16H", entry)) & 0xFFFF)
    return bytes(entry)


def boot_entry(*, bootable: bool, media: int, segment: int, sectors: int, extent: int) -> bytes:
    """Figures 3 and 5: a default entry or a section entry."""
    head = struct.pack("<BBHBBHI", 0x88 if bootable else 0, media, segment, SYSTEM_TYPE, 0, sectors, extent)
    return head.ljust(ENTRY_SIZE, b"\0")


def section_header(platform: int, entries: int, *, last: bool) -> bytes:
    """Figure 4."""
    return struct.pack("<BBH28s", 0x91 if last else 0x90, platform, entries, b"")


def info_table(volume_descriptor: int, extent: int, size: int, checksum: int) -> bytes:
    """The 56 bytes from offset 8 of a boot image on: where it lies, how long it is, and the sum of its words."""
    return struct.pack("<IIII40s", volume_descriptor, extent, size, checksum, b"")
