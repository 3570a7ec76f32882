"""Bytes that differ at the same place of two images: which fields of which structures they are."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

from qemu_viso.compare.contents import common_prefix
from qemu_viso.compare.model import Difference
from qemu_viso.ondisk.fields import SHOWN_BYTES, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qemu_viso.anatomy import Anatomy, Explained

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

    Attributes:
        stop: where it was given up to look into them, if it was.
    """

    def __init__(self, left: Anatomy, right: Anatomy, told: Callable[[Explained], bool]) -> None:
        self._left = left
        self._right = right
        self._told = told
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
        mine, other = self._left.image.read(low, high - low), self._right.image.read(low, high - low)
        for at in range(0, high - low, SECTOR):
            a, b = mine[at : at + SECTOR], other[at : at + SECTOR]
            if a == b:
                continue
            self._sectors += 1
            if self._sectors > MOST_SECTORS:
                self.stop = low + at
                return
            self._sector(low + at, a, b)

    def _sector(self, start: int, mine: bytes, other: bytes) -> None:
        there = self._right.explain(start, len(other))
        starts = [each.start for each in there]
        for low, high, _, claim in self._left.claims(start, start + len(mine)):
            for each in self._left.explain(low, high - low):
                inside = each.start - start
                a, b = mine[inside : inside + each.size], other[inside : inside + each.size]
                if a == b or self._told(each):
                    continue
                at = common_prefix(a, b)
                same = there[bisect_right(starts, each.start + at) - 1]
                place = each.start + at
                if _is_same_field(each, same):
                    self._field(each, same, place, (a[at], b[at]))
                else:
                    self._elsewhere(claim.kind if claim is not None else "unused", each, same, place)

    def _field(self, each: Explained, same: Explained, place: int, values: tuple[int, int]) -> None:
        """One field of one structure that says something else."""
        left, right = str(each.value), str(same.value)
        if each.value is None or left == right or (each.kind in RAW_KINDS and each.size > SHOWN_BYTES):
            at = each.offset + place - each.start
            left, right = (f"byte {at} is {value:#04x}" for value in values)
        key = each.structure, each.field, each.subject if each.structure == "file" else ""
        self._add(key, _Group(each.label, each.field or "content", left, right, place))

    def _elsewhere(self, kind: str, each: Explained, same: Explained, place: int) -> None:
        """At this place there is something else altogether, because something in front of it is longer or shorter."""
        group = _Group("what lies there", kind, each.label, same.label, place)
        self._add(("", kind, ""), group)

    def _add(self, key: tuple[str, str, str], group: _Group) -> None:
        """Count a difference, and remember the first one of its kind."""
        self._counts[key] = self._counts.get(key, 0) + 1
        self._groups.setdefault(key, group)


def _is_same_field(each: Explained, same: Explained) -> bool:
    mine, other = each.start - each.offset, same.start - same.offset
    return mine == other and (each.structure, each.subject, each.field) == (same.structure, same.subject, same.field)
