"""The system area of an existing image: what makes it a disk as well, so that a new image can be one too."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from qemu_viso.ondisk.ecma119 import SECTOR, SYSTEM_AREA_SECTORS
from qemu_viso.ondisk.mbr import BLOCK, GRUB_SKIP, ISOHYBRID_CODE_SIZE, ISOHYBRID_SIGNATURE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from qemu_viso.tree.existing.medium import Medium

PLACE_OFFSET = ISOHYBRID_CODE_SIZE
"""Where the boot code of ISOLINUX and of GRUB is told the block of what it starts."""
MAX_GPT_ENTRIES = 256


class Loader(Enum):
    """Whose boot code it is; which tells how it finds what it starts."""

    NONE = "none"
    ISOLINUX = "isolinux"
    GRUB = "grub"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class SystemArea:
    """What a system area holds.

    Attributes:
        loader: whose boot code it has.
        partitions: the bytes of the image at which partitions begin.
        is_apple: there is an Apple partition map.
    """

    loader: Loader
    partitions: frozenset[int]
    is_apple: bool


def read_system_area(medium: Medium, boot_images: Iterable[int]) -> SystemArea | None:
    """What is in the first 32 KiB; None where they are zeros.

    Args:
        medium: the image.
        boot_images: where El Torito's images for x86 begin, in bytes.
    """
    area = medium.peek(0, SYSTEM_AREA_SECTORS * SECTOR)
    if not any(area):
        return None
    is_apple = area[BLOCK : BLOCK + 2] == b"PM" or area[SECTOR : SECTOR + 2] == b"PM"
    if area[510:512] != b"\x55\xaa":
        return SystemArea(Loader.OTHER, frozenset(), is_apple)
    (place,) = struct.unpack_from("<Q", area, PLACE_OFFSET)
    loader = Loader.OTHER if any(area[:PLACE_OFFSET]) else Loader.NONE
    for offset in boot_images:
        if place & 0xFFFFFFFF == offset // BLOCK and medium.peek(offset, SECTOR)[64:68] == ISOHYBRID_SIGNATURE:
            loader = Loader.ISOLINUX
        elif place == offset // BLOCK + GRUB_SKIP:
            loader = Loader.GRUB
    return SystemArea(loader, frozenset((*_mbr(area), *_gpt(medium, area))), is_apple)


def _mbr(area: bytes) -> Iterator[int]:
    for at in range(446, 510, 16):
        kind, start, count = struct.unpack_from("<4xB3xII", area, at)
        if kind and count:
            yield start * BLOCK


def _gpt(medium: Medium, area: bytes) -> Iterator[int]:
    if area[BLOCK : BLOCK + 8] != b"EFI PART":
        return
    table, count, size = struct.unpack_from("<QII", area, BLOCK + 72)
    if not 128 <= size <= BLOCK:
        return
    data = medium.peek(table * BLOCK, min(count, MAX_GPT_ENTRIES) * size)
    for at in range(0, len(data) - size + 1, size):
        if any(data[at : at + 16]):
            yield struct.unpack_from("<Q", data, at + 32)[0] * BLOCK
