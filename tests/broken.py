"""Images that are broken on purpose: as the recipe's, but for some bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qemu_viso.image import Generated, Image, Literal, Patched, RegionMap
from qemu_viso.opening import Opened
from qemu_viso.sources.host import HostFile

if TYPE_CHECKING:
    from qemu_viso.image import Content


def broken(opened: Opened, offset: int, data: bytes) -> Opened:
    """The same recipe and tree, with an image in which `data` lies at `offset`; both within one region."""
    regions = RegionMap()
    for start, stop, content in opened.image.regions.spans():
        if start <= offset < stop:
            assert offset + len(data) <= stop
            assert opened.image.read(offset, len(data)) != data
            regions.append(start, stop - start, _edited(opened.image, content, start, stop, offset - start, data))
        else:
            regions.append(start, stop - start, content)
    image = Image(regions, opened.image.name)
    assert image.read(offset, len(data)) == data
    return Opened(opened.recipe, opened.tree, image)


def start_of(opened: Opened, label: str) -> int:
    """Where the first structure of a kind lies."""
    spans = opened.image.regions.spans()
    return next(start for start, _, content in spans if getattr(content, "label", "") == label)


def record_of(opened: Opened, identifier: bytes) -> tuple[int, int]:
    """Offset and length of a directory record of the primary volume."""
    start = start_of(opened, "ISO directory")
    at = opened.image.read(start, 2048).index(bytes([len(identifier)]) + identifier) - 32
    return start + at, opened.image.read(start + at, 1)[0]


def _edited(image: Image, content: Content | None, start: int, stop: int, at: int, data: bytes) -> Content:
    if isinstance(content, HostFile):
        return Patched(content, at, Generated(len(data), lambda: data, "a deliberate mistake"))
    whole = bytearray(image.read(start, stop - start))
    whole[at : at + len(data)] = data
    return Literal(bytes(whole), "a structure with a deliberate mistake")
