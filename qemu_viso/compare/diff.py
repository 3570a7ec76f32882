"""Two images compared, from what they mean down to their bytes.

Two images without a difference are the same byte for byte: what no level above tells of, the bytes tell.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qemu_viso.anatomy import Anatomy
from qemu_viso.compare import structures
from qemu_viso.compare.contents import WINDOW, Contents
from qemu_viso.compare.files import Files
from qemu_viso.compare.model import Difference
from qemu_viso.compare.raw import Raw

if TYPE_CHECKING:
    from qemu_viso.anatomy import Explained
    from qemu_viso.image import Image

MOST_WINDOWS = 64
"""Differing stretches after which bytes are no longer compared place by place: files are, wherever they lie."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two images differ.

    Attributes:
        differences: all that were found; none if the images are the same byte for byte.
        looked_at: bytes that were compared place by place; fewer than the images have if very much differs.
    """

    differences: tuple[Difference, ...]
    looked_at: int


def compare(left: Image, right: Image, *, placement: bool = False) -> Comparison:
    """Compare two images, of recipes or of files.

    Bytes that come from the same place of the same host file on both sides are not read.

    Args:
        left: the one.
        right: the other one.
        placement: tell of files that lie elsewhere in the other image, too.

    Raises:
        RecipeError: one of them cannot be read as an image.
        InputOutputError, MissingInputError, AccessError, StaleSourceError: a host file cannot be read.
    """
    contents = Contents(left, right)
    common = min(left.size, right.size)
    windows, looked_at = _windows(contents, common)
    if not windows and left.size == right.size:
        return Comparison((), common)
    mine, other = Anatomy(left), Anatomy(right)
    files = list(Files(contents, windows, looked_at, placement=placement).differences())
    both_udf = not any(each.part == "volume" and each.namespaces == ("udf",) for each in files)
    found: list[Difference] = []
    if left.size != right.size:
        found.append(Difference("image", (), "the image", "size", str(left.size), str(right.size)))
    found += structures.differences(mine, other, udf=both_udf)
    found += files
    told = _Told(found)
    raw = Raw(mine, other, told)
    found += raw.differences(windows)
    if not found:  # files that no namespace shows
        found += Raw(mine, other, told, files=True).differences(windows)
    return Comparison(tuple(found), looked_at if raw.stop is None else raw.stop)


def _windows(contents: Contents, size: int) -> tuple[list[tuple[int, int]], int]:
    """The stretches that differ at the same place, neighbours together, and how far was looked."""
    windows: list[tuple[int, int]] = []
    for low, high in contents.places(size):
        if windows and windows[-1][1] == low and high - windows[-1][0] <= WINDOW:
            windows[-1] = windows[-1][0], high
        elif len(windows) == MOST_WINDOWS:
            return windows, low
        else:
            windows.append((low, high))
    return windows, size


_PARENT = "the parent of "
_ROOT = "directory record for root directory: "
_VERSION = re.compile(r";\d+$")


class _Told:
    """What was told of above the level of bytes."""

    def __init__(self, differences: list[Difference]) -> None:
        self._paths = {each.subject for each in differences if each.part == "file"}
        said = [each for each in differences if each.part in ("volume", "boot")]
        self._fields = {(each.subject, each.field) for each in said}
        self._structures = {each.subject for each in said}
        self._absent = {each.subject for each in said if each.field == "name"}

    def __call__(self, each: Explained) -> bool:
        """Whether a field's difference was told of, or follows from one that was."""
        if self._about(each) in self._paths:
            return True
        label = each.label.replace("the reserve sequence", "the main sequence")
        if (label, each.field) in self._fields or label in self._absent:
            return True
        return label in self._structures and each.field.startswith("descriptor tag: ")

    @staticmethod
    def _about(each: Explained) -> str:
        """The path that readers show of what a field is about.

        What a directory is like, the second records of those in it say once more (ECMA-119 6.8.2.2), and of the root
        the volume descriptors (8.4.18). An identifier is shown without its version (7.5.1).
        """
        if each.subject.startswith(_PARENT):
            return posixpath.dirname(each.subject.removeprefix(_PARENT))
        return "/" if each.field.startswith(_ROOT) else _VERSION.sub("", each.subject)
