"""An existing image as a whole: which file systems are on it, and paths looked up in them."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from qemu_viso.errors import MissingInputError, RecipeError
from qemu_viso.tree.existing.descriptors import read_descriptors
from qemu_viso.tree.existing.iso9660 import Hierarchy
from qemu_viso.tree.existing.udf import Udf

if TYPE_CHECKING:
    from qemu_viso.tree.existing.medium import Medium
    from qemu_viso.tree.existing.volume import FileSystem, Found, Location

REMEMBERED = 64
"""Directories that are remembered for look-ups."""


class ExistingImage:
    """The file systems of an image.

    Attributes:
        primary: ISO 9660, with Rock Ridge where it is there and wanted.
        joliet: None where there is none, or it is not wanted.
        udf: None where there is none.

    Raises:
        RecipeError: the image has none of them, or cannot be read.
    """

    def __init__(self, medium: Medium, *, joliet: bool = True, rock: bool = True) -> None:
        self.medium = medium
        self.descriptors = found = read_descriptors(medium)
        self.primary: Hierarchy | None = None
        self.joliet: Hierarchy | None = None
        self.udf: Udf | None = None
        if found.primary is not None:
            volume = found.primary
            self.primary = Hierarchy(medium, volume.block, volume.root_record, joliet=False, rock=rock)
        if found.joliet is not None and joliet:
            volume = found.joliet
            self.joliet = Hierarchy(medium, volume.block, volume.root_record, joliet=True, rock=False)
        if found.has_udf:
            self.udf = self._open_udf()
        if self.primary is None and self.udf is None:
            raise RecipeError(
                f"'{medium.name}' is not an image that can be read: it has neither an ISO 9660 nor a UDF volume",
                hint="an ISO file is needed here; one that is compressed must be unpacked first",
            )

    def _open_udf(self) -> Udf | None:
        try:
            return Udf(self.medium)
        except RecipeError as error:
            if self.primary is None:
                raise
            self.primary.warnings.add(f"{error.message}; its ISO 9660 volume is used")
            return None

    def preferred(self) -> FileSystem:
        """The file system that keeps most: Rock Ridge, then UDF, then Joliet, then plain names."""
        if self.primary is not None and self.primary.rock_ridge:
            return self.primary
        best = self.udf or self.joliet or self.primary
        assert best is not None
        return best


class Paths:
    """Paths looked up in a file system; names are found as listed, or else without regard to case.

    Directories that were looked into last are remembered, because file specs often take one file after the other.
    """

    def __init__(self, system: FileSystem) -> None:
        self._system = system
        self._known: dict[Location, dict[str, Found]] = {}

    def look_up(self, path: str) -> Found:
        """What a path in an image leads to; symbolic links on the way are not followed.

        Raises:
            MissingInputError: nothing is there.
            RecipeError: the image cannot be read.
        """
        system = self._system
        found = system.root
        for name in _components(path):
            if found.location is None:
                raise MissingInputError(
                    f"'{path}' is not in the image '{system.medium.name}', where '{found.name}' is not a directory",
                    hint=f"'qemu-viso ls' lists what is there, by its {system.kind} names",
                )
            names = self._names(found.location)
            match = names.get(name) or names.get("/" + name.casefold())
            if match is None:
                raise MissingInputError(
                    f"'{path}' is not in the image '{system.medium.name}'",
                    hint=f"its {system.kind} names were searched for '{name}'; 'qemu-viso ls' lists what is there",
                )
            found = match
        if stat.S_ISLNK(found.mode):
            raise RecipeError(
                f"'{path}' in the image '{system.medium.name}' is a symbolic link to '{found.target}'",
                hint="name what it points to",
            )
        return found

    def _names(self, location: Location) -> dict[str, Found]:
        """A directory's entries by their names, and by their folded names behind a slash, which no name has."""
        names = self._known.get(location)
        if names is None:
            if len(self._known) >= REMEMBERED:
                del self._known[next(iter(self._known))]
            self._system.begin()
            names = self._known[location] = {}
            for entry in self._system.entries(location):
                names.setdefault(entry.name, entry)
                names.setdefault("/" + entry.name.casefold(), entry)
        return names


def _components(path: str) -> list[str]:
    """The names on a path, which slashes and backslashes separate; `..` stays at the root."""
    names: list[str] = []
    for name in path.replace("\\", "/").split("/"):
        if name == "..":
            del names[-1:]
        elif name not in ("", "."):
            names.append(name)
    return names
