"""Directory records and the directory hierarchy: ECMA-119 6.8 and 9.1 to 9.3, for primary and Joliet trees alike."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from tests.judges.reader.fields import short_date
from tests.judges.reader.model import SECTOR, Content, Extent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.judges.reader.descriptors import Descriptor
    from tests.judges.reader.model import Source

HIDDEN, DIRECTORY, ASSOCIATED, RECORD, PROTECTION, RESERVED, MULTI = 0x01, 0x02, 0x04, 0x08, 0x10, 0x60, 0x80
LARGEST_DIRECTORY = 1 << 30

_HEAD = struct.Struct("<BBIxxxxIxxxx7sBBBHxxB")
_AGAIN = struct.Struct(">6xI4xI10x2xH")


@dataclass(frozen=True, slots=True)
class Record:
    """A directory record; `at` is its byte offset in the image, `system_use` what follows the identifier."""

    at: int
    length: int
    xattr: int
    extent: int
    size: int
    date: bytes
    flags: int
    unit: int
    gap: int
    sequence: int
    identifier: bytes
    system_use: bytes

    @property
    def system_use_at(self) -> int:
        return self.at + self.length - len(self.system_use)

    @property
    def start(self) -> int:
        """Byte offset of the data: the extended attribute record precedes it (6.4.6)."""
        return (self.extent + self.xattr) * SECTOR


@dataclass(slots=True)
class Entry:
    """A name in a directory: one record, or one a file section (6.5.1)."""

    records: list[Record]

    @property
    def last(self) -> Record:
        return self.records[-1]

    @property
    def identifier(self) -> bytes:
        return self.records[0].identifier

    @property
    def is_directory(self) -> bool:
        return bool(self.records[0].flags & DIRECTORY)

    @property
    def size(self) -> int:
        return sum(record.size for record in self.records)

    def content(self, source: Source) -> Content:
        extents = tuple(Extent(record.start, record.size) for record in self.records if record.size)
        return Content(source.peek, extents, self.size)


@dataclass(slots=True)
class Directory:
    """A directory: its own records `.` and `..`, and its entries in recorded order."""

    path: str
    record: Record
    parent: Directory | None
    level: int
    dot: Record | None = None
    dotdot: Record | None = None
    entries: list[Entry] = field(default_factory=list)
    subdirectories: dict[bytes, Directory] = field(default_factory=dict)


class Rules(Protocol):
    """What differs between the primary hierarchy and a Joliet one."""

    @property
    def label(self) -> str:
        """The hierarchy's name in sentences."""

    @property
    def order_clause(self) -> str:
        """The clause that orders its records."""

    def name(self, identifier: bytes) -> str:
        """The identifier as text."""

    def problems(self, identifier: bytes, *, directory: bool) -> Iterator[tuple[str, str]]:
        """Clause and sentence of each rule that an identifier breaks."""

    def order(self, entry: Entry) -> tuple[object, ...]:
        """The sort key of 9.3."""


def parse_record(data: bytes, at: int, source: Source, where: str) -> Record:
    """A record of the right length; its both-byte-order fields are checked here."""
    length, xattr, extent, size, date, flags, unit, gap, sequence, name_length = _HEAD.unpack_from(data)
    again = _AGAIN.unpack_from(data)
    if (extent, size, sequence) != again:
        clause = "ECMA-119 7.2.3" if (extent, size) == again[:2] else "ECMA-119 7.3.3"
        what = f"extent, size and volume are {extent}, {size}, {sequence} in one byte order and {again} in the other"
        source.findings.add(clause, what, where)
    name_end = 33 + name_length
    if name_end > length or not name_length:
        source.findings.add("ECMA-119 9.1.10", f"an identifier of {name_length} bytes in a record of {length}", where)
        name_end = min(name_end, length)
    use = name_end
    if name_length % 2 == 0:
        use += 1
        if data[name_end : name_end + 1] not in (b"\0", b""):
            source.findings.add("ECMA-119 9.1.12", "the padding field is not zero", where)
        if use > length:
            source.findings.add("ECMA-119 9.1.12", "the padding field is missing", where)
    return Record(
        at, length, xattr, extent, size, date, flags, unit, gap, sequence, data[33:name_end], data[use:length]
    )


