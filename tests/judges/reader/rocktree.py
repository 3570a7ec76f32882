"""The tree that Rock Ridge shows: names, attributes, links, and relocated directories in their old places."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.judges.reader.fields import short_date
from tests.judges.reader.model import Node, Volume
from tests.judges.reader.rock import Attributes, attributes
from tests.judges.reader.susp import Extension, entries, extension, find_sp

if TYPE_CHECKING:
    from tests.judges.reader.descriptors import Descriptor
    from tests.judges.reader.directory import Directory, Entry, Record
    from tests.judges.reader.model import Kind, Source

KNOWN_EXTENSIONS = ("RRIP_1991A", "IEEE_P1282", "IEEE_1282")


@dataclass(slots=True)
class RockTree:
    """Builds the tree of one volume.

    Attributes:
        skip: LEN_SKP, the bytes before the first entry of every record but the root's first.
        extensions: what the ER entries say; none in the limited form.
        lengths: of the PX entries met.
    """

    source: Source
    skip: int
    by_extent: dict[int, Directory]
    tree: dict[str, Node] = field(default_factory=dict)
    extensions: list[Extension] = field(default_factory=list)
    lengths: set[int] = field(default_factory=set)
    relocated: set[int] = field(default_factory=set)
    linked: set[int] = field(default_factory=set)

    def read(self, record: Record, where: str, *, root_dot: bool = False) -> Attributes:
        used = entries(self.source, record, self.skip, where, root_dot=root_dot)
        for entry in used:
            if entry.signature == "ER":
                if not root_dot:
                    self.source.findings.add("SUSP 5.5", "an ER entry outside the root's first record", where)
                else:
                    self.extensions.append(extension(self.source, entry, where))
        found = attributes(self.source, used, record, where)
        self.lengths.add(found.px_length)
        return found

    def directory(self, directory: Directory, path: str, own: Attributes | None, parent: Attributes | None) -> None:
        """Add a directory's own node and everything below it; `own` and `parent` are their records' attributes."""
        stack = [(directory, path, own, parent, directory.record.extent)]
        while stack:
            directory, path, own, parent, above = stack.pop()
            dot = self._dots(directory, path, own, parent, above)
            subdirectories = 0
            for entry in directory.entries:
                where = f"Rock Ridge {path.rstrip('/')}/{entry.identifier.decode('ascii', 'backslashreplace')}"
                found = self.read(entry.last, where)
                name = self._name(entry, found, where)
                child_path = f"{path.rstrip('/')}/{name}"
                if found.relocated:
                    self.relocated.add(entry.last.extent)
                    continue
                if child_path in self.tree:
                    self.source.findings.add("RRIP 4.1.4", "two entries have this name", child_path)
                child = self._child(directory, entry, found, where)
                if child is not None:
                    subdirectories += 1
                    here = directory.record.extent
                    stack.append((child, child_path, found, dot, here))
                self.tree[child_path] = self._node(entry, found, child)
            if dot.px_length and dot.links != subdirectories + 2:
                what = f"{dot.links} links, but {subdirectories} subdirectories"
                self.source.findings.add("RRIP 4.1.1 links", what, f"Rock Ridge {path}")

    def _child(self, directory: Directory, entry: Entry, found: Attributes, where: str) -> Directory | None:
        """The directory behind an entry: its own, or one that was moved elsewhere (4.1.5)."""
        if found.child is None:
            return directory.subdirectories.get(entry.identifier)
        child = self.by_extent.get(found.child)
        if child is None:
            self.source.findings.add("RRIP 4.1.5.1", f"CL points to sector {found.child}, no directory", where)
        elif found.child in self.linked:
            self.source.findings.add("RRIP 4.1.5.1", f"two CL entries point to sector {found.child}", where)
            return None
        self.linked.add(found.child)
        return child

    def _node(self, entry: Entry, found: Attributes, child: Directory | None) -> Node:
        first = entry.records[0]
        recorded: Kind = "dir" if child is not None or entry.is_directory else "file"
        kind = found.kind or recorded
        mtime = found.mtime if found.times else short_date(first.date)[0]
        px = found.px_length > 0
        return Node(
            kind=kind,
            size=child.record.size if child is not None else entry.size,
            identifier=entry.identifier,
            content=entry.content(self.source) if kind == "file" else None,
            mode=found.mode if px else None,
            uid=found.uid if px else None,
            gid=found.gid if px else None,
            links=found.links if px else None,
            mtime=mtime,
            target=None if found.target is None else found.target.decode("utf-8", "surrogateescape"),
            device=found.device,
            hidden=bool(first.flags & 1),
        )

    def _name(self, entry: Entry, found: Attributes, where: str) -> str:
        if found.name is not None:
            return found.name.decode("utf-8", "surrogateescape")
        if found.name_flag:
            self.source.findings.add("RRIP 4.1.4", f"NM with flags {found.name_flag:#x} in an ordinary record", where)
        return entry.identifier.decode("utf-8", "surrogateescape")

    def _dots(
        self, directory: Directory, path: str, own: Attributes | None, parent: Attributes | None, above: int
    ) -> Attributes:
        """Check `.` and `..`, and give the attributes of `.`, which are the directory's own."""
        if directory.dot is None or directory.dotdot is None:
            return own or Attributes()
        where = f"Rock Ridge {path}"
        add = self.source.findings.add
        is_root = directory.parent is None
        dot = self.read(directory.dot, f"{where} (.)", root_dot=is_root)
        dotdot = self.read(directory.dotdot, f"{where} (..)")
        for found, name, flag in ((dot, ".", 2), (dotdot, "..", 4)):
            if found.name is not None or found.name_flag not in (0, flag):
                add("RRIP 4.1.4", f"NM of {name} has the name {found.name!r} and flags {found.name_flag:#x}", where)
            if found.child is not None or found.relocated or found.target is not None:
                add("RRIP 4.1.5", f"CL, RE or SL in {name}", where)
        for found, same, name in ((dot, own, "."), (dotdot, parent or dot, "..")):
            if same is not None and _permissions(found) != _permissions(same):
                what = f"{name} says {_permissions(found)}, the record itself {_permissions(same)}"
                add("RRIP 4.1.1 . and ..", what, where)
        if is_root:
            self.tree["/"] = self._node_of_root(directory, dot)
        moved = directory.record.extent in self.linked
        if moved != (dotdot.parent is not None):
            add("RRIP 4.1.5.2", "PL is there for relocated directories, and only for them", where)
        if dotdot.parent is not None and dotdot.parent != above:
            add("RRIP 4.1.5.2", f"PL points to sector {dotdot.parent}, the parent is {above}", where)
        return dot

    def _node_of_root(self, directory: Directory, dot: Attributes) -> Node:
        px = dot.px_length > 0
        return Node(
            kind="dir",
            size=directory.record.size,
            identifier=directory.record.identifier,
            mode=dot.mode if px else None,
            uid=dot.uid if px else None,
            gid=dot.gid if px else None,
            links=dot.links if px else None,
            mtime=dot.mtime if dot.times else short_date(directory.record.date)[0],
        )


