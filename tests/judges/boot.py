"""What is said of a boot catalog, in the words of xorriso's report."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from tests.judges.external import run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.judges.reader.image import Image

MOST = 32
"""Entries that xorriso keeps of a catalog."""
PLATFORMS = {0: "BIOS", 1: "PPC", 2: "Mac", 0xEF: "UEFI"}
MEDIA = {0: "none", 1: "fd1.2", 2: "fd1.4", 3: "fd2.8", 4: "hd"}
_LINE = re.compile(r"El Torito boot img : +(\d+) +(\S+) +([yn]) +(\S+) +0x(\S+) +0x(\S+) +(\d+) +(\d+)")
_TABLE = re.compile(r"El Torito img opts : +(\d+) .*boot-info-table")


class Entry(NamedTuple):
    """An entry of a catalog.

    Attributes:
        system: the system type, or partition type.
        load_count: 512-byte sectors to load.
        has_table: there is a boot information table in the image.
    """

    platform: str
    bootable: bool
    emulation: str
    segment: int
    system: int
    load_count: int
    sector: int
    has_table: bool


def boot_entries(seen: Image) -> list[Entry]:
    """Those that the strict reader saw, as far as xorriso keeps them; of images that are no files it sees no table."""
    if seen.boot is None:
        return []
    volumes = [volume for volume in (seen.primary, seen.joliet) if volume is not None]
    files = {node.extents[0].start // 2048 for volume in volumes for node in volume.tree.values() if node.extents}
    return [
        Entry(
            PLATFORMS[section.platform],
            entry.bootable,
            MEDIA[entry.media],
            entry.load_segment,
            entry.system_type,
            entry.sector_count,
            entry.sector,
            entry.info_table is not None and entry.sector in files,
        )
        for section in seen.boot.sections
        for entry in section.entries
    ][:MOST]


def boot_entries_by_xorriso(image: Path) -> list[Entry]:
    """Those that xorriso reports."""
    command = ("xorriso", "-no_rc", "-abort_on", "FATAL", "-indev", image, "-report_el_torito", "plain")
    text = run(*command).stdout.decode("utf-8", "replace")
    tables = {match[1] for match in _TABLE.finditer(text)}
    return [
        Entry(
            *(match[2], match[3] == "y", match[4], int(match[5], 16), int(match[6], 16), int(match[7]), int(match[8])),
            match[1] in tables,
        )
        for match in _LINE.finditer(text)
    ]
