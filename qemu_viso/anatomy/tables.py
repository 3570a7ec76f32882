"""TRANS.TBL files taken apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qemu_viso.anatomy.model import Part, piece
from qemu_viso.ondisk.fields import Field, Kind, Structure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qemu_viso.anatomy.model import Claim, Source

NAME = "TRANS.TBL"
LONGEST_LINE = 1 << 10
LINE = Structure("line of a translation table", "mkisofs -T")
KINDS = {ord("F"): "file", ord("D"): "directory", ord("L"): "link", ord("M"): "multi-volume file"}


def trans_tbl(source: Source, claim: Claim, low: int, high: int) -> Iterator[Part]:
    """A line for each name in a directory: its kind, the identifier, and behind a tabulator the name."""
    data = source.read(claim.start, min(high + LONGEST_LINE, claim.stop) - claim.start)
    at = 0
    for line in data.splitlines(keepends=True):
        start = claim.start + at
        at += len(line)
        if start + len(line) <= low or start >= high:
            continue
        head, tab, rest = line.partition(b"\t")
        name = rest.rstrip(b"\n")
        kind = Field("kind", 1, Kind.LITTLE, "", KINDS)
        yield Part(start, LINE.name, LINE.standard, claim.subject, kind)
        yield from piece(LINE, start + 1, claim.subject, "space", len(head[1:2]), Kind.BYTES)
        yield from piece(LINE, start + 2, claim.subject, "identifier", len(head) - 2, Kind.TEXT)
        behind = start + len(head)
        yield from piece(LINE, behind, claim.subject, "separator", len(tab), Kind.BYTES)
        yield from piece(LINE, behind + len(tab), claim.subject, "name", len(name), Kind.TEXT)
        end = behind + len(tab) + len(name)
        yield from piece(LINE, end, claim.subject, "end of the line", start + len(line) - end, Kind.BYTES)
