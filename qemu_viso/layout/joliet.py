"""The records of the Joliet volume: names in UTF-16BE, and nothing else."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from qemu_viso.layout.hierarchy import packed_size, record_count
from qemu_viso.layout.identifiers import joliet_names, units
from qemu_viso.ondisk.ecma119 import record_length
from qemu_viso.ondisk.joliet import NAME_UNITS
from qemu_viso.tree.nodes import Directory, File, Namespace

if TYPE_CHECKING:
    from qemu_viso.layout.hierarchy import DirectoryExtent, Entry
    from qemu_viso.tree.nodes import Node

OWN_RECORD = record_length(1)
MAYBE_SHORTENED = 34 + 2 * (NAME_UNITS - 1)
"""Bytes of the record of a name that was cut, maybe before a surrogate pair, and of other long ones."""


class Joliet:
    """How the Joliet hierarchy writes its records."""

    namespace = Namespace.JOLIET

    def __init__(self) -> None:
        self.shortened: list[str] = []

    def entries(self, directory: Directory) -> list[Entry]:
        """The entries in the order of their UTF-16BE names. Links are left out: Joliet cannot tell a target."""
        nodes = directory.nodes(Namespace.JOLIET)
        names = [name for name, node in nodes.items() if type(node) is File or type(node) is Directory]
        order = sorted(zip(joliet_names(names), names, strict=True))
        return [(encoded, name, nodes[name]) for encoded, name in order]

    def measure(self, directory: Directory, entries: list[Entry], *, is_root: bool) -> tuple[int, int]:  # noqa: ARG002
        """Sizes as in `Flavour.measure`; there is no continuation area."""
        lengths = array("H", (OWN_RECORD, OWN_RECORD))
        for encoded, name, node in entries:
            length = len(encoded) + 34
            lengths.append(length)
            if length >= MAYBE_SHORTENED and units(name) > NAME_UNITS:
                self.shortened.append(name)
            if type(node) is File and node.data.size > 0xFFFFFFFF:
                lengths.extend(array("H", [length]) * (record_count(node.data.size) - 1))
        return packed_size(lengths), 0

    def encoder(self, place: DirectoryExtent) -> _Encoder:  # noqa: ARG002
        """What makes the (empty) system use fields."""
        return _Encoder()


class _Encoder:
    """No system use fields."""

    def own(self, of: DirectoryExtent, date: bytes, *, parent: bool) -> bytes:  # noqa: ARG002
        return b""

    def entry(self, name: str, node: Node, date: bytes, links: int, identifier_size: int, serial: int) -> bytes:  # noqa: ARG002
        return b""

    def continuation(self) -> bytes:
        return b""
