"""The primary hierarchy's identifiers (ECMA-119 7.5, 7.6, 10) and the path tables (6.9, 9.4) of any hierarchy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from tests.judges.reader.directory import ASSOCIATED
from tests.judges.reader.fields import short_date
from tests.judges.reader.model import SECTOR, Node, Volume

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.judges.reader.descriptors import Descriptor
    from tests.judges.reader.directory import Directory, Entry, Record
    from tests.judges.reader.model import Source

_FILE = re.compile(rb"([^.;]*)(?:(\.)([^.;]*))?(?:;([0-9]+))?", re.DOTALL)
_D_CHARACTERS = re.compile(rb"[A-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class IsoRules:
    """ECMA-119 identifiers for an interchange level of 1 to 3."""

    level: int = 3
    label: str = "primary"
    order_clause: str = "ECMA-119 9.3"

    def name(self, identifier: bytes) -> str:
        return identifier.decode("utf-8", "backslashreplace")

    def problems(self, identifier: bytes, *, directory: bool) -> Iterator[tuple[str, str]]:
        if len(identifier) > 31:
            yield "31 characters", f"{len(identifier)} characters are more than old readers expect"
        if directory:
            yield from self._directory_problems(identifier)
            return
        match = _FILE.fullmatch(identifier)
        if match is None or match[2] is None or match[4] is None:
            yield "ECMA-119 7.5.1", "not of the form NAME.EXTENSION;VERSION"
        if match is None:
            return
        name, extension, version = match[1], match[3] or b"", match[4]
        if not name and not extension:
            yield "ECMA-119 7.5.1", "neither name nor extension"
        if not _D_CHARACTERS.fullmatch(name + extension):
            yield "ECMA-119 7.4.1", "characters other than A-Z, 0-9 and _"
        if len(name) + len(extension) > 30:
            yield "ECMA-119 7.5.1", "name and extension are more than 30 characters"
        if version is not None and not 1 <= int(version) <= 32767:
            yield "ECMA-119 7.5.1", f"version {int(version)}"
        if self.level == 1 and (len(name) > 8 or len(extension) > 3):
            yield "ECMA-119 10.1", "more than 8 and 3 characters at level 1"

    def _directory_problems(self, identifier: bytes) -> Iterator[tuple[str, str]]:
        if not identifier:
            yield "ECMA-119 7.6.1", "an empty directory identifier"
        if not _D_CHARACTERS.fullmatch(identifier):
            yield "ECMA-119 7.6.1", "characters other than A-Z, 0-9 and _"
        if len(identifier) > 31:
            yield "ECMA-119 7.6.3", "a directory identifier of more than 31 characters"
        if self.level == 1 and len(identifier) > 8:
            yield "ECMA-119 10.1", "a directory identifier of more than 8 characters at level 1"

    def order(self, entry: Entry) -> tuple[object, ...]:
        """9.3: name, extension, descending version, associated file first; sections are already joined."""
        match = _FILE.fullmatch(entry.identifier)
        associated = 0 if entry.records[0].flags & ASSOCIATED else 1
        if match is None:
            return (entry.identifier.ljust(255), b"", 0, associated)
        return (match[1].ljust(255), (match[3] or b"").ljust(255), -int(match[4] or 0), associated)


def primary_volume(source: Source, descriptor: Descriptor, directories: list[Directory], rules: IsoRules) -> Volume:
    """The tree under its ISO identifiers."""
    tree = dict(plain_nodes(source, directories, rules.name))
    if rules.level < 3:
        _check_sections(source, directories, rules.level)
    _check_file_names(source, descriptor, tree)
    _check_depth(source, directories)
    return Volume(descriptor.identifiers, tree, descriptor.dates, descriptor.sectors)


def plain_nodes(source: Source, directories: list[Directory], name: Callable[[bytes], str]) -> list[tuple[str, Node]]:
    """Each path with what ECMA-119 alone tells of it, a directory before its files."""
    nodes: list[tuple[str, Node]] = []
    for directory in directories:
        record = directory.record
        nodes.append((directory.path, Node("dir", record.size, record.identifier, **_dated(record))))
        for entry in directory.entries:
            if not entry.is_directory:
                node = Node("file", entry.size, entry.identifier, entry.content(source), **_dated(entry.records[0]))
                nodes.append((f"{directory.path.rstrip('/')}/{name(entry.identifier)}", node))
    return nodes


class _Dated(TypedDict):
    mtime: int | None
    hidden: bool


def _dated(record: Record) -> _Dated:
    return {"mtime": short_date(record.date)[0], "hidden": bool(record.flags & 1)}


def _check_sections(source: Source, directories: list[Directory], level: int) -> None:
    for directory in directories:
        for entry in directory.entries:
            if not entry.is_directory and len(entry.records) > 1:
                what = f"{entry.identifier!r} has {len(entry.records)} sections at level {level}"
                source.findings.add("ECMA-119 10.2", what, directory.path)


def _check_depth(source: Source, directories: list[Directory]) -> None:
    """6.8.2.1: at most eight levels, the root being the first, and paths of at most 255 bytes."""
    for directory in directories:
        where = f"primary {directory.path}"
        if directory.level > 8:
            source.findings.add("ECMA-119 6.8.2.1", f"a directory at level {directory.level} of at most 8", where)
        above = 0 if directory.parent is None else len(directory.path.encode())
        longest = max((len(entry.identifier) for entry in directory.entries), default=0)
        if above + longest > 255:
            source.findings.add("ECMA-119 6.8.2.1", f"a path of {above + longest} bytes", where)


def _check_file_names(source: Source, descriptor: Descriptor, tree: dict[str, Node]) -> None:
    """8.4.20 to 8.4.25: fields that name a file name one in the root directory."""
    for name, value in descriptor.identifiers.items():
        if name.endswith("_file_id"):
            file = value
        elif name in ("publisher_id", "preparer_id", "application_id") and value.startswith("_"):
            file = value[1:]
        else:
            continue
        if file and f"/{file}" not in tree:
            what = f"{name} names {file!r}, which is not in the root"
            source.findings.add("ECMA-119 8.4.23", what, descriptor.name)


def check_path_tables(
    source: Source, descriptor: Descriptor, directories: list[Directory], key: Callable[[bytes], bytes]
) -> None:
    """Both path tables and their optional copies: the right directories, numbers and order (6.9.1, 9.4)."""
    expected = _expected(directories, key)
    size = descriptor.path_table_size
    if len(directories) > 0xFFFF:
        source.findings.add("ECMA-119 9.4.4", f"{len(directories)} directories have no number", descriptor.name)
        return
    names = ("L path table", "optional L path table", "M path table", "optional M path table")
    for index, (name, sector) in enumerate(zip(names, descriptor.path_tables, strict=True)):
        where = f"{descriptor.name}'s {name}"
        if not sector:
            if index % 2 == 0:
                source.findings.add("ECMA-119 8.4.14", "there is none", where)
            continue
        source.space.claim(sector * SECTOR, size, where)
        data = source.take(sector * SECTOR, size, where)
        _compare(source, _parse(source, data, "little" if index < 2 else "big", where), expected, where)


def _expected(directories: list[Directory], key: Callable[[bytes], bytes]) -> list[tuple[bytes, int, int]]:
    """6.9.1: by level, then number of the parent, then identifier; identifier, extent and parent's number."""
    ordered: list[tuple[bytes, int, int]] = []
    number: dict[int, int] = {}
    level = [directories[0]] if directories else []
    while level:
        for directory in level:
            number[id(directory)] = len(ordered) + 1
            parent = 1 if directory.parent is None else number[id(directory.parent)]
            identifier = b"\0" if directory.parent is None else directory.record.identifier
            ordered.append((identifier, directory.record.extent, parent))
        level = [
            child
            for directory in level
            for child in sorted(directory.subdirectories.values(), key=lambda item: key(item.record.identifier))
        ]
    return ordered


