"""Images for measurements of block devices, and the same bytes as a plain file for the peers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from qemu_viso.image import Generated, Image, RegionMap
from qemu_viso.sources.host import HostDirectory, HostFile

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SECTOR = 2048
DIRECTORY = 16 << 10
MIB = 1 << 20


def files(paths: Iterable[tuple[Path, int]], *, repeat: bytes = b"") -> RegionMap:
    """Files of the given sizes, made if they are not there: of random bytes, or of one block over and over."""
    regions = RegionMap()
    parents: dict[Path, HostDirectory] = {}
    for path, size in paths:
        folder = path.parent
        if folder not in parents:
            folder.mkdir(parents=True, exist_ok=True)
            parents[folder] = HostDirectory(None, str(folder), folder.stat().st_dev)
        if not path.exists():
            with path.open("wb") as file:
                for done in range(0, size, MIB):
                    length = min(MIB, size - done)
                    file.write(repeat[:length] or os.urandom(length))
        status = path.stat()
        source = HostFile(parents[folder], path.name, status.st_size, status.st_mtime_ns, status.st_ino)
        regions.append(regions.size, -(-source.size // SECTOR) * SECTOR, source)
    return regions


def directories(size: int) -> RegionMap:
    """Generated structures of 16 KiB and nothing else."""
    regions = RegionMap()
    for number in range(size // DIRECTORY):
        data = number.to_bytes(4, "big") * (DIRECTORY // 4)
        regions.append(regions.size, DIRECTORY, Generated(DIRECTORY, data.__bytes__, "directory"))
    return regions


def rendered(image: Image, path: Path) -> Path:
    """The image as a file, made if it is not there."""
    if not path.exists():
        with path.open("wb") as file:
            for offset in range(0, image.size, MIB):
                file.write(image.read(offset, min(MIB, image.size - offset)))
    return path
