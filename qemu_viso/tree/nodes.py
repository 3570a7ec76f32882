"""What a tree consists of.

A node does not know its name: names are in the listings of directories, because one node can have a different name in
each namespace, or none. Namespaces share one listing for as long as a recipe does not make them differ, so the usual
tree is stored once.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from qemu_viso.image import Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from qemu_viso.image import Content


class Namespace(IntEnum):
    """The file systems of an image; Rock Ridge is the primary one seen through its extensions."""

    ISO = 0
    JOLIET = 1
    UDF = 2

    @property
    def title(self) -> str:
        """Its name in a sentence."""
        return ("ISO 9660", "Joliet", "UDF")[self]


ALL_NAMESPACES = frozenset(Namespace)

BOOT_CATALOG = Literal(b"", "boot catalog")
"""What the boot catalog's file holds until the layout makes its bytes."""


class Attributes(NamedTuple):
    """Permission bits (07777) and ownership."""

    mode: int
    uid: int
    gid: int


class File:
    """A file: data, attributes, and a place that the layout gives it.

    Attributes:
        data: where its bytes come from.
        attributes: shared between the many files that have the same.
        mtime_ns: nanoseconds since the epoch; None for the image's own time.
        extent: first sector in the image, set by the layout; -1 before.
    """

    __slots__ = ("attributes", "data", "extent", "mtime_ns")

    def __init__(self, data: Content, attributes: Attributes, mtime_ns: int | None) -> None:
        self.data = data
        self.attributes = attributes
        self.mtime_ns = mtime_ns
        self.extent = -1


class Link:
    """A symbolic link; `target` is its text as the host gives it (undecodable bytes as surrogates)."""

    __slots__ = ("attributes", "mtime_ns", "target")

    def __init__(self, target: str, attributes: Attributes, mtime_ns: int | None) -> None:
        self.target = target
        self.attributes = attributes
        self.mtime_ns = mtime_ns


def folded(name: str) -> str:
    """What names that differ by case only have in common (section D6): simple case folding, and equally many bytes."""
    if name.isascii():
        return name.lower()
    simple = "".join(map(_folded, name))
    size, length = len(simple.encode(errors="surrogatepass")), len(name.encode(errors="surrogatepass"))
    return simple if size == length else f"{simple}/{length}"


def _folded(character: str) -> str:
    for other in (character.casefold(), character.lower()):
        if len(other) == 1:
            return other
    return character


class Listing:
    """The names in a directory. Look-ups find the exact name, or one that differs by case only (section D6)."""

    __slots__ = ("_alike", "_folded", "nodes")

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        # Made when it is first needed: by the folded name, the first that is listed so, and apart those behind it. (Two
        # names that differ by case only come from one host directory.)
        self._folded: dict[str, str] | None = None
        self._alike: dict[str, list[str]] = {}

    def __len__(self) -> int:
        return len(self.nodes)

    def find(self, name: str) -> tuple[str, Node] | None:
        """The entry that `name` means: its name as listed, and its node."""
        node = self.nodes.get(name)
        if node is not None:
            return name, node
        if self._folded is None:
            self._folded = {}
            self._index(self.nodes)
        listed = self._folded.get(folded(name))
        return None if listed is None else (listed, self.nodes[listed])

    def add(self, name: str, node: Node) -> None:
        """List `node` as `name`, which must be free."""
        self.nodes[name] = node
        self._index((name,))

    def extend(self, nodes: dict[str, Node]) -> None:
        """List many nodes under names that are free."""
        self.nodes.update(nodes)
        self._index(nodes)

    def remove(self, name: str) -> None:
        """Forget the entry listed as `name`."""
        del self.nodes[name]
        if self._folded is None:
            return
        key = folded(name)
        alike = self._alike.get(key, [])
        if self._folded[key] != name:
            alike.remove(name)
        elif alike:
            self._folded[key] = alike.pop(0)
        else:
            del self._folded[key]

    def _index(self, names: Iterable[str]) -> None:
        if self._folded is None:
            return
        for name in names:
            key = folded(name)
            if self._folded.setdefault(key, name) != name:
                self._alike.setdefault(key, []).append(name)

    def copy(self) -> Listing:
        """The same names once more, to be changed apart."""
        other = Listing()
        other.nodes = dict(self.nodes)
        return other


class Directory:
    """A directory.

    Attributes:
        listings: one for each `Namespace`; namespaces that agree share one object.
        attributes: permission bits and ownership.
        mtime_ns: nanoseconds since the epoch; None for the image's own time.
        rock_names: Rock Ridge names given apart, by the ISO 9660 names, each with the node that it was given to; None
            if there are none. See `rock_name`.
    """

    __slots__ = ("attributes", "listings", "mtime_ns", "rock_names")

    def __init__(
        self,
        attributes: Attributes,
        mtime_ns: int | None,
        namespaces: frozenset[Namespace] = ALL_NAMESPACES,
    ) -> None:
        self.attributes = attributes
        self.mtime_ns = mtime_ns
        self.rock_names: dict[str, tuple[Node, str]] | None = None
        listing = Listing()
        self.listings = [listing, listing, listing]
        if len(namespaces) < len(ALL_NAMESPACES):
            other = Listing()
            for namespace in ALL_NAMESPACES - namespaces:
                self.listings[namespace] = other

    def nodes(self, namespace: Namespace) -> dict[str, Node]:
        """The names and nodes in one namespace, in the order in which they were added."""
        return self.listings[namespace].nodes

    def rock_name(self, name: str) -> str:
        """The Rock Ridge name of what the primary tree lists as `name`: its own one, or else the same."""
        given = None if self.rock_names is None else self.rock_names.get(name)
        # The name may have been removed since, and be something else's now.
        return name if given is None or self.nodes(Namespace.ISO).get(name) is not given[0] else given[1]

    def give_rock_name(self, name: str, rock_name: str) -> bool:
        """Give a Rock Ridge name to what the primary tree lists as `name`, unless it was given one before.

        Returns:
            whether there is such a name.
        """
        found = self.listings[Namespace.ISO].find(name)
        if found is None:
            return False
        self.rock_names = self.rock_names or {}
        listed, node = found
        if self.rock_names.get(listed, (None, ""))[0] is not node:
            self.rock_names[listed] = (node, rock_name)
        return True

    def groups(self, namespaces: Iterable[Namespace]) -> Iterator[tuple[Listing, frozenset[Namespace]]]:
        """The distinct listings behind some namespaces, each with those of them that share it."""
        groups: dict[int, tuple[Listing, set[Namespace]]] = {}
        for namespace in namespaces:
            listing = self.listings[namespace]
            groups.setdefault(id(listing), (listing, set()))[1].add(namespace)
        for listing, members in groups.values():
            yield listing, frozenset(members)

    def own_listings(self, namespaces: frozenset[Namespace]) -> Iterator[Listing]:
        """The listings behind `namespaces`, each first split from namespaces that share it but are not meant."""
        if len(namespaces) == len(ALL_NAMESPACES) and self.listings[0] is self.listings[1] is self.listings[2]:
            yield self.listings[0]  # the usual case
            return
        for listing, members in self.groups(namespaces):
            if any(self.listings[other] is listing for other in ALL_NAMESPACES - members):
                own = listing.copy()
                for namespace in members:
                    self.listings[namespace] = own
                yield own
            else:
                yield listing


Node = File | Directory | Link
"""Anything that can have a name in an image."""


def is_boot_catalog(node: Node) -> bool:
    """Is it the boot catalog, which stays in the image whatever a recipe says?"""
    return isinstance(node, File) and node.data is BOOT_CATALOG
