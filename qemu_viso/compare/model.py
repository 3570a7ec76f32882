"""What is told of two images that differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Part = Literal["image", "volume", "boot", "file", "placement", "bytes"]
"""What a difference concerns: the image as a whole, what volumes say of themselves, the boot catalog, the files, where
files lie, or bytes that nothing else here tells of."""
ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which two images differ.

    Attributes:
        part: what it concerns.
        namespaces: those in which it shows: "rock", "plain", "joliet", "udf"; none where that does not apply.
        subject: a path, or a structure.
        field: what of it: "name" (it is in one image only), "kind", "size", "content", "mode" and so on, or a field of
            the structure.
        left: as the first image has it, in words.
        right: as the second image has it.
        offset: the first byte of the first image in which the difference shows, where one can be told.
        count: how many differences of this kind there are; the others are in like structures, and not listed.
    """

    part: Part
    namespaces: tuple[str, ...]
    subject: str
    field: str
    left: str
    right: str
    offset: int | None = None
    count: int = 1
