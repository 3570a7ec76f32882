"""From a difference to the bytes of the image from which the guest read it.

The image is read as the guest reads it, directory by directory: where its records lead astray, so does this.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import groupby, islice
from typing import TYPE_CHECKING, NamedTuple

from qemu_viso.anatomy import Anatomy
from qemu_viso.errors import QemuVisoError
from qemu_viso.guest.labels import JOLIET_ESCAPES
from qemu_viso.image.explain import explain
from qemu_viso.layout.joliet import Joliet
from qemu_viso.layout.primary import Primary
from qemu_viso.layout.rock_ridge import recorded_names
from qemu_viso.layout.udf_names import udf_names
from qemu_viso.tree.nodes import Directory
from qemu_viso.tree.nodes import Namespace as TreeNamespace
from qemu_viso.verify.expected import plain_name, rock_name
from qemu_viso.verify.udf_names import shown_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qemu_viso.guest.view import Namespace
    from qemu_viso.image import Image
    from qemu_viso.opening import Opened
    from qemu_viso.tree.tree import Tree

SECTOR = 2048
MOST_REGIONS = 200_000
"""Of a larger image only the regions are told: to take it apart would need more time than it is worth."""
TOLD_BY = {
    "mode": ("file mode", "permissions"),
    "owner": ("user id", "uid"),
    "group": ("group id", "gid"),
    "mtime": ("modify", "recording date and time", "modification date and time"),
    "size": ("data length", "information length"),
    "target": ("component content",),
    "kind": ("file mode", "file flags", "file type"),
}
"""The fields of structures that tell the fields of a `Difference`, without what they are a part of."""
MOST_STRUCTURES = 8
"""Stretches of a place that are named."""
LARGEST_DIRECTORY = 64 << 20
# ECMA-119 8.1.1 and 8.4.18; ECMA-167 3/7.2.1, 3/10.1 and 3/10.5, 4/14.1.
PRIMARY, SUPPLEMENTARY, TERMINATOR = 1, 2, 255
UDF_PRIMARY, UDF_PARTITION, UDF_FILE_SET = 1, 5, 256
ANCHOR_SECTOR = 256


class Extent(NamedTuple):
    """Bytes of the image."""

    start: int
    size: int


class Found(NamedTuple):
    """An object: what describes it, and where its data lie."""

    record: Extent
    data: Extent


@dataclass(frozen=True, slots=True)
class Place:
    """Bytes of the image, and what they are.

    Attributes:
        start: first byte.
        size: bytes.
        structures: (first byte, bytes, what) of each stretch with one origin; the first few of them.
    """

    start: int
    size: int
    structures: tuple[tuple[int, int, str], ...]

    def lines(self) -> list[str]:
        """For people."""
        return [f"bytes {start:#x}+{size}: {what}" for start, size, what in self.structures]

    def to_json(self) -> dict[str, object]:
        """For `--json`."""
        structures = [{"start": start, "size": size, "what": what} for start, size, what in self.structures]
        return {"start": self.start, "size": self.size, "structures": structures}


class Places:
    """What the bytes of an image are, for differences; the image is taken apart when that is first asked.

    Args:
        image: that the guest reads.
    """

    def __init__(self, image: Image) -> None:
        self._image = image
        self._anatomy: Anatomy | None = None

    def of(self, extent: Extent, field: str) -> Place | None:
        """A place with the structures that tell a field; None where it is not in the image.

        Args:
            extent: where the guest reads what is at a path.
            field: as in a `Difference`.
        """
        start, stop = extent.start, min(extent.start + extent.size, self._image.size)
        if not 0 <= start < stop:
            return None
        return Place(start, stop - start, tuple(islice(self._structures(start, stop, field), MOST_STRUCTURES)))

    def _structures(self, start: int, stop: int, field: str) -> Iterator[tuple[int, int, str]]:
        if len(self._image.regions) > MOST_REGIONS:
            for origin in explain(self._image, start, stop - start):
                yield origin.start, origin.size, origin.what
            return
        if self._anatomy is None:
            self._anatomy = Anatomy(self._image)
        found = self._anatomy.explain(start, stop - start)
        wanted = TOLD_BY.get(field, ())
        told = [each for each in found if each.field.rpartition(": ")[2] in wanted]
        if told or stop - start == 1:
            yield from ((each.start, each.size, str(each)) for each in told or found)
            return
        for (label, source), group in groupby(found, key=lambda each: (each.label, each.source)):
            parts = list(group)
            beneath = f"; host file {source}" if source else ""
            yield parts[0].start, sum(part.size for part in parts), label + beneath


def find_extent(opened: Opened, namespace: Namespace, path: str, field: str) -> Extent | None:
    """Where a guest reads a field of what is at a path; None where its way there cannot be followed.

    Args:
        opened: the tree, and the image that the guest reads.
        namespace: as mounted.
        path: as the guest shows it; empty for the volume.
        field: as in a `Difference`.
    """
    reader = _Udf(opened.image) if namespace == "udf" else _Iso(opened.image, joliet=namespace == "joliet")
    try:
        if not path:
            return reader.label()
        found = reader.root()
        directory = opened.tree.root
        *above, last = [part for part in path.split("/") if part] or [""]
        for name in above:
            identifier, node = _child(opened.tree, directory, namespace, name)
            if not isinstance(node, Directory):
                return None
            found, directory = reader.find(found.data, identifier), node
        if last:
            if field == "name":
                return found.data
            identifier, _ = _child(opened.tree, directory, namespace, last)
            found = reader.find(found.data, identifier)
        return found.data if field == "content" and found.data.size else found.record
    except (LookupError, struct.error, QemuVisoError, ValueError):
        return None


def _child(tree: Tree, directory: Directory, namespace: Namespace, name: str) -> tuple[bytes, object]:
    """The recorded identifier and the node of a shown name.

    Raises:
        KeyError: the recipe promises no such name.
    """
    for shown, identifier, node in _children(tree, directory, namespace):
        if shown == name:
            return identifier, node
    raise KeyError(name)


def _children(tree: Tree, directory: Directory, namespace: Namespace) -> Iterator[tuple[str, bytes, object]]:
    if namespace == "udf":
        nodes = directory.nodes(TreeNamespace.UDF)
        for identifier, node in zip(udf_names(list(nodes)), nodes.values(), strict=True):
            yield shown_name(identifier), identifier, node
    elif namespace == "joliet":
        for encoded, _, node in Joliet().entries(directory):
            yield encoded.decode("utf-16-be").rstrip("."), encoded, node
    else:
        renamed = recorded_names(directory)
        for identifier, name, node in Primary(tree.settings).entries(directory):
            rock = rock_name(renamed.get(name, name))
            yield (rock if namespace == "rock" else plain_name(identifier.decode())), identifier, node


class _Iso:
    """ISO 9660, primary or Joliet, by its little-endian numbers, as Linux reads it."""

    def __init__(self, image: Image, *, joliet: bool) -> None:
        self._image = image
        self._joliet = joliet

    def _descriptor(self) -> int:
        for at in range(16 * SECTOR, 32 * SECTOR, SECTOR):
            head = self._image.read(at, 91)
            if head[1:6] != b"CD001" or head[0] == TERMINATOR:
                break
            if head[0] == (SUPPLEMENTARY if self._joliet else PRIMARY) and (
                not self._joliet or head[88:91] in JOLIET_ESCAPES
            ):
                return at
        raise LookupError

    def label(self) -> Extent:
        return Extent(self._descriptor() + 40, 32)

    def root(self) -> Found:
        at = self._descriptor() + 156
        return self._found(at, self._image.read(at, 34))

    @staticmethod
    def _found(at: int, record: bytes) -> Found:
        sector, size = struct.unpack_from("<I", record, 2)[0], struct.unpack_from("<I", record, 10)[0]
        return Found(Extent(at, len(record)), Extent(sector * SECTOR, size))

    def find(self, directory: Extent, identifier: bytes) -> Found:
        data = self._image.read(directory.start, min(directory.size, LARGEST_DIRECTORY))
        at = 0
        while at < len(data):
            length = data[at]
            if not length:
                at += SECTOR - at % SECTOR
                continue
            if data[at + 33 : at + 33 + data[at + 32]] == identifier:
                return self._found(directory.start + at, data[at : at + length])
            at += length
        raise LookupError


class _Udf:
    """UDF on one partition, as this project's layout writes it."""

    def __init__(self, image: Image) -> None:
        self._image = image

    def _descriptor(self, wanted: int) -> tuple[int, bytes]:
        length, start = struct.unpack_from("<II", self._image.read(ANCHOR_SECTOR * SECTOR, 24), 16)
        for at in range(start * SECTOR, start * SECTOR + min(length, 1 << 16), SECTOR):
            data = self._image.read(at, 512)
            if struct.unpack_from("<H", data)[0] == wanted:
                return at, data
        raise LookupError

    def label(self) -> Extent:
        return Extent(self._descriptor(UDF_PRIMARY)[0] + 24, 32)

    def _block(self, number: int) -> int:
        start: int = struct.unpack_from("<I", self._descriptor(UDF_PARTITION)[1], 188)[0]
        return (start + number) * SECTOR

    def root(self) -> Found:
        file_set = self._image.read(self._block(0), 512)
        if struct.unpack_from("<H", file_set)[0] != UDF_FILE_SET:
            raise LookupError
        return self._entry(struct.unpack_from("<I", file_set, 404)[0])

    def _entry(self, block: int) -> Found:
        at = self._block(block)
        entry = self._image.read(at, SECTOR)
        attributes, allocation = struct.unpack_from("<II", entry, 168)
        record = Extent(at, min(176 + attributes + allocation, SECTOR))
        size: int = struct.unpack_from("<Q", entry, 56)[0]
        if not allocation:
            return Found(record, Extent(at, 0))
        return Found(record, Extent(self._block(struct.unpack_from("<II", entry, 176 + attributes)[1]), size))

    def find(self, directory: Extent, identifier: bytes) -> Found:
        data = self._image.read(directory.start, min(directory.size, LARGEST_DIRECTORY))
        at = 0
        while at + 38 <= len(data):
            block: int = struct.unpack_from("<I", data, at + 24)[0]
            use: int = struct.unpack_from("<H", data, at + 36)[0]
            name = data[at + 38 + use : at + 38 + use + data[at + 19]]
            if name == identifier:
                return self._entry(block)
            at += (38 + use + data[at + 19] + 3) & ~3
        raise LookupError
