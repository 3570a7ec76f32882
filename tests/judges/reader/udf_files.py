"""UDF files: ICBs, allocation descriptors, directories, names, links: ECMA-167 part 4, UDF 2.3."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.judges.reader.model import SECTOR, Content, Extent, Node
from tests.judges.reader.udf_fields import (
    CONTINUES,
    HOLE,
    RECORDED,
    Allocation,
    blocks,
    compressed_unicode,
    entity,
    long_ad,
    read_tag,
    short_ad,
    timestamp,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.judges.reader.model import Kind, Source

FILE_ENTRY, EXTENDED_FILE_ENTRY, FILE_IDENTIFIER, ALLOCATION_EXTENT = 261, 266, 257, 258
KINDS: dict[int, Kind] = {4: "dir", 5: "file", 6: "block", 7: "char", 9: "fifo", 10: "socket", 12: "link"}
HIDDEN, DIRECTORY, DELETED, PARENT = 1, 2, 4, 8
LARGEST_DIRECTORY = 1 << 30
NOBODY = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Icb:
    """A file entry (4/14.9), or an extended one (4/14.17)."""

    kind: Kind
    content: Content
    mode: int
    uid: int | None
    gid: int | None
    links: int
    mtime: int | None
    unique_id: int
    device: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Name:
    """A file identifier descriptor (4/14.4)."""

    characteristics: int
    raw: bytes
    text: str
    icb: Allocation
    unique_id: int


@dataclass(slots=True)
class FileTree:
    """Reads a file set from its root; `references` counts the names that lead to each ICB."""

    source: Source
    start: int
    length: int
    revision: int
    tree: dict[str, Node] = field(default_factory=dict)
    unique_ids: set[int] = field(default_factory=set)
    files: int = 0
    directories: int = 0
    icbs: dict[int, Icb] = field(default_factory=dict)
    references: dict[int, int] = field(default_factory=dict)

    def at(self, block: int) -> int:
        return (self.start + block) * SECTOR

    def read(self, root: Allocation) -> None:
        """The whole tree, from the root directory's ICB."""
        found = self._icb(root.block, "UDF /")
        if found is None:
            return
        if found.kind != "dir" or found.unique_id:
            self.source.findings.add("UDF 3.2.1.1", f"the root is a {found.kind}, unique id {found.unique_id}", "UDF /")
        self.references[root.block] = 0  # the file set's reference is not a name
        self.tree["/"] = _node(found, b"", hidden=False, target=None)
        self.directories = 1
        stack = [("/", root.block, root.block, found)]
        while stack:
            path, block, parent, icb = stack.pop()
            for name in self._names(path, icb, parent):
                child_path = f"{path.rstrip('/')}/{name.text}"
                child = self._child(child_path, name)
                if child is None:
                    continue
                if child.kind == "dir":
                    self.directories += 1
                    stack.append((child_path, name.icb.block, block, child))
                else:
                    self.files += 1
                target = self._target(child, child_path) if child.kind == "link" else None
                self.tree[child_path] = _node(
                    child, name.raw, hidden=bool(name.characteristics & HIDDEN), target=target
                )
        for block, icb in self.icbs.items():
            if icb.links != self.references.get(block, 0):
                what = f"{icb.links} links, but {self.references.get(block, 0)} names lead to it"
                self.source.findings.add("ECMA-167 4/14.9.6", what, f"UDF ICB in block {block}")

    def _child(self, path: str, name: Name) -> Icb | None:
        where, add = f"UDF {path}", self.source.findings.add
        known = name.icb.block in self.icbs
        child = self._icb(name.icb.block, where)
        if child is None:
            return None
        if path in self.tree:
            add("UDF 2.3.4.6", "two names are the same", where)
        if (child.kind == "dir") != bool(name.characteristics & DIRECTORY):
            add("ECMA-167 4/14.4.3", f"characteristics {name.characteristics:#x} of a {child.kind}", where)
        if name.unique_id and name.unique_id != child.unique_id & 0xFFFFFFFF:
            add("UDF 2.3.4.3", f"unique id {name.unique_id}, the file's own is {child.unique_id}", where)
        if known and child.kind == "dir":
            add("ECMA-167 4/8.6", "a second name of a directory", where)
            return None
        return child

    def _icb(self, block: int, where: str) -> Icb | None:
        """The file entry in a block; the references to it are counted."""
        self.references[block] = self.references.get(block, 0) + 1
        if block not in self.icbs:
            found = self._file_entry(block, where)
            if found is None:
                return None
            self.icbs[block] = found
        return self.icbs[block]

    def _file_entry(self, block: int, where: str) -> Icb | None:
        add = self.source.findings.add
        place = f"{where} (ICB in block {block})"
        data = self.source.peek(self.at(block), SECTOR)
        extended = data[:2] == EXTENDED_FILE_ENTRY.to_bytes(2, "little") and self.revision >= 0x200
        kind = EXTENDED_FILE_ENTRY if extended else FILE_ENTRY
        if block >= self.length or read_tag(self.source, data, block, place, expected=kind) is None:
            if block >= self.length:
                add("ECMA-167 4/8.1", f"block {block} is not inside the partition", where)
            return None
        self.source.space.claim(self.at(block), SECTOR, place)
        base = 40 if extended else 0
        uid, gid, permissions, links = struct.unpack("<IIIH", data[36:50])
        size = int.from_bytes(data[56:64], "little")
        recorded = int.from_bytes(data[72 if extended else 64 :][:8], "little")
        times = [timestamp(self.source, data[at : at + 12], place) for at in ((80, 92) if extended else (72, 84))]
        unique_id, ea_length, ad_length = struct.unpack("<QII", data[160 + base : 176 + base])
        flags = int.from_bytes(data[34:36], "little")
        self._check_icb_tag(data, place)
        if any(data[50:56]):
            add("UDF 2.3.6", f"record format, display or length: {data[50:56].hex()}", place)
        entity(self.source, data[128 + base : 160 + base], f"{place}, implementation")
        start = 176 + base + ea_length
        if start + ad_length > SECTOR:
            add("ECMA-167 4/14.9", f"attributes and allocation end at byte {start + ad_length}", place)
            ad_length = max(0, SECTOR - start)
        if unique_id in self.unique_ids or 0 < unique_id < 16:
            add("UDF 3.2.1.1", f"unique id {unique_id}", place)
        self.unique_ids.add(unique_id)
        device = self._attributes(data[176 + base : start], block, place)
        content = self._content(data[start : start + ad_length], flags & 7, size, recorded, place)
        mode = _mode(permissions, flags)
        file_kind = KINDS.get(data[27])
        if file_kind is None:
            add("ECMA-167 4/14.6.6", f"file type {data[27]}", place)
            return None
        if (file_kind in ("char", "block")) != (device is not None):
            add("UDF 3.3.4.4", "a device specification is there for devices, and only for them", place)
        owner, group = (None if number == NOBODY else number for number in (uid, gid))
        return Icb(file_kind, content, mode, owner, group, links, times[1], unique_id, device)

    def _check_icb_tag(self, data: bytes, where: str) -> None:
        """4/14.6, UDF 2.3.5."""
        prior, strategy, parameter, most, reserved = struct.unpack("<IH2sHB", data[16:27])
        if (strategy, parameter, most, reserved) != (4, b"\0\0", 1, 0) or prior:
            what = f"strategy {strategy}, parameter {parameter.hex()}, {most} entries, {prior} before"
            self.source.findings.add("UDF 2.3.5", what, where)

    def _attributes(self, raw: bytes, block: int, where: str) -> tuple[int, int] | None:
        """4/14.10, UDF 3.3.4: extended attributes; of interest is only a device's number."""
        if not raw:
            return None
        add = self.source.findings.add
        if read_tag(self.source, raw, block, f"{where}, attributes", expected=262) is None:
            return None
        device: tuple[int, int] | None = None
        at = 24
        while at + 12 <= len(raw):
            kind, subtype, length = struct.unpack("<IB3xI", raw[at : at + 12])
            if length < 12 or at + length > len(raw):
                add("ECMA-167 4/14.10.2", f"attribute {kind} of {length} bytes does not fit", where)
                break
            if subtype != 1:
                add("ECMA-167 4/14.10.2.2", f"attribute {kind} of subtype {subtype}", where)
            if kind == 12 and length >= 24:
                device = (
                    int.from_bytes(raw[at + 16 : at + 20], "little"),
                    int.from_bytes(raw[at + 20 : at + 24], "little"),
                )
            at += length
        return device

    def _content(self, raw: bytes, kind: int, size: int, recorded: int, where: str) -> Content:
        """4/12.1: the extents of a file; their lengths add up to the information length."""
        add = self.source.findings.add
        if kind == 3:
            if len(raw) != size:
                add("ECMA-167 4/14.9.10", f"{len(raw)} bytes inside the ICB, information length {size}", where)
            if recorded:
                add("ECMA-167 4/14.9.11", f"{recorded} blocks recorded, though the data is in the ICB", where)
            return Content(self.source.peek, (), size, raw[:size])
        if kind not in (0, 1):
            add("UDF 2.3.5.4", f"allocation descriptors of kind {kind}", where)
            return Content(self.source.peek, (), size)
        extents: list[Extent] = []
        used = total = 0
        descriptors = list(self._allocations(raw, kind, where))
        for index, item in enumerate(descriptors):
            if item.length % SECTOR and index < len(descriptors) - 1 and total + item.length < size:
                add("ECMA-167 4/12.1", f"an extent of {item.length} bytes that is not the last", where)
            if item.kind != HOLE and item.block + blocks(item.length) > self.length:
                add("ECMA-167 4/8.1", f"{item.length} bytes at block {item.block} leave the partition", where)
            total += item.length
            used += blocks(item.length) if item.kind != HOLE else 0
            extents.append(Extent(self.at(item.block), item.length, item.kind == RECORDED))
        if total != size:
            add("ECMA-167 4/14.9.10", f"the extents have {total} bytes, the information length is {size}", where)
        if recorded != used:
            add("ECMA-167 4/14.9.11", f"{recorded} blocks recorded, the extents have {used}", where)
        self._claim(extents, where)
        return Content(self.source.peek, tuple(extents), size)

    def _claim(self, extents: list[Extent], where: str) -> None:
        """One claim for extents that follow each other, as the other namespaces claim the same file at once."""
        whole: list[list[int]] = []
        for item in extents:
            if item.recorded and whole and sum(whole[-1]) == item.start:
                whole[-1][1] += item.length
            elif item.recorded:
                whole.append([item.start, item.length])
        for start, length in whole:
            self.source.space.claim(start, length, where, shared=True)

    def _allocations(self, raw: bytes, kind: int, where: str) -> Iterator[Allocation]:
        width = 16 if kind else 8
        if len(raw) % width:
            self.source.findings.add("ECMA-167 4/14.14", f"{len(raw)} bytes of allocation descriptors", where)
        seen: set[int] = set()
        at = 0
        while at + width <= len(raw):
            item = (long_ad if kind else short_ad)(raw[at : at + width])
            at += width
            if not item.length:
                if any(raw[at:]):
                    self.source.findings.add("ECMA-167 4/12", "allocation descriptors after the end of them", where)
                return
            if item.kind == CONTINUES:
                if item.block in seen:
                    self.source.findings.add("ECMA-167 4/12", "allocation extents form a loop", where)
                    return
                seen.add(item.block)
                raw, at = self._more(item, where), 0
            else:
                yield item

    def _more(self, item: Allocation, where: str) -> bytes:
        """4/14.5: an Allocation Extent Descriptor, and the allocation descriptors behind it."""
        data = self.source.peek(self.at(item.block), item.length)
        place = f"{where}, allocation extent in block {item.block}"
        if read_tag(self.source, data, item.block, place, expected=ALLOCATION_EXTENT) is None:
            return b""
        self.source.space.claim(self.at(item.block), blocks(item.length) * SECTOR, place)
        length = int.from_bytes(data[20:24], "little")
        if 24 + length > item.length:
            self.source.findings.add("ECMA-167 4/14.5", f"{length} bytes do not fit {item.length}", place)
        return data[24 : 24 + length]

    def _names(self, path: str, icb: Icb, parent: int) -> list[Name]:
        """4/8.6: a directory's names; the parent's comes first (UDF 2.3.4)."""
        where, add = f"UDF {path}", self.source.findings.add
        if icb.content.size > LARGEST_DIRECTORY:
            add("ECMA-167 4/8.6", f"a directory of {icb.content.size} bytes", where)
            return []
        data = icb.content.data()
        found: list[Name] = []
        at, parents = 0, 0
        while at < len(data):
            block = self._block_of(icb.content, at)
            name, size = self._identifier(data, at, block, where)
            if name is None:
                break
            at += size
            if name.characteristics & PARENT:
                parents += 1
                self.references[name.icb.block] = self.references.get(name.icb.block, 0) + 1
                if name.icb.block != parent or found or not name.characteristics & DIRECTORY or name.raw:
                    add("ECMA-167 4/8.6", f"the parent's entry leads to block {name.icb.block}, not {parent}", where)
            elif not name.characteristics & DELETED:
                found.append(name)
        if parents != 1:
            add("ECMA-167 4/8.6", f"{parents} entries for the parent", where)
        return found

    def _block_of(self, content: Content, at: int) -> int | None:
        """The logical block of a byte of a file; None where the data is inside the ICB."""
        for item in content.extents:
            if at < item.length:
                return (item.start + at) // SECTOR - self.start
            at -= item.length
        return None

    def _identifier(self, data: bytes, at: int, block: int | None, where: str) -> tuple[Name | None, int]:
        add = self.source.findings.add
        if at + 38 > len(data):
            add("ECMA-167 4/14.4", f"{len(data) - at} bytes after the last name", where)
            return None, 0
        version, characteristics, name_length = struct.unpack("<HBB", data[at + 16 : at + 20])
        use_length = int.from_bytes(data[at + 36 : at + 38], "little")
        size = (38 + use_length + name_length + 3) & ~3
        if at + size > len(data):
            add("ECMA-167 4/14.4", f"the name at byte {at} leaves the directory", where)
            return None, 0
        place = f"{where}, name at byte {at}"
        location = int.from_bytes(data[at + 12 : at + 16], "little") if block is None else block
        if read_tag(self.source, data[at : at + size], location, place, expected=FILE_IDENTIFIER) is None:
            return None, 0
        if version != 1 or characteristics & 0xF0:
            add("UDF 2.3.4", f"version {version}, characteristics {characteristics:#x}", place)
        end = at + 38 + use_length + name_length
        if any(data[end : at + size]):
            add("ECMA-167 4/14.4.9", "the padding is not zero", place)
        if use_length % 4 or 0 < use_length < 32:
            add("UDF 2.3.4.5", f"{use_length} bytes of implementation use", place)
        raw = data[end - name_length : end]
        text = compressed_unicode(self.source, raw, place)
        if not raw and not characteristics & PARENT:
            add("UDF 2.3.4.6", "an empty name", place)
        if len(raw) == 1 or "/" in text or "\0" in text:
            add("UDF 2.3.4.6", f"the name {text!r}", place)
        unique_id = int.from_bytes(data[at + 32 : at + 36], "little")
        return Name(characteristics, raw, text, long_ad(data[at + 20 : at + 36]), unique_id), size

    def _target(self, icb: Icb, path: str) -> str:
        """4/14.16: the path components of a symbolic link."""
        where, data = f"UDF {path}", icb.content.data()
        parts: list[str] = []
        at = 0
        while at + 4 <= len(data):
            kind, length, version = struct.unpack("<BBH", data[at : at + 4])
            body = data[at + 4 : at + 4 + length]
            at += 4 + length
            if not 1 <= kind <= 5 or version or len(body) != length or (length and kind in (2, 3, 4)):
                self.source.findings.add("ECMA-167 4/14.16.1", f"a component of type {kind}, {length} bytes", where)
            if kind == 5 and length < 2:
                self.source.findings.add("ECMA-167 4/14.16.1.4", "an empty component", where)
            parts.append({1: "", 2: "", 3: "..", 4: "."}.get(kind, compressed_unicode(self.source, body, where)))
        if at != len(data) or not parts:
            self.source.findings.add("ECMA-167 4/14.16", f"{len(data)} bytes are not path components", where)
        return "/" if parts == [""] else "/".join(parts)


