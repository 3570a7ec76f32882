"""A UDF 1.02 bridge: the same files once more, as a UDF volume beside the ISO 9660 ones.

Order of the sectors: the recognition sequence behind the descriptors of ISO 9660; from sector 32 on the volume
descriptor sequence, its reserve and the integrity sequence, 16 sectors each as UDF 2.2.3 asks for; an anchor in 256;
then the partition: file set, ICBs, directories, and everything that comes after them in the image, up to the padding.
File data lies there once for all namespaces.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from qemu_viso.image import Generated, Literal
from qemu_viso.layout.udf_records import UdfRecords, unique_id
from qemu_viso.layout.udf_tree import ROOT_ICB, UdfTree, spilled_blocks
from qemu_viso.layout.volumes import text_warning
from qemu_viso.ondisk import ecma167, udf
from qemu_viso.ondisk.ecma167 import BLOCK
from qemu_viso.tree.nodes import Directory, Namespace
from qemu_viso.viso.recipe import VolumeField

if TYPE_CHECKING:
    from collections.abc import Callable

    from qemu_viso.image import RegionMap
    from qemu_viso.tree.nodes import File
    from qemu_viso.tree.tree import Tree

RECOGNITION_SECTORS = len(ecma167.RECOGNITION)
SEQUENCE_SECTORS = 16
MAIN, RESERVE, INTEGRITY = 32, 48, 64
ANCHOR = 256
PARTITION = ANCHOR + 1
TEXT_SIZES = {
    VolumeField.VOLUME_ID: 32,
    VolumeField.VOLUME_SET_ID: 128,
    VolumeField.PUBLISHER_ID: 36,
    VolumeField.PREPARER_ID: 36,
    VolumeField.APPLICATION_ID: 36,
    VolumeField.COPYRIGHT_FILE: 32,
    VolumeField.ABSTRACT_FILE: 32,
}
"""Bytes of the dstrings (UDF 2.1.3) that texts go to; the logical volume's has room for a longer volume id, too."""
SET_ID_HEAD = 16
"""Characters that stand in front of the volume set's own identifier (UDF 2.2.2.5)."""
ICBS_AT_ONCE = 128
"""ICBs that one region holds: enough to be few regions, few enough to be quickly made for a single file."""