def _parse(source: Source, data: bytes, order: str, where: str) -> list[tuple[bytes, int, int]]:
    little = order == "little"
    found: list[tuple[bytes, int, int]] = []
    at = 0
    while at < len(data):
        length = data[at]
        end = at + 8 + length + length % 2
        if not length or end > len(data):
            source.findings.add("ECMA-119 9.4", f"the record at byte {at} of the table is cut or empty", where)
            break
        if data[at + 1]:
            source.findings.add("ECMA-119 9.4.2", f"an extended attribute length at byte {at} of the table", where)
        if length % 2 and data[end - 1]:
            source.findings.add("ECMA-119 9.4.6", f"the padding at byte {end - 1} of the table is not zero", where)
        extent = int.from_bytes(data[at + 2 : at + 6], "little" if little else "big")
        parent = int.from_bytes(data[at + 6 : at + 8], "little" if little else "big")
        found.append((data[at + 8 : at + 8 + length], extent, parent))
        at = end
    return found


def _compare(
    source: Source, found: list[tuple[bytes, int, int]], expected: list[tuple[bytes, int, int]], where: str
) -> None:
    if len(found) != len(expected):
        what = f"{len(found)} directories in the table, {len(expected)} in the tree"
        source.findings.add("ECMA-119 6.9", what, where)
    for number, (have, want) in enumerate(zip(found, expected, strict=False), 1):
        if have == want:
            continue
        if have[0] != want[0]:
            clause = "ECMA-119 6.9.1"
        elif have[1] != want[1]:
            clause = "ECMA-119 9.4.3"
        else:
            clause = "ECMA-119 9.4.4"
        what = f"directory {number} is {have[0]!r}, sector {have[1]}, parent {have[2]}; it should be {want}"
        source.findings.add(clause, what, where)
        return
