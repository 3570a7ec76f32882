"""The one comparison: what a guest saw against what it must see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qemu_viso.verify.expected import content_sha256, expected_label, expected_view

if TYPE_CHECKING:
    from qemu_viso.guest.view import Entry, Fact, GuestView
    from qemu_viso.tree.tree import Tree
    from qemu_viso.verify.expected import Expected


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as promised.

    Attributes:
        path: where; empty for the volume as a whole.
        field: what: "name", "kind", "size", "content", "mode", "owner", "group", "target", "mtime" or "label".
        expected: as the recipe promises it, in words; "absent" for a name that should not be there.
        seen: as the guest saw it.
    """

    path: str
    field: str
    expected: str
    seen: str

    def __str__(self) -> str:
        where = self.path or "the volume"
        return f"{where}: {self.field}: expected {self.expected}, the guest saw {self.seen}"


def compare(tree: Tree, view: GuestView) -> tuple[int, list[Difference]]:
    """How many entries were expected, and all differences, by path."""
    expected = expected_view(tree, view.namespace, view.reader)
    differences = []
    label = expected_label(tree, view.namespace)
    if label != view.label:
        differences.append(Difference("", "label", repr(label), repr(view.label)))
    for path in sorted(expected.keys() | view.entries.keys()):
        wanted, seen = expected.get(path), view.entries.get(path)
        if wanted is None:
            assert seen is not None
            differences.append(Difference(path, "name", "absent", f"a {seen.kind}"))
        elif seen is None:
            differences.append(Difference(path, "name", f"a {wanted.kind}", "absent"))
        else:
            differences.extend(_fields(path, wanted, seen, view.facts))
    return len(expected), differences


def _fields(path: str, wanted: Expected, seen: Entry, facts: frozenset[Fact]) -> list[Difference]:
    if wanted.target is not None and "target" not in facts:
        # A reader that follows links tells of what they lead to.
        return []
    if wanted.kind != seen.kind:
        return [Difference(path, "kind", wanted.kind, seen.kind)]
    differences = []

    def check(field: Fact, expected: object, found: object) -> None:
        if field in facts and expected != found:
            differences.append(Difference(path, field, str(expected), str(found)))

    check("mode", f"{wanted.mode:04o}", f"{seen.mode:04o}")
    check("owner", wanted.uid, seen.uid)
    check("group", wanted.gid, seen.gid)
    if not seen.mtime == _wrapped(wanted.mtime) != wanted.mtime:
        check("mtime", _seconds(wanted.mtime, wanted.mtime_nanoseconds), _seconds(seen.mtime, seen.mtime_nanoseconds))
    if wanted.target is not None:
        check("target", repr(wanted.target), repr(seen.target))
    if wanted.content is not None:
        check("size", wanted.size, seen.size)
        if "content" in facts and not (differences and differences[-1].field == "size"):
            check("content", f"sha256 {content_sha256(wanted.content)}", f"sha256 {seen.sha256}")
    return differences


def _wrapped(seconds: int) -> int:
    """A time after 2038 as Linux 6.1 shows it on isofs, where seconds are an int (fs/isofs/util.c, iso_date)."""
    return (seconds + (1 << 31)) % (1 << 32) - (1 << 31)


def _seconds(whole: int, nanoseconds: int) -> str:
    return f"{whole}.{nanoseconds:09}" if nanoseconds else str(whole)
