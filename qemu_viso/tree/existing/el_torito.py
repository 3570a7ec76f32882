"""The boot catalog of an existing image (El Torito 1.0), and where its boot images are."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qemu_viso.ondisk.ecma119 import SECTOR
from qemu_viso.ondisk.eltorito import ENTRY_SIZE, GRUB_INFO_OFFSET, INFO_TABLE_OFFSET, INFO_TABLE_SIZE, grub_info
from qemu_viso.viso.recipe import Media

if TYPE_CHECKING:
    from qemu_viso.errors import RecipeError
    from qemu_viso.tree.existing.medium import Medium

MAX_CATALOG = 16 * SECTOR
"""Bytes of a catalog: 512 entries."""
VALIDATION, MORE_HEADERS, LAST_HEADER, EXTENSION = 1, 0x90, 0x91, 0x44
BOOTABLE, NOT_BOOTABLE = 0x88, 0
MEDIA_MASK, CONTINUED = 0x0F, 0x20
PRIMARY_DESCRIPTOR = 16
FLOPPIES = {Media.FLOPPY_12: 1_228_800, Media.FLOPPY_144: 1_474_560, Media.FLOPPY_288: 2_949_120}


@dataclass(frozen=True, slots=True)
class FoundEntry:
    """An entry of a catalog.

    Attributes:
        platform: of its section; of the validation entry, for the default entry.
        identifier: of its section, or of the validation entry.
        offset: where the image begins, in bytes.
        criteria: the selection criteria type and the criteria, with those of extension entries.
    """

    platform: int
    identifier: bytes
    bootable: bool
    media: Media
    load_segment: int
    system_type: int
    load_sectors: int
    offset: int
    criteria: bytes


def read_catalog(medium: Medium, sector: int) -> list[FoundEntry]:
    """The entries of a catalog, those without an image left out.

    Raises:
        RecipeError: the catalog is damaged.
    """
    data = medium.peek(sector * SECTOR, MAX_CATALOG)
    head = data[:ENTRY_SIZE]
    if len(data) < 2 * ENTRY_SIZE or head[0] != VALIDATION or head[30:32] != b"\x55\xaa" or _sum(head):
        raise _bad(medium, f"there is no validation entry in sector {sector}")
    platform, identifier = head[1], head[4:28].rstrip(b"\0")
    found: list[FoundEntry] = []
    at, left, last = ENTRY_SIZE, 1, False
    while at + ENTRY_SIZE <= len(data):
        kind = data[at]
        if kind in (MORE_HEADERS, LAST_HEADER) and not left:
            if last:
                break
            platform, left = data[at + 1], struct.unpack_from("<H", data, at + 2)[0]
            identifier, last = data[at + 4 : at + ENTRY_SIZE].rstrip(b"\0"), kind == LAST_HEADER
            at += ENTRY_SIZE
        elif kind == BOOTABLE or (kind == NOT_BOOTABLE and left):
            # Beyond the entries that a header announces, some writers put more of them without a header.
            entry, at = _entry(medium, data, at, platform, identifier)
            left = max(0, left - 1)
            if entry.offset:
                found.append(entry)
        elif kind == NOT_BOOTABLE or last:
            break
        else:
            raise _bad(medium, f"it has an entry that begins with {kind:#04x}")
    return found


def _sum(entry: bytes) -> int:
    words: tuple[int, ...] = struct.unpack("<16H", entry)
    return sum(words) & 0xFFFF


def _bad(medium: Medium, what: str) -> RecipeError:
    return medium.error(
        f"its boot catalog is damaged: {what}", hint="--import-iso-skip-eltorito imports the image without it"
    )


def _entry(medium: Medium, data: bytes, at: int, platform: int, identifier: bytes) -> tuple[FoundEntry, int]:
    kind, media, segment, system, sectors, start = struct.unpack_from("<BBHBxHI", data, at)
    if media & MEDIA_MASK > Media.HARD_DISK.value:
        raise _bad(medium, f"it has an entry with emulation type {media & MEDIA_MASK}")
    criteria = data[at + 12 : at + ENTRY_SIZE]
    at += ENTRY_SIZE
    more = media & CONTINUED
    while more and data[at : at + 1] == bytes((EXTENSION,)):
        more = data[at + 1] & CONTINUED
        criteria += data[at + 2 : at + ENTRY_SIZE]
        at += ENTRY_SIZE
    if not any(criteria):
        criteria = b""
    kept = Media(media & MEDIA_MASK)
    entry = FoundEntry(platform, identifier, kind == BOOTABLE, kept, segment, system, sectors, start * SECTOR, criteria)
    return entry, at


def image_size(entry: FoundEntry, starts: list[int], end: int) -> int:
    """The bytes of a boot image that is no file: what its emulation says, or else up to the next known thing.

    Args:
        entry: its entry.
        starts: where files and boot images begin, in order.
        end: the end of the image.
    """
    following = next((start for start in starts if start > entry.offset), end)
    size: int = FLOPPIES.get(entry.media, following - entry.offset)
    return max(0, min(size, end - entry.offset))


def has_info_table(medium: Medium, entry: FoundEntry) -> bool:
    """Does the boot image say where it lies, as `-boot-info-table` lets it?"""
    table = medium.peek(entry.offset + INFO_TABLE_OFFSET, INFO_TABLE_SIZE)
    if len(table) < INFO_TABLE_SIZE or any(table[16:]):
        return False
    return struct.unpack_from("<II", table) == (PRIMARY_DESCRIPTOR, entry.offset // SECTOR)


def has_grub_info(medium: Medium, entry: FoundEntry) -> bool:
    """Does the boot image have GRUB's own note of where it lies?"""
    note = grub_info(entry.offset // SECTOR)
    return medium.peek(entry.offset + GRUB_INFO_OFFSET, len(note)) == note