def read_tree(source: Source, descriptor: Descriptor, rules: Rules) -> list[Directory]:
    """All directories of a volume, breadth first, with everything in sections 6.8 and 9 checked."""
    where = f"{rules.label} root"
    if descriptor.root[0] != 34 or descriptor.root[32:34] != b"\1\0":
        source.findings.add("ECMA-119 8.4.18", "the root directory record is not a 34-byte record of a root", where)
    root_record = parse_record(descriptor.root, descriptor.sector * SECTOR + 156, source, where)
    if not root_record.flags & DIRECTORY:
        source.findings.add("ECMA-119 9.1.6", "the root's record is not marked as a directory", where)
    root = Directory("/", root_record, None, 1)
    directories = [root]
    seen = {root_record.extent}
    for directory in directories:
        _read_directory(source, directory, rules)
        for entry in directory.entries:
            if not entry.is_directory:
                continue
            path = f"{directory.path.rstrip('/')}/{rules.name(entry.identifier)}"
            child = Directory(path, entry.last, directory, directory.level + 1)
            if entry.last.extent in seen:
                source.findings.add("ECMA-119 6.8.2", "a directory's extent belongs to another directory too", path)
                continue
            seen.add(entry.last.extent)
            directory.subdirectories[entry.identifier] = child
            directories.append(child)
    return directories


def _read_directory(source: Source, directory: Directory, rules: Rules) -> None:
    where = f"{rules.label} {directory.path}"
    size = directory.record.size
    if size % SECTOR or not size:
        source.findings.add("ECMA-119 6.8.1.3", f"a directory of {size} bytes", where)
    if size > LARGEST_DIRECTORY:
        return
    source.space.claim(directory.record.start, max(size, 1), f"{where} (directory)")
    if directory.record.start + size > source.size:
        source.take(directory.record.start, size, where)  # tells it
        size = max(0, source.size - directory.record.start)
    records = list(_records(source, directory.record.start, size, where))
    _check_dots(source, directory, records, where)
    _group(source, directory, [record for record in records[2:] if record.identifier not in (b"\0", b"\1")], where)
    if any(record.identifier in (b"\0", b"\1") for record in records[2:]):
        source.findings.add("ECMA-119 6.8.2.2", "a reserved identifier after the first two records", where)
    _check_names(source, directory, rules)


def _records(source: Source, start: int, size: int, where: str) -> Iterator[Record]:
    for sector in range(start, start + size, SECTOR):
        data = source.peek(sector, min(SECTOR, start + size - sector))
        offset = 0
        while offset < len(data):
            length = data[offset]
            if not length:
                if any(data[offset:]):
                    what = f"sector {sector // SECTOR}: the bytes after the last record are not zero"
                    source.findings.add("ECMA-119 6.8.1.1", what, where)
                break
            if offset + length > len(data):
                what = f"sector {sector // SECTOR}: the record at {offset} crosses the sector's end"
                source.findings.add("ECMA-119 6.8.1.1", what, where)
                break
            if length < 34 or length % 2:
                source.findings.add("ECMA-119 9.1.1", f"the record at {sector + offset} has {length} bytes", where)
                if length < 34:
                    break
            record = parse_record(data[offset : offset + length], sector + offset, source, where)
            _check_record(source, record, where)
            yield record
            offset += length


def _check_record(source: Source, record: Record, directory: str) -> None:
    add = source.findings.add
    where = f"{directory}, record at {record.at} {record.identifier!r}"
    _, problem = short_date(record.date)
    if problem:
        add("ECMA-119 9.1.5", problem, where)
    if record.flags & RESERVED:
        add("ECMA-119 9.1.6", f"reserved bits in the flags {record.flags:#x}", where)
    if record.flags & DIRECTORY and record.flags & (ASSOCIATED | RECORD | MULTI):
        add("ECMA-119 9.1.6", f"a directory with the flags {record.flags:#x}", where)
    if record.flags & (RECORD | PROTECTION) and not record.xattr:
        add("ECMA-119 9.1.6", f"flags {record.flags:#x} without an extended attribute record", where)
    if record.unit or record.gap:
        add("ECMA-119 9.1.7", f"unit {record.unit} and gap {record.gap}, though nothing is interleaved", where)
    if record.sequence != 1:
        add("ECMA-119 9.1.9", f"volume sequence number {record.sequence}", where)
    if record.size and record.start + record.size > source.size:
        add("ECMA-119 9.1.3", f"{record.size} bytes from sector {record.extent} are not inside the image", where)


