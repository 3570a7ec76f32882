"""Recipes made for a test: files on disk, and a recipe beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qemu_viso.opening import open_viso

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from qemu_viso.opening import Opened

MARKER = "--iprt-iso-maker-file-marker-bourne-sh 5f1c0ae0-1111-2222-3333-444455556666"


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make files, and the directories that they need."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def write_recipe(folder: Path, *lines: str, name: str = "TEST.viso") -> str:
    """Make a recipe of these lines; its path."""
    path = folder / name
    path.write_text("\n".join((MARKER, *lines, "")), encoding="utf-8")
    return str(path)


def opened(folder: Path, *lines: str, files: Mapping[str, bytes] | None = None) -> Opened:
    """Make files and a recipe, and open it."""
    write_files(folder, files or {})
    return open_viso(write_recipe(folder, *lines))
