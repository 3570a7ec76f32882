"""Writing cpio archives in the "new ASCII" format, as Linux takes them for an initial RAM disk.

Format: Documentation/driver-api/early-userspace/buffer-format.rst in Linux. Owner, times and inode numbers are fixed
by the content, so that the same files give the same bytes.
"""

from __future__ import annotations

import stat
from typing import Protocol

_TRAILER = "TRAILER!!!"


class Sink(Protocol):
    """Whatever takes bytes."""

    def write(self, data: bytes, /) -> object:
        """Append."""
        ...


class CpioWriter:
    """Writes an archive, entry by entry; `close` completes it.

    Args:
        sink: where the bytes go.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._inode = 0
        self._directories: set[str] = set()

    def directory(self, path: str, mode: int = 0o755) -> None:
        """Add a directory and those above it; one that is there already stays as it is."""
        if path in self._directories or not path:
            return
        self.directory(path.rpartition("/")[0])
        self._directories.add(path)
        self._entry(path, stat.S_IFDIR | mode, b"")

    def file(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """Add a regular file and the directories above it."""
        self.directory(path.rpartition("/")[0])
        self._entry(path, stat.S_IFREG | mode, content)

    def symlink(self, path: str, target: str) -> None:
        """Add a symbolic link and the directories above it."""
        self.directory(path.rpartition("/")[0])
        self._entry(path, stat.S_IFLNK | 0o777, target.encode())

    def close(self) -> None:
        """Write the trailer."""
        self._entry(_TRAILER, 0, b"")

    def _entry(self, path: str, mode: int, content: bytes) -> None:
        name = path.encode() + b"\0"
        self._inode += path != _TRAILER
        links = 2 if stat.S_ISDIR(mode) else 1
        # c_ino, c_mode, c_uid, c_gid, c_nlink, c_mtime, c_filesize, c_maj, c_min, c_rmaj, c_rmin, c_namesize, c_chksum
        numbers = (
            0 if path == _TRAILER else self._inode, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(name), 0,
        )  # fmt: skip
        header = b"070701" + b"".join(b"%08X" % number for number in numbers) + name
        self._sink.write(header + bytes(-len(header) % 4))
        self._sink.write(content + bytes(-len(content) % 4))
