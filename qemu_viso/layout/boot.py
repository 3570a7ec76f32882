"""El Torito laid out: the catalog's bytes, and boot images that tell where they lie."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from qemu_viso.errors import RecipeError, shown
from qemu_viso.image import FileSlice, Generated, Patched
from qemu_viso.ondisk import eltorito, mbr
from qemu_viso.ondisk.ecma119 import SECTOR
from qemu_viso.sources.host import HostFile
from qemu_viso.tree.boot import EFI
from qemu_viso.tree.nodes import File
from qemu_viso.viso.recipe import Media

if TYPE_CHECKING:
    from collections.abc import Callable

    from qemu_viso.tree.tree import BootCatalog, BootEntry

DEFAULT_LOAD_SECTORS = 4
PRIMARY_DESCRIPTOR = 16
_FLOPPY_SIZES = ((1_228_800, Media.FLOPPY_12), (1_474_560, Media.FLOPPY_144), (2_949_120, Media.FLOPPY_288))


def media(entry: BootEntry) -> Media:
    """The emulation of an entry; by the image's size where the recipe leaves it open (section G2)."""
    if entry.media is not Media.AUTO:
        return entry.media
    size = _size(entry)
    if size == _FLOPPY_SIZES[0][0]:
        return Media.FLOPPY_12
    for limit, floppy in _FLOPPY_SIZES[1:]:
        if size <= limit:
            return floppy
    return Media.HARD_DISK


def _size(entry: BootEntry) -> int:
    return entry.image.data.size if isinstance(entry.image, File) else 0


def system_type(entry: BootEntry) -> int:
    """Of a hard disk what its own partition table says (El Torito figures 3 and 5), where it has one in use."""
    file = entry.image
    if media(entry) is not Media.HARD_DISK or not isinstance(file, File):
        return entry.system_type
    content = file.data.base if isinstance(file.data, Patched) else file.data
    if not isinstance(content, HostFile | FileSlice) or content.size < mbr.BLOCK:
        return entry.system_type
    record = _head(content, mbr.BLOCK)
    table = record[mbr.TABLE_OFFSET : mbr.TABLE_OFFSET + 4 * mbr.PARTITION.size]
    types = table[mbr.TYPE_OFFSET :: mbr.PARTITION.size] if record[-2:] == mbr.SIGNATURE else b""
    return next(filter(None, types), entry.system_type)


