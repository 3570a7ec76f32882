"""The files of two images, path by path in each namespace."""

from __future__ import annotations

import stat
import time
from typing import TYPE_CHECKING

from qemu_viso.compare.model import ABSENT, Difference, Part
from qemu_viso.image import FileSlice, Hole
from qemu_viso.tree.existing.listing import file_systems, walk
from qemu_viso.tree.existing.medium import ImageMedium

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qemu_viso.compare.contents import Contents
    from qemu_viso.image import Image, Joined
    from qemu_viso.tree.existing.volume import FileSystem, Found

NAMESPACES = ("rock", "plain", "joliet", "udf")
KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "FIFO",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}

Extent = tuple[int, int]
"""First byte in the image, and bytes; a hole's first byte is -1."""


class Files:
    """Compares what is in all namespaces.

    Args:
        contents: the bytes of both images.
        known: stretches of the images, as far as `known_until`, in which they differ at the same place.
        placement: tell of files that lie elsewhere, too.
    """

    def __init__(self, contents: Contents, known: list[Extent], known_until: int, *, placement: bool) -> None:
        self._contents = contents
        self._known = known
        self._known_until = known_until
        self._placement = placement
        self._found: dict[tuple[str, str, str, str, str], tuple[list[str], int | None]] = {}
        self._compared: dict[tuple[tuple[Extent, ...], tuple[Extent, ...]], tuple[str, int | None]] = {}
        self._placed: set[tuple[tuple[Extent, ...], tuple[Extent, ...]]] = set()

    def differences(self) -> Iterator[Difference]:
        """All of them, by namespace and path.

        Raises:
            RecipeError: one of the images is damaged.
            InputOutputError, MissingInputError, AccessError, StaleSourceError: a host file cannot be read.
        """
        left, right = _file_systems(self._contents.left), _file_systems(self._contents.right)
        for namespace in NAMESPACES:
            mine, other = left.get(namespace), right.get(namespace)
            if (mine is None) != (other is None):
                present = "present" if mine else ABSENT, "present" if other else ABSENT
                yield Difference("volume", (namespace,), f"the {namespace} namespace", "name", *present)
            elif mine is not None and other is not None:
                self._compare(namespace, mine, other)
        for (part, path, field, was, now), (namespaces, offset) in self._found.items():
            kind: Part = "placement" if part == "placement" else "file"
            yield Difference(kind, tuple(namespaces), path, field, was, now, offset)

    def _compare(self, namespace: str, left: FileSystem, right: FileSystem) -> None:
        mine, other = dict(walk(left)), dict(walk(right))
        for path in sorted(mine.keys() | other.keys()):
            a, b = mine.get(path), other.get(path)
            if a is None or b is None:
                was, now = (ABSENT if each is None else f"a {_kind(each)}" for each in (a, b))
                self._tell(namespace, path, "name", was, now)
            elif a != b or a.data is not None:
                self._entry(namespace, path, a, b)

    def _tell(
        self, namespace: str, path: str, field: str, was: object, now: object, at: int | None = None, part: str = ""
    ) -> None:
        """Note a difference; the same one in another namespace is the same one."""
        if was != now:
            self._found.setdefault((part, path, field, str(was), str(now)), ([], at))[0].append(namespace)

    def _entry(self, namespace: str, path: str, a: Found, b: Found) -> None:
        if _kind(a) != _kind(b):
            self._tell(namespace, path, "kind", _kind(a), _kind(b))
            return
        for field, was, now in (
            ("mode", f"{stat.S_IMODE(a.mode):04o}", f"{stat.S_IMODE(b.mode):04o}"),
            ("owner", a.uid, b.uid),
            ("group", a.gid, b.gid),
            ("time", _time(a.mtime_ns), _time(b.mtime_ns)),
            ("target", a.target, b.target),
        ):
            self._tell(namespace, path, field, was, now)
        if a.data is not None and b.data is not None:
            self._data(namespace, path, a.data, b.data)

    def _data(self, namespace: str, path: str, left: FileSlice | Joined, right: FileSlice | Joined) -> None:
        mine, other = _extents(left), _extents(right)
        if self._placement and mine != other and (mine, other) not in self._placed:
            self._placed.add((mine, other))
            self._tell(namespace, path, "first byte", _place(mine), _place(other), None, "placement")
        if left.size != right.size:
            self._tell(namespace, path, "size", left.size, right.size)
            return
        key = mine, other
        if key not in self._compared:
            self._compared[key] = path, self._first_difference(mine, other)
        first_path, at = self._compared[key]
        if at is not None and path == first_path:  # of several paths to the same bytes, the first one tells
            where = _position(mine, at)
            was, now = (_byte(image, place, at) for image, place in self._sides(mine, other, at))
            self._tell(namespace, path, "content", was, now, where)

    def _sides(
        self, mine: tuple[Extent, ...], other: tuple[Extent, ...], at: int
    ) -> Iterator[tuple[Image, int | None]]:
        yield self._contents.left, _position(mine, at)
        yield self._contents.right, _position(other, at)

    def _first_difference(self, left: tuple[Extent, ...], right: tuple[Extent, ...]) -> int | None:
        if left == right and self._known_equal(left):
            return None
        position = 0
        for a, b, size in _paired(left, right):
            at = self._differs(a, b, size)
            if at is not None:
                return position + at
            position += size
        return None

    def _known_equal(self, extents: tuple[Extent, ...]) -> bool:
        """Whether no difference was found where all of some extents lie."""
        for start, size in extents:
            if start >= 0 and (
                start + size > self._known_until
                or any(low < start + size and high > start for low, high in self._known)
            ):
                return False
        return True

    def _differs(self, left: int, right: int, size: int) -> int | None:
        """The first of some bytes that differs; a place of -1 reads as zeros."""
        if left >= 0 and right >= 0:
            return self._contents.first_difference(left, right, size)
        image, start = (self._contents.left, left) if left >= 0 else (self._contents.right, right)
        for at in range(0, size if start >= 0 else 0, 1 << 20):
            data = image.read(start + at, min(1 << 20, size - at))
            if any(data):
                return at + len(data) - len(data.lstrip(b"\0"))
        return None


