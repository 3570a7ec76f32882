"""What a reader of images gives back: namespaces, nodes, content, and findings."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

SECTOR = 2048

Read = Callable[[int, int], bytes]
"""Offset and length in bytes to the bytes: from a file, from a block device, over a wire."""

Kind = Literal["file", "dir", "link", "fifo", "char", "block", "socket"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A violation: the clause that is broken, what is wrong, and where."""

    clause: str
    what: str
    where: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what} [{self.clause}]"


class Findings:
    """Collects findings; a rule that is broken everywhere is told `LIMIT` times and then only counted."""

    LIMIT = 50

    def __init__(self) -> None:
        self.items: list[Finding] = []
        self._seen: dict[str, int] = {}

    def add(self, clause: str, what: str, where: str) -> None:
        count = self._seen.get(clause, 0) + 1
        self._seen[clause] = count
        if count <= self.LIMIT:
            self.items.append(Finding(clause, what, where))


@dataclass(frozen=True, slots=True, order=True)
class Extent:
    """A stretch of the image in bytes; `recorded` is false for a hole that reads as zeros."""

    start: int
    length: int
    recorded: bool = True


class Content:
    """The bytes of a file, read when asked for."""

    __slots__ = ("_inline", "_read", "_sha256", "extents", "size")

    def __init__(self, read: Read, extents: tuple[Extent, ...], size: int, inline: bytes | None = None) -> None:
        self._read = read
        self._inline = inline
        self._sha256: str | None = None
        self.extents = extents
        self.size = size

    def chunks(self, step: int = 1 << 20) -> Iterator[bytes]:
        """All bytes in order. A part that the image does not hold is missing: the sum is then less than `size`."""
        if self._inline is not None:
            yield self._inline
            return
        left = self.size
        for extent in self.extents:
            position, stop = extent.start, extent.start + min(extent.length, left)
            left -= stop - position
            while position < stop:
                take = min(step, stop - position)
                yield self._read(position, take) if extent.recorded else bytes(take)
                position += take

    def data(self) -> bytes:
        return b"".join(self.chunks())

    def sha256(self) -> str:
        if self._sha256 is None:
            digest = hashlib.sha256()
            for chunk in self.chunks():
                digest.update(chunk)
            self._sha256 = digest.hexdigest()
        return self._sha256


@dataclass(frozen=True, slots=True)
class Node:
    """A file, directory, link or special file in one namespace.

    Attributes:
        identifier: the name as its record holds it, before any decoding.
        size: bytes; for a directory the length of its records, for a link 0.
        mtime: nanoseconds since 1970, None where not recorded.
        device: major and minor number of a device.
    """

    kind: Kind
    size: int
    identifier: bytes
    content: Content | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    links: int | None = None
    mtime: int | None = None
    target: str | None = None
    device: tuple[int, int] | None = None
    hidden: bool = False

    @property
    def extents(self) -> tuple[Extent, ...]:
        return self.content.extents if self.content is not None else ()


@dataclass(frozen=True, slots=True)
class Volume:
    """One namespace: its descriptor's strings, and its tree by path; the root is "/"."""

    identifiers: dict[str, str]
    tree: dict[str, Node]
    dates: dict[str, str] = field(default_factory=dict)
    sectors: int = 0


@dataclass(slots=True)
class Claim:
    """A stretch of the image that a structure or a file says is its own."""

    start: int
    stop: int
    who: str
    shared: bool


class Space:
    """The image's bytes, and who claims them: no two may claim the same ones (ECMA-119 6.4.3, 6.8.1)."""

    def __init__(self) -> None:
        self.claims: list[Claim] = []

    def claim(self, start: int, length: int, who: str, *, shared: bool = False) -> None:
        """`shared`: file data, of which several names may hold exactly the same."""
        if length > 0:
            self.claims.append(Claim(start, start + length, who, shared))

    def check(self, findings: Findings) -> None:
        self.claims.sort(key=lambda claim: (claim.start, claim.stop))
        last: Claim | None = None
        for claim in self.claims:
            if last is not None and claim.start < last.stop:
                same = claim.shared and last.shared and (claim.start, claim.stop) == (last.start, last.stop)
                if not same:
                    what = f"bytes {claim.start} to {min(claim.stop, last.stop)} belong to {last.who} as well"
                    findings.add("ECMA-119 6.4", what, claim.who)
            if last is None or claim.stop >= last.stop:
                last = claim


class Source:
    """An image as the parts of the reader see it: bounded reads, findings, and the map of claims."""

    def __init__(self, read: Read, size: int) -> None:
        self._read = read
        self.size = size
        self.findings = Findings()
        self.space = Space()

    def peek(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes: less where the image ends."""
        length = max(0, min(length, self.size - offset))
        return self._read(offset, length) if length else b""

    def take(self, offset: int, length: int, who: str) -> bytes:
        """Exactly `length` bytes; beyond the image's end they are a finding, and zeros."""
        data = self.peek(offset, length)
        if len(data) < length:
            what = f"{length} bytes at {offset} are not all inside the image of {self.size} bytes"
            self.findings.add("ECMA-119 6.2.2", what, who)
            data = data.ljust(min(length, 1 << 24), b"\0")
        return data
