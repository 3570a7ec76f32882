"""The one comparison: what a guest saw against what it must see."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from qemu_viso.verify.expected import content_sha256, expected_label, expected_view

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qemu_viso.guest.view import Entry, GuestView
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
    """How many entries were expected, and all differences, by path.

    Args:
        tree: what was promised.
        view: what was seen.
        sums: gives the SHA-256 of a content.
        sampled: files of which only pieces were compared: the offset of the first byte that was wrong, or None.
        expected: what must be seen, if that has been worked out already.
    """
    expected = expected_view(tree, view.namespace) if expected is None else expected
    differences = []
    label = expected_label(tree, view.namespace)
    if label != view.label:
        differences.append(Difference("", "label", repr(label), repr(view.label)))
    extra = view.entries.keys() - expected.keys()
    differences += [Difference(path, "name", "absent", f"a {view.entries[path].kind}") for path in extra]
    for path, wanted in expected.items():
        seen = view.entries.get(path)
        if seen is None:
            differences.append(Difference(path, "name", f"a {wanted.kind}", "absent"))
        else:
            differences.extend(_fields(path, wanted, seen))
            if wanted.content is not None and wanted.size == seen.size:
                differences.extend(_content(path, wanted.content, seen, sums, sampled))
    return len(expected), sorted(differences, key=lambda difference: difference.path)


def _fields(path: str, wanted: Expected, seen: Entry) -> list[Difference]:
    if wanted.kind != seen.kind:
        return [Difference(path, "kind", wanted.kind, seen.kind)]
    differences = []

    def check(field: str, expected: object, found: object) -> None:
        if expected != found:
            differences.append(Difference(path, field, str(expected), str(found)))

    if wanted.mode != seen.mode:
        check("mode", f"{wanted.mode:04o}", f"{seen.mode:04o}")
    check("owner", wanted.uid, seen.uid)
    check("group", wanted.gid, seen.gid)
    times = (wanted.mtime, wanted.mtime_nanoseconds), (seen.mtime, seen.mtime_nanoseconds)
    if times[0] != times[1] and not seen.mtime == _wrapped(wanted.mtime) != wanted.mtime:
        check("mtime", _seconds(wanted.mtime, wanted.mtime_nanoseconds), _seconds(seen.mtime, seen.mtime_nanoseconds))
    if wanted.target != seen.target:
        check("target", repr(wanted.target), repr(seen.target))
    if wanted.content is not None:
        check("size", wanted.size, seen.size)
    return differences


def _content(
    path: str,
    content: Content,
    seen: Entry,
    sums: Callable[[Content], str],
    sampled: Mapping[str, int | None],
) -> list[Difference]:
    if seen.kind != "file":
        return []
    if seen.sha256 is None and path in sampled:
        wrong = sampled[path]
        return [] if wrong is None else [Difference(path, "content", "that of its source", f"not so at byte {wrong}")]
    expected = sums(content)
    return (
        [] if expected == seen.sha256 else [Difference(path, "content", f"sha256 {expected}", f"sha256 {seen.sha256}")]
    )


def _wrapped(seconds: int) -> int:
    """A time after 2038 as Linux 6.1 shows it on isofs, where seconds are an int (fs/isofs/util.c, iso_date)."""
    return (seconds + (1 << 31)) % (1 << 32) - (1 << 31)


def _seconds(whole: int, nanoseconds: int) -> str:
    return f"{whole}.{nanoseconds:09}" if nanoseconds else str(whole)
