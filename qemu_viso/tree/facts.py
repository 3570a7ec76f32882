"""What carrying a recipe out meets that not every VirtualBox takes alike; `qemu_viso.tree.portable` has the reasons.

Nothing of this is looked at unless somebody asks.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING

from qemu_viso.tree.nodes import Directory, File, Link, Namespace, folded
from qemu_viso.viso.portable import NAME_RULES
from qemu_viso.viso.recipe import Name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qemu_viso.errors import Place
    from qemu_viso.tree.existing.image import ExistingImage
    from qemu_viso.tree.existing.importing import Imported
    from qemu_viso.tree.nodes import Node
    from qemu_viso.tree.tree import Settings, Tree

DEEPEST = 32
MOST_NAMES = 262_144
LONGEST_EXTENT = 0xFFFFFFFF
TRANS_TBL = "TRANS.TBL"


class Fact(StrEnum):
    """One such thing; its value names it in lists."""

    MERGED = "a directory in a directory that has it already"
    IMPORTED_MERGED = "an imported directory that is in the image already"
    CASE = "names in a directory that differ by case only"
    LINK = "a symbolic link in a directory"
    SPECIAL = "a special file in a directory"
    DEEP = "a directory 32 levels below the source, or deeper"
    TABLE = "a file TRANS.TBL in a directory"
    IN_DIRECTORY = "a file under a name that ends in a slash"
    LARGE = "a file of 4 GiB or more"
    LARGE_LOW = "a file of 4 GiB or more at level 1 or 2"
    EMPTY = "nothing but directories without anything in them"
    IMPORTED_ROCK = "an imported image with Rock Ridge while that is off"
    IMPORTED_ENTRIES = "an imported boot catalog of several entries"
    IMPORTED_DISK = "an imported image that is a disk too"
    IMPORTED_TEXT = "a text that an image has too, given before its import"
    IMPORTED_DEEP = "an imported image with relocated directories"
    PUSHED_ROCK = "a source out of an image with Rock Ridge"
    PUSHED_JOLIET = "a source out of an image with Rock Ridge and Joliet or UDF"
    PARTLY = "a mode or an owner changed in one namespace and not in another that has it"
    HARD_LINK = "a mode or an owner changed of a file that an image has under several names"
    LATE_BOOT_IMAGE = "a boot image that a response file names before it is there"
    CROWDED = "a directory of more than 262,144 names"


_EVERY_KIND = frozenset(rule.name for rule in NAME_RULES)
# Those of an image that is imported. Its ISO 9660 identifiers are taken over as they are (section E3).
_IMPORTED_KINDS = {Namespace.ISO: Name.ROCK, Namespace.JOLIET: Name.JOLIET, Namespace.UDF: Name.UDF}


class Met:
    """One thing that was met, or several of a kind in one step.

    Attributes:
        place: the step.
        what: a `Fact`, or a rule about names.
        path: the first of them.
        more: how many others there are.
    """

    __slots__ = ("more", "path", "place", "what")

    def __init__(self, place: Place, what: str, path: str) -> None:
        self.place = place
        self.what = what
        self.path = path
        self.more = 0


class Facts:
    """Collects what is met.

    Attributes:
        place: the step that is carried out.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self._begin = place
        self._met: dict[tuple[Place, str], Met] = {}
        self._filled = False
        self._linkless: Place | None = None
        self._changed: list[tuple[Place, str, Node, frozenset[Namespace]]] = []

    def __iter__(self) -> Iterator[Met]:
        return iter(self._met.values())

    def add(self, what: str, path: str) -> None:
        """Something was met in the step that is carried out."""
        known = self._met.get((self.place, what))
        if known is None:
            self._met[self.place, what] = Met(self.place, what, path)
        else:
            known.more += 1

    def source(self, node: Node, source: str, settings: Settings) -> None:
        """A source became a node, which nothing else refers to yet."""
        stack = [(node, source.rstrip("/"), 0)]
        while stack:
            each, path, level = stack.pop()
            if isinstance(each, File):
                self._filled = True
                self._file(each, path, settings)
            elif isinstance(each, Link):
                if self._linkless is not self.place:
                    self.add(Fact.LINK, path)
            else:
                stack += self._directory(each, path, level, settings)

    def _file(self, file: File, path: str, settings: Settings) -> None:
        if file.data.size > LONGEST_EXTENT:
            self.add(Fact.LARGE if settings.iso_level > 2 else Fact.LARGE_LOW, path)

    def _directory(
        self, directory: Directory, path: str, level: int, settings: Settings
    ) -> Iterator[tuple[Node, str, int]]:
        if level >= DEEPEST:
            self.add(Fact.DEEP, path)
        seen: set[str] = set()
        for name, node in directory.nodes(Namespace.ISO).items():
            self._filled = True
            if folded(name) in seen:
                self.add(Fact.CASE, f"{path}/{name}")
            seen.add(folded(name))
            if isinstance(node, File) and name.upper() == TRANS_TBL:
                self.add(Fact.TABLE, f"{path}/{name}")
            else:
                self._name(name, path, settings)
            yield node, f"{path}/{name}", level + 1

    def _name(self, name: str, path: str, settings: Settings, kinds: frozenset[Name] = _EVERY_KIND) -> None:
        is_on = {
            Name.ISO: True,
            Name.JOLIET: settings.joliet > 0,
            Name.ROCK: settings.rock_ridge > 0,
            Name.UDF: settings.udf,
        }
        for rule in NAME_RULES:
            if rule.name in kinds and is_on[rule.name] and rule.is_meant(name):
                self.add(rule.what, f"{path}/{name}")

    def named(self, node: Node, path: str) -> None:
        """A node gets a name."""
        if path.endswith("/") and not isinstance(node, Directory):
            self.add(Fact.IN_DIRECTORY, path)

    def special(self, path: str) -> None:
        """A directory has something that is neither file, directory nor link."""
        self.add(Fact.SPECIAL, path)

    def merged(self, path: str) -> None:
        """A directory of a source met one that was in the image."""
        self.add(Fact.MERGED, path)

    def import_merged(self, path: str) -> None:
        """A directory of an imported image met one that was in the image."""
        self.add(Fact.IMPORTED_MERGED, path)

    def pushed(self, image: ExistingImage, source: str) -> None:
        """A source comes out of an image."""
        self._filled = True
        if image.primary is not None and image.primary.rock_ridge:
            others = image.joliet is not None or image.udf is not None
            self.add(Fact.PUSHED_JOLIET if others else Fact.PUSHED_ROCK, source)
            self._linkless = self.place if others else None

    def imported(self, imported: Imported, path: str, settings: Settings) -> None:
        """An image was imported."""
        self._filled = True
        if len(imported.entries) > 1:
            self.add(Fact.IMPORTED_ENTRIES, path)
        if imported.disk is not None:
            self.add(Fact.IMPORTED_DISK, path)
        if imported.relocated:
            self.add(Fact.IMPORTED_DEEP, path)
        linked = False
        for namespace in sorted(imported.namespaces):
            kinds = frozenset((_IMPORTED_KINDS[namespace],))
            stack: list[tuple[Node, str, int]] = [(imported.root, "", 0)]
            while stack:
                node, at, level = stack.pop()
                linked = linked or isinstance(node, Link)
                if isinstance(node, Directory):
                    if level >= DEEPEST and namespace is Namespace.ISO:
                        self.add(Fact.DEEP, at)
                    for name, below in node.nodes(namespace).items():
                        self._name(name, at, settings, kinds)
                        stack.append((below, f"{at}/{name}", level + 1))

        if not settings.rock_ridge and (imported.full_rock_ridge or linked):
            self.add(Fact.IMPORTED_ROCK, path)

    def text_kept(self, field: str) -> None:
        """A text of the recipe was not replaced by an imported one."""
        self.add(Fact.IMPORTED_TEXT, field)

    def changed(self, path: str, node: Node, namespaces: frozenset[Namespace]) -> None:
        """A mode or an owner is changed, by a path in these namespaces."""
        self._changed.append((self.place, path, node, namespaces))

    def boot_image(self, path: str, *, is_there: bool) -> None:
        """A step of a response file names a boot image."""
        if not is_there:
            self.add(Fact.LATE_BOOT_IMAGE, path)

    def finish(self, tree: Tree) -> None:
        """All steps are carried out."""
        self.place = self._begin
        if not self._filled:
            self.add(Fact.EMPTY, "/")
        self._look_for_crowds(tree.root)
        self._look_at_changes(tree)

    def _look_for_crowds(self, root: Directory) -> None:
        for namespace in Namespace:
            stack = [("", root)]
            while stack:
                path, directory = stack.pop()
                if len(directory.nodes(namespace)) > MOST_NAMES and (self.place, Fact.CROWDED) not in self._met:
                    self.add(Fact.CROWDED, path or "/")
                for name, node in directory.nodes(namespace).items():
                    if isinstance(node, Directory):
                        stack.append((f"{path}/{name}", node))

    def _look_at_changes(self, tree: Tree) -> None:
        if not self._changed:
            return
        settings = tree.settings
        # Joliet has no modes and no owners.
        telling = [(Namespace.ISO, settings.rock_ridge > 0), (Namespace.UDF, settings.udf)]
        for namespace in [namespace for namespace, on in telling if on]:
            names = Counter(id(node) for _, node in tree.walk(namespace))
            names[id(tree.root)] += 1
            for place, path, node, namespaces in self._changed:
                self.place = place
                if namespace not in namespaces and names[id(node)]:
                    self.add(Fact.PARTLY, path)
                if namespace in namespaces and isinstance(node, File) and names[id(node)] > 1:
                    self.add(Fact.HARD_LINK, path)
