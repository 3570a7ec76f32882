"""Where the structures that machines boot from lie: system area, partition tables, boot catalog and boot images."""

from __future__ import annotations

import struct
from bisect import bisect_right
from typing import TYPE_CHECKING

from qemu_viso.anatomy.model import Claim, Layer
from qemu_viso.ondisk import eltorito, gpt, mbr
from qemu_viso.ondisk.ecma119 import SECTOR, SYSTEM_AREA_SECTORS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qemu_viso.anatomy.model import Source

MAX_CATALOG = 16 * SECTOR
MAX_ENTRIES = 1024
MAX_APPLE = 64
FLOPPIES = {1: 1_228_800, 2: 1_474_560, 3: 2_949_120}


def system_area_claims(source: Source) -> Iterator[Claim]:
    """Sectors 0 to 15 (ECMA-119 6.2.1), and the partition tables that they lead to."""
    size = min(SYSTEM_AREA_SECTORS * SECTOR, source.size)
    yield Claim(0, size, Layer.AREA, "system area", "", 0)
    if source.read(510, 2) == b"\x55\xaa":
        yield Claim(0, mbr.BLOCK, Layer.STRUCTURE, "master boot record", "", 0)
    yield from _apple(source)
    header = source.read(mbr.BLOCK, gpt.HEADER_SIZE)
    if header.startswith(b"EFI PART") and len(header) == gpt.HEADER_SIZE:
        yield from _table(source, mbr.BLOCK, header, "the primary GPT")
        (other,) = struct.unpack_from("<Q", header, 32)
        backup = source.read(other * mbr.BLOCK, gpt.HEADER_SIZE)
        if other > 1 and backup.startswith(b"EFI PART") and len(backup) == gpt.HEADER_SIZE:
            yield from _table(source, other * mbr.BLOCK, backup, "the backup GPT")


def _table(source: Source, at: int, header: bytes, subject: str) -> Iterator[Claim]:
    stop = min(at + mbr.BLOCK, source.size)
    yield Claim(at, stop, Layer.STRUCTURE, "GPT header", subject, at)
    place, count, size = struct.unpack_from("<QII", header, 72)
    start = place * mbr.BLOCK
    stop = min(start + min(count, MAX_ENTRIES) * size, source.size)
    if gpt.ENTRY_SIZE <= size <= mbr.BLOCK and start < stop:
        yield Claim(start, stop, Layer.STRUCTURE, "GPT partition table", subject, start, size)


def _apple(source: Source) -> Iterator[Claim]:
    """An Apple partition map, in blocks of 512 or 2,048 bytes."""
    for block in (mbr.BLOCK, SECTOR):
        count = int.from_bytes(source.read(block + 4, 4), "big")
        for number in range(1, min(count, MAX_APPLE) + 1):
            if source.read(number * block, 2) != b"PM":
                break
            at = number * block
            yield Claim(at, at + mbr.BLOCK, Layer.STRUCTURE, "Apple partition map entry", f"partition {number}", at)


def boot_claims(source: Source, at: int, known: list[Claim]) -> Iterator[Claim]:
    """The boot catalog at byte `at`, its boot images that are no files, and what boot images say of themselves."""
    data = source.read(at, MAX_CATALOG)
    if len(data) < 2 * eltorito.ENTRY_SIZE or data[0] != 1:
        return
    used, images = _images(data)
    stop = min(at + -(-used // SECTOR) * SECTOR, source.size)
    yield Claim(at, stop, Layer.STRUCTURE, "boot catalog", "", at)
    starts = sorted({claim.start for claim in known} | {image[0] for image in images} | {source.size})
    files = {claim.start: claim for claim in known if claim.kind == "file"}
    for number, (start, media, sectors) in enumerate(images, 1):
        if not start or start >= source.size:
            continue
        file = files.get(start)
        following = starts[bisect_right(starts, start)] if start < starts[-1] else source.size
        size = FLOPPIES.get(media) or (file.stop - start if file else max(following - start, sectors * 512))
        subject = file.subject if file else f"boot image {number}, which is no file"
        stop = min(start + size, source.size)
        if file is None:
            yield Claim(start, stop, Layer.BOOT_IMAGE, "file", subject, 0)
        yield from _notes(source, start, stop, subject)


def _images(data: bytes) -> tuple[int, list[tuple[int, int, int]]]:
    """Bytes of a catalog that are in use; start, media and sectors of each of its boot images."""
    images = []
    used, left = eltorito.ENTRY_SIZE, 1
    for at in range(eltorito.ENTRY_SIZE, len(data) - eltorito.ENTRY_SIZE + 1, eltorito.ENTRY_SIZE):
        kind = data[at]
        if kind in (0x90, 0x91) and not left:
            left = int.from_bytes(data[at + 2 : at + 4], "little")
        elif left or kind == 0x88:
            left = max(0, left - 1)
            sectors, start = struct.unpack_from("<HI", data, at + 6)
            images.append((start * SECTOR, data[at + 1] & 0x0F, sectors))
        elif kind != 0x44:
            break
        used = at + eltorito.ENTRY_SIZE
    return used, images


def _notes(source: Source, start: int, stop: int, subject: str) -> Iterator[Claim]:
    """What a boot image says of its own place."""
    at = start + eltorito.INFO_TABLE_OFFSET
    table = source.read(at, eltorito.INFO_TABLE_SIZE)
    if stop - start >= eltorito.INFO_TABLE_OFFSET + eltorito.INFO_TABLE_SIZE and table[:8] == struct.pack(
        "<II", SYSTEM_AREA_SECTORS, start // SECTOR
    ):
        yield Claim(at, at + len(table), Layer.NOTE, "boot information table", subject, at)
    at = start + eltorito.GRUB_INFO_OFFSET
    if at + eltorito.GRUB_INFO_SIZE <= stop and source.read(at, 8) == eltorito.grub_info(start // SECTOR):
        yield Claim(at, at + eltorito.GRUB_INFO_SIZE, Layer.NOTE, "note of GRUB", subject, at)
