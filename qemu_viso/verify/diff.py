"""The one comparison: what a guest saw against what it must see."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from qemu_viso.verify.expected import content_sha256, expected_label, expected_view, hidden

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qemu_viso.guest.view import Entry, Fact, GuestView
    from qemu_viso.image import Content
    from qemu_viso.tree.tree import Tree
    from qemu_viso.verify.expected import Expected
    from qemu_viso.verify.place import Place


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as promised.

    Attributes:
        path: where; empty for the volume as a whole.
        field: what: "name", "kind", "size", "content", "mode", "owner", "group", "target", "mtime" or "label".
        expected: as the recipe promises it, in words; "absent" for a name that should not be there.
        seen: as the guest saw it.
        place: the bytes of the image from which the guest read it, where they are known.
        wrong_byte: of a content, the offset of the first byte that is wrong, where it is known.
    """

    path: str
    field: str
    expected: str
    seen: str
    place: Place | None = None
    wrong_byte: int | None = None

    def __str__(self) -> str:
        where = self.path or "the volume"
        return f"{where}: {self.field}: expected {self.expected}, the guest saw {self.seen}"

    def where(self) -> list[str]:
        """The bytes of the image, in lines for people; none if they are not known."""
        first = [] if self.wrong_byte is None else [f"byte {self.wrong_byte} is the first wrong one"]
        return first + ([] if self.place is None else self.place.lines())

    def to_json(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "path": self.path,
            "field": self.field,
            "expected": self.expected,
            "seen": self.seen,
            "wrong_byte": self.wrong_byte,
            "place": None if self.place is None else self.place.to_json(),
        }


def compare(
    tree: Tree,
    view: GuestView,
    sums: Callable[[Content], str] = content_sha256,
    sampled: Mapping[str, int | None] = MappingProxyType({}),
    expected: Mapping[str, Expected] | None = None,
) -> tuple[int, list[Difference]]:
    """How many entries the reader had to show, and all differences, by path.

    Args:
        tree: what was promised.
        view: what was seen.
        sums: gives the SHA-256 of a content.
        sampled: files of which only pieces were compared: the offset of the first byte that was wrong, or None.
        expected: what must be seen, if that has been worked out already.
    """
    expected = expected_view(tree, view.namespace, view.reader) if expected is None else expected
    differences = []
    followed = _links(expected) if "target" not in view.facts else ()
    label = expected_label(tree, view.namespace)
    if label != view.label:
        differences.append(Difference("", "label", repr(label), repr(view.label)))
    extra = [path for path in view.entries.keys() - expected.keys() if not path.startswith(followed)]
    differences += [Difference(path, "name", "absent", f"a {view.entries[path].kind}") for path in extra]
    unseen = hidden(expected, view.entries.keys(), view.reader)
    for path, wanted in expected.items():
        seen = view.entries.get(path)
        if path in unseen:
            continue
        if seen is None:
            differences.append(Difference(path, "name", f"a {wanted.kind}", "absent"))
        else:
            found = _fields(path, wanted, seen, view.facts)
            differences += found
            sized = not any(difference.field == "size" for difference in found)
            if sized and seen.kind == wanted.kind == "file" and "content" in view.facts:
                differences += _content(path, wanted, seen, sums, sampled)
    return len(expected) - len(unseen), sorted(differences, key=lambda difference: difference.path)


def _links(expected: Mapping[str, Expected]) -> tuple[str, ...]:
    """Where the names begin that a reader shows which follows links to directories."""
    return tuple(f"{path}/" for path, wanted in expected.items() if wanted.target is not None)


def _fields(path: str, wanted: Expected, seen: Entry, facts: frozenset[Fact]) -> list[Difference]:
    """What differs beside the content."""
    if wanted.target is not None and "target" not in facts:
        # A reader that follows links tells of what they lead to.
        return []
    if wanted.kind != seen.kind:
        return [Difference(path, "kind", wanted.kind, seen.kind)]
    if path == "/" and "mode" not in facts:
        # Readers that list directories tell of what is in the root, not of the root.
        return []
    differences = []

    def differ(field: Fact, expected: str, found: str) -> None:
        if field in facts:
            differences.append(Difference(path, field, expected, found))

    # Nothing is put into words unless it differs: there may be a million entries.
    if wanted.mode != seen.mode:
        differ("mode", f"{wanted.mode:04o}", f"{seen.mode:04o}")
    if wanted.uid != seen.uid:
        differ("owner", str(wanted.uid), str(seen.uid))
    if wanted.gid != seen.gid:
        differ("group", str(wanted.gid), str(seen.gid))
    fraction = wanted.mtime_nanoseconds if "nanoseconds" in facts else seen.mtime_nanoseconds
    same_time = (wanted.mtime, fraction) == (seen.mtime, seen.mtime_nanoseconds)
    if not same_time and not seen.mtime == _wrapped(wanted.mtime) != wanted.mtime:
        expected = _seconds(wanted.mtime, fraction)
        differ("mtime", expected, _seconds(seen.mtime, seen.mtime_nanoseconds))
    if wanted.target != seen.target:
        differ("target", repr(wanted.target), repr(seen.target))
    if wanted.content is not None and wanted.size != seen.size:
        differ("size", str(wanted.size), str(seen.size))
    return differences


def _content(
    path: str,
    wanted: Expected,
    seen: Entry,
    sums: Callable[[Content], str],
    sampled: Mapping[str, int | None],
) -> list[Difference]:
    if seen.sha256 is None and path in sampled:
        wrong = sampled[path]
        return [] if wrong is None else [Difference(path, "content", "that of its source", f"not so at byte {wrong}")]
    assert wanted.content is not None, "a file has content"
    expected = sums(wanted.content)
    return (
        [] if expected == seen.sha256 else [Difference(path, "content", f"sha256 {expected}", f"sha256 {seen.sha256}")]
    )


def _wrapped(seconds: int) -> int:
    """A time after 2038 as Linux 6.1 shows it on isofs, where seconds are an int (fs/isofs/util.c, iso_date)."""
    return (seconds + (1 << 31)) % (1 << 32) - (1 << 31)


def _seconds(whole: int, nanoseconds: int) -> str:
    return f"{whole}.{nanoseconds:09}" if nanoseconds else str(whole)
