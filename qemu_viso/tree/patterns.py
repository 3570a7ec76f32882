"""Patterns of `-hide` and `-sort`, which match names and paths as mkisofs's do.

A path is that of the source as the recipe writes it, and below it. What has no source, such as an imported file, goes
by its path in the image.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from qemu_viso.errors import Place, RecipeError
from qemu_viso.tree import graft
from qemu_viso.tree.globs import SPECIAL, Globs, translated
from qemu_viso.tree.nodes import ALL_NAMESPACES, Directory, File, Namespace

if TYPE_CHECKING:
    from qemu_viso.sources.host import HostFile
    from qemu_viso.tree.nodes import Node

_LINE = re.compile(r"(?P<path>.*)[ \t](?P<weight>[+-]?[0-9]{1,18})", re.DOTALL)


class Weights:
    """Patterns of paths, each with a weight; of those that match, the last one counts."""

    def __init__(self) -> None:
        self._literals: dict[str, tuple[int, int]] = {}
        self._patterns: list[tuple[int, re.Pattern[str], int]] = []
        self._count = 0

    def __bool__(self) -> bool:
        return self._count > 0

    def add(self, glob: str, weight: int) -> None:
        """One more pattern."""
        self._count += 1
        if SPECIAL.isdisjoint(glob):
            self._literals[glob] = (self._count, weight)
        else:
            self._patterns.append((self._count, translated(glob), weight))

    def of(self, path: str) -> int | None:
        """The weight of a path; None where nothing matches."""
        last, weight = self._literals.get(path, (0, None))
        for count, pattern, given in reversed(self._patterns):
            if count < last:
                break
            if pattern.fullmatch(path):
                return given
        return weight


class Patterns:
    """The patterns of a recipe, and the paths that they are about."""

    def __init__(self) -> None:
        self._hidden: dict[Namespace, Globs] = {}
        self._weights = Weights()
        # With each path its node, so that no other node can have the same id.
        self._written: dict[int, tuple[str, Node]] = {}

    def source(self, node: Node, source: str) -> None:
        """A source became a node, which nothing else refers to yet."""
        stack = [(source.replace("\\", "/").rstrip("/"), node)]
        while stack:
            path, each = stack.pop()
            self._written[id(each)] = (path, each)
            if isinstance(each, Directory):
                for listing, _ in each.groups(ALL_NAMESPACES):
                    stack += ((f"{path}/{name}", below) for name, below in listing.nodes.items())

    def hide(self, glob: str, namespace: Namespace) -> None:
        """What matches is to be invisible in one namespace."""
        self._hidden.setdefault(namespace, Globs()).add(glob)

    def read_weights(self, file: HostFile) -> None:
        """Read a file of lines `path weight`, with blanks or tabs between.

        Raises:
            RecipeError: a line is none.
            MissingInputError, AccessError, InputOutputError: the host says no.
        """
        with open(file.open(), encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
            for number, text in enumerate(lines, 1):
                line = text.strip()
                if not line:
                    continue
                found = _LINE.fullmatch(line)
                if found is None:
                    raise RecipeError(
                        f"'{line}' is not a path and a weight",
                        place=Place(file.path, number, 1),
                        hint="a line is a path, a blank and a whole number, as in 'boot/isolinux.bin 100'",
                    )
                self._weights.add(found["path"].rstrip(), int(found["weight"]))

    def _paths(self, node: Node, path: str) -> tuple[str, ...]:
        written = self._written.get(id(node))
        return (path, path[1:]) if written is None else (written[0],)

    def take_names(self, root: Directory) -> None:
        """Take the names that are to be invisible out of the tree; what is in a directory goes with it."""
        for namespace, globs in self._hidden.items():
            graft.hide(root, partial(self._matches, globs), namespace)

    def _matches(self, globs: Globs, name: str, node: Node, path: str) -> bool:
        return globs.match(name) or any(map(globs.match, self._paths(node, path)))

    def weights(self, root: Directory) -> dict[int, int]:
        """The weights of the tree's files, by their ids; what matches nothing has its directory's."""
        found: dict[int, int] = {}
        if not self._weights:
            return found
        for namespace in Namespace:
            stack = [("", root, self._weight(root, "/", 0))]
            while stack:
                at, directory, inherited = stack.pop()
                for name, node in directory.nodes(namespace).items():
                    weight = self._weight(node, f"{at}/{name}", inherited)
                    if isinstance(node, Directory):
                        stack.append((f"{at}/{name}", node, weight))
                    elif isinstance(node, File):
                        found.setdefault(id(node), weight)
        return found

    def _weight(self, node: Node, path: str, inherited: int) -> int:
        given = [weight for each in self._paths(node, path) if (weight := self._weights.of(each)) is not None]
        return given[0] if given else inherited
