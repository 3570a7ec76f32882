"""Nodes get the names of file specs: each name in the namespaces that the name set-up says (sections D1, D3, D6)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

from qemu_viso.errors import RecipeError
from qemu_viso.tree import graft
from qemu_viso.tree.nodes import Directory, Namespace
from qemu_viso.viso.recipe import Name
from qemu_viso.viso.source import shown as quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qemu_viso.errors import Place
    from qemu_viso.tree.attributes import AttributeRules
    from qemu_viso.tree.facts import Facts
    from qemu_viso.tree.nodes import Attributes, Node
    from qemu_viso.tree.tree import Tree

T = TypeVar("T")

NAMESPACES = {Name.ISO: Namespace.ISO, Name.JOLIET: Namespace.JOLIET, Name.UDF: Namespace.UDF}
IMPLIED_DIRECTORIES = 2 * 65536
"""Directories that the names of a recipe may imply: twice what an ISO 9660 path table can number."""
Names = tuple[str | None, ...]
"""The names of a file spec, one for each specifier of a name set-up; None for a blank one."""
Setup = tuple[frozenset[Name], ...]
"""What each name of a file spec means."""


def specified(given: tuple[T | None, ...], setup: Setup) -> Iterator[tuple[T, frozenset[Namespace]]]:
    """Each different thing that was given for the specifiers of a name set-up, with the namespaces it is for."""
    found: dict[T, set[Namespace]] = {}
    for each, specifier in zip(given, setup, strict=True):
        if each is not None:
            members = {NAMESPACES[name] for name in specifier if name in NAMESPACES}
            if members:
                found.setdefault(each, set()).update(members)
    for each, namespaces in found.items():
        yield each, frozenset(namespaces)


def rock_path(names: Names, setup: Setup) -> str | None:
    """The Rock Ridge path where it is given apart from the ISO 9660 one."""
    for path, specifier in zip(names, setup, strict=True):
        if Name.ROCK in specifier and Name.ISO not in specifier:
            return path
    return None


class Naming:
    """Gives nodes their names in a tree.

    Attributes:
        named: the namespaces in which something was named.
    """

    def __init__(self, tree: Tree, rules: AttributeRules, refuse: graft.Refuse, facts: Facts | None) -> None:
        self._facts = facts
        self._refuse = refuse
        self._met = None if facts is None else facts.merged
        self._tree = tree
        self._rules = rules
        self.named: set[Namespace] = set()
        self._implications = 0
        self._implying = ""
        self._rock_named: dict[int, tuple[Directory, str, Place]] = {}

    def begin(self) -> None:
        """Something comes into the tree: if it is the first thing, so does the root (section D7)."""
        if not self.named:
            self._tree.root.attributes = self._rules.new_directory()

    def put(self, node: Node, names: Names, source: str, setup: Setup, place: Place) -> None:
        """Give a node the names of a file spec.

        Args:
            node: what nothing else refers to.
            names: its names.
            source: where it comes from: a name for what has none, and for messages.
            setup: what each name means.
            place: the file spec.

        Raises:
            RecipeError: a name is taken, is below something that is no directory, or is none.
        """
        rock = rock_path(names, setup)
        named = False
        self.begin()
        for path, namespaces in specified(names, setup):
            self._put_at(node, path, namespaces, source)
            if rock is not None and Namespace.ISO in namespaces:
                self.name_in_rock_ridge(self._where(node, path, source), rock, place)
            self.named |= namespaces
            named = True
        if not named:
            self._tree.warnings.append(f"'{source}' has no name in the image, so it is left out")

    def _put_at(self, node: Node, path: str, namespaces: frozenset[Namespace], source: str) -> None:
        names = self._where(node, path, source)
        self._implying = path
        if self._facts is not None:
            self._facts.named(node, path)
        if graft.ends_in_dots(path) and not (isinstance(node, Directory) and self._is_there(path)):
            raise no_name(path)
        if not names:
            assert isinstance(node, Directory)
            self._put_root(node, namespaces)
            return
        root = self._tree.root
        for directory, members in graft.directories(root, names[:-1], namespaces, self._implied, self._refuse):
            graft.place(directory, names[-1], node, members, path, self._met, self._refuse)

    def _implied(self) -> Attributes:
        """The attributes of one more directory that a name implies: a short recipe must not fill the memory."""
        self._implications += 1
        if self._implications > IMPLIED_DIRECTORIES:
            raise RecipeError(
                f"with {quoted(self._implying)} the recipe implies more than {IMPLIED_DIRECTORIES:,} directories",
                hint="put them into a directory, and that into the image",
            )
        return self._rules.new_directory()

    @staticmethod
    def _where(node: Node, path: str, source: str) -> list[str]:
        """The names on the path to a node; what is no directory keeps its own name in one."""
        names = graft.components(path)
        if not isinstance(node, Directory) and (path.endswith("/") or not names):
            names.append(os.path.basename(source.rstrip("/")))
        return names

    def _is_there(self, path: str) -> bool:
        """Is there the directory that the last dots on a path are in? The root is, once something is in the image."""
        names = graft.components(path.rstrip("/").rpartition("/")[0])
        if not names:
            return bool(self.named)
        return any(isinstance(graft.find(self._tree.root, names, which), Directory) for which in Namespace)

    def _put_root(self, node: Directory, namespaces: frozenset[Namespace]) -> None:
        root = self._tree.root
        if self.named.isdisjoint(namespaces):  # it is the root, not merged into one
            root.attributes, root.mtime_ns = node.attributes, node.mtime_ns
        graft.merge(root, node, namespaces, "/", self._met, self._refuse)

    def name_in_rock_ridge(self, names: list[str], rock: str, place: Place) -> None:
        """Give the components of a path in the primary tree the Rock Ridge names of another path."""
        if graft.ends_in_dots(rock):
            raise no_name(rock)
        rock_names = graft.components(rock) if names else []  # the root has no name
        if rock_names and len(rock_names) != len(names):
            self._tree.warnings.append(
                f"{place}: of the Rock Ridge name '{rock}' only the last part is used, because it is in the "
                f"directory of '/{'/'.join(names)}'"
            )
            rock_names = [*names[:-1], rock_names[-1]]
        for depth, rock_name in enumerate(rock_names):
            parent = graft.find(self._tree.root, names[:depth], Namespace.ISO)
            if rock_name != names[depth] and isinstance(parent, Directory):
                parent.give_rock_name(names[depth], rock_name)
                self._rock_named[id(parent)] = parent, "/" + "/".join(names[:depth]), place

    def check_rock_names(self) -> None:
        """See that no two things in a directory have one Rock Ridge name, where that is on.

        Raises:
            RecipeError: two have.
        """
        if not self._tree.settings.rock_ridge:
            return
        for directory, path, place in self._rock_named.values():
            seen: set[str] = set()
            for name in map(directory.rock_name, directory.nodes(Namespace.ISO)):
                if name in seen:
                    raise RecipeError(
                        f"two things in '{path}' are called '{name}' in Rock Ridge",
                        place=place,
                        hint="give one of them another Rock Ridge name",
                    )
                seen.add(name)


def no_name(path: str) -> RecipeError:
    """The sentence for a name that ends in a dot or two."""
    return RecipeError(
        f"'{path}' ends in '{path.rstrip('/').rpartition('/')[2]}', which nothing new can be called",
        hint="only a directory that is in the image already may be called so; '/' is the root directory",
    )
