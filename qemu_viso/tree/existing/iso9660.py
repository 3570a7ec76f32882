"""Directory hierarchies of existing images (ECMA-119): plain, Rock Ridge, or Joliet."""

from __future__ import annotations

import re
import stat
import struct
from typing import TYPE_CHECKING, NamedTuple

from qemu_viso.image import FileSlice, Joined
from qemu_viso.ondisk.ecma119 import FLAG_DIRECTORY, FLAG_MULTI_EXTENT, SECTOR
from qemu_viso.tree.existing.dates import record_time
from qemu_viso.tree.existing.rock_ridge import MAX_TARGET, Skips, SystemUse, decoded, skips
from qemu_viso.tree.existing.volume import DIRECTORY_MODE, FILE_MODE, Budget, Found, Location, Warnings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qemu_viso.tree.existing.medium import Medium
    from qemu_viso.tree.existing.rock_ridge import Fields

FLAG_ASSOCIATED = 0x04
RECORD_HEAD = 33
RELOCATION_NAMES = ("rr_moved", ".rr_moved", "RR_MOVED")
"""Where writers put directories that would be too deep."""
MAX_FILE_EXTENTS = 10_000
"""Records of one file; one of 16 TiB has 4,097."""

_RECORD = struct.Struct("<BBI4xI4x7sBBB4xB")
_VERSION = re.compile(r";[0-9]*\Z")


class Record(NamedTuple):
    """A directory record (9.1): `start` in bytes, `use` and `end` its system use field in the directory's bytes."""

    identifier: bytes
    start: int
    size: int
    date: bytes
    flags: int
    interleaved: bool
    use: int
    end: int


