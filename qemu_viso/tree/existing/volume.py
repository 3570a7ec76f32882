"""What every file system of an existing image gives: entries of directories, and limits that no image may exceed."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qemu_viso.errors import RecipeError
    from qemu_viso.image import FileSlice, Joined
    from qemu_viso.tree.existing.medium import Medium

MAX_DEPTH = 255
"""Directories on the way from the root; Linux shows no path of more than 4,096 bytes."""
MAX_ENTRIES = 2_000_000
"""Entries of one file system, all directories together."""
MAX_DIRECTORY_BYTES = 128 << 20
"""Bytes of one directory."""
MAX_TOTAL_BYTES = 512 << 20
"""Bytes of all directories that are read of one file system."""

MAX_DATA_BYTES = 64 << 40
"""Bytes of all files of one file system, each counted once for each of its names; an image has room for 8 TiB."""
MAX_WARNINGS = 20

FILE_MODE = stat.S_IFREG | 0o444
DIRECTORY_MODE = stat.S_IFDIR | 0o555
LINK_MODE = stat.S_IFLNK | 0o777


class Location(NamedTuple):
    """Where a directory's entries are: `offset` in bytes, which is its identity, and `size` where that is known."""

    offset: int
    size: int


class Found(NamedTuple):
    """An entry of a directory.

    Attributes:
        mode: with its type bits, which tell what the entry is.
        mtime_ns: nanoseconds since the epoch, None where the image does not say.
        data: of a file.
        location: of a directory.
        target: of a symbolic link.
    """

    name: str
    mode: int
    uid: int
    gid: int
    mtime_ns: int | None
    data: FileSlice | Joined | None = None
    location: Location | None = None
    target: str = ""


class Warnings:
    """Sentences about what cannot be taken over; of very many, the first ones and their number."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._count = 0

    def add(self, text: str) -> None:
        """One more."""
        self._count += 1
        if len(self._texts) < MAX_WARNINGS:
            self._texts.append(text)

    def take(self) -> list[str]:
        """All that have come since the last time."""
        texts, more = self._texts, self._count - len(self._texts)
        self._texts, self._count = [], 0
        return [*texts, f"and {more} more things of this kind"] if more else texts


class FileSystem(Protocol):
    """One file system of an image.

    Attributes:
        medium: the image.
        kind: how messages call it.
        warnings: sentences about what is there but cannot be taken over.
    """

    medium: Medium
    kind: str
    warnings: Warnings

    @property
    def root(self) -> Found:
        """The root directory, without a name."""

    def begin(self) -> None:
        """Begin to count what is read (`Budget`) anew."""

    def entries(self, directory: Location) -> Sequence[Found]:
        """What is in a directory, in the order of the image; names may be there twice."""


def check_directory(medium: Medium, location: Location, above: Sequence[int], path: str) -> None:
    """Raise `RecipeError` if a directory lies inside itself, or too deep.

    Args:
        medium: the image.
        location: where its entries are.
        above: where the entries of the directories on the way to it are.
        path: of the directory, for the message.
    """
    if location.offset in above and location.size:
        raise medium.error(f"the directory '{path}' holds itself")
    if len(above) > MAX_DEPTH:
        raise medium.unsupported(f"the directory '{path[:200]}' and so on is more than {MAX_DEPTH} levels deep")


class Budget:
    """How much of one file system has been read; ends what would have no end.

    A directory that is in the image once may be listed twice, as a hard link is, but not inside itself; and what the
    listings add up to is limited, so that directories that hold each other twice do not unfold for ever.
    """

    def __init__(self, medium: Medium) -> None:
        self._medium = medium
        # Directories that are there once, or a few of them twice, are not longer than the image.
        self._limit = min(MAX_TOTAL_BYTES, 2 * medium.size)
        self._entries = 0
        self._bytes = 0
        self._data = 0

    def directory(self, size: int) -> None:
        """Account for a directory of `size` bytes, before it is read.

        Raises:
            RecipeError: it is too much.
        """
        if size > MAX_DIRECTORY_BYTES:
            raise self._medium.unsupported(
                f"a directory of {size:,} bytes is longer than the {MAX_DIRECTORY_BYTES:,} supported"
            )
        self._bytes += size
        if self._bytes > self._limit:
            raise self._too_much()

    def entries(self, count: int) -> None:
        """Account for entries; the errors of `directory`."""
        self._entries += count
        if self._entries > MAX_ENTRIES:
            raise self._too_much()

    def data(self, size: int) -> None:
        """Account for the bytes of a file; the errors of `directory`."""
        self._data += size
        if self._data > MAX_DATA_BYTES:
            raise self._medium.unsupported(f"its files are said to be longer than {MAX_DATA_BYTES:,} bytes together")

    def _too_much(self) -> RecipeError:
        return self._medium.unsupported(
            f"its directories hold more than {MAX_ENTRIES:,} entries or {self._limit:,} bytes, "
            "or are listed again and again"
        )