def load_sectors(entry: BootEntry) -> int:
    """512-byte sectors to load. EFI takes the number for the image's size, so there it is all of it by default."""
    if entry.load_sectors is not None:
        return entry.load_sectors
    if entry.platform == EFI:
        return min(-(-_size(entry) // 512), 0xFFFF)
    return DEFAULT_LOAD_SECTORS


def prepare(catalog: BootCatalog, end_of_volume: list[int], path_of: Callable[[File], str]) -> None:
    """Give the catalog its data, and patch the images that want a boot information table.

    Args:
        catalog: the entries and the file.
        end_of_volume: one number, filled in by the layout before anything is read: the sector behind the image,
            where images without content are said to lie.
        path_of: the path of a boot image, for messages.
    """
    extensions = sum(eltorito.extension_count(entry.criteria) for entry in catalog.entries)
    used = eltorito.ENTRY_SIZE * (1 + len(catalog.entries) + extensions + _headers(catalog.entries))
    size = -(-used // SECTOR) * SECTOR  # whole sectors, as readers of catalogs take them
    catalog.file.data = Generated(
        size, lambda: catalog_bytes(catalog.entries, end_of_volume[0]).ljust(size, b"\0"), "boot catalog"
    )
    patched: set[int] = set()
    for entry in catalog.entries:
        file = entry.image
        if (entry.info_table or entry.grub_info) and isinstance(file, File) and id(file) not in patched:
            patched.add(id(file))
            _patch(entry, file, path_of)


def _patch(entry: BootEntry, file: File, path_of: Callable[[File], str]) -> None:
    """Let a boot image tell where it lies: with the table of ISOLINUX, with GRUB's note, or with both."""
    base, table, grub = file.data, entry.info_table, entry.grub_info
    if not isinstance(base, HostFile | FileSlice):
        raise RecipeError(
            "a boot information table can only be put into a file that lies in one piece, which the boot image "
            f"'{shown(path_of(file))}' does not",
            place=entry.place,
            hint="leave out --boot-info-table, or copy the file out of its image",
        )
    start = eltorito.INFO_TABLE_OFFSET if table else eltorito.GRUB_INFO_OFFSET
    stop = eltorito.INFO_TABLE_OFFSET + eltorito.INFO_TABLE_SIZE
    if grub:
        stop = eltorito.GRUB_INFO_OFFSET + eltorito.GRUB_INFO_SIZE
    size = max(0, min(stop, base.size) - start)
    if not size:
        return

    def produce() -> bytes:
        head = bytearray(_head(base, stop))
        total = checksum(base)
        if grub:
            note = slice(eltorito.GRUB_INFO_OFFSET, stop)
            total -= sum(struct.unpack("<2I", head[note]))
            head[note] = eltorito.grub_info(file.extent)
            total += sum(struct.unpack("<2I", head[note]))
        if table:
            written = eltorito.info_table(PRIMARY_DESCRIPTOR, file.extent, base.size, total & 0xFFFFFFFF)
            head[eltorito.INFO_TABLE_OFFSET : eltorito.INFO_TABLE_OFFSET + len(written)] = written
        return bytes(head[start : start + size])

    file.data = Patched(base, start, Generated(size, produce, "boot information table"))


def _head(content: HostFile | FileSlice, size: int) -> bytes:
    """The first bytes of a file, filled up with zeros where it is shorter."""
    file, start = (content, 0) if isinstance(content, HostFile) else (content.file, content.offset)
    descriptor = file.open()
    try:
        data = os.pread(descriptor, min(size, content.size), start).ljust(size, b"\0")
        file.check(os.fstat(descriptor))
        return data
    finally:
        os.close(descriptor)


def checksum(content: HostFile | FileSlice) -> int:
    """The sum of a boot image's 32-bit words from byte 64 on; read when the table is first asked for."""
    file, start = (content, 0) if isinstance(content, HostFile) else (content.file, content.offset)
    offset = eltorito.INFO_TABLE_OFFSET + eltorito.INFO_TABLE_SIZE
    total = 0
    descriptor = file.open()
    try:
        while offset < content.size:
            data = os.pread(descriptor, min(1 << 20, content.size - offset), start + offset)
            if not data:
                break
            offset += len(data)
            words = data.ljust((len(data) + 3) & ~3, b"\0")
            total += sum(struct.unpack(f"<{len(words) // 4}I", words))
        file.check(os.fstat(descriptor))
    finally:
        os.close(descriptor)
    return total & 0xFFFFFFFF


def _sections(entries: list[BootEntry]) -> list[list[BootEntry]]:
    """The entries behind the default one, those of one platform and section id in a row together."""
    sections: list[list[BootEntry]] = []
    for entry in entries[1:]:
        if sections and _section_of(sections[-1][0]) == _section_of(entry):
            sections[-1].append(entry)
        else:
            sections.append([entry])
    return sections


def _section_of(entry: BootEntry) -> tuple[int, bytes]:
    return entry.platform, entry.section_id


def _headers(entries: list[BootEntry]) -> int:
    return max(1, len(_sections(entries)))


def catalog_bytes(entries: list[BootEntry], end_of_volume: int) -> bytes:
    """The catalog (El Torito 1.0, 2.0).

    Without sections a final header that announces none marks the end, as VirtualBox writes it.
    """
    parts = [eltorito.validation_entry(*_section_of(entries[0])), _entry(entries[0], end_of_volume)]
    sections = _sections(entries)
    for section in sections:
        platform, identifier = _section_of(section[0])
        last = section is sections[-1]
        parts.append(eltorito.section_header(platform, len(section), last=last, identifier=identifier))
        parts.extend(_entry(entry, end_of_volume) for entry in section)
    if not sections:
        parts.append(eltorito.section_header(0, 0, last=True))
    return b"".join(parts)


def _entry(entry: BootEntry, end_of_volume: int) -> bytes:
    has_content = isinstance(entry.image, File) and entry.image.data.size
    return eltorito.boot_entry(
        bootable=entry.bootable,
        media=media(entry).value,
        segment=entry.load_segment,
        sectors=load_sectors(entry),
        extent=entry.image.extent if has_content and isinstance(entry.image, File) else end_of_volume,
        system_type=system_type(entry),
        criteria=entry.criteria,
    )