class Udf:
    """The UDF volume of an image while it is worked out.

    Attributes:
        anchor_distance: how far from the last sector the second anchor may lie, if not in it (UDF 2.2.3).
    """

    anchor_distance = ANCHOR

    def __init__(self, tree: Tree) -> None:
        self._source = tree
        self._tree = UdfTree(tree.root)
        self._records = UdfRecords(self._tree, PARTITION, tree.time_ns)
        self._end = 0

    def plan(self, visit: Callable[[File], None]) -> None:
        """Find all sizes; `visit` gets every file."""
        self._tree.plan(visit)
        for field, size in TEXT_SIZES.items():
            value = self._source.text(Namespace.UDF, field)
            head = "0" * SET_ID_HEAD if field is VolumeField.VOLUME_SET_ID else ""
            kept = udf.cut(head + udf.representable(value), size - 2)[len(head) :]
            self._source.warnings += text_warning(field, value, kept, "UDF", self._root_files)

    def _root_files(self) -> list[str]:
        nodes = self._source.root.nodes(Namespace.UDF)
        return [name for name, node in nodes.items() if type(node) is not Directory]

    def place(self) -> int:
        """Give everything its place; the first sector behind the UDF structures."""
        self._end = PARTITION + self._tree.place()
        return self._end

    def append(self, regions: RegionMap, partition_end: int) -> None:
        """Add the regions from the recognition sequence to the last directory.

        Args:
            regions: the map, up to the descriptors of ISO 9660.
            partition_end: the sector behind the partition.
        """
        self._literal(regions, ecma167.recognition(), RECOGNITION_SECTORS, "volume recognition sequence")
        for start, name in ((MAIN, "main"), (RESERVE, "reserve")):
            self._skip_to(regions, start)
            sequence = self._sequence(start, partition_end - PARTITION)
            self._literal(regions, sequence, SEQUENCE_SECTORS, f"UDF {name} volume descriptor sequence")
        self._skip_to(regions, INTEGRITY)
        integrity = self._integrity(partition_end - PARTITION)
        self._literal(regions, integrity, SEQUENCE_SECTORS, "UDF logical volume integrity sequence")
        self._skip_to(regions, ANCHOR)
        regions.append(regions.size, BLOCK, self.anchor(ANCHOR))
        self._literal(regions, self._file_set(), ROOT_ICB, "UDF file set")
        self._append_icbs(regions)
        self._append_directories(regions)

    @staticmethod
    def anchor(sector: int) -> Literal:
        """An anchor (ECMA-167 3/10.2), for the sector in which it lies."""
        extents = (ecma167.extent_ad(SEQUENCE_SECTORS * BLOCK, start) for start in (MAIN, RESERVE))
        return Literal(ecma167.anchor(sector, *extents), "UDF anchor")

    @staticmethod
    def _literal(regions: RegionMap, data: bytes, sectors: int, label: str) -> None:
        regions.append(regions.size, sectors * BLOCK, Literal(data, label))

    @staticmethod
    def _skip_to(regions: RegionMap, sector: int) -> None:
        if regions.size < sector * BLOCK:
            regions.append(regions.size, sector * BLOCK - regions.size, None)

    def _append_icbs(self, regions: RegionMap) -> None:
        end = self._tree.icb_end
        for start in range(ROOT_ICB, end, ICBS_AT_ONCE):
            stop = min(start + ICBS_AT_ONCE, end)
            size = (stop - start) * BLOCK
            content = Generated(size, _IcbProducer(self._records, start, stop), "UDF file entries")
            regions.append((PARTITION + start) * BLOCK, size, content)

    def _append_directories(self, regions: RegionMap) -> None:
        for index, (block, size) in enumerate(zip(self._tree.blocks, self._tree.sizes, strict=True)):
            content = Generated(size, _DirectoryProducer(self._records, index), "UDF directory")
            regions.append((PARTITION + block) * BLOCK, -(-size // BLOCK) * BLOCK, content)
        for icb, (node, block) in self._tree.spilled.items():
            data = self._records.spilled(icb)
            label = f"what the UDF file entry in block {icb} cannot hold"
            regions.append((PARTITION + block) * BLOCK, spilled_blocks(node) * BLOCK, Literal(data, label))

    # --- descriptors ---------------------------------------------------------------------------------------------

    def _text(self, field: VolumeField) -> str:
        return udf.representable(self._source.text(Namespace.UDF, field))

    @property
    def _recorded(self) -> bytes:
        return ecma167.timestamp(self._source.time_ns // 1000)

    def _volume_set_id(self) -> str:
        """UDF 2.2.2.5: its first 16 characters tell this volume from others; eight of them are the time."""
        numbers = f"{self._source.name}/{self._text(VolumeField.VOLUME_ID)}/{self._source.time_ns}/{self._end}"
        digest = hashlib.sha256(numbers.encode("utf-8", "surrogatepass")).hexdigest()
        seconds = self._source.time_ns // 1_000_000_000 & 0xFFFFFFFF
        return f"{seconds:08x}{digest[:8]}{self._text(VolumeField.VOLUME_SET_ID)}"

    def _sequence(self, sector: int, length: int) -> bytes:
        """The volume descriptor sequence (ECMA-167 3/8.4.2) as at `sector`; the partition has `length` sectors."""
        name = self._text(VolumeField.VOLUME_ID)
        identifier = udf.dstring(name, 128)
        info = (
            self._text(VolumeField.PUBLISHER_ID),
            self._text(VolumeField.PREPARER_ID),
            self._text(VolumeField.APPLICATION_ID),
        )
        descriptors = (
            ecma167.primary(
                sector,
                0,
                volume_id=udf.dstring(name, 32),
                volume_set_id=udf.dstring(self._volume_set_id(), 128),
                charspec=udf.CHARSPEC,
                application=udf.IMPLEMENTATION,
                implementation=udf.IMPLEMENTATION,
                recorded=self._recorded,
            ),
            ecma167.implementation_use(sector + 1, 1, udf.LV_INFO, udf.lv_info(name, info)),
            ecma167.partition(
                sector + 2,
                2,
                PARTITION,
                length,
                contents=udf.PARTITION_CONTENTS,
                implementation=udf.IMPLEMENTATION,
            ),
            ecma167.logical_volume(
                sector + 3,
                3,
                charspec=udf.CHARSPEC,
                identifier=identifier,
                domain=udf.DOMAIN,
                contents_use=ecma167.long_ad(ROOT_ICB * BLOCK, 0),
                implementation=udf.IMPLEMENTATION,
                integrity=ecma167.extent_ad(SEQUENCE_SECTORS * BLOCK, INTEGRITY),
            ),
            ecma167.unallocated_space(sector + 4, 4),
            ecma167.terminating(sector + 5),
        )
        return b"".join(descriptor.ljust(BLOCK, b"\0") for descriptor in descriptors)

    def _integrity(self, length: int) -> bytes:
        """The integrity sequence (ECMA-167 3/8.8.2)."""
        descriptor = ecma167.integrity(
            INTEGRITY,
            recorded=self._recorded,
            next_unique_id=max(unique_id(self._tree.icb_end), udf.FIRST_UNIQUE_ID),
            length=length,
            use=udf.integrity_use(self._tree.files, len(self._tree.directories)),
        )
        return descriptor.ljust(BLOCK, b"\0") + ecma167.terminating(INTEGRITY + 1)

    def _file_set(self) -> bytes:
        """The file set descriptor sequence (ECMA-167 4/8.3.1)."""
        name = self._text(VolumeField.VOLUME_ID)
        descriptor = ecma167.file_set(
            0,
            recorded=self._recorded,
            charspec=udf.CHARSPEC,
            logical_volume_id=udf.dstring(name, 128),
            identifier=udf.dstring(name, 32),
            copyright_file=udf.dstring(self._text(VolumeField.COPYRIGHT_FILE), 32),
            abstract_file=udf.dstring(self._text(VolumeField.ABSTRACT_FILE), 32),
            root=ecma167.long_ad(BLOCK, ROOT_ICB),
            domain=udf.DOMAIN,
        )
        return descriptor.ljust(BLOCK, b"\0") + ecma167.terminating(1)


class _IcbProducer:
    """What makes some ICBs when one of them is first read."""

    __slots__ = ("_records", "_start", "_stop")

    def __init__(self, records: UdfRecords, start: int, stop: int) -> None:
        self._records = records
        self._start = start
        self._stop = stop

    def __call__(self) -> bytes:
        return self._records.icbs(self._start, self._stop)


class _DirectoryProducer:
    """What makes a directory's bytes when they are first read."""

    __slots__ = ("_index", "_records")

    def __init__(self, records: UdfRecords, index: int) -> None:
        self._records = records
        self._index = index

    def __call__(self) -> bytes:
        return self._records.directory(self._index)
