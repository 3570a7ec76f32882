"""A read-only image as a contiguous map of regions, whose bytes are produced when they are read."""

from qemu_viso.image.image import FilePiece, Image, Piece
from qemu_viso.image.memory import Span
from qemu_viso.image.regions import Content, FileSlice, Generated, Hole, Joined, Literal, Patched, RegionMap

__all__ = [
    "Content",
    "FilePiece",
    "FileSlice",
    "Generated",
    "Hole",
    "Image",
    "Joined",
    "Literal",
    "Patched",
    "Piece",
    "RegionMap",
    "Span",
]
