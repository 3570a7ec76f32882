"""The UDF tree in numbers: which directory comes where, and which ICB belongs to which node.

ICBs are numbered by their blocks. A directory's children follow one another, and directories go level by level, so a
child's ICB follows from its place in the listing, and nothing is stored for a file. Directories are columns.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from itertools import count, islice
from typing import TYPE_CHECKING

from qemu_viso.layout.udf_names import target_components, udf_names
from qemu_viso.ondisk.ecma167 import (
    ALLOCATION_EXTENT_SIZE,
    BLOCK,
    EXTENT_LIMIT,
    ICB_ROOM,
    SHORT_AD_SIZE,
    file_identifier_size,
)
from qemu_viso.tree.nodes import Directory, File, Namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qemu_viso.tree.nodes import Link, Node

ROOT_ICB = 2
"""The block of the root's ICB: the file set descriptor and its terminator come first."""
ICB_EXTENTS = ICB_ROOM // SHORT_AD_SIZE
"""Allocation descriptors that an ICB has room for."""
BLOCK_EXTENTS = (BLOCK - ALLOCATION_EXTENT_SIZE) // SHORT_AD_SIZE
"""Allocation descriptors that a block of its own has room for."""


class UdfTree:
    """All directories of the UDF namespace, and the numbers of all ICBs.

    Attributes:
        directories: level by level; one that has several names is there once for each of them.
        sizes: bytes of each directory's file identifiers.
        blocks: where these lie.
        files: the number of names of files and links.
        icb_end: the block behind the last ICB.
        spilled: files and links with more than an ICB holds, each with its ICB and the first block of the rest.
    """

    def __init__(self, root: Directory) -> None:
        self.directories = [root]
        self.sizes = array("Q")
        self.blocks = array("I")
        self.files = 0
        self.icb_end = ROOT_ICB + 1
        self.spilled: dict[int, tuple[File | Link, int]] = {}
        self._parents = array("I", (0,))  # by index; never falls
        self._icbs = array("I", (ROOT_ICB,))  # of the directories; rises
        self._children = array("I")  # the ICB of each directory's first child, or of what follows; never falls
        self._shared: dict[int, int] = {}  # the ICBs of nodes with several names, by identity
        self._names: dict[int, int] = {}  # how many names these have

    # --- sizes ---------------------------------------------------------------------------------------------------

    def plan(self, visit: Callable[[File], None]) -> None:
        """Number all ICBs and find the sizes of directories; `visit` gets every file, in the order of the ICBs."""
        repeated = self._repeated()
        icb = self.icb_end
        for index, directory in enumerate(self.directories):
            nodes = directory.nodes(Namespace.UDF)
            sizes = [file_identifier_size(len(name)) for name in udf_names(list(nodes))]
            self.sizes.append(file_identifier_size(0) + sum(sizes))
            self._children.append(icb)
            for node in nodes.values():
                if isinstance(node, Directory):
                    self.directories.append(node)
                    self._parents.append(index)
                    self._icbs.append(icb)
                elif id(node) in repeated and not self._share(node, icb):
                    continue
                elif isinstance(node, File):
                    visit(node)
                    if node.data.size > ICB_EXTENTS * EXTENT_LIMIT:
                        self.spilled[icb] = node, 0
                elif len(target_components(node.target)) > ICB_ROOM:
                    self.spilled[icb] = node, 0
                icb += 1
            self.files += sum(type(node) is not Directory for node in nodes.values())
        self.icb_end = icb

    def _repeated(self) -> set[int]:
        """The identities of nodes with more than one name in this namespace; nearly always none."""
        seen: set[int] = set()
        repeated: set[int] = set()
        directories = [self.directories[0]]
        for directory in directories:
            nodes = directory.nodes(Namespace.UDF).values()
            identities = {id(node) for node in nodes}
            if len(identities) < len(nodes):
                names = Counter(id(node) for node in nodes)
                repeated.update(identity for identity in identities if names[identity] > 1)
            repeated |= seen & identities
            seen |= identities
            directories.extend(node for node in nodes if type(node) is Directory)
        return repeated

    def _share(self, node: Node, icb: int) -> bool:
        """Count one more name of a node; whether it is the first, to which the ICB belongs."""
        identity = id(node)
        self._names[identity] = self._names.get(identity, 0) + 1
        return self._shared.setdefault(identity, icb) == icb

    # --- places --------------------------------------------------------------------------------------------------

    def place(self) -> int:
        """Give directories, and what ICBs cannot hold, their blocks; the first block behind them."""
        block = self.icb_end
        for size in self.sizes:
            self.blocks.append(block)
            block += -(-size // BLOCK)
        for icb, (node, _) in self.spilled.items():
            self.spilled[icb] = node, block
            block += spilled_blocks(node)
        return block

    # --- what lies where -----------------------------------------------------------------------------------------

    def icb(self, index: int) -> int:
        """The block of a directory's ICB."""
        return self._icbs[index]

    def index(self, icb: int) -> int:
        """The directory that an ICB belongs to."""
        return bisect_left(self._icbs, icb)

    def parent(self, index: int) -> int:
        """The directory that holds another; the root holds itself."""
        return self._parents[index]

    def names(self, icb: int, node: Node) -> int:
        """The number of file identifiers that lead to a node (ECMA-167 4/14.9.6).

        Of a directory: its name, and the parent's entry of each directory in it. The root has no name, but it is its
        own parent.
        """
        if type(node) is not Directory:
            return self._names.get(id(node), 1)
        index = self.index(icb)
        inside = bisect_right(self._parents, index) - bisect_left(self._parents, index)
        return inside + (index > 0)

    def entries(self, index: int) -> Iterator[tuple[int, Node, bool]]:
        """ICB and node of each name in a directory, and whether the ICB is numbered there."""
        number = self._children[index]
        for node in self.directories[index].nodes(Namespace.UDF).values():
            icb = self._shared.get(id(node), number) if type(node) is not Directory else number
            yield icb, node, icb == number
            number += icb == number

    def owners(self, start: int, stop: int) -> Iterator[tuple[int, Node]]:
        """The ICBs from `start` to `stop` with their nodes."""
        if start == ROOT_ICB:
            yield start, self.directories[0]
            start += 1
        index = bisect_right(self._children, start) - 1
        while start < stop:
            for icb, node in self._owned(index, start):
                if icb >= stop:
                    return
                yield icb, node
            index += 1
            start = self._children[index] if index < len(self._children) else stop

    def _owned(self, index: int, start: int) -> Iterator[tuple[int, Node]]:
        """The ICBs from `start` on that are numbered in one directory."""
        if not self._shared:  # so that of a large directory only what is wanted is looked at
            nodes = self.directories[index].nodes(Namespace.UDF).values()
            return zip(count(start), islice(nodes, start - self._children[index], None), strict=False)
        return ((icb, node) for icb, node, own in self.entries(index) if own and icb >= start)


def spilled_blocks(node: File | Link) -> int:
    """Blocks for what an ICB cannot hold: a link's target, or a file's further allocation descriptors.

    The last descriptor of each block but the last leads to the next one, and so does the last in the ICB.
    """
    if isinstance(node, File):
        rest = -(-node.data.size // EXTENT_LIMIT) - (ICB_EXTENTS - 1)
        return -(-(rest - 1) // (BLOCK_EXTENTS - 1))
    return -(-len(target_components(node.target)) // BLOCK)
