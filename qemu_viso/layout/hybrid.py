"""An image that is a disk as well: boot code and partition tables in the system area.

With boot code alone (`-isohybrid-mbr`) there is one partition, the image itself, as isohybrid and xorriso make it.

With a GPT (`-isohybrid-gpt-basdat`) there is a protective partition, and each boot image asked for is a partition.
xorriso's image is one too, and overlaps the others and the table, so that its GPT is invalid; ours is valid, and the
image as a whole is read from the disk itself. Some BIOSes boot only where a partition is active, and some UEFI firmware
wants the protective one not to be: so an unused record is, as GRUB and xorriso do it (`--mbr-force-bootable`).
"""

from __future__ import annotations

import hashlib
import os
import uuid
from typing import TYPE_CHECKING

from qemu_viso.errors import RecipeError, shown
from qemu_viso.image import FileSlice, Literal, Patched
from qemu_viso.ondisk import gpt, mbr
from qemu_viso.ondisk.ecma119 import SECTOR, SYSTEM_AREA_SECTORS
from qemu_viso.sources.host import HostFile
from qemu_viso.tree.boot import EFI
from qemu_viso.tree.nodes import File
from qemu_viso.viso.recipe import ImportIso, IsohybridMbr, SystemArea

if TYPE_CHECKING:
    from qemu_viso.image import Content
    from qemu_viso.tree.tree import BootEntry, Tree

