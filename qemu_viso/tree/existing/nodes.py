"""Entries of existing images become nodes of a tree."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from qemu_viso.image import FileSlice
from qemu_viso.tree.existing.volume import check_directory
from qemu_viso.tree.nodes import Directory, File, Link

if TYPE_CHECKING:
    from collections.abc import Callable

    from qemu_viso.image import Joined
    from qemu_viso.tree.attributes import AttributeRules
    from qemu_viso.tree.existing.volume import FileSystem, Found, Location
    from qemu_viso.tree.nodes import Namespace, Node
    from qemu_viso.tree.origin import Clock


class NodeMaker:
    """Makes fresh nodes of what is in an image; all of them together are as consistent as the image.

    Files that begin in the same block and are equally long are one file under several names: they become one node
    for as long as their attributes agree, whichever file system lists them.

    Args:
        rules: the attributes to give.
        clock: clamps times, and keeps the newest.
        leave_out: is what is found under a path to be left out?

    Attributes:
        files: the file of each piece of data.
        claimed: the file that stands for whatever begins at an offset of the image.
    """

    def __init__(self, rules: AttributeRules, clock: Clock, leave_out: Callable[[str, Found], bool]) -> None:
        self._rules = rules
        self._clock = clock
        self._leave_out = leave_out
        self.files: dict[FileSlice | Joined, File] = {}
        self.claimed: dict[int, File] = {}

    def tree(
        self, system: FileSystem, top: Found, namespaces: frozenset[Namespace], *, bare: bool = False
    ) -> Directory:
        """A directory with all that is below it.

        Args:
            system: where it is.
            top: the directory.
            namespaces: which listings are to hold it.
            bare: the file system has no attributes: files that are known already are taken as they are.

        Raises:
            RecipeError: the image is damaged, holds a directory inside itself, or is too deep.
        """
        system.begin()
        root = self._directory(top, namespaces)
        assert top.location is not None
        first = next(iter(namespaces))
        stack: list[tuple[Location, Directory, tuple[int, ...], str]] = [(top.location, root, (), "")]
        while stack:
            location, directory, above, path = stack.pop()
            check_directory(system.medium, location, above, path)
            listing = directory.listings[first].nodes
            below = []
            for found in system.entries(location):
                name = self._name(system, found.name, path)
                if self._leave_out(f"{path}/{name}", found):
                    continue
                if name in listing:
                    system.warnings.add(
                        f"'{path}/{name}' is in the image '{system.medium.name}' twice; the first stays"
                    )
                    continue
                node = self._node(system, found, namespaces, path, bare=bare)
                if node is None:
                    continue
                listing[name] = node
                if found.location is not None:
                    assert isinstance(node, Directory)
                    below.append((found.location, node, (*above, location.offset), f"{path}/{name}"))
            stack.extend(reversed(below))
        return root

    def file(self, found: Found) -> File:
        """A file."""
        assert found.data is not None
        attributes = self._rules.from_source(found.mode, found.uid, found.gid)
        return File(found.data, attributes, self._time(found))

    def hidden(self, data: FileSlice) -> File:
        """A file that is in the image without a name."""
        return File(data, self._rules.new_file(), None)

    def _time(self, found: Found) -> int | None:
        return None if found.mtime_ns is None else self._clock.clamped(found.mtime_ns)

    def _directory(self, found: Found, namespaces: frozenset[Namespace]) -> Directory:
        attributes = self._rules.from_source(found.mode, found.uid, found.gid)
        return Directory(attributes, self._time(found), namespaces)

    def _node(
        self, system: FileSystem, found: Found, namespaces: frozenset[Namespace], path: str, *, bare: bool
    ) -> Node | None:
        data = found.data
        if data is not None:
            if self.claimed and isinstance(data, FileSlice) and data.offset - system.medium.offset in self.claimed:
                return self.claimed[data.offset - system.medium.offset]
            known = self.files.get(data) if data.size else None
            if known is not None and bare:
                return known
            file = self.file(found)
            if known is not None and known.attributes == file.attributes and known.mtime_ns == file.mtime_ns:
                return known
            if data.size:
                self.files.setdefault(data, file)
            return file
        if found.location is not None:
            return self._directory(found, namespaces)
        if stat.S_ISLNK(found.mode):
            attributes = self._rules.from_source(found.mode, found.uid, found.gid)
            return Link(found.target, attributes, self._time(found))
        system.warnings.add(f"the special file '{path}/{found.name}' is left out of the image")
        return None

    @staticmethod
    def _name(system: FileSystem, name: str, path: str) -> str:
        """A name that can be one in a tree."""
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            fixed = name.replace("/", "_").replace("\0", "_").replace(".", "_") or "_"
            system.warnings.add(
                f"the image '{system.medium.name}' has {name!r} in '{path}/', which is no name, and becomes '{fixed}'"
            )
            return fixed
        return name
