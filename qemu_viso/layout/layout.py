"""A tree becomes an image: first all sizes, then all places, then the regions in order.

Order of the sectors: system area, volume descriptors, UDF structures, primary directories and path tables, Joliet
directories and path tables, boot catalog and boot images, all other files, padding with UDF's second anchor and the
backup of a GUID partition table.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from qemu_viso.errors import InternalError, RecipeError, shown
from qemu_viso.image import Generated, Image, Literal, RegionMap
from qemu_viso.layout import volumes
from qemu_viso.layout.hierarchy import MAX_PARENT, Hierarchy
from qemu_viso.layout.joliet import Joliet
from qemu_viso.layout.primary import Primary
from qemu_viso.layout.trans_tbl import trans_tbl
from qemu_viso.ondisk.ecma119 import SECTOR, SYSTEM_AREA_SECTORS, terminator
from qemu_viso.tree.nodes import File, Namespace
from qemu_viso.viso.recipe import LongNames, SetIsoLevel

if TYPE_CHECKING:
    from qemu_viso.layout.hierarchy import Flavour
    from qemu_viso.layout.hybrid import Hybrid
    from qemu_viso.layout.udf import Udf
    from qemu_viso.tree.tree import Tree

UNPLACED, QUEUED = -1, -2
MOST_SECTORS = 0xFFFFFFFF
"""What the volume space size has room for (ECMA-119 8.4.8): 8 TiB."""


def lay_out(tree: Tree) -> Image:
    """The image of a tree. A tree can be laid out once: its files learn their places.

    Raises:
        RecipeError: something in the tree cannot be in an image of this kind.
    """
    return Layout(tree).image()


class Layout:
    """The numbers of one image while they are worked out."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._regions = RegionMap()
        self._files: list[File] = []
        self._end = [0]
        primary = Primary(tree.settings)
        for directory, table in tree.tables:
            table.data = Literal(trans_tbl(primary.entries(directory), table), "TRANS.TBL")
        self._primary = Hierarchy(tree.root, primary, tree.time_ns)
        self._joliet = Hierarchy(tree.root, Joliet(), tree.time_ns) if tree.settings.joliet else None
        self._hierarchies = [self._primary] if self._joliet is None else [self._primary, self._joliet]
        self._udf = _udf(tree)
        self._hybrid = _hybrid(tree)

    def image(self) -> Image:
        """All three passes."""
        self._plan()
        data_start = self._place_metadata()
        starts, end = self._place_files(data_start)
        self._end[0] = self._place_tail(end)
        if self._end[0] > MOST_SECTORS:
            raise self._too_large()
        self._append_metadata(data_start, end)
        self._append_files(starts, data_start, end)
        self._append_tail()
        return Image(self._regions, self._tree.name)

    # --- sizes ---------------------------------------------------------------------------------------------------

    def _plan(self) -> None:
        tree = self._tree
        if tree.boot is not None:
            from qemu_viso.layout import boot

            boot.prepare(tree.boot, self._end, tree.path_of)
            for file in (tree.boot.file, *(entry.image for entry in tree.boot.entries)):
                if isinstance(file, File):
                    self._visit(file)
        first_plain = len(self._files)
        for hierarchy in self._hierarchies:
            hierarchy.plan(self._visit)
            tree.warnings += _shortened(hierarchy.flavour)
        most = max(len(hierarchy.directories) for hierarchy in self._hierarchies)
        if most > MAX_PARENT:
            tree.warnings.append(
                f"{most} directories are more than a path table can number; "
                "readers that rely on path tables will not find all of them"
            )
        if self._udf is not None:
            self._udf.plan(self._visit)
        if tree.weights:
            self._sort(first_plain)
        tree.warnings += volumes.text_warnings(tree, self._hierarchies)

    def _visit(self, file: File) -> None:
        if file.extent == UNPLACED:
            file.extent = QUEUED
            self._files.append(file)
        elif file.extent >= 0:
            raise InternalError("a tree cannot be laid out twice")

    def _sort(self, first: int) -> None:
        """Heavier files first; files of one weight keep their order."""
        weights = self._tree.weights
        self._files[first:] = sorted(self._files[first:], key=lambda file: -weights.get(id(file), 0))

    # --- places --------------------------------------------------------------------------------------------------

    def _place_metadata(self) -> int:
        """Give descriptors, directories and path tables their sectors; the first sector of file data."""
        sector = SYSTEM_AREA_SECTORS + self._descriptors()
        if self._udf is not None:
            sector = self._udf.place()
        self._tables: list[tuple[int, int]] = []
        for hierarchy in self._hierarchies:
            sector = hierarchy.place_directories(sector)
            table_sectors = -(-hierarchy.path_table_size // SECTOR)
            self._tables.append((sector, sector + table_sectors))
            sector += 2 * table_sectors
        return sector

    def _descriptors(self) -> int:
        return len(self._hierarchies) + 1 + (self._tree.boot is not None)

    def _place_files(self, sector: int) -> tuple[array[int], int]:
        """Give each file its extent: the starts of those that have content, in bytes, and the sector behind them.

        A file without content lies nowhere; its extent is 0.
        """
        starts = array("Q")
        level = self._tree.settings.iso_level
        for file in self._files:
            size = file.data.size
            if not size:
                file.extent = 0
                continue
            if size > 0xFFFFFFFF and level < 3:
                raise RecipeError(
                    f"{self._called(file)} has {size} bytes, which needs ISO level 3, "
                    f"and the recipe asks for level {level}",
                    place=self._tree.place_of(SetIsoLevel, LongNames),
                    hint="leave out --iso-level and -l, or give --iso-level 3 behind them",
                )
            file.extent = sector
            starts.append(sector * SECTOR)
            sector += (size + 2047) >> 11
        return starts, sector

    def _too_large(self) -> RecipeError:
        from qemu_viso.tree.blame import largest_share

        share = largest_share(self._tree, self._files)
        most = "" if share is None else f"; most of it is {share.size:,} bytes that come with '{shown(share.source)}'"
        largest = max(self._files, key=lambda file: file.data.size)
        return RecipeError(
            f"the image would be larger than 8 TiB, which ISO 9660 cannot describe{most}",
            place=None if share is None else share.place,
            hint=f"leave something out; the largest file is {self._called(largest)} with {largest.data.size:,} bytes",
        )

    def _called(self, file: File) -> str:
        return f"'{shown(self._tree.path_of(file))}'"

    def _place_tail(self, sector: int) -> int:
        """What comes behind the file data, from `sector` on; the end of the image.

        Padding is for drives that cannot read the last sectors of a disc. UDF's second anchor lies in the last sector,
        N, behind any padding; where a GUID partition table needs that sector for its backup, it lies in the other place
        that UDF 2.2.3 knows, N - 256.
        """
        hybrid, udf = self._hybrid, self._udf
        padding = self._tree.settings.padding
        backup = 0 if hybrid is None else hybrid.backup_sectors
        if backup:
            padding = max(padding, backup if udf is None else 1 + udf.anchor_distance)
        elif udf is not None:
            padding += 1
        end = sector + padding if hybrid is None else hybrid.end(sector + padding)
        if udf is not None:
            self._anchor = end - 1 - (udf.anchor_distance if backup else 0)
        return end

    # --- regions -------------------------------------------------------------------------------------------------

    def _append_metadata(self, data_start: int, data_end: int) -> None:
        regions, tree = self._regions, self._tree
        hybrid = self._hybrid
        system_area = tree.system_area if hybrid is None else hybrid.system_area(self._end[0])
        regions.append(0, SYSTEM_AREA_SECTORS * SECTOR, system_area)
        sector = SYSTEM_AREA_SECTORS
        descriptors = [
            Literal(
                volumes.descriptor(tree, hierarchy, self._end[0], *table).pack(),
                f"{hierarchy.flavour.namespace.name} volume descriptor",
            )
            for hierarchy, table in zip(self._hierarchies, self._tables, strict=True)
        ]
        if tree.boot is not None:
            from qemu_viso.ondisk import eltorito

            record = eltorito.boot_record(tree.boot.file.extent)
            descriptors.insert(1, Literal(record, "boot record"))
        descriptors.append(Literal(terminator(), "volume descriptor set terminator"))
        for literal in descriptors:
            regions.append(sector * SECTOR, SECTOR, literal)
            sector += 1
        if self._udf is not None:
            self._udf.append(regions, data_end)
        for hierarchy, table in zip(self._hierarchies, self._tables, strict=True):
            hierarchy.append_directories(regions)
            self._append_path_tables(hierarchy, *table)
        if regions.size != data_start * SECTOR:
            raise InternalError(f"metadata ends at {regions.size}, file data begins at {data_start * SECTOR}")

    def _append_path_tables(self, hierarchy: Hierarchy, little: int, big: int) -> None:
        size = hierarchy.path_table_size
        for start, big_endian in ((little, False), (big, True)):
            content = Generated(
                size,
                lambda big_endian=big_endian: hierarchy.path_table(big_endian=big_endian),  # type: ignore[misc]
                f"{hierarchy.flavour.namespace.name} path table, type {'M' if big_endian else 'L'}",
            )
            self._regions.append(start * SECTOR, (big - little) * SECTOR, content)

    def _append_files(self, starts: array[int], first: int, end: int) -> None:
        contents = [file.data for file in self._files if file.data.size]
        self._regions.append_files(starts, contents, end * SECTOR)
        if self._regions.size != max(first, end) * SECTOR:
            raise InternalError(f"file data ends at {self._regions.size}, not at {end * SECTOR}")

    def _append_tail(self) -> None:
        if self._udf is not None:
            self._skip_to(self._anchor)
            self._regions.append(self._anchor * SECTOR, SECTOR, self._udf.anchor(self._anchor))
        if self._hybrid is not None and self._hybrid.backup_sectors:
            backup = self._hybrid.backup(self._end[0])
            self._skip_to(self._end[0] - self._hybrid.backup_sectors)
            self._regions.append(self._regions.size, backup.size, backup)
        self._skip_to(self._end[0])

    def _skip_to(self, sector: int) -> None:
        if self._regions.size < sector * SECTOR:
            self._regions.append(self._regions.size, sector * SECTOR - self._regions.size, None)


def _shortened(flavour: Flavour) -> list[str]:
    """The warning about names that were cut, if there are any."""
    names = flavour.shortened
    if not names:
        return []
    which = f"'{shown(names[0])}' is" if len(names) == 1 else f"'{shown(names[0])}' and {len(names) - 1} more are"
    where = "Joliet" if flavour.namespace is Namespace.JOLIET else "Rock Ridge"
    return [f"{which} too long for {where}, and shortened there"]


# What few images are is imported for those: it would double the time that opening a small recipe takes.


def _udf(tree: Tree) -> Udf | None:
    """The UDF volume, where one is asked for."""
    if not tree.settings.udf:
        return None
    from qemu_viso.layout.udf import Udf

    return Udf(tree)


def _hybrid(tree: Tree) -> Hybrid | None:
    """The disk side of the image, where it is to be a disk too."""
    partitions = tree.boot is not None and any(entry.in_gpt for entry in tree.boot.entries)
    if not partitions and tree.isohybrid_mbr is None and tree.grub_mbr is None:
        return None
    from qemu_viso.layout.hybrid import Hybrid

    return Hybrid(tree)