def _check_dots(source: Source, directory: Directory, records: list[Record], where: str) -> None:
    add = source.findings.add
    if len(records) < 2 or [record.identifier for record in records[:2]] != [b"\0", b"\1"]:
        add("ECMA-119 6.8.2.2", "the first two records are not the directory's own and its parent's", where)
        return
    directory.dot, directory.dotdot = dot, dotdot = records[0], records[1]
    parent = directory.parent.record if directory.parent else directory.record
    for name, record, same in ((".", dot, directory.record), ("..", dotdot, parent)):
        if (record.extent, record.size, record.xattr) != (same.extent, same.size, same.xattr):
            what = f"{name} says sector {record.extent}, {record.size} bytes; it is {same.extent}, {same.size}"
            add("ECMA-119 6.8.2.2", what, where)
        if record.flags & ~HIDDEN != DIRECTORY:
            add("ECMA-119 9.1.6", f"{name} has the flags {record.flags:#x}", where)


def _group(source: Source, directory: Directory, records: list[Record], where: str) -> None:
    """Join the sections of files (6.5.1), and claim what files occupy."""
    open_entry: Entry | None = None
    for record in records:
        if open_entry is not None:
            if record.identifier == open_entry.identifier:
                open_entry.records.append(record)
            else:
                what = f"{open_entry.identifier!r}: its last section is marked as not the last"
                source.findings.add("ECMA-119 9.1.6", what, where)
                open_entry = None
        if open_entry is None:
            open_entry = Entry([record])
            directory.entries.append(open_entry)
        if not record.flags & MULTI:
            open_entry = None
    if open_entry is not None:
        what = f"{open_entry.identifier!r}: its last section is marked as not the last"
        source.findings.add("ECMA-119 9.1.6", what, where)
    for entry in directory.entries:
        _check_sections(source, entry, where)


def _check_sections(source: Source, entry: Entry, where: str) -> None:
    name = f"{where} {entry.identifier!r}"
    for record in entry.records[:-1]:
        if record.size % SECTOR or not record.size:
            source.findings.add("ECMA-119 6.4.5", f"a section of {record.size} bytes that is not the last", name)
    if len(entry.records) > 1:
        if not entry.last.size:
            source.findings.add("ECMA-119 6.4.5", "the last of several sections is empty", name)
        if len({(record.flags & ~MULTI, record.date) for record in entry.records}) > 1:
            source.findings.add("ECMA-119 6.5.1", "its sections differ in flags or date", name)
    if not entry.is_directory:
        first = entry.records[0].start
        joined = all(a.start + a.size == b.start for a, b in zip(entry.records, entry.records[1:], strict=False))
        if joined:
            source.space.claim(first, entry.size, name, shared=True)
        else:
            for record in entry.records:
                source.space.claim(record.start, record.size, name, shared=True)


def _check_names(source: Source, directory: Directory, rules: Rules) -> None:
    where = f"{rules.label} {directory.path}"
    previous: tuple[object, ...] | None = None
    seen: set[bytes] = set()
    for entry in directory.entries:
        identifier = entry.identifier
        for clause, what in rules.problems(identifier, directory=entry.is_directory):
            source.findings.add(clause, f"{identifier!r}: {what}", where)
        associated = bool(entry.records[0].flags & ASSOCIATED)
        if identifier in seen and not associated:
            source.findings.add("ECMA-119 6.8.2.1", f"{identifier!r} is there twice", where)
        seen.add(identifier)
        key = rules.order(entry)
        if previous is not None and key < previous:
            source.findings.add(rules.order_clause, f"{identifier!r} comes after a greater identifier", where)
        previous = key
