"""The records of the primary volume: ISO 9660 identifiers, and Rock Ridge where it is on."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from qemu_viso.layout.hierarchy import DirectoryExtent, packed_size, record_count
from qemu_viso.layout.identifiers import VERSION, iso_directories, iso_files
from qemu_viso.layout.rock_ridge import (
    PLAIN_SIZE,
    RECORD_LIMIT,
    ContinuationArea,
    attribute_entries,
    encoded_name,
    name_entries,
    recorded_names,
    room,
)
from qemu_viso.ondisk import susp
from qemu_viso.ondisk.ecma119 import SECTOR, record_length
from qemu_viso.tree.nodes import Directory, File, Link, Namespace

if TYPE_CHECKING:
    from qemu_viso.layout.hierarchy import Entry
    from qemu_viso.tree.nodes import Node
    from qemu_viso.tree.tree import Settings

OWN_RECORD = record_length(1)
PLAIN_AND_NM = PLAIN_SIZE + susp.NM_HEAD


class Primary:
    """How the primary hierarchy writes its records."""

    namespace = Namespace.ISO

    def __init__(self, settings: Settings) -> None:
        self.level = settings.iso_level
        self.rock_ridge = settings.rock_ridge
        self.shortened: list[str] = []

    def entries(self, directory: Directory) -> list[Entry]:
        """The entries in the order of their identifiers (9.3).

        That order is the byte order before versions are added: names are compared as if padded with spaces, and the
        dot, which every file identifier has, sorts before all d-characters. A link is a file here; it is left out
        where Rock Ridge cannot tell its target.
        """
        nodes = directory.nodes(Namespace.ISO)
        file_names = []
        directory_names = []
        for name, node in nodes.items():
            if type(node) is Directory:
                directory_names.append(name)
            elif type(node) is File or self.rock_ridge:
                file_names.append(name)
        files = iso_files(file_names, self.level) if file_names else []
        directories = iso_directories(directory_names, self.level, files) if directory_names else []
        order = sorted(zip(files + directories, file_names + directory_names, strict=True))
        return [
            (
                identifier.encode() + VERSION if type(node := nodes[name]) is not Directory else identifier.encode(),
                name,
                node,
            )
            for identifier, name in order
        ]

    def measure(self, directory: Directory, entries: list[Entry], *, is_root: bool) -> tuple[int, int]:
        """Sizes as in `Flavour.measure`."""
        area = ContinuationArea()
        lengths = array("H", (OWN_RECORD, OWN_RECORD))
        if self.rock_ridge:
            own = OWN_RECORD + PLAIN_SIZE
            if is_root:
                own += len(area.fit(self._root_entries(), room(1) - PLAIN_SIZE))
            lengths = array("H", (_even(own), OWN_RECORD + PLAIN_SIZE))
        renamed = recorded_names(directory) if self.rock_ridge else {}
        self.shortened += [name for name, own in renamed.items() if own != directory.rock_name(name)]
        for identifier, name, node in entries:
            length = record_length(len(identifier))
            if self.rock_ridge:
                name = renamed.get(name, name) if renamed else name
                use = PLAIN_AND_NM + (len(name) if name.isascii() else len(encoded_name(name)))
                if length + use > RECORD_LIMIT or type(node) is Link:
                    use = len(area.fit([bytes(PLAIN_SIZE), *name_entries(node, name)], room(len(identifier))))
                length += use + (use & 1)
            lengths.append(length)
            if type(node) is File and node.data.size > 0xFFFFFFFF:
                count = record_count(node.data.size)
                lengths.extend(array("H", [length]) * (count - 1))
        return packed_size(lengths), len(area)

    def _root_entries(self) -> list[bytes]:
        return [susp.SP, susp.ER] if self.rock_ridge == 2 else [susp.SP]

    def encoder(self, place: DirectoryExtent) -> _RockRidgeEncoder | _PlainEncoder:
        """What makes the system use fields of one directory's records."""
        return _RockRidgeEncoder(self, place) if self.rock_ridge else _PlainEncoder()


class _PlainEncoder:
    """No system use fields."""

    def own(self, of: DirectoryExtent, date: bytes, *, parent: bool) -> bytes:  # noqa: ARG002
        return b""

    def entry(self, name: str, node: Node, date: bytes, links: int, identifier_size: int, serial: int) -> bytes:  # noqa: ARG002
        return b""

    def continuation(self) -> bytes:
        return b""


class _RockRidgeEncoder:
    """Rock Ridge entries for the records of one directory."""

    def __init__(self, primary: Primary, place: DirectoryExtent) -> None:
        self._primary = primary
        self._place = place
        self._area = ContinuationArea(place.extent + place.sectors)
        self._renamed = recorded_names(place.node)

    def own(self, of: DirectoryExtent, date: bytes, *, parent: bool) -> bytes:
        serial = of.extent * SECTOR >> 5
        plain = attribute_entries(of.node, date, of.links, serial)
        is_root = self._place.parent is self._place
        if parent or not is_root:
            return b"".join(plain)
        # SP must be first (SUSP 5.3), and ER goes to the continuation area, so the attributes stand between them.
        return susp.SP + b"".join(plain) + self._area.fit(self._rest(), room(1) - PLAIN_SIZE - len(susp.SP))

    def _rest(self) -> list[bytes]:
        return [susp.ER] if self._primary.rock_ridge == 2 else []

    def entry(self, name: str, node: Node, date: bytes, links: int, identifier_size: int, serial: int) -> bytes:
        name = self._renamed.get(name, name)
        plain = attribute_entries(node, date, links, serial)
        return self._area.fit(plain + name_entries(node, name), room(identifier_size))

    def continuation(self) -> bytes:
        return self._area.data


def _even(size: int) -> int:
    return size + (size & 1)
