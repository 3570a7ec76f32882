"""Joliet: the supplementary hierarchy with UCS-2 identifiers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.judges.reader.iso9660 import plain_nodes
from tests.judges.reader.model import Volume

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.judges.reader.descriptors import Descriptor
    from tests.judges.reader.directory import Directory, Entry
    from tests.judges.reader.model import Node, Source

SPECIFIED_UNITS = 64
RECORD_UNITS = 110
"""33 + 2 x 110 + 1 is the last length below 256 (ECMA-119 9.1.1)."""

_ILLEGAL = frozenset("*/:;?\\") | {chr(code) for code in range(0x20)}


def _without_version(identifier: bytes) -> bytes:
    """The identifier without SEPARATOR 2 and a version number, which Joliet allows and no reader shows."""
    head, separator, tail = identifier.rpartition(b"\0;")
    digits = tail[1::2]
    plain = separator and len(head) % 2 == 0 and digits.isdigit() and not any(tail[::2])
    return head if plain else identifier


@dataclass(frozen=True, slots=True)
class JolietRules:
    """Identifiers in UTF-16BE.

    The specification says 64 units, a record has room for 110; both limits are told, under clauses of their own.
    """

    label: str = "Joliet"
    order_clause: str = "Joliet sort ordering"

    def name(self, identifier: bytes) -> str:
        return _without_version(identifier).decode(
            "utf-16-be", "surrogatepass" if len(identifier) % 2 == 0 else "replace"
        )

    def problems(self, identifier: bytes, *, directory: bool) -> Iterator[tuple[str, str]]:
        if not identifier or len(identifier) % 2:
            yield "Joliet identifiers", f"an identifier of {len(identifier)} bytes"
            return
        name = _without_version(identifier)
        if directory and name != identifier:
            yield "Joliet identifiers", "a directory with a version number"
        try:
            text = name.decode("utf-16-be")
        except UnicodeDecodeError:
            yield "Joliet identifiers", "a surrogate without its other half"
            return
        if bad := sorted(_ILLEGAL.intersection(text)):
            yield "Joliet allowed character set", f"the characters {bad}"
        if len(name) > 2 * RECORD_UNITS:
            yield "Joliet identifier length", f"{len(name) // 2} units do not fit a record without extensions"
        elif len(name) > 2 * SPECIFIED_UNITS:
            yield "Joliet 64 units", f"{len(name) // 2} units"

    def order(self, entry: Entry) -> tuple[object, ...]:
        return (_without_version(entry.identifier),)


def joliet_volume(source: Source, descriptor: Descriptor, directories: list[Directory], rules: JolietRules) -> Volume:
    tree: dict[str, Node] = {}
    for path, node in plain_nodes(source, directories, rules.name):
        if path in tree:
            source.findings.add("Joliet identifiers", "two entries have this name", path)
        tree[path] = node
    return Volume(descriptor.identifiers, tree, descriptor.dates, descriptor.sectors)
