"""`--import-iso`: everything that an image holds, as a tree to be merged into the one under construction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qemu_viso.image import FileSlice
from qemu_viso.ondisk.ecma119 import SECTOR, SYSTEM_AREA_SECTORS
from qemu_viso.tree.existing.el_torito import has_grub_info, has_info_table, image_size, read_catalog
from qemu_viso.tree.existing.hybrid import PLACE_OFFSET, Loader, read_system_area
from qemu_viso.tree.existing.nodes import NodeMaker
from qemu_viso.tree.existing.unify import unify
from qemu_viso.tree.nodes import Directory, File, Namespace
from qemu_viso.tree.tree import BootEntry
from qemu_viso.viso.recipe import VolumeField

if TYPE_CHECKING:
    from collections.abc import Callable

    from qemu_viso.tree.attributes import AttributeRules
    from qemu_viso.tree.existing.el_torito import FoundEntry
    from qemu_viso.tree.existing.image import ExistingImage
    from qemu_viso.tree.existing.volume import FileSystem, Found
    from qemu_viso.tree.origin import Clock

TRANS_TBL = "TRANS.TBL"
X86 = 0


@dataclass(frozen=True, slots=True)
class ImportedDisk:
    """The system area of an image that is a disk as well.

    Attributes:
        loader: whose boot code it has.
        code: the boot code, without what it is told about places.
        area: the whole of it, without the zeros at the end.
        starts: the boot image for x86 that the boot code starts, if there is one.
        partitions: the boot entries whose images are partitions.
    """

    loader: Loader
    code: FileSlice
    area: FileSlice
    starts: File | None
    partitions: tuple[BootEntry, ...]


@dataclass(slots=True)
class Imported:
    """What an image gives.

    Attributes:
        root: its tree, to be merged; what the image does not have, that namespace does not list.
        namespaces: those that the image has.
        texts: the identifiers of its volumes.
        full_rock_ridge: its Rock Ridge announces itself with an ER entry.
        entries: the boot entries.
        relocated: it has Rock Ridge's relocated directories.
        only_udf: how many names there are in UDF and in no other file system.
        disk: what makes the image a disk as well; None where it is none.
        warnings: sentences about what could not be taken over.
    """

    root: Directory
    namespaces: frozenset[Namespace]
    texts: dict[Namespace, dict[VolumeField, str]]
    full_rock_ridge: bool
    entries: list[BootEntry] = field(default_factory=list)
    relocated: bool = False
    only_udf: int = 0
    disk: ImportedDisk | None = None
    warnings: list[str] = field(default_factory=list)


def import_image(
    image: ExistingImage, rules: AttributeRules, clock: Clock, catalog: Callable[[], File] | None
) -> Imported:
    """Read a whole image, but no data of files.

    Args:
        image: what to read.
        rules: the attributes to give.
        clock: clamps times, and keeps the newest.
        catalog: gives the file that whatever name leads to the boot catalog is to lead to; None: no boot set-up.

    Raises:
        RecipeError: the image is damaged.
        InputOutputError: it cannot be read, or changed meanwhile.
    """
    maker = NodeMaker(rules, clock, _left_out)
    sector = image.descriptors.boot_catalog if catalog is not None else None
    if catalog is not None and sector is not None:
        maker.claimed[sector * SECTOR] = catalog()
    root, namespaces = _trees(image, maker)
    rock_ridge = image.primary.rock_ridge if image.primary is not None else 0
    imported = Imported(root, namespaces, _texts(image), rock_ridge == 2)
    imported.relocated = image.primary is not None and image.primary.relocated
    if sector is not None:
        found = read_catalog(image.medium, sector)
        _import_boot(image, imported, maker, found)
        _import_disk(image, imported, found)
    elif catalog is not None:
        _import_disk(image, imported, [])
    if image.udf is not None and image.primary is not None:
        imported.only_udf = _only_udf(root)
    for system in (image.primary, image.joliet, image.udf):
        if system is not None:
            imported.warnings += system.warnings.take()
    image.medium.verify()
    return imported


def _left_out(path: str, found: Found) -> bool:
    """The tables list identifiers of the old image, which are not those of the new one (section H1)."""
    return path.endswith("/" + TRANS_TBL) and found.data is not None


def _trees(image: ExistingImage, maker: NodeMaker) -> tuple[Directory, frozenset[Namespace]]:
    every: tuple[tuple[Namespace, FileSystem | None], ...] = (
        (Namespace.ISO, image.primary),
        (Namespace.JOLIET, image.joliet),
        (Namespace.UDF, image.udf),
    )
    systems = [(namespace, system) for namespace, system in every if system is not None]
    base, first = systems[0]
    root = maker.tree(first, first.root, frozenset((base,)))
    for namespace, system in systems[1:]:
        other = maker.tree(system, system.root, frozenset((namespace,)), bare=True)
        unify(root, other, namespace, base)
    return root, frozenset(namespace for namespace, _ in systems)


def _only_udf(root: Directory) -> int:
    """How many names there are in the UDF tree below a directory for which there is nothing in the primary tree."""
    count = 0
    stack = [root]
    while stack:
        directory = stack.pop()
        primary = directory.nodes(Namespace.ISO)
        known = {id(node) for node in primary.values()}
        for name, node in directory.nodes(Namespace.UDF).items():
            if name not in primary and id(node) not in known:
                count += 1
            elif isinstance(node, Directory):
                stack.append(node)
    return count


def _texts(image: ExistingImage) -> dict[Namespace, dict[VolumeField, str]]:
    texts: dict[Namespace, dict[VolumeField, str]] = {}
    if image.descriptors.primary is not None:
        texts[Namespace.ISO] = image.descriptors.primary.texts
    if image.descriptors.joliet is not None:
        texts[Namespace.JOLIET] = image.descriptors.joliet.texts
    if image.udf is not None and image.udf.label:
        texts[Namespace.UDF] = {VolumeField.VOLUME_ID: image.udf.label}
    return texts


# --- boot ------------------------------------------------------------------------------------------------------------


def _import_boot(image: ExistingImage, imported: Imported, maker: NodeMaker, found: list[FoundEntry]) -> None:
    by_offset = {
        data.offset - image.medium.offset: file for data, file in maker.files.items() if isinstance(data, FileSlice)
    }
    starts = sorted({*by_offset, *(entry.offset for entry in found)})
    for entry in found:
        file = by_offset.get(entry.offset)
        if file is None:
            size = image_size(entry, starts, image.medium.size)
            data = image.medium.slice(entry.offset, size, "a boot image")
            file = by_offset[entry.offset] = maker.hidden(data)
        imported.entries.append(_boot_entry(entry, file, image))


def _boot_entry(found: FoundEntry, file: File, image: ExistingImage) -> BootEntry:
    entry = BootEntry(found.platform)
    entry.image = file
    entry.media = found.media
    entry.bootable = found.bootable
    entry.load_segment = found.load_segment
    entry.load_sectors = found.load_sectors
    entry.info_table = has_info_table(image.medium, found)
    entry.system_type = found.system_type
    entry.criteria = found.criteria
    entry.section_id = found.identifier
    entry.grub_info = has_grub_info(image.medium, found)
    return entry


def _import_disk(image: ExistingImage, imported: Imported, found: list[FoundEntry]) -> None:
    """What makes the image a disk; the partitions themselves are made anew, because they lie elsewhere then."""
    medium = image.medium
    area = read_system_area(medium, [entry.offset for entry in found if entry.platform == X86])
    if area is None:
        return
    partitions = tuple(
        entry
        for place, entry in zip(found, imported.entries, strict=True)
        if place.offset in area.partitions and isinstance(entry.image, File) and entry.image.data.size
    )
    if area.is_apple:
        imported.warnings.append(f"the Apple partition map of the image '{medium.name}' is left out")
    used = len(medium.peek(0, SYSTEM_AREA_SECTORS * SECTOR).rstrip(b"\0"))
    first = next((entry for entry in imported.entries if entry.platform == X86), None)
    imported.disk = ImportedDisk(
        area.loader,
        medium.slice(0, PLACE_OFFSET, "the boot code"),
        medium.slice(0, used, "the system area"),
        first.image if first is not None and isinstance(first.image, File) else None,
        partitions,
    )
