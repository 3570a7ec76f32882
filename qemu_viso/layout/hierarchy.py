"""A directory hierarchy (ECMA-119 6.8): its directories in path table order, their sizes, places and records.

The primary and the Joliet volume differ in the names and in what a record holds; everything else is here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from qemu_viso.image import Generated
from qemu_viso.ondisk.ecma119 import (
    EXTENT_LIMIT,
    FLAG_DIRECTORY,
    FLAG_MULTI_EXTENT,
    SECTOR,
    directory_record,
    path_table_record,
    path_table_record_length,
    record_date,
)
from qemu_viso.tree.nodes import Directory, File

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Sequence

    from qemu_viso.image import RegionMap
    from qemu_viso.tree.nodes import Namespace, Node

SELF, PARENT = b"\0", b"\1"
"""The identifiers of a directory's first two records (6.8.2.2)."""
MAX_PARENT = 0xFFFF
"""The highest number that a path table record has room for (9.4.4)."""
ROOT_IDENTIFIER = b"\0"

Entry = tuple[bytes, str, "Node"]
"""An identifier as it stands in the record, the name that it was made from, and the node."""


class DirectoryExtent:
    """One directory's place in a hierarchy.

    Attributes:
        node: the directory.
        identifier: as in its record; one zero byte for the root.
        parent: the directory that holds it; the root holds itself.
        number: its number in the path table, from 1.
        links: as POSIX counts them: its name, its `.`, and the `..` of each directory in it.
        extent: first sector.
        sectors: what its records take.
        continuation_sectors: what its continuation area takes, right behind the records.
    """

    __slots__ = ("continuation_sectors", "extent", "identifier", "links", "node", "number", "parent", "sectors")

    def __init__(self, node: Directory, identifier: bytes, parent: DirectoryExtent | None, number: int) -> None:
        self.node = node
        self.identifier = identifier
        self.parent = parent or self
        self.number = number
        self.links = 2
        self.extent = 0
        self.sectors = 0
        self.continuation_sectors = 0


class Flavour(Protocol):
    """What tells one hierarchy's records from another's."""

    namespace: Namespace
    shortened: list[str]
    """Names that were cut, so far as directories were measured."""

    def entries(self, directory: Directory) -> list[Entry]:
        """The entries of a directory in the order of their records (9.3)."""

    def measure(self, directory: Directory, entries: list[Entry], *, is_root: bool) -> tuple[int, int]:
        """Bytes of the records up to the end of the last one, and bytes of the continuation area."""

    def encoder(self, place: DirectoryExtent) -> Encoder:
        """What makes the system use fields of one directory's records."""


class Encoder(Protocol):
    """The system use fields of one directory's records, in the order of the records."""

    def own(self, of: DirectoryExtent, date: bytes, *, parent: bool) -> bytes:
        """Of the first record, or (`parent`) of the second one."""

    def entry(self, name: str, node: Node, date: bytes, links: int, identifier_size: int, serial: int) -> bytes:
        """Of an entry; `serial` is a number that no other record of the image has."""

    def continuation(self) -> bytes:
        """The continuation area, once all records are made."""


