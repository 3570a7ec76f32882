"""The bytes of ICBs, of directories, and of what ICBs cannot hold, made when they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qemu_viso.layout.udf_names import target_components, udf_names
from qemu_viso.layout.udf_tree import BLOCK_EXTENTS, ICB_EXTENTS, ROOT_ICB
from qemu_viso.ondisk import ecma167, udf
from qemu_viso.ondisk.ecma167 import BLOCK, EXTENT_LIMIT
from qemu_viso.tree.nodes import Directory, File, Namespace

if TYPE_CHECKING:
    from qemu_viso.layout.udf_tree import UdfTree
    from qemu_viso.tree.nodes import Node

MOST_LINKS = 0xFFFF
"""A file entry's link count has 16 bits."""


class UdfRecords:
    """Encodes what a `UdfTree` numbers.

    Args:
        tree: with all places filled in.
        start: the sector that the partition begins with.
        time_ns: stands in where a node has no time of its own.
    """

    def __init__(self, tree: UdfTree, start: int, time_ns: int) -> None:
        self._tree = tree
        self._start = start
        self._time_ns = time_ns

    def icbs(self, start: int, stop: int) -> bytes:
        """The blocks of some ICBs."""
        return b"".join(self._icb(icb, node) for icb, node in self._tree.owners(start, stop))

    def _icb(self, icb: int, node: Node) -> bytes:
        mode, uid, gid = node.attributes
        kind, size, blocks, allocation, form = self._data(icb, node)
        mtime_ns = self._time_ns if node.mtime_ns is None else node.mtime_ns
        return ecma167.file_entry(
            icb,
            kind=kind,
            flags=form | ecma167.icb_flags(mode),
            uid=uid,
            gid=gid,
            permissions=ecma167.permissions(mode),
            links=min(self._tree.names(icb, node), MOST_LINKS),
            size=size,
            blocks=blocks,
            time=ecma167.timestamp(mtime_ns // 1000),
            implementation=udf.IMPLEMENTATION,
            unique_id=unique_id(icb),
            allocation=allocation,
        )

    def _data(self, icb: int, node: Node) -> tuple[int, int, int, bytes, int]:
        """File type, size in bytes and blocks, allocation, and what the latter consists of."""
        if isinstance(node, File):
            size = node.data.size
            if icb in self._tree.spilled:
                allocation = self._chain(node, icb)[0]
            else:
                allocation = b"".join(extents(size, node.extent - self._start))
            return ecma167.TYPE_FILE, size, -(-size // BLOCK), allocation, ecma167.ICB_SHORT
        if isinstance(node, Directory):
            index = self._tree.index(icb)
            size = self._tree.sizes[index]
            allocation = b"".join(extents(size, self._tree.blocks[index]))
            return ecma167.TYPE_DIRECTORY, size, -(-size // BLOCK), allocation, ecma167.ICB_SHORT
        target = target_components(node.target)
        if icb not in self._tree.spilled:
            return ecma167.TYPE_LINK, len(target), 0, target, ecma167.ICB_EMBEDDED
        allocation = ecma167.short_ad(len(target), self._tree.spilled[icb][1])
        return ecma167.TYPE_LINK, len(target), -(-len(target) // BLOCK), allocation, ecma167.ICB_SHORT

    def directory(self, index: int) -> bytes:
        """The file identifiers of a directory."""
        tree = self._tree
        block, parent = tree.blocks[index], tree.icb(tree.parent(index))
        icb = ecma167.long_ad(BLOCK, parent, unique_id(parent))
        parts = [ecma167.file_identifier(block, ecma167.FID_DIRECTORY | ecma167.FID_PARENT, b"", icb)]
        position = len(parts[0])
        names = udf_names(list(tree.directories[index].nodes(Namespace.UDF)))
        for name, (at, node, _) in zip(names, tree.entries(index), strict=True):
            icb = ecma167.long_ad(BLOCK, at, unique_id(at))
            characteristics = ecma167.FID_DIRECTORY if isinstance(node, Directory) else 0
            parts.append(ecma167.file_identifier(block + position // BLOCK, characteristics, name, icb))
            position += len(parts[-1])
        return b"".join(parts)

    def spilled(self, icb: int) -> bytes:
        """What an ICB could not hold: a link's target, or the blocks of further allocation descriptors."""
        node = self._tree.spilled[icb][0]
        if isinstance(node, File):
            return b"".join(self._chain(node, icb)[1])
        return target_components(node.target)

    def _chain(self, file: File, icb: int) -> tuple[bytes, list[bytes]]:
        """The allocation descriptors in the ICB, and the blocks of the others, each leading to the next (4/12)."""
        descriptors = extents(file.data.size, file.extent - self._start)
        block = self._tree.spilled[icb][1]
        first = [*descriptors[: ICB_EXTENTS - 1], ecma167.short_ad(ecma167.CONTINUED | BLOCK, block)]
        rest = descriptors[ICB_EXTENTS - 1 :]
        blocks: list[bytes] = []
        previous = 0
        while rest:
            taken = rest if len(rest) <= BLOCK_EXTENTS else rest[: BLOCK_EXTENTS - 1]
            rest = rest[len(taken) :]
            if rest:
                taken = [*taken, ecma167.short_ad(ecma167.CONTINUED | BLOCK, block + 1)]
            blocks.append(ecma167.allocation_extent(block, previous, b"".join(taken)))
            previous, block = block, block + 1
        return b"".join(first), blocks


def extents(size: int, block: int) -> list[bytes]:
    """The allocation descriptors of `size` bytes that lie in a row from `block` on; none for none."""
    if 0 < size <= EXTENT_LIMIT:
        return [ecma167.short_ad(size, block)]
    found = []
    while size > 0:
        found.append(ecma167.short_ad(min(size, EXTENT_LIMIT), block))
        size -= EXTENT_LIMIT
        block += EXTENT_LIMIT // BLOCK
    return found


def unique_id(icb: int) -> int:
    """A number that no other file has (UDF 1.02 3.2.1.1): 0 for the root, then from 16 on."""
    return 0 if icb == ROOT_ICB else icb - ROOT_ICB - 1 + udf.FIRST_UNIQUE_ID
