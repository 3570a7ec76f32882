"""Images for the tests, made of everything that an image can be made of, next to the bytes that they must read as."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qemu_viso.image import FileSlice, Generated, Image, Patched, RegionMap
from qemu_viso.image.regions import Literal
from qemu_viso.sources.host import HostDirectory, HostFile

if TYPE_CHECKING:
    from pathlib import Path

    from qemu_viso.image import Content

SECTOR = 2048


def host_file(path: Path) -> HostFile:
    status = path.stat()
    directory = HostDirectory(None, str(path.parent), status.st_dev)
    return HostFile(directory, path.name, status.st_size, status.st_mtime_ns, status.st_ino)


def random_bytes(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


class Builder:
    """Appends regions, each up to the end of its last sector."""

    def __init__(self) -> None:
        self.regions = RegionMap()
        self.expected = bytearray()

    def add(self, content: Content | None, data: bytes, span: int | None = None) -> int:
        """Where the region begins."""
        start = self.regions.size
        span = span or -(-len(data) // SECTOR) * SECTOR
        self.regions.append(start, span, content)
        self.expected += data + bytes(span - len(data))
        return start

    def file(self, path: Path, data: bytes, span: int | None = None) -> int:
        path.write_bytes(data)
        return self.add(host_file(path), data, span)

    def image(self, name: str = "test") -> Image:
        return Image(self.regions, name)


@dataclass(frozen=True)
class Mixed:
    """An image with one region of each kind."""

    image: Image
    expected: bytes
    files: dict[str, Path]
    starts: dict[str, int]


def mixed(folder: Path, name: str = "test") -> Mixed:
    builder = Builder()
    starts: dict[str, int] = {}
    files = {key: folder / f"{key}.bin" for key in ("big", "small", "slice", "patched", "sparse")}
    starts["head"] = builder.add(None, bytes(16 * SECTOR))
    starts["literal"] = builder.add(Literal(b"literal", "a descriptor"), b"literal")
    directory = random_bytes(5000, 1)
    starts["generated"] = builder.add(Generated(len(directory), lambda: directory, "a directory"), directory)
    starts["big"] = builder.file(files["big"], random_bytes(700_001, 2))
    starts["small"] = builder.file(files["small"], random_bytes(100, 3))
    whole = random_bytes(300_000, 4)
    files["slice"].write_bytes(whole)
    starts["slice"] = builder.add(FileSlice(host_file(files["slice"]), 1000, 250_000), whole[1000:251_000])
    base = random_bytes(200_000, 5)
    files["patched"].write_bytes(base)
    edit = random_bytes(56, 6)
    patched = Patched(host_file(files["patched"]), 64_000, Generated(56, lambda: edit, "boot information table"))
    starts["patched"] = builder.add(patched, base[:64_000] + edit + base[64_056:])
    with files["sparse"].open("wb") as sparse:
        sparse.write(b"begin")
        sparse.seek(512 << 10)
        sparse.write(b"end")
        sparse.truncate(1 << 20)
    data = files["sparse"].read_bytes()
    starts["sparse"] = builder.add(host_file(files["sparse"]), data)
    starts["tail"] = builder.add(None, bytes(150 * SECTOR))
    return Mixed(builder.image(name), bytes(builder.expected), files, starts)


def allocated(path: Path) -> int:
    return os.stat(path).st_blocks * 512
