"""The words in which an image is taken apart: claims on its bytes, parts of structures, explanations."""

from __future__ import annotations

from enum import IntEnum
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from qemu_viso.ondisk.fields import Field, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from qemu_viso.image import Image
    from qemu_viso.ondisk.fields import Structure, Value

WINDOW = 64 << 10
"""Bytes that are read at once, as far as they come from one region: structures lie together."""
WINDOWS = 64


class Explained(NamedTuple):
    """A stretch of an image that is (a part of) one field of a structure, or of one file's data.

    Attributes:
        start: its first byte in the image.
        size: bytes.
        structure: "directory record", "file", "unused" and so on.
        standard: the standard and the clause that define the structure; empty for data.
        subject: what it is about: a path in the image, or words; empty for the volume as a whole.
        field: the field's name; empty for data and for what is unused.
        clause: the field's own clause, where it has one.
        kind: how the field's bytes are read.
        value: what the field says as a whole, though the stretch may be a part of it; None for a file's data.
        meaning: what the value means, where it is a code.
        offset: where the stretch begins in the field, in the file, or in what is unused.
        source: the host file that the bytes come from; empty where they come from none, or where the image is a file.
        source_offset: where they begin in it.
    """

    start: int
    size: int
    structure: str
    standard: str
    subject: str
    field: str
    clause: str
    kind: str
    value: Value | None
    meaning: str
    offset: int
    source: str = ""
    source_offset: int = 0

    @property
    def label(self) -> str:
        """The structure and what it is about."""
        if not self.subject:
            return self.structure
        if self.structure == "unused":
            return f"unused ({self.subject})"
        return f"{self.structure} {'' if self.structure == 'file' else 'of '}{self.subject}"

    def __str__(self) -> str:
        text = self.label
        if self.standard:
            text += f" ({self.standard})"
        if self.field:
            text += f", field '{self.field}'"
            details = ", ".join(each for each in (self.clause, self.kind) if each)
            text += f" ({details})" if details else ""
        if self.value is not None:
            text += f": {self.value}"
        if self.meaning:
            text += f" ({self.meaning})"
        if not self.standard and not self.field and self.value is None:
            text += f", from its byte {self.offset} on"
        if self.source:
            text += f"; host file {self.source}, from its byte {self.source_offset} on"
        return text


class Part(NamedTuple):
    """A field where it lies.

    Attributes:
        start: in bytes of the image, or of what a `Layer` reads.
        structure: the structure's name.
        standard: its standard and clause.
        subject: what the structure is about.
        data: the field's bytes, where they do not lie in a row.
    """

    start: int
    structure: str
    standard: str
    subject: str
    field: Field
    data: bytes | None = None


class Layer(IntEnum):
    """Which of several claims on one byte counts: the first one here."""

    NOTE = 0
    STRUCTURE = 1
    DIRECTORY = 2
    UDF = 3
    FILE = 4
    BOOT_IMAGE = 5
    AREA = 6


class Claim(NamedTuple):
    """Bytes `start` to `stop` of the image are this.

    Attributes:
        kind: which decoder takes it apart.
        subject: what it is about.
        base: where the structure as a whole begins, for a claim that is a part of it; for a file's data, the byte of
            the file at `start`.
        context: what the decoder must know.
    """

    start: int
    stop: int
    layer: Layer
    kind: str
    subject: str
    base: int = 0
    context: object = None


class Source:
    """The image's bytes: as many of those asked for as there are.

    Raises:
        InputOutputError, MissingInputError, AccessError, StaleSourceError: a host file cannot be read.
    """

    def __init__(self, image: Image) -> None:
        self.image = image
        self.size = image.size
        self._windows: dict[int, tuple[int, bytes]] = {}
        self._lock = Lock()

    def read(self, offset: int, size: int) -> bytes:
        """Bytes at `offset`, less where the image ends."""
        if offset < 0:
            return b""
        size = min(size, self.size - offset)
        if size <= 0:
            return b""
        if size > WINDOW:
            return self.image.read(offset, size)
        start, data = self._window(offset)
        if offset + size <= start + len(data):
            return data[offset - start : offset - start + size]
        return self.image.read(offset, size)

    def _window(self, offset: int) -> tuple[int, bytes]:
        number = offset // WINDOW
        found = self._windows.get(number)
        if found is None or not found[0] <= offset < found[0] + len(found[1]):
            regions = self.image.regions
            index = regions.index(offset)
            stop = regions.starts[index + 1] if index + 1 < len(regions) else regions.size
            start = max(regions.starts[index], number * WINDOW)
            found = start, self.image.read(start, min(stop, (number + 1) * WINDOW, self.size) - start)
            with self._lock:
                if len(self._windows) >= WINDOWS:
                    del self._windows[next(iter(self._windows))]
                self._windows[number] = found
        return found


def placed(structure: Structure, at: int, subject: str, limit: int | None = None) -> Iterator[Part]:
    """The fields of a structure that begins at `at`; those that begin at `limit` or behind it are left out."""
    for offset, field in structure.fields:
        if limit is not None and at + offset >= limit:
            return
        yield Part(at + offset, structure.name, structure.standard, subject, field)


def piece(
    structure: Structure, at: int, subject: str, name: str, size: int, kind: Kind = Kind.BYTES, clause: str = ""
) -> Iterator[Part]:
    """A field of variable length; none where it has none."""
    if size > 0:
        yield Part(at, structure.name, structure.standard, subject, Field(name, size, kind, clause))


def tiled(parts: Iterable[Part], low: int, high: int, around: Part) -> Iterator[tuple[int, int, Part]]:
    """(start, stop, part) of each field, from `low` to `high` without gap or overlap.

    What no part covers is `around`'s; of parts that overlap, as only damaged structures have them, the first counts.
    """
    position = low
    for part in parts:
        stop = min(part.start + part.field.size, high)
        if stop <= position or part.start >= high:
            continue
        if part.start > position:
            yield position, part.start, around._replace(start=position)
            position = part.start
        yield position, stop, part
        position = stop
    if position < high:
        yield position, high, around._replace(start=position)
