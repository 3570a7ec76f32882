"""UDF file entries, and the dates in them (ECMA-167 4/14.6, 4/14.9, 4/14.17, 1/7.3)."""

from __future__ import annotations

import stat
import struct
from typing import TYPE_CHECKING

from qemu_viso.tree.existing.dates import moment

if TYPE_CHECKING:
    from qemu_viso.tree.existing.medium import Medium

FILE_ENTRY, EXTENDED_FILE_ENTRY = 261, 266
HEAD_SIZE = 216
"""Bytes of the longer kind without extended attributes and allocation descriptors."""

_TYPES = {
    0: stat.S_IFREG,
    4: stat.S_IFDIR,
    5: stat.S_IFREG,
    6: stat.S_IFBLK,
    7: stat.S_IFCHR,
    9: stat.S_IFIFO,
    10: stat.S_IFSOCK,
    12: stat.S_IFLNK,
    249: stat.S_IFREG,
}
"""File types (4/14.6.6, UDF 2.3.5.2): 249 is a real-time file."""
_TIMESTAMP = struct.Struct("<HHBBBBBBBB")


class FileEntry:
    """An ICB: the file entry of a file or directory (ECMA-167 4/14.9, 4/14.17)."""

    __slots__ = (
        "allocation",
        "at",
        "descriptors",
        "embedded",
        "gid",
        "kind",
        "mode",
        "mtime_ns",
        "partition",
        "size",
        "uid",
    )

    def __init__(self, medium: Medium, data: bytes, at: int, partition: int) -> None:
        tag = struct.unpack_from("<H", data)[0] if len(data) >= HEAD_SIZE else 0
        if tag not in (FILE_ENTRY, EXTENDED_FILE_ENTRY):
            raise medium.error(f"there is no UDF file entry at {at:,}, though a directory says so")
        strategy, self.kind, flags = struct.unpack_from("<H5xB6xH", data, 20)
        if strategy != 4:
            raise medium.unsupported(f"a UDF file entry has ICB strategy {strategy}, and only 4 is supported")
        self.uid, self.gid, permissions = struct.unpack_from("<III", data, 36)
        (self.size,) = struct.unpack_from("<Q", data, 56)
        extended = tag == EXTENDED_FILE_ENTRY
        head = 216 if extended else 176
        attributes, self.allocation = struct.unpack_from("<II", data, head - 8)
        start = head + attributes
        if start + self.allocation > len(data):
            raise medium.error(f"the allocation descriptors of the UDF file entry at {at:,} do not fit into it")
        self.mode = _TYPES.get(self.kind, 0) | _mode_bits(permissions, flags)
        self.mtime_ns = timestamp(data[92:104] if extended else data[84:96])
        self.embedded = flags & 7
        self.at = at + start
        self.descriptors = data[start : start + self.allocation]
        self.partition = partition


def _mode_bits(permissions: int, flags: int) -> int:
    """Read, write and execute of others, group and owner (4/14.9.5), and the set-id and sticky bits (4/14.6.8)."""
    mode = (permissions & 7) | (permissions >> 5 & 7) << 3 | (permissions >> 10 & 7) << 6
    for flag, bit in ((0x40, stat.S_ISUID), (0x80, stat.S_ISGID), (0x100, stat.S_ISVTX)):
        if flags & flag:
            mode |= bit
    return mode


def timestamp(data: bytes) -> int | None:
    """A timestamp (1/7.3) in nanoseconds since 1970; None where it is no date."""
    kind, year, month, day, hour, minute, second, centi, hundreds, micro = _TIMESTAMP.unpack(data)
    zone = (kind & 0xFFF) - (0x1000 if kind & 0x800 else 0)
    if not -1440 <= zone <= 1440:
        zone = 0
    time: int | None = moment((year, month, day, hour, minute, second), zone * 60)
    microseconds = int(centi * 10_000 + hundreds * 100 + micro)
    return time if time is None or microseconds > 999_999 else time + microseconds * 1000