def _permissions(found: Attributes) -> tuple[str, int, int, int]:
    return f"{found.mode:o}", found.links, found.uid, found.gid


def rock_volume(source: Source, descriptor: Descriptor, directories: list[Directory]) -> Volume | None:
    """The Rock Ridge tree; None where the root has no SP entry."""
    skip = find_sp(source, directories[0].dot)
    if skip is None:
        return None
    builder = RockTree(source, skip, {directory.record.extent: directory for directory in directories})
    builder.directory(directories[0], "/", None, None)
    known = [item.identifier for item in builder.extensions if item.identifier in KNOWN_EXTENSIONS]
    where = "Rock Ridge /"
    if len(known) > 1:
        source.findings.add("RRIP 4.3", f"{len(known)} ER entries for Rock Ridge", where)
    if 0 in builder.lengths and len(builder.lengths) > 1:
        source.findings.add("RRIP 4.1.1", "PX is missing in some records", where)
    if len(builder.lengths - {0}) > 1:
        source.findings.add("RRIP 4.1.1", f"PX entries of {sorted(builder.lengths)} bytes in one volume", where)
    if known == ["RRIP_1991A"] and 44 in builder.lengths:
        source.findings.add("RRIP 4.3 version", "PX of 44 bytes (1.12) under the identifier RRIP_1991A", where)
    if known and known[0].startswith("IEEE") and 36 in builder.lengths:
        source.findings.add("RRIP 4.3 version", f"PX of 36 bytes under the identifier {known[0]}", where)
    if builder.lengths == {0} and not known:
        return None
    for extent in builder.relocated - builder.linked:
        source.findings.add("RRIP 4.1.5.3", f"no CL points to the relocated directory in sector {extent}", where)
    identifiers = dict(descriptor.identifiers)
    identifiers["extension"] = known[0] if known else ""
    return Volume(identifiers, builder.tree, descriptor.dates, descriptor.sectors)
