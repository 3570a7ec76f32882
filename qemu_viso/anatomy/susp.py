"""System use entries taken apart (SUSP 1.12, RRIP 1.12)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qemu_viso.anatomy.model import Part, piece, placed
from qemu_viso.ondisk.fields import Field, Kind
from qemu_viso.ondisk.susp_fields import ENTRIES, OTHER_ENTRY, SL_COMPONENT, TF_LONG, TF_TIMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qemu_viso.ondisk.fields import Structure

ENTRY_HEAD = 4


def entries(data: bytes, at: int, end: int, base: int, subject: str) -> Iterator[Part]:
    """The entries in `data[at:end]`, where byte 0 of `data` lies at `base`; what is behind the last one is left out."""
    while end - at >= ENTRY_HEAD:
        size = data[at + 2]
        if size < ENTRY_HEAD or at + size > end:
            return
        signature = data[at : at + 2]
        structure = ENTRIES.get(signature, OTHER_ENTRY)
        yield from placed(structure, base + at, subject, base + at + size)
        start = at + structure.size
        rest = _REST.get(signature, _other)
        yield from rest(structure, data, start, at + size, base, subject)
        if signature == b"ST":
            return
        at += size


def _other(structure: Structure, _: bytes, at: int, end: int, base: int, subject: str) -> Iterator[Part]:
    yield from piece(structure, base + at, subject, "data", end - at)


def _padding(structure: Structure, _: bytes, at: int, end: int, base: int, subject: str) -> Iterator[Part]:
    yield from piece(structure, base + at, subject, "padding area", end - at, Kind.UNUSED)


def _name(structure: Structure, _: bytes, at: int, end: int, base: int, subject: str) -> Iterator[Part]:
    yield from piece(structure, base + at, subject, "name content", end - at, Kind.TEXT)


def _link(structure: Structure, data: bytes, at: int, end: int, base: int, subject: str) -> Iterator[Part]:
    while at + SL_COMPONENT.size <= end:
        size = data[at + 1]
        for part in placed(SL_COMPONENT, base + at, subject):
            yield part._replace(structure=structure.name, standard=SL_COMPONENT.standard)
        at += SL_COMPONENT.size
        size = min(size, end - at)
        for part in piece(SL_COMPONENT, base + at, subject, "component content", size, Kind.TEXT):
            yield part._replace(structure=structure.name)
        at += size
    yield from piece(structure, base + at, subject, "data", end - at)


def _reference(structure: Structure, data: bytes, at: int, end: int, base: int, subject: str) -> Iterator[Part]:
    for name, size in zip(("identifier", "descriptor", "source"), data[at - 4 : at - 1], strict=False):
        size = min(size, end - at)
        yield from piece(structure, base + at, subject, f"extension {name}", size, Kind.TEXT)
        at += max(size, 0)
    yield from piece(structure, base + at, subject, "data", end - at)


def _times(structure: Structure, data: bytes, at: int, end: int, base: int, subject: str) -> Iterator[Part]:
    flags = data[at - 1] if at <= end else 0
    size, kind = (17, Kind.DIGITS) if flags & TF_LONG else (7, Kind.DATE)
    for bit, name in enumerate(TF_TIMES):
        if flags & 1 << bit and at + size <= end:
            yield Part(base + at, structure.name, structure.standard, subject, Field(name, size, kind))
            at += size
    yield from piece(structure, base + at, subject, "data", end - at)


_REST = {b"PD": _padding, b"ST": _padding, b"NM": _name, b"SL": _link, b"ER": _reference, b"TF": _times}