BLOCKS = SECTOR // mbr.BLOCK
"""Blocks of a disk in a sector of the image."""
CYLINDER_SECTORS = mbr.HEADS * mbr.SECTORS // BLOCKS
"""A disk ends with a whole cylinder, as isohybrid images do: some BIOSes guess the geometry from that."""
BACKUP_SECTORS = -(-gpt.BACKUP_BLOCKS // BLOCKS)


class Hybrid:
    """The disk side of an image while it is worked out.

    Attributes:
        in_gpt: the boot images that are partitions.
        backup_sectors: what the backup of the GPT takes at the end of the image; 0 without a GPT.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        entries = tree.boot.entries if tree.boot is not None else []
        self._entries = entries
        self.in_gpt = [self._image(entry) for entry in entries if entry.in_gpt]
        self.in_gpt = list({id(file): file for file in self.in_gpt}.values())
        self._starts: File | None = None
        if tree.isohybrid_mbr is not None:
            self._starts = self._isolinux()
        elif tree.grub_mbr is not None:
            self._starts = self._image(next(entry for entry in entries if entry.platform == 0))
        self.backup_sectors = BACKUP_SECTORS if self.in_gpt else 0

    def end(self, sector: int) -> int:
        """The end of an image that would end at `sector` if it were no disk."""
        return -(-sector // CYLINDER_SECTORS) * CYLINDER_SECTORS

    def system_area(self, sectors: int) -> Literal:
        """What fills the system area of an image of so many sectors."""
        given = self._tree.system_area
        blocks = sectors * BLOCKS
        area = bytearray(_read(given) if given is not None else b"").ljust(SYSTEM_AREA_SECTORS * SECTOR, b"\0")
        code = bytes(area[: mbr.CODE_SIZE])
        if self._starts is not None and self._tree.isohybrid_mbr is not None:
            code = mbr.isohybrid_code(_read(self._tree.isohybrid_mbr), self._starts.extent * BLOCKS)
        elif self._starts is not None and self._tree.grub_mbr is not None:
            code = mbr.isohybrid_code(_read(self._tree.grub_mbr), self._starts.extent * BLOCKS + mbr.GRUB_SKIP)
        if self.in_gpt:
            if any(area[mbr.BLOCK : gpt.PRIMARY_END * mbr.BLOCK]):
                raise RecipeError(
                    "the system area given with -G has content where the GUID partition table has to lie",
                    place=self._tree.place_of(SystemArea),
                    hint="leave out -isohybrid-gpt-basdat, or give a system area of 512 bytes",
                )
            partitions = [mbr.partition(mbr.TYPE_PROTECTIVE, 1, blocks - 1)]
            if any(code):
                partitions.append(mbr.partition(mbr.TYPE_UNUSED, 0, 1, active=True))
            primary = gpt.primary(blocks, SYSTEM_AREA_SECTORS * BLOCKS, self._guid(blocks, "disk"), self._table(blocks))
            area[mbr.BLOCK : gpt.PRIMARY_END * mbr.BLOCK] = primary
        else:
            partitions = [mbr.partition(mbr.TYPE_HIDDEN_NTFS, 0, blocks, active=True)]
        area[: mbr.BLOCK] = mbr.record(code, self._disk_id(blocks), partitions)
        return Literal(bytes(area), "boot code and partition tables")

    def backup(self, sectors: int) -> Literal:
        """What fills the last `BACKUP_SECTORS` sectors: the backup of the GPT, which ends with the image."""
        blocks = sectors * BLOCKS
        data = gpt.backup(blocks, SYSTEM_AREA_SECTORS * BLOCKS, self._guid(blocks, "disk"), self._table(blocks))
        return Literal(data.rjust(BACKUP_SECTORS * SECTOR, b"\0"), "backup of the GUID partition table")

    def _table(self, blocks: int) -> bytes:
        entries = []
        for number, file in enumerate(self.in_gpt, 1):
            first = file.extent * BLOCKS
            last = first - (-file.data.size // mbr.BLOCK) - 1
            name = "EFI boot" if any(e.image is file and e.platform == EFI for e in self._entries) else "Boot"
            identifier = self._guid(blocks, f"partition {number}")
            attributes = gpt.REQUIRED | gpt.READ_ONLY
            entries.append(gpt.entry(gpt.BASIC_DATA, identifier, first, last, attributes, name))
        return gpt.table(entries)

    def _image(self, entry: BootEntry) -> File:
        """The boot image that is to be a partition."""
        if not isinstance(entry.image, File) or not entry.image.data.size:
            raise RecipeError(
                f"the boot image {self._called(entry)} has no content, so it cannot be a partition",
                place=entry.place,
                hint="leave out -isohybrid-gpt-basdat for this entry, or give it an image with a file system",
            )
        return entry.image

    def _isolinux(self) -> File:
        """The ISOLINUX that the boot code is to start: the first image for x86."""
        entry = next((entry for entry in self._entries if entry.platform == 0), None)
        place = self._tree.place_of(IsohybridMbr) or self._tree.place_of(ImportIso)
        if entry is None or not isinstance(entry.image, File):
            raise RecipeError(
                "-isohybrid-mbr needs an ISOLINUX boot image, and there is none",
                place=place,
                hint="add one with -b isolinux.bin",
            )
        data = entry.image.data
        base = data.base if isinstance(data, Patched) else data
        end = mbr.ISOHYBRID_SIGNATURE_OFFSET + len(mbr.ISOHYBRID_SIGNATURE)
        if base.size < end or not _read(base, end).endswith(mbr.ISOHYBRID_SIGNATURE):
            raise RecipeError(
                f"-isohybrid-mbr needs an ISOLINUX boot image that can be started from a disk, "
                f"and {self._called(entry)} cannot",
                place=place,
                hint="take the isolinux.bin of SYSLINUX 4 or later",
            )
        return entry.image

    def _called(self, entry: BootEntry) -> str:
        return "" if entry.image is None else f"'{shown(self._tree.path_of(entry.image))}'"

    def _identity(self, blocks: int) -> str:
        """What tells this image from others, the same each time that it is laid out."""
        return f"{self._tree.name}/{self._tree.volume_id}/{self._tree.time_ns}/{blocks}"

    def _guid(self, blocks: int, what: str) -> uuid.UUID:
        return uuid.uuid5(uuid.NAMESPACE_OID, f"qemu-viso/{what}/{self._identity(blocks)}")

    def _disk_id(self, blocks: int) -> int:
        digest = hashlib.sha256(self._identity(blocks).encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:4], "little")


def _read(content: Content, size: int = SYSTEM_AREA_SECTORS * SECTOR) -> bytes:
    """The beginning of something that the tables are made with."""
    if isinstance(content, Literal):
        return content.data[:size]
    assert isinstance(content, HostFile | FileSlice)
    file, offset = (content, 0) if isinstance(content, HostFile) else (content.file, content.offset)
    descriptor = file.open()
    try:
        return os.pread(descriptor, min(size, content.size), offset)
    finally:
        os.close(descriptor)
