"""The volume descriptors of an existing image (ECMA-119 clause 8, and the recognition sequence of ECMA-167)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qemu_viso.ondisk.ecma119 import SECTOR, STANDARD_IDENTIFIER, SYSTEM_AREA_SECTORS
from qemu_viso.viso.recipe import VolumeField

if TYPE_CHECKING:
    from qemu_viso.tree.existing.medium import Medium

MAX_DESCRIPTORS = 64
BOOT_RECORD, PRIMARY, SUPPLEMENTARY, TERMINATOR = 0, 1, 2, 255
EL_TORITO = b"EL TORITO SPECIFICATION"
JOLIET_ESCAPES = (b"%/@", b"%/C", b"%/E")
BLOCK_SIZES = (512, 1024, 2048)

# Where each text is (8.4), among those that an import takes over.
_TEXTS = {
    VolumeField.SYSTEM_ID: (8, 32),
    VolumeField.VOLUME_ID: (40, 32),
    VolumeField.VOLUME_SET_ID: (190, 128),
    VolumeField.PUBLISHER_ID: (318, 128),
    VolumeField.COPYRIGHT_FILE: (702, 37),
    VolumeField.ABSTRACT_FILE: (739, 37),
    VolumeField.BIBLIOGRAPHIC_FILE: (776, 37),
}


@dataclass(frozen=True, slots=True)
class Volume:
    """A primary or Joliet volume descriptor.

    Attributes:
        block: bytes of a logical block.
        sectors: blocks of the volume.
        root_record: the root's directory record.
        texts: the identifiers that an import takes over, those that are not blank.
    """

    block: int
    sectors: int
    root_record: bytes
    texts: dict[VolumeField, str]


@dataclass(slots=True)
class Descriptors:
    """What was found.

    Attributes:
        boot_catalog: the sector of the El Torito boot catalog.
        has_udf: there is an NSR descriptor.
    """

    primary: Volume | None = None
    joliet: Volume | None = None
    boot_catalog: int | None = None
    has_udf: bool = False


def read_descriptors(medium: Medium) -> Descriptors:
    """All volume descriptors.

    Raises:
        RecipeError: a descriptor cannot be right.
    """
    found = Descriptors()
    for number in range(SYSTEM_AREA_SECTORS, SYSTEM_AREA_SECTORS + MAX_DESCRIPTORS):
        data = medium.peek(number * SECTOR, SECTOR)
        identifier = data[1:6]
        if len(data) < SECTOR or not identifier.strip(b"\0"):
            break
        if identifier == STANDARD_IDENTIFIER:
            _descriptor(medium, found, data)
        elif identifier in (b"NSR02", b"NSR03"):
            found.has_udf = True
        elif identifier not in (b"BEA01", b"TEA01", b"BOOT2", b"CDW02"):
            break
    return found


def _descriptor(medium: Medium, found: Descriptors, data: bytes) -> None:
    kind = data[0]
    if kind == BOOT_RECORD and found.boot_catalog is None and data[7:39].rstrip(b"\0 ") == EL_TORITO:
        (found.boot_catalog,) = struct.unpack_from("<I", data, 71)
    elif kind == PRIMARY and found.primary is None:
        found.primary = _volume(medium, data, "utf-8")
    elif kind == SUPPLEMENTARY and found.joliet is None and data[88:91] in JOLIET_ESCAPES:
        found.joliet = _volume(medium, data, "utf-16-be")


def _volume(medium: Medium, data: bytes, encoding: str) -> Volume:
    (block,) = struct.unpack_from("<H", data, 128)
    if block not in BLOCK_SIZES:
        raise medium.unsupported(f"its volume descriptor speaks of blocks of {block} bytes")
    texts = {}
    for which, (start, size) in _TEXTS.items():
        raw = data[start : start + (size if encoding == "utf-8" else size & ~1)]
        text = raw.decode(encoding, "replace").split("\0", 1)[0].rstrip(" ")
        if text:
            texts[which] = text
    (sectors,) = struct.unpack_from("<I", data, 80)
    return Volume(block, sectors, data[156:190], texts)
