"""Volume descriptors: the texts fitted to their fields, and the places filled in."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from qemu_viso.errors import shown
from qemu_viso.ondisk.ecma119 import TEXT_SIZES, VolumeDescriptor, volume_date
from qemu_viso.ondisk.joliet import ESCAPE_SEQUENCES
from qemu_viso.tree.nodes import Directory, Namespace
from qemu_viso.viso.recipe import VolumeField

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from qemu_viso.layout.hierarchy import Hierarchy
    from qemu_viso.tree.tree import Tree

FIELDS = {
    "system_id": VolumeField.SYSTEM_ID,
    "volume_id": VolumeField.VOLUME_ID,
    "volume_set_id": VolumeField.VOLUME_SET_ID,
    "publisher_id": VolumeField.PUBLISHER_ID,
    "preparer_id": VolumeField.PREPARER_ID,
    "application_id": VolumeField.APPLICATION_ID,
    "copyright_file": VolumeField.COPYRIGHT_FILE,
    "abstract_file": VolumeField.ABSTRACT_FILE,
    "bibliographic_file": VolumeField.BIBLIOGRAPHIC_FILE,
}
DEFAULTS = {VolumeField.SYSTEM_ID: "LINUX", VolumeField.APPLICATION_ID: "QEMU-VISO"}
PRIMARY, SUPPLEMENTARY = 1, 2
PRIMARY_VOLUME = "primary"
_FILE_FIELDS = (VolumeField.COPYRIGHT_FILE, VolumeField.ABSTRACT_FILE, VolumeField.BIBLIOGRAPHIC_FILE)
_VERSION = re.compile(r"\.?(;[0-9]+)?$")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def text_value(tree: Tree, namespace: Namespace, field: VolumeField) -> str:
    """A descriptor's text as asked for, with defaults, not yet fitted."""
    value = tree.text(namespace, field)
    return value or (DEFAULTS.get(field, "") if namespace is Namespace.ISO else "")


def fitted(value: str, size: int, namespace: Namespace) -> str:
    """As much of a text as its field holds, cut between characters."""
    if namespace is Namespace.JOLIET:
        kept = value.encode("utf-16-be", "replace")[: size & ~1]
        return kept.decode("utf-16-be", "ignore")
    return value.encode("utf-8", "replace")[:size].decode("utf-8", "ignore")


def texts(tree: Tree, namespace: Namespace) -> dict[str, bytes]:
    """All text fields of a descriptor, padded (8.4; in Joliet with UCS-2 spaces, an odd last byte is zero)."""
    fields = {}
    for name, size in TEXT_SIZES.items():
        value = fitted(text_value(tree, namespace, FIELDS[name]), size, namespace)
        if namespace is Namespace.JOLIET:
            encoded = value.encode("utf-16-be")
            fields[name] = (encoded + b"\0 " * ((size - len(encoded)) // 2)).ljust(size, b"\0")
        else:
            fields[name] = value.encode().ljust(size)
    return fields


def text_warnings(tree: Tree, hierarchies: list[Hierarchy]) -> list[str]:
    """A sentence for each text of the recipe that is not well in a volume descriptor: see `text_warning`."""
    warnings = []
    for hierarchy in hierarchies:
        namespace = hierarchy.flavour.namespace
        volume = "Joliet" if namespace is Namespace.JOLIET else PRIMARY_VOLUME
        files = partial(_root_files, tree, hierarchy)
        for name, size in TEXT_SIZES.items():
            value = tree.settings.texts[namespace].get(FIELDS[name], "")
            warnings += text_warning(FIELDS[name], value, fitted(value, size, namespace), volume, files)
    return warnings


def _root_files(tree: Tree, hierarchy: Hierarchy) -> Iterator[str]:
    """The identifiers of the files in the root directory, and their Rock Ridge names."""
    root = hierarchy.root.node
    for identifier, name, node in hierarchy.flavour.entries(root):
        if type(node) is not Directory:
            if hierarchy.flavour.namespace is Namespace.JOLIET:
                yield identifier.decode("utf-16-be", "surrogatepass")
                continue
            yield identifier.decode("ascii")
            if tree.settings.rock_ridge:
                yield root.rock_name(name)


def text_warning(
    field: VolumeField, value: str, kept: str, volume: str, files: Callable[[], Iterable[str]]
) -> list[str]:
    """What is to be said of a text: that it is not recorded whole, or what readers may make of it; maybe nothing.

    Control characters are in none of the character sets of 7.4 and of Joliet's section 3, and are recorded as they are.
    So are characters of the primary volume that are no d- or a-characters: of these, all readers know ASCII, and each
    has its own idea of the others. Three texts name files of the root directory (8.4.23 to 8.4.25, 8.5.17 to 8.5.19;
    ECMA-167 4/14.1); neither case nor version counts.

    Args:
        field: which text.
        value: as the recipe has it.
        kept: as it is recorded.
        volume: the volume's name.
        files: gives the names of the files in the volume's root directory.
    """
    what = f"the {field} '{shown(value)}'"
    if value.startswith(kept) and kept != value:
        return [f"{what} is cut to '{shown(kept)}' in the {volume} volume"]
    if kept != value:
        return [f"{what} becomes '{shown(kept)}' in the {volume} volume"]
    if _CONTROL.search(value):
        return [f"{what} in the {volume} volume has control characters, which readers may not show"]
    if volume == PRIMARY_VOLUME and not value.isascii():
        return [f"{what} in the {volume} volume has characters beyond ASCII, which readers may show as others"]
    if value and field in _FILE_FIELDS and _compared(value) not in map(_compared, files()):
        return [f"{what} in the {volume} volume names a file that its root directory does not have"]
    return []


def _compared(name: str) -> str:
    """What two names of a file have in common."""
    return _VERSION.sub("", name).lower()


def descriptor(
    tree: Tree, hierarchy: Hierarchy, volume_sectors: int, path_table_l: int, path_table_m: int
) -> VolumeDescriptor:
    """The primary volume descriptor (8.4), or a supplementary one for Joliet (8.5)."""
    namespace = hierarchy.flavour.namespace
    joliet = namespace is Namespace.JOLIET
    date = volume_date(tree.time_ns)
    return VolumeDescriptor(
        type=SUPPLEMENTARY if joliet else PRIMARY,
        flags=0,
        volume_sectors=volume_sectors,
        escape_sequences=ESCAPE_SEQUENCES[tree.settings.joliet] if joliet else b"",
        set_size=tree.settings.volume_set_size,
        sequence=tree.settings.volume_sequence,
        path_table_size=hierarchy.path_table_size,
        path_table_l=path_table_l,
        path_table_m=path_table_m,
        root_record=hierarchy.root_record(),
        created=date,
        modified=date,
        **texts(tree, namespace),
    )