class Hierarchy:
    """One directory hierarchy.

    Args:
        medium: the image.
        block: bytes of a logical block: 2,048, or less.
        root_record: the root's directory record in the volume descriptor (8.4.18).
        joliet: names are UTF-16.
        rock: use Rock Ridge if it is there.

    Attributes:
        rock_ridge: 0 where there is none (or it is not wanted), 1 in its limited form without ER, else 2.
    """

    def __init__(self, medium: Medium, block: int, root_record: bytes, *, joliet: bool, rock: bool) -> None:
        self.medium = medium
        self.kind = "Joliet" if joliet else "ISO 9660"
        self.warnings = Warnings()
        self.rock_ridge = 0
        self.relocated = False
        self._block = block
        self._joliet = joliet
        self._budget = Budget(medium)
        self._use: SystemUse | None = None
        self._skips = Skips(0, 0)
        fields = _RECORD.unpack_from(root_record)
        self._location = Location((fields[2] + fields[1]) * block, fields[3])
        self._date = record_time(fields[4])
        if rock:
            self._find_rock_ridge()

    def _find_rock_ridge(self) -> None:
        data, first = self._first(self._location)
        found = None if first is None else skips(data[first.use : first.end])
        if first is not None and found is not None:
            self._skips = found
            self._use = SystemUse(self.medium, self._block)
            self.rock_ridge = 2 if self._use.fields(data, first.use + found.root, first.end).is_extended else 1
            self.kind = "Rock Ridge"

    def _first(self, location: Location) -> tuple[bytes, Record | None]:
        """A directory's first record, which is about itself, and the bytes that it is in."""
        data = self.medium.peek(location.offset, min(SECTOR, location.size))
        return data, next(self._records(data), None)

    @property
    def root(self) -> Found:
        """The root directory."""
        return self._directory("", self._location, self._date, None)

    def _directory(self, name: str, location: Location, mtime_ns: int | None, fields: Fields | None) -> Found:
        if self._use is not None and (fields is None or fields.mode is None):
            data, first = self._first(location)
            if first is not None:
                skip = self._skips.root if location == self._location else self._skips.others
                fields = self._use.fields(data, first.use + skip, first.end)
        if fields is None or fields.mode is None:
            return Found(name, DIRECTORY_MODE, 0, 0, mtime_ns, location=location)
        mode = stat.S_IFDIR | stat.S_IMODE(fields.mode)
        mtime_ns = mtime_ns if fields.mtime_ns is None else fields.mtime_ns
        return Found(name, mode, fields.uid, fields.gid, mtime_ns, location=location)

    def _records(self, data: bytes) -> Iterator[Record]:
        """The records in a directory's bytes; none crosses the end of a sector (6.8.1.1)."""
        block, unpack = self._block, _RECORD.unpack_from
        at, size = 0, len(data)
        while at < size:
            length = data[at]
            limit = min((at | (SECTOR - 1)) + 1, size)
            if not length:
                at = limit
                continue
            if length <= RECORD_HEAD or at + length > limit:
                why = "is too short for one" if length <= RECORD_HEAD else "does not fit into its sector"
                raise self.medium.error(f"a directory record of {length} bytes {why}")
            _, attributes, extent, bytes_, date, flags, unit, gap, count = unpack(data, at)
            end = at + length
            name_end = at + RECORD_HEAD + count
            if not count or name_end > end:
                raise self.medium.error(f"a directory record has a name of {count} bytes, which does not fit into it")
            yield Record(
                data[at + RECORD_HEAD : name_end],
                (extent + attributes) * block,
                bytes_,
                date,
                flags,
                bool(unit or gap),
                name_end + (~count & 1),
                end,
            )
            at = end

    def begin(self) -> None:
        """Begin to count what is read anew."""
        self._budget = Budget(self.medium)

    def entries(self, directory: Location) -> list[Found]:
        """What is in a directory.

        Raises:
            RecipeError: the directory is damaged, or one of its files is not all inside the image.
        """
        self._budget.directory(directory.size)
        data = self.medium.read(directory.offset, directory.size, "a directory") if directory.size else b""
        found: list[Found] = []
        pieces: list[Record] = []
        for record in self._records(data):
            self._budget.entries(1)
            if record.identifier in (b"\0", b"\1") or record.flags & FLAG_ASSOCIATED:
                continue
            if pieces and pieces[-1].identifier != record.identifier:
                pieces = []  # the last piece of the file before is missing: what there is of it is left out
            if record.flags & FLAG_MULTI_EXTENT and not record.flags & FLAG_DIRECTORY:
                pieces.append(record)
                if len(pieces) > MAX_FILE_EXTENTS:
                    raise self.medium.unsupported(f"a file has more than {MAX_FILE_EXTENTS:,} extents")
                continue
            entry = self._entry(record, pieces, data)
            pieces = []
            if entry is not None:
                found.append(entry)
        if self._use is not None and directory == self._location:
            found = [entry for entry in found if not self._is_emptied(entry)]
        return found

    def _is_emptied(self, entry: Found) -> bool:
        """Was this directory made for relocated directories only, which are shown elsewhere?"""
        location = entry.location
        return entry.name in RELOCATION_NAMES and location is not None and not self.entries(location)

    def _entry(self, record: Record, before: list[Record], data: bytes) -> Found | None:
        fields = None
        if self._use is not None:
            fields = self._use.fields(data, record.use + self._skips.others, record.end)
            if fields.relocated:
                return None  # it is shown in the place that it was moved away from
        name = self._name(record, fields)
        date = record_time(record.date)
        if fields is not None and fields.child is not None:
            return self._relocated(name, fields.child, date)
        if record.flags & FLAG_DIRECTORY:
            return self._directory(name, Location(record.start, record.size), date, fields)
        if fields is None or fields.mode is None:
            return Found(name, FILE_MODE, 0, 0, date, self._data(record, before, name))
        return self._rock_entry(name, record, before, date, fields)

    def _rock_entry(
        self, name: str, record: Record, before: list[Record], date: int | None, fields: Fields
    ) -> Found | None:
        mode, mtime_ns = fields.mode or 0, date if fields.mtime_ns is None else fields.mtime_ns
        if stat.S_ISLNK(mode) and fields.components is not None:
            target = fields.target()
            if not target or len(target) > MAX_TARGET or b"\0" in target:
                self.warnings.add(f"the symbolic link '{name}' has no usable target and is left out")
                return None
            return Found(name, mode, fields.uid, fields.gid, mtime_ns, target=decoded(target))
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            return Found(name, mode, fields.uid, fields.gid, mtime_ns)
        if fields.sparse:
            raise self.medium.unsupported(
                f"the file '{name}' is stored as a Rock Ridge sparse file (SF), which is not supported"
            )
        if fields.compressed:
            self.warnings.add(f"the file '{name}' is compressed with zisofs, and shows its compressed bytes")
        mode = stat.S_IFREG | stat.S_IMODE(mode)
        return Found(name, mode, fields.uid, fields.gid, mtime_ns, self._data(record, before, name))

    def _relocated(self, name: str, block: int, date: int | None) -> Found:
        """A directory that lies elsewhere, because the hierarchy would be too deep here (RRIP 4.1.5)."""
        self.relocated = True
        _, first = self._first(Location(block * self._block, SECTOR))
        if first is None or first.identifier != b"\0":
            raise self.medium.error(f"the relocated directory '{name}' is not where its entry says")
        return self._directory(name, Location(first.start, first.size), date, None)

    def _name(self, record: Record, fields: Fields | None) -> str:
        if self._joliet:
            name = record.identifier.decode("utf-16-be", "replace")
            return name if record.flags & FLAG_DIRECTORY else _VERSION.sub("", name)
        if fields is not None and fields.name:
            return decoded(fields.name)
        name = decoded(record.identifier)
        return name if record.flags & FLAG_DIRECTORY else _VERSION.sub("", name)

    def _data(self, record: Record, before: list[Record], name: str) -> FileSlice | Joined:
        if record.interleaved:
            raise self.medium.unsupported(f"the file '{name}' is interleaved (ECMA-119 6.4.3), which is not supported")
        parts: list[FileSlice] = []
        for piece in (*before, record):
            part = self.medium.slice(piece.start, piece.size, f"the file '{name}'") if piece.size else None
            if part is None:
                continue
            if parts and parts[-1].offset + parts[-1].size == part.offset:
                parts[-1] = FileSlice(part.file, parts[-1].offset, parts[-1].size + part.size)
            else:
                parts.append(part)
        if not parts:
            return self.medium.slice(0, 0, "")
        if before:
            self._budget.data(sum(part.size for part in parts))
        return parts[0] if len(parts) == 1 else Joined(tuple(parts))