class Hierarchy:
    """All directories of one namespace."""

    def __init__(self, root: Directory, flavour: Flavour, time_ns: int) -> None:
        self.flavour = flavour
        self._time_ns = time_ns
        self.root = DirectoryExtent(root, ROOT_IDENTIFIER, None, 1)
        self.directories = [self.root]
        self._places: dict[int, DirectoryExtent] = {id(root): self.root}

    def plan(self, visit: Callable[[File], None]) -> None:
        """Find all directories and their sizes; `visit` gets every file, in the order of the records."""
        # Level by level, in the order of the parents, then of the identifiers: the order of path tables (6.9.1).
        for place in self.directories:
            entries = self.flavour.entries(place.node)
            size, continuation = self.flavour.measure(place.node, entries, is_root=place is self.root)
            place.sectors = -(-size // SECTOR)
            place.continuation_sectors = -(-continuation // SECTOR)
            for identifier, _, node in entries:
                if type(node) is File:
                    visit(node)
                elif type(node) is Directory:
                    place.links += 1
                    self._add(node, identifier, place)

    def _add(self, node: Directory, identifier: bytes, parent: DirectoryExtent) -> None:
        place = DirectoryExtent(node, identifier, parent, len(self.directories) + 1)
        self.directories.append(place)
        self._places[id(node)] = place

    def place_directories(self, sector: int) -> int:
        """Give each directory its sectors, from `sector` on; the first sector behind them."""
        for place in self.directories:
            place.extent = sector
            sector += place.sectors + place.continuation_sectors
        return sector

    def append_directories(self, regions: RegionMap) -> None:
        """Add a region for each directory."""
        for place in self.directories:
            size = (place.sectors + place.continuation_sectors) * SECTOR
            label = f"{self.flavour.namespace.name} directory"
            regions.append(place.extent * SECTOR, size, Generated(size, _Producer(self, place), label))

    @property
    def path_table_size(self) -> int:
        """Bytes of a path table (6.9)."""
        return sum(path_table_record_length(len(place.identifier)) for place in self.directories)

    def path_table(self, *, big_endian: bool) -> bytes:
        """A path table; parents beyond number 65,535 cannot be told and become 65,535."""
        return b"".join(
            path_table_record(
                place.identifier, place.extent, min(place.parent.number, MAX_PARENT), big_endian=big_endian
            )
            for place in self.directories
        )

    def root_record(self) -> bytes:
        """The directory record of the root in the volume descriptor (8.4.18)."""
        return directory_record(
            ROOT_IDENTIFIER, self.root.extent, self.root.sectors * SECTOR, self.date(self.root.node), FLAG_DIRECTORY
        )

    def date(self, node: Node) -> bytes:
        """The recording date of a node (9.1.5)."""
        mtime_ns = self._time_ns if node.mtime_ns is None else node.mtime_ns
        return record_date(mtime_ns // 1_000_000_000)

    def encode(self, place: DirectoryExtent) -> bytes:
        """The sectors of a directory: its records, then its continuation area."""
        packer = RecordPacker()
        encoder = self.flavour.encoder(place)
        for identifier, of in ((SELF, place), (PARENT, place.parent)):
            date = self.date(of.node)
            use = encoder.own(of, date, parent=identifier == PARENT)
            packer.add(directory_record(identifier, of.extent, of.sectors * SECTOR, date, FLAG_DIRECTORY, use))
        base = place.extent * SECTOR
        for identifier, name, node in self.flavour.entries(place.node):
            date = self.date(node)
            if type(node) is Directory:
                inner = self._places[id(node)]
                use = encoder.entry(name, node, date, inner.links, len(identifier), (inner.extent * SECTOR) >> 5)
                size = inner.sectors * SECTOR
                packer.add(directory_record(identifier, inner.extent, size, date, FLAG_DIRECTORY, use))
                continue
            # A record is longer than 33 bytes, so that no two in the image begin in the same 32 bytes.
            use = encoder.entry(name, node, date, 1, len(identifier), (base + packer.size) >> 5)
            for extent, size, flags in extents(node):
                packer.add(directory_record(identifier, extent, size, date, flags, use))
        records = packer.data().ljust(place.sectors * SECTOR, b"\0")
        return records + encoder.continuation().ljust(place.continuation_sectors * SECTOR, b"\0")


class _Producer:
    """What makes a directory's bytes when they are first read."""

    __slots__ = ("_hierarchy", "_place")

    def __init__(self, hierarchy: Hierarchy, place: DirectoryExtent) -> None:
        self._hierarchy = hierarchy
        self._place = place

    def __call__(self) -> bytes:
        return self._hierarchy.encode(self._place)


class RecordPacker:
    """Records one after the other; none crosses the end of a sector (6.8.1.1)."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.size = 0

    def add(self, record: bytes) -> None:
        """Append a record, behind padding if it does not fit into the sector."""
        left = SECTOR - self.size % SECTOR
        if len(record) > left:
            self._parts.append(bytes(left))
            self.size += left
        self._parts.append(record)
        self.size += len(record)

    def data(self) -> bytes:
        """All records so far."""
        return b"".join(self._parts)


def packed_size(lengths: array[int]) -> int:
    """The bytes that records of these lengths take (6.8.1.1), up to the end of the last one."""
    offset = 0
    for length in lengths:
        end = (offset & 2047) + length
        offset = offset + length if end <= SECTOR else (offset | 2047) + 1 + length
    return offset


def extents(node: Node) -> Sequence[tuple[int, int, int]]:
    """Extent, size and flags of each record of a file or link (9.1.6): several for more than 4 GiB."""
    if type(node) is not File:
        return ((0, 0, 0),)
    extent, size = node.extent, node.data.size
    if size <= 0xFFFFFFFF:
        return ((extent, size, 0),)
    found = []
    while size > EXTENT_LIMIT:
        found.append((extent, EXTENT_LIMIT, FLAG_MULTI_EXTENT))
        extent += EXTENT_LIMIT // SECTOR
        size -= EXTENT_LIMIT
    found.append((extent, size, 0))
    return found


def record_count(size: int) -> int:
    """How many records a file of `size` bytes has."""
    return 1 if size <= 0xFFFFFFFF else -(-size // EXTENT_LIMIT)
