"""The Master Boot Record: boot code, and the partition table as UEFI 2.10 section 5.2 has it.

Where a partition lies is told in blocks of 512 bytes.
"""

from __future__ import annotations

import struct

from qemu_viso.ondisk.fields import Field, Kind, Structure

BLOCK = 512
CODE_SIZE = 440
"""Bytes of boot code (5.2.1)."""
ISOHYBRID_CODE_SIZE = 432
"""Bytes of SYSLINUX's isohybrid code; behind it lies the number of the block where isolinux.bin begins."""
GRUB_SKIP = 4
"""GRUB's code has the same room for a block, which is that of its boot image's second sector of 2,048 bytes."""
ISOHYBRID_SIGNATURE = b"\xfb\xc0\x78\x70"
ISOHYBRID_SIGNATURE_OFFSET = 64
"""An isolinux.bin that can be started from a disk says so with these bytes, right behind its boot information table."""
TYPE_UNUSED, TYPE_HIDDEN_NTFS, TYPE_PROTECTIVE = 0, 0x17, 0xEE
"""0x17 is what isohybrid calls the image, so that no system takes it for something of its own."""
HEADS, SECTORS = 64, 32
"""The geometry that isohybrid images have: a cylinder is 1 MiB."""

_LAST_CYLINDER = 1023
_BEYOND = bytes((0xFE, 0xFF, 0xFF))
"""Cylinder, head and sector of a block that they cannot tell (5.2.3)."""

PARTITION_TYPES = {
    0x00: "unused",
    0x0B: "FAT32",
    0x0C: "FAT32",
    0x17: "hidden NTFS, as isohybrid calls the image",
    0x83: "Linux",
    0xCD: "ISO 9660",
    0xEE: "protective, for a GUID partition table",
    0xEF: "EFI system partition",
}
PARTITION = Structure(
    "partition record",
    "UEFI 5.2.1",
    Field("boot indicator", 1, Kind.LITTLE, "", {0: "not active", 0x80: "active"}),
    Field("starting CHS", 3, Kind.BYTES),
    Field("OS type", 1, Kind.LITTLE, "", PARTITION_TYPES),
    Field("ending CHS", 3, Kind.BYTES),
    Field("starting LBA", 4),
    Field("size in LBA", 4),
)
RECORD = Structure(
    "master boot record",
    "UEFI 5.2.1",
    Field("boot code", ISOHYBRID_CODE_SIZE, Kind.BYTES),
    Field("boot code, where ISOLINUX and GRUB are told the block of what they start", 8),
    Field("unique MBR disk signature", 4),
    Field("unknown", 2, Kind.BYTES),
    *((f"partition record {number}", PARTITION) for number in (1, 2, 3, 4)),
    Field("signature", 2, Kind.BYTES),
)

SIGNATURE = b"\x55\xaa"
TABLE_OFFSET = next(at for at, field in RECORD.fields if field.name.startswith("partition record"))
TYPE_OFFSET = next(at for at, field in PARTITION.fields if field.name == "OS type")


def isohybrid_code(code: bytes, block: int) -> bytes:
    """The boot code that starts the isolinux.bin at `block`."""
    return code.ljust(ISOHYBRID_CODE_SIZE, b"\0") + struct.pack("<Q", block)


def partition(kind: int, start: int, count: int, *, active: bool = False) -> bytes:
    """A partition record (5.2.1); a count that has no room is the highest one (5.2.3)."""
    last = start + count - 1
    return PARTITION.pack(
        boot_indicator=0x80 if active else 0,
        starting_CHS=_address(start),
        OS_type=kind,
        ending_CHS=_address(last),
        starting_LBA=start,
        size_in_LBA=min(count, 0xFFFFFFFF),
    )


def _address(block: int) -> bytes:
    """Head, sector and cylinder of a block."""
    cylinder, rest = divmod(block, HEADS * SECTORS)
    if cylinder > _LAST_CYLINDER:
        return _BEYOND
    head, sector = divmod(rest, SECTORS)
    return bytes((head, sector + 1 | cylinder >> 2 & 0xC0, cylinder & 0xFF))


def record(code: bytes, disk_id: int, partitions: list[bytes]) -> bytes:
    """The whole record: one block."""
    table = b"".join(partitions).ljust(4 * PARTITION.size, b"\0")
    return code.ljust(CODE_SIZE, b"\0") + struct.pack("<I2x", disk_id) + table + SIGNATURE
