"""The fixture `viso`: recipes from text and files."""

from __future__ import annotations

import os
from itertools import count
from typing import TYPE_CHECKING
from uuid import NAMESPACE_OID, uuid5

from qemu_viso.opening import open_viso
from qemu_viso.pytest_plugin.plainly import plainly
from qemu_viso.viso.quote import quote
from qemu_viso.viso.recipe import Quoting
from qemu_viso.viso.writer import MARKERS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from qemu_viso.opening import Opened
    from qemu_viso.pytest_plugin.record import Record

__tracebackhide__ = True

MARKER = "--iprt-iso-maker-file-marker"
Content = str | bytes | os.PathLike[str]


class Recipes:
    """What the fixture `viso` is.

    Attributes:
        folder: where recipes that are made of text lie, and from where their relative sources count; the test's
            `tmp_path`.
    """

    def __init__(self, folder: Path, record: Record | None = None) -> None:
        self.folder = folder
        self._record = record

    @plainly
    def __call__(
        self, *recipe: str | os.PathLike[str], files: Mapping[str, Content] | None = None, name: str | None = None
    ) -> Opened:
        """Open a recipe, and lay its image out.

        Args:
            recipe: lines of a recipe, in which the marker may be missing; or the path of a recipe, as a `Path`.
            files: what is put into the image behind those lines: by its path there, text or bytes, or the `Path` of a
                file or directory on the host.
            name: of the recipe's file in `folder`, without `.viso`; `recipe`, `recipe-2` and so on if not given.

        Raises:
            RecipeError, MissingInputError, AccessError: the recipe cannot be opened; with the place in it.
        """
        paths = [part for part in recipe if isinstance(part, os.PathLike)]
        if paths:
            if len(recipe) > 1 or files is not None:
                raise TypeError("a recipe's path stands alone")
            path = os.fspath(paths[0])
        else:
            path = self._write([str(part) for part in recipe], files or {}, name or self._free_name())
        opened = open_viso(path)
        if self._record is not None:
            self._record.recipes.append(opened)
        return opened

    def _free_name(self) -> str:
        """A name that no recipe in the folder has: the sources of an open one must stay what they are."""
        names = ("recipe" if number == 1 else f"recipe-{number}" for number in count(1))
        return next(name for name in names if not (self.folder / f"{name}.viso").exists())

    def _write(self, lines: list[str], files: Mapping[str, Content], name: str) -> str:
        text = "\n".join(lines)
        head = text.lstrip()
        if not head.startswith(MARKER):
            text = f"{MARKERS[Quoting.BOURNE]} {uuid5(NAMESPACE_OID, text)}\n{text}"
        quoting = Quoting.MS_CRT if head.startswith(MARKERS[Quoting.MS_CRT]) else Quoting.BOURNE
        specs = [
            quote(f"{shown}={self._source(content, f'{name}.{number}')}", quoting)
            for number, (shown, content) in enumerate(files.items(), 1)
        ]
        path = self.folder / f"{name}.viso"
        path.write_text("\n".join((text, *specs, "")), encoding="utf-8")
        return str(path)

    def _source(self, content: Content, name: str) -> str:
        """The host's path of a content."""
        if isinstance(content, os.PathLike):
            return os.path.abspath(content)
        (self.folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return str(self.folder / name)
