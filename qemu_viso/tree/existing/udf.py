"""The file system of a UDF volume in an existing image (ECMA-167 part 4, UDF 1.02 to 2.60)."""

from __future__ import annotations

import stat
import struct
from typing import TYPE_CHECKING

from qemu_viso.image import FileSlice, Hole, Joined
from qemu_viso.tree.existing.udf_entry import FileEntry
from qemu_viso.tree.existing.udf_volume import UdfVolume, dcharacters
from qemu_viso.tree.existing.volume import LINK_MODE, MAX_DIRECTORY_BYTES, Budget, Found, Location, Warnings

if TYPE_CHECKING:
    from qemu_viso.tree.existing.medium import Medium

FILE_IDENTIFIER = 257
DELETED, PARENT = 4, 8
"""File characteristics (4/14.4.3)."""
IDENTIFIER_HEAD = 38
NO_OWNER = 0xFFFFFFFF
MAX_TARGET_BYTES = 64 << 10
ROOT_OF_SYSTEM, ROOT, UP, HERE, NAMED = 1, 2, 3, 4, 5
"""Types of path components (4/14.16.1.1)."""


class Udf:
    """A UDF file system.

    Attributes:
        label: the logical volume's identifier.

    Raises:
        RecipeError: the volume is damaged, or of a kind that is not supported.
    """

    kind = "UDF"

    def __init__(self, medium: Medium) -> None:
        self.medium = medium
        self.warnings = Warnings()
        self._volume = UdfVolume(medium)
        self._budget = Budget(medium)
        self._partitions: dict[int, int] = {}
        self.label = self._volume.label

    @property
    def root(self) -> Found:
        """The root directory."""
        found = self._found("", *self._volume.root)
        if found.location is None:
            raise self.medium.error("the root of its UDF volume is not a directory")
        return found

    def begin(self) -> None:
        """Begin to count what is read anew."""
        self._budget = Budget(self.medium)

    def entries(self, directory: Location) -> list[Found]:
        """What is in a directory.

        Raises:
            RecipeError: the directory is damaged, or one of its files is not all inside the image.
        """
        self._budget.directory(directory.size)
        partition = self._partitions.get(directory.offset, 0)
        data = self.medium.peek(directory.offset, self._volume.block)
        entry = FileEntry(self.medium, data, directory.offset, partition)
        content = self._bytes(entry, MAX_DIRECTORY_BYTES, "a UDF directory")
        found = []
        at = 0
        while at + IDENTIFIER_HEAD <= len(content):
            tag, flags, count, _, block, partition, use = struct.unpack_from("<H16xBBIIH6xH", content, at)
            if tag != FILE_IDENTIFIER:
                raise self.medium.error(f"a UDF directory has no file identifier at byte {at}")
            start = at + IDENTIFIER_HEAD + use
            if start + count > len(content):
                raise self.medium.error("a file identifier does not fit into its UDF directory")
            if not flags & (DELETED | PARENT):
                found.append(self._found(dcharacters(content[start : start + count]), block, partition))
            at = (start + count + 3) & ~3
        self._budget.entries(len(found))
        return found

    def _found(self, name: str, block: int, partition: int) -> Found:
        data, at = self._volume.icb(block, partition)
        entry = FileEntry(self.medium, data, at, partition)
        uid = 0 if entry.uid == NO_OWNER else entry.uid
        gid = 0 if entry.gid == NO_OWNER else entry.gid
        kind = stat.S_IFMT(entry.mode)
        if kind == stat.S_IFDIR:
            if partition:
                self._partitions[at] = partition
            return Found(name, entry.mode, uid, gid, entry.mtime_ns, location=Location(at, entry.size))
        if kind == stat.S_IFLNK:
            return Found(name, LINK_MODE, uid, gid, entry.mtime_ns, target=self._target(entry))
        contents = self._data(name, entry) if kind == stat.S_IFREG else None
        return Found(name, entry.mode, uid, gid, entry.mtime_ns, contents)

    def _bytes(self, entry: FileEntry, limit: int, what: str) -> bytes:
        if entry.size > limit:
            raise self.medium.unsupported(f"{what} of {entry.size:,} bytes is longer than the {limit:,} supported")
        return b"".join(
            bytes(extent.size) if extent.offset is None else self.medium.read(extent.offset, extent.size, what)
            for extent in self._volume.extents(entry)
        )

    def _data(self, name: str, entry: FileEntry) -> FileSlice | Joined:
        self._budget.data(entry.size)
        parts: list[FileSlice | Hole] = []
        for extent in self._volume.extents(entry):
            last = parts[-1] if parts else None
            if extent.offset is None:
                part: FileSlice | Hole = Hole(extent.size)
                if isinstance(last, Hole):
                    parts[-1] = Hole(last.size + extent.size)
                    continue
            else:
                part = self.medium.slice(extent.offset, extent.size, f"the file '{name}'")
                if isinstance(last, FileSlice) and last.offset + last.size == part.offset:
                    parts[-1] = FileSlice(last.file, last.offset, last.size + part.size)
                    continue
            parts.append(part)
        if not parts:
            return self.medium.slice(0, 0, "")
        return parts[0] if len(parts) == 1 and isinstance(parts[0], FileSlice) else Joined(tuple(parts))

    def _target(self, entry: FileEntry) -> str:
        """The text of a link's target (4/14.16)."""
        self._budget.directory(entry.size)
        data = self._bytes(entry, MAX_TARGET_BYTES, "the target of a symbolic link")
        parts: list[str] = []
        at = 0
        while at + 4 <= len(data):
            kind, count = data[at], data[at + 1]
            if kind in (ROOT_OF_SYSTEM, ROOT):
                parts = [""]
            elif kind in (UP, HERE):
                parts.append(".." if kind == UP else ".")
            elif kind == NAMED:
                parts.append(dcharacters(data[at + 4 : at + 4 + count]))
            at += 4 + count
        return "/" if parts == [""] else "/".join(parts)
