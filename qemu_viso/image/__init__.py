"""A read-only image as a contiguous map of regions, whose bytes are produced when they are read."""

from qemu_viso.image.image import FilePiece, Image, Piece, Span
from qemu_viso.image.regions import Content, FileSlice, Generated, Literal, Patched, RegionMap

__all__ = [
    "Content",
    "FilePiece",
    "FileSlice",
    "Generated",
    "Image",
    "Literal",
    "Patched",
    "Piece",
    "RegionMap",
    "Span",
]
