"""The trees of an image's file systems become one tree, whose listings differ only where the file systems do.

Two directories are the same if they have the same name in the same directory, whatever its case; or else if the
first file data below both of them is the same, because names were shortened for one file system and not for the
other. Files are the same if they begin in the same block (`qemu_viso.tree.existing.nodes`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qemu_viso.image import FileSlice
from qemu_viso.tree.nodes import ALL_NAMESPACES, Directory, File, Link, Namespace

if TYPE_CHECKING:
    from qemu_viso.tree.nodes import Listing, Node

NOTHING = 1 << 63
"""The first data of a directory without any."""


def unify(known: Directory, other: Directory, namespace: Namespace, base: Namespace) -> None:
    """Put the tree that `other` lists in `namespace` into `known`, which `base` lists.

    `other` must not be used any more. Where both list the same, they come to share a listing.
    """
    firsts: dict[int, int] = {}
    stack = [(known, other)]
    while stack:
        into, out_of = stack.pop()
        listing = out_of.listings[namespace]
        replaced = _Partners(into.listings[base], firsts, base, namespace).replace(listing.nodes)
        stack.extend(replaced)
        into.listings[namespace] = _shared(into, base, listing, namespace)


def _shared(directory: Directory, base: Namespace, listing: Listing, namespace: Namespace) -> Listing:
    """The listing of another namespace if it says the same, or else `listing`."""
    candidate = directory.listings[base]
    if candidate.nodes == listing.nodes:
        return candidate
    if namespace is Namespace.JOLIET and len(candidate) > len(listing):
        # Joliet shows no links, so that it makes no difference whether they are listed.
        without = {name: node for name, node in candidate.nodes.items() if not isinstance(node, Link)}
        if without == listing.nodes:
            return candidate
    for other in ALL_NAMESPACES - {base, namespace}:
        if listing.nodes and directory.listings[other].nodes == listing.nodes:
            return directory.listings[other]
    return listing


class _Partners:
    """Finds for the nodes of one listing those of another one that are the same things."""

    def __init__(self, listing: Listing, firsts: dict[int, int], base: Namespace, namespace: Namespace) -> None:
        self._listing = listing
        self._firsts = firsts
        self._base = base
        self._namespace = namespace
        self._taken: set[int] = set()
        self._by_first: dict[int, Directory | None] | None = None

    def replace(self, nodes: dict[str, Node]) -> list[tuple[Directory, Directory]]:
        """Put partners into `nodes` in place of what is there.

        Returns:
            each directory that is a partner now, with the one in whose place it is.
        """
        known = self._listing.nodes
        exact = [name for name in nodes if name in known]
        replaced = []
        for name in (*exact, *(name for name in nodes if name not in known)):
            node = nodes[name]
            partner = self._partner(name, node)
            if partner is None or id(partner) in self._taken:
                continue
            self._taken.add(id(partner))
            nodes[name] = partner
            if isinstance(partner, Directory) and isinstance(node, Directory):
                replaced.append((partner, node))
        return replaced

    def _partner(self, name: str, node: Node) -> Node | None:
        if isinstance(node, File) and node.data.size:
            return None  # the same data is the same node already
        found = self._listing.find(name)
        same = None if found is None else found[1]
        if isinstance(node, Directory):
            return same if isinstance(same, Directory) else self._lookalike(node)
        if isinstance(node, File):
            # Some writers leave an empty file in Joliet where Rock Ridge has a link.
            return same if isinstance(same, Link) or (isinstance(same, File) and not same.data.size) else None
        return same if isinstance(same, Link) and same.target == node.target else None

    def _lookalike(self, node: Directory) -> Directory | None:
        first = first_data(node, self._namespace, self._firsts)
        if first == NOTHING:
            return None
        if self._by_first is None:
            self._by_first = {}
            for other in self._listing.nodes.values():
                if isinstance(other, Directory):
                    key = first_data(other, self._base, self._firsts)
                    self._by_first[key] = None if key in self._by_first else other
        return self._by_first.get(first)


def first_data(directory: Directory, namespace: Namespace, known: dict[int, int]) -> int:
    """The lowest place at which data of a file below a directory begins; `known` has the answers so far."""
    answer = known.get(id(directory))
    if answer is not None:
        return answer
    answer = NOTHING
    for node in directory.nodes(namespace).values():
        if isinstance(node, File) and isinstance(node.data, FileSlice) and node.data.size:
            answer = min(answer, node.data.offset)
        elif isinstance(node, Directory):
            answer = min(answer, first_data(node, namespace, known))
    known[id(directory)] = answer
    return answer
