"""How a reply of many pieces is cut into the chunks of a structured reply."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from qemu_viso.image import FilePiece
from qemu_viso.image.image import reads_as_zeros

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qemu_viso.image import Piece

HOLE_FROM = 1 << 15
"""Bytes of zeros that are worth a chunk of their own."""


def piece_length(piece: Piece) -> int:
    """Bytes."""
    return piece.length if isinstance(piece, FilePiece) else len(piece)


def chunks_of(pieces: Sequence[Piece]) -> list[tuple[bool, list[Piece]]]:
    """Pieces in chunks: (whether it is a hole, its pieces); only long stretches of zeros are holes."""
    parts: list[tuple[bool, list[Piece]]] = []
    for zeros, run in groupby(pieces, reads_as_zeros):
        part = list(run)
        hole = zeros and sum(map(piece_length, part)) >= HOLE_FROM
        if parts and not hole and not parts[-1][0]:
            parts[-1][1].extend(part)
        else:
            parts.append((hole, part))
    return parts