def _file_systems(image: Image) -> dict[str, FileSystem]:
    return file_systems(ImageMedium(image, image.name))


def _kind(found: Found) -> str:
    return KINDS.get(stat.S_IFMT(found.mode), "thing of an unknown kind")


def _time(mtime_ns: int | None) -> str:
    if mtime_ns is None:
        return "not specified"
    seconds, fraction = divmod(mtime_ns, 1_000_000_000)
    text = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
    return f"{text}.{fraction:09}" if fraction else text


def _extents(data: FileSlice | Joined) -> tuple[Extent, ...]:
    if isinstance(data, FileSlice):
        return ((data.offset, data.size),) if data.size else ()
    return tuple((-1 if isinstance(part, Hole) else part.offset, part.size) for part in data.parts)


def _place(extents: tuple[Extent, ...]) -> str:
    return ", ".join("a hole" if start < 0 else str(start) for start, _ in extents) or "nowhere"


def _position(extents: tuple[Extent, ...], at: int) -> int | None:
    """Where a byte of a file lies in the image; None in a hole."""
    for start, size in extents:
        if at < size:
            return start + at if start >= 0 else None
        at -= size
    return None


def _byte(image: Image, place: int | None, at: int) -> str:
    value = 0 if place is None else image.read(place, 1)[0]
    return f"byte {at} is {value:#04x}"


def _paired(left: tuple[Extent, ...], right: tuple[Extent, ...]) -> Iterator[tuple[int, int, int]]:
    """Stretches that lie in a row on both sides: first byte left, first byte right, bytes."""
    mine, other = list(reversed(left)), list(reversed(right))
    while mine and other:
        (a, a_size), (b, b_size) = mine.pop(), other.pop()
        size = min(a_size, b_size)
        yield a, b, size
        if a_size > size:
            mine.append((a + size if a >= 0 else -1, a_size - size))
        if b_size > size:
            other.append((b + size if b >= 0 else -1, b_size - size))
