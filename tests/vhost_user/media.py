"""Images for the tests: small ones whose bytes are known."""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from qemu_viso.image import FileSlice, Generated, Image, RegionMap
from qemu_viso.image.regions import Literal
from qemu_viso.sockets import UnixListener
from qemu_viso.sources.host import HostDirectory, HostFile
from qemu_viso.vhost_user import Device, session
from qemu_viso.vhost_user.messages import ProtocolFeature

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from qemu_viso.image import Content

SECTOR = 2048


def noise(label: str, size: int) -> bytes:
    """Bytes in which no two places look alike."""
    return hashlib.shake_128(label.encode()).digest(size)


def digest(image: Image) -> bytes:
    """The SHA-256 of all that is in an image, as `sha256sum` prints it."""
    return hashlib.sha256(image.read(0, image.size)).hexdigest().encode()


def host_file(path: Path) -> HostFile:
    status = path.stat()
    directory = HostDirectory(None, os.fspath(path.parent), status.st_dev)
    return HostFile(directory, path.name, status.st_size, status.st_mtime_ns, status.st_ino)


def write_file(folder: Path, name: str, size: int) -> HostFile:
    path = folder / name
    path.write_bytes(noise(name, size))
    return host_file(path)


def lay(*contents: Content | int, name: str = "medium") -> Image:
    """An image of contents, each beginning at a sector; a number stands for so many bytes of zeros."""
    regions = RegionMap()
    for content in contents:
        size = content if isinstance(content, int) else content.size
        span = -(-size // SECTOR) * SECTOR
        regions.append(regions.size, span, None if isinstance(content, int) else content)
    return Image(regions, name)


@contextmanager
def serving(image: Image, path: str) -> Iterator[Device]:
    """A device, and no open sources when it is gone."""
    with Device(image, UnixListener.bind(path)) as device:
        yield device
    image._handles.clear()


@contextmanager
def serving_without_slots(image: Image, path: str) -> Iterator[Device]:
    """A device of before VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS: it is sent all memory in one table."""
    import pytest  # here, because devices in processes of their own do not need it

    with pytest.MonkeyPatch.context() as patch:
        offered = session.PROTOCOL_FEATURES & ~ProtocolFeature.CONFIGURE_MEM_SLOTS
        patch.setattr(session, "PROTOCOL_FEATURES", offered)
        with serving(image, path) as device:
            yield device


def bootable(sector: bytes, at: int, text: bytes) -> Image:
    """A disk of some cylinders, or firmware would not start from it: a boot sector, and a text at `at`."""
    return lay(Literal(sector, "boot sector"), at - SECTOR, Literal(text, "text"), 4 << 20)


def mixed(folder: Path, *, write: bool = True) -> Image:
    """One of everything: generated and literal bytes, holes, whole files, a slice, files with a last short sector.

    The files are written to `folder`, or lie there already.
    """

    def file(name: str, size: int) -> HostFile:
        return write_file(folder, name, size) if write else host_file(folder / name)

    big = file("big", 300_001)
    return lay(
        32768,
        Literal(noise("descriptors", 4096), "descriptors"),
        Generated(6144, lambda: noise("directory", 6144), "directory"),
        big,
        file("small", 100),
        FileSlice(big, 1000, 5000),
        65536,
        file("sector", SECTOR),
        Literal(noise("end", 2048), "end"),
    )
