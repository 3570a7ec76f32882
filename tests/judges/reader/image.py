"""The reader's front door: an image in, its namespaces and every broken rule out."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.judges.reader.descriptors import read_descriptors
from tests.judges.reader.directory import read_tree
from tests.judges.reader.eltorito import BootCatalog, read_catalog
from tests.judges.reader.hybrid import Disk, read_disk
from tests.judges.reader.iso9660 import IsoRules, check_path_tables, primary_volume
from tests.judges.reader.joliet import JolietRules, joliet_volume
from tests.judges.reader.model import SECTOR, Content, Finding, Read, Source, Volume
from tests.judges.reader.rocktree import rock_volume
from tests.judges.reader.udf import udf_volume

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Image:
    """What the reader found.

    Attributes:
        primary: ISO identifiers, as recorded.
        rock: Rock Ridge; its `identifiers["extension"]` is empty for the limited form without an ER entry.
        disk: MBR and GPT partitions.
        system_area: the first 32,768 bytes.
        findings: every violation of a standard that was met.
    """

    size: int
    primary: Volume | None
    rock: Volume | None
    joliet: Volume | None
    udf: Volume | None
    boot: BootCatalog | None
    disk: Disk | None
    system_area: bytes
    findings: tuple[Finding, ...]

    def violations(self, *allowed: str) -> list[str]:
        """The findings as sentences, without those whose clause is in `allowed`."""
        return [str(finding) for finding in self.findings if finding.clause not in allowed]


def inspect(read: Read, size: int, *, level: int = 3) -> Image:
    """Read an image of `size` bytes, and check it against the standards.

    Args:
        read: offset and length in bytes to the bytes.
        level: the interchange level (ECMA-119 section 10) that the primary tree promises, 1 to 3.
    """
    source = Source(read, size)
    if size % SECTOR:
        source.findings.add("ECMA-119 6.1.2", f"{size} bytes are not whole sectors", "image")
    descriptors = read_descriptors(source)
    primary = rock = joliet = boot = None
    if (found := descriptors.primary) is not None:
        rules = IsoRules(level)
        directories = read_tree(source, found, rules)
        primary = primary_volume(source, found, directories, rules)
        check_path_tables(source, found, directories, lambda identifier: identifier.ljust(255))
        rock = rock_volume(source, found, directories)
    if (found := descriptors.joliet) is not None:
        wide_rules = JolietRules()
        directories = read_tree(source, found, wide_rules)
        joliet = joliet_volume(source, found, directories, wide_rules)
        check_path_tables(source, found, directories, lambda identifier: identifier)
    udf = udf_volume(source)
    volumes = [volume for volume in (primary, joliet, udf) if volume is not None]
    if descriptors.boot_record is not None:
        boot = read_catalog(source, descriptors.boot_record, _files(volumes), 16)
    disk = read_disk(source, boot)
    source.space.check(source.findings)
    return Image(
        size, primary, rock, joliet, udf, boot, disk, source.peek(0, 16 * SECTOR), tuple(source.findings.items)
    )


def _files(volumes: list[Volume]) -> dict[int, Content]:
    """File contents by their first sector."""
    return {
        node.extents[0].start // SECTOR: node.content
        for volume in volumes
        for node in volume.tree.values()
        if node.content is not None and node.extents
    }


@contextmanager
def opened(path: Path, *, level: int = 3) -> Iterator[Image]:
    """An image file, inspected; contents can be read while the context lasts."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        yield inspect(lambda offset, length: os.pread(descriptor, length, offset), size, level=level)
    finally:
        os.close(descriptor)
