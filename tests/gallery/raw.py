"""Directory records as they lie in an image, without anybody's idea of what they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qemu_viso.image import Image

SECTOR = 2048


class Record(NamedTuple):
    """A directory record (ECMA-119 9.1); `use` is its system use field."""

    identifier: bytes
    extent: int
    size: int
    is_directory: bool
    date: bytes
    use: bytes


def record(data: bytes) -> Record:
    end = 33 + data[32]
    return Record(
        data[33:end],
        int.from_bytes(data[2:6], "little"),
        int.from_bytes(data[10:14], "little"),
        bool(data[25] & 2),
        data[18:25],
        data[end + (end & 1) : data[0]],
    )


def descriptors(image: Image) -> Iterator[bytes]:
    """The primary and supplementary volume descriptors."""
    for sector in range(16, 32):
        data = image.read(sector * SECTOR, SECTOR)
        if data[:6] in (b"\1CD001", b"\2CD001"):
            yield data
        if data[0] == 255:
            return


def records(image: Image, directory: Record) -> Iterator[Record]:
    """The records of one directory."""
    data = image.read(directory.extent * SECTOR, directory.size)
    at = 0
    while at < len(data):
        if not data[at]:
            at = (at // SECTOR + 1) * SECTOR
            continue
        yield record(data[at : at + data[at]])
        at += data[at]


def directories(image: Image) -> Iterator[tuple[Record, list[Record]]]:
    """Every directory of every hierarchy, as it is recorded where it is named, and what is in it."""
    for descriptor in descriptors(image):
        stack = [record(descriptor[156:190])]
        while stack:
            directory = stack.pop()
            found = list(records(image, directory))
            yield directory, found
            stack += (each for each in found[2:] if each.is_directory)


def all_records(image: Image) -> Iterator[Record]:
    for directory, found in directories(image):
        yield directory
        yield from found