def _mode(permissions: int, flags: int) -> int:
    """4/14.9.5: three groups of execute, write, read, change, delete; set-id and sticky are ICB flags (4/14.6.8)."""
    mode = 0
    for shift, group in ((0, 0), (3, 5), (6, 10)):
        bits = permissions >> group
        mode |= ((bits & 1) | (bits & 2) | (bits & 4)) << shift
    mode |= (0o4000 if flags & 0x40 else 0) | (0o2000 if flags & 0x80 else 0) | (0o1000 if flags & 0x100 else 0)
    return mode


_TYPE_BITS = {
    "fifo": 0o010000,
    "char": 0o020000,
    "dir": 0o040000,
    "block": 0o060000,
    "file": 0o100000,
    "link": 0o120000,
    "socket": 0o140000,
}


def _node(icb: Icb, raw: bytes, *, hidden: bool, target: str | None) -> Node:
    return Node(
        kind=icb.kind,
        size=0 if icb.kind == "link" else icb.content.size,
        identifier=raw,
        content=icb.content if icb.kind == "file" else None,
        mode=icb.mode | _TYPE_BITS[icb.kind],
        uid=icb.uid,
        gid=icb.gid,
        links=icb.links,
        mtime=icb.mtime,
        target=target,
        device=icb.device,
        hidden=hidden,
    )
