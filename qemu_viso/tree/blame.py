"""Which step the bytes of an image come in with, for messages about what only the whole image shows to be too much."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from qemu_viso.image import FileSlice, Joined, Patched
from qemu_viso.sources.host import HostFile
from qemu_viso.viso.recipe import AddSource, BootAddImage, ImportIso, PopIso, PushIso
from qemu_viso.viso.specs import CHAIN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qemu_viso.errors import Place
    from qemu_viso.image import Content
    from qemu_viso.tree.nodes import File
    from qemu_viso.tree.tree import Tree


class Share(NamedTuple):
    """What one step brings: the step's place, its source as the recipe has it, and bytes."""

    place: Place
    source: str
    size: int


def largest_share(tree: Tree, files: Iterable[File]) -> Share | None:
    """The step that brings most of the bytes of these files; None where no step does."""
    sources = _sources(tree)
    sizes: dict[str, int] = {}
    for file in files:
        path = _host_path(file.data)
        while path not in sources and path != (above := os.path.dirname(path)):
            path = above
        sizes[path] = sizes.get(path, 0) + file.data.size
    found = [Share(*sources[path], size) for path, size in sizes.items() if size and path in sources]
    return max(found, key=lambda share: share.size, default=None)


def _sources(tree: Tree) -> dict[str, tuple[Place, str]]:
    """The host's files and directories that a recipe names, each with the last step that does.

    What comes out of a pushed image comes with that image.
    """
    found: dict[str, tuple[Place, str]] = {}
    pushed = 0
    for step in tree.steps:
        source = ""
        if isinstance(step, AddSource | BootAddImage):
            source = step.source
        elif isinstance(step, ImportIso | PushIso):
            source = step.path
        if source.startswith(CHAIN):
            from qemu_viso.viso.chains import parse_chain

            source = parse_chain(source).file
        elif pushed:
            source = ""
        if source:
            # A backslash separates components too, unless a file has that very name (section D4).
            for each in {source.replace("\\", "/"), source}:
                found[os.path.normpath(os.path.join(tree.base, each))] = (step.place, source)
        pushed += isinstance(step, PushIso) - isinstance(step, PopIso)
    return found


def _host_path(data: Content) -> str:
    """Where a file's bytes are on the host; empty where they are made here."""
    if isinstance(data, Patched):
        data = data.base
    pieces = data.parts if isinstance(data, Joined) else (data,)
    for piece in pieces:
        file = piece.file if isinstance(piece, FileSlice) else piece
        if isinstance(file, HostFile):
            return os.path.normpath(file.path)
    return ""
