"""TRANS.TBL: for readers without extensions, a file in each directory that tells the names behind the identifiers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from qemu_viso.tree.nodes import Directory, File

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qemu_viso.layout.hierarchy import Entry


def trans_tbl(entries: Iterable[Entry], table: File) -> bytes:
    """The lines of a directory's table, itself left out: what it is (file, directory, link), identifier, name."""
    lines = []
    for identifier, name, node in entries:
        if node is not table:
            kind = b"D" if isinstance(node, Directory) else b"F" if isinstance(node, File) else b"L"
            lines.append(kind + b" " + identifier.ljust(12) + b"\t" + os.fsencode(name) + b"\n")
    return b"".join(lines)
