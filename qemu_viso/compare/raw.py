"""Bytes that differ at the same place of two images: which fields of which structures they are."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

from qemu_viso.anatomy.model import Layer
from qemu_viso.compare.contents import common_prefix
from qemu_viso.compare.model import Difference
from qemu_viso.ondisk.fields import SHOWN_BYTES, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qemu_viso.anatomy import Anatomy, Explained
    from qemu_viso.anatomy.model import Claim

SECTOR = 2048
MOST_SECTORS = 4096
"""Differing sectors that are looked into; of more, what they are is known already, or can never be told usefully."""
RAW_KINDS = (Kind.BYTES.value, Kind.UNUSED.value, "")


class _Group(NamedTuple):
    """The first of some differences of one kind."""

    subject: str
    field: str
    left: str
    right: str
    offset: int


class Raw:
    """Looks into stretches that differ.

    Args:
        left: the one image taken apart.
        right: the other one.
        told: whether a difference was told of already.
        files: look into the data of files, too, which are otherwise compared by their paths.

    Attributes:
        stop: where it was given up to look into them, if it was.
    """

    def __init__(
        self, left: Anatomy, right: Anatomy, told: Callable[[Explained], bool], *, files: bool = False
    ) -> None:
        self._left = left
        self._right = right
        self._told = told
        self._files = files
        self._groups: dict[tuple[str, str, str], _Group] = {}
        self._counts: dict[tuple[str, str, str], int] = {}
        self._sectors = 0
        self.stop: int | None = None

    def differences(self, windows: list[tuple[int, int]]) -> Iterator[Difference]:
        """What differs in some stretches, like fields of like structures together."""
        for low, high in windows:
            if self.stop is None:
                self._window(low, high)
        for key, group in self._groups.items():
            yield Difference("bytes", (), *group, self._counts[key])

    def _window(self, low: int, high: int) -> None:
        for start, stop, _, claim in self._left.claims(low, high):
            for first, last, _, there in self._right.claims(start, stop):
                if self.stop is not None:
                    return
                is_same = claim is there is None or (claim is not None and there is not None and _is_same(claim, there))
                if not self._files and _is_file(claim) and (there is None or _is_file(there)):
                    if not is_same:
                        self._elsewhere(first, claim, there)
                    continue
                self._stretch(first, last, claim, there, is_same=is_same)

    def _stretch(self, low: int, high: int, claim: Claim | None, there: Claim | None, *, is_same: bool) -> None:
        """One structure in each of the images, or what is unused, sector by sector."""
        mine, other = self._left.image.read(low, high - low), self._right.image.read(low, high - low)
        if mine == other:
            return
        for at in range(low, high, SECTOR):
            a, b = mine[at - low : at - low + SECTOR], other[at - low : at - low + SECTOR]
            if a == b:
                continue
            self._sectors += 1
            if self._sectors > MOST_SECTORS:
                self.stop = at
                return
            if is_same:
                self._structure("unused" if claim is None else claim.kind, at, a, b)
            else:
                self._elsewhere(at + common_prefix(a, b), claim, there)

    def _structure(self, kind: str, start: int, mine: bytes, other: bytes) -> None:
        """One structure, which lies there in both images."""
        there = self._right.explain(start, len(other))
        starts = [each.start for each in there]
        for each in self._left.explain(start, len(mine)):
            inside = each.start - start
            a, b = mine[inside : inside + each.size], other[inside : inside + each.size]
            if a == b or self._told(each):
                continue
            place = each.start + common_prefix(a, b)
            same = there[bisect_right(starts, place) - 1]
            if _is_same_field(each, same):
                self._field(each, same, place, (mine[place - start], other[place - start]))
            else:
                self._add(("", kind, ""), _Group("what lies there", kind, each.label, same.label, place))

    def _field(self, each: Explained, same: Explained, place: int, values: tuple[int, int]) -> None:
        """One field of one structure that says something else."""
        left, right = str(each.value), str(same.value)
        if each.value is None or left == right or (each.kind in RAW_KINDS and each.size > SHOWN_BYTES):
            at = each.offset + place - each.start
            left, right = (f"byte {at} is {value:#04x}" for value in values)
        key = each.structure, each.field, each.subject if each.structure == "file" else ""
        self._add(key, _Group(each.label, each.field or "content", left, right, place))

    def _elsewhere(self, place: int, mine: Claim | None, other: Claim | None) -> None:
        """At this place there is something else altogether, because something in front of it is longer or shorter."""
        kind = "unused" if mine is None else mine.kind
        self._add(("", kind, ""), _Group("what lies there", kind, _label(mine), _label(other), place))

    def _add(self, key: tuple[str, str, str], group: _Group) -> None:
        """Count a difference, and remember the first one of its kind."""
        self._counts[key] = self._counts.get(key, 0) + 1
        self._groups.setdefault(key, group)


def _is_same(mine: Claim, other: Claim) -> bool:
    """Whether the same structure begins at the same place, or the same byte of a file lies there."""
    return (mine.kind, mine.subject, mine.start - mine.base) == (other.kind, other.subject, other.start - other.base)


def _is_file(claim: Claim | None) -> bool:
    return claim is not None and claim.layer is Layer.FILE


def _label(claim: Claim | None) -> str:
    if claim is None:
        return "unused"
    return f"{claim.kind} {claim.subject}".rstrip()


def _is_same_field(each: Explained, same: Explained) -> bool:
    mine, other = each.start - each.offset, same.start - same.offset
    return mine == other and (each.structure, each.subject, each.field) == (same.structure, same.subject, same.field)
