"""For any byte of an image: the structure, the clause, the field and its value, or the file and the place in it."""

from __future__ import annotations

from bisect import bisect_right
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from qemu_viso.anatomy import boot, iso9660, tables, udf
from qemu_viso.anatomy.model import Claim, Explained, Layer, Part, Source, tiled
from qemu_viso.anatomy.survey import survey
from qemu_viso.image.explain import explain as origins
from qemu_viso.ondisk.ecma119 import SECTOR
from qemu_viso.ondisk.fields import Field, Kind, shown_bytes
from qemu_viso.sources.host import HostFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qemu_viso.image import Image

LOOKED_AT = 1 << 20
"""Bytes of a long unused stretch that are looked at to say whether it is zeros."""
UNUSED = "unused"

_DECODERS: dict[str, Callable[[Source, Claim, int, int], Iterator[Part]]] = {
    "master boot record": boot.record,
    "GPT header": boot.gpt_header,
    "GPT partition table": boot.gpt_table,
    "Apple partition map entry": boot.apple_entry,
    "boot catalog": boot.catalog,
    "boot information table": boot.info_table,
    "note of GRUB": boot.grub_note,
    "volume descriptor": iso9660.descriptor,
    "path table": iso9660.path_table,
    "directory": iso9660.directory,
    "continuation area": iso9660.continuation,
    "translation table": tables.trans_tbl,
    "UDF descriptor": udf.tagged,
    "UDF directory": udf.directory,
    "UDF link": udf.link,
}
_STANDARDS = {
    "system area": "ECMA-119 6.2.1",
    "directory": "ECMA-119 6.8",
    "path table": "ECMA-119 6.9",
    "continuation area": "SUSP 5.1",
    "extended attribute record": "ECMA-119 9.5",
    "boot catalog": "El Torito 2.0",
    "UDF directory": "ECMA-167 4/8.6",
    "UDF link": "ECMA-167 4/8.7",
    "UDF descriptor": "ECMA-167",
}


class Anatomy:
    """An image taken apart: found out once, asked as often as one likes.

    It is as safe to use from many threads as the image is.

    Args:
        image: the image of a recipe, or of an ISO file (`qemu_viso.opening.open_image`).

    Attributes:
        image: the same.
        starts: where each stretch begins of which it is known what it is; between them bytes are unused.
        stretches: (stop, claim) of each.

    Raises:
        InputOutputError, MissingInputError, AccessError, StaleSourceError: a host file cannot be read.
    """

    def __init__(self, image: Image) -> None:
        self.image = image
        self._source = Source(image)
        self.starts: list[int] = []
        self.stretches: list[tuple[int, Claim]] = []
        for start, stop, claim in _flat(survey(self._source), image.size):
            self.starts.append(start)
            self.stretches.append((stop, claim))
        contents = image.regions.contents
        self._is_file = len(contents) == 1 and isinstance(contents[0], HostFile)

    def explain(self, offset: int, length: int) -> list[Explained]:
        """What the bytes of a range are, in order, without gaps.

        Raises:
            ValueError: the range is not inside the image.
            InputOutputError, MissingInputError, AccessError, StaleSourceError: a host file cannot be read.
        """
        if offset < 0 or length < 1 or offset + length > self.image.size:
            raise ValueError(f"{length} bytes at {offset} are not inside an image of {self.image.size} bytes")
        found: list[Explained] = []
        for low, high, start, claim in self.claims(offset, offset + length):
            if claim is None:
                found.extend(self._unused(low, high, start))
            elif claim.kind == "file":
                found.extend(self._data(low, high, claim))
            else:
                found.extend(self._fields(low, high, claim))
        return found

    def claims(self, offset: int, stop: int) -> Iterator[tuple[int, int, int, Claim | None]]:
        """(low, high, start, claim) of what a range consists of; claim is None for what is unused.

        `start` is where the unused stretch begins.
        """
        index = bisect_right(self.starts, offset) - 1
        position = offset
        while position < stop:
            end, claim = self.stretches[index] if index >= 0 else (0, None)
            following = self.starts[index + 1] if index + 1 < len(self.starts) else self.image.size
            if claim is not None and position < end:
                yield position, min(end, stop), position, claim
                position = min(end, stop)
            if position < min(following, stop):
                yield position, min(following, stop), end, None
                position = min(following, stop)
            index += 1

    # --- the three kinds of bytes --------------------------------------------------------------------------------

    def _fields(self, low: int, high: int, claim: Claim) -> Iterator[Explained]:
        standard = _STANDARDS.get(claim.kind, "")
        if claim.kind in _DECODERS:
            field = Field(UNUSED, 0, Kind.UNUSED)
        else:
            field = Field("" if claim.kind == UNUSED else "content", 0, Kind.BYTES)
        around = Part(low, claim.kind, standard, claim.subject, field)
        parts = list(decode(self._source, claim, low, high))
        if parts and claim.kind in ("volume descriptor", "UDF descriptor"):
            around = around._replace(structure=parts[0].structure, standard=parts[0].standard)
        for start, stop, part in tiled(parts, low, high, around):
            yield self._explained(start, stop, part)

    def _explained(self, start: int, stop: int, part: Part) -> Explained:
        field = part.field
        size = field.size if part.start + field.size >= stop and field.size else stop - part.start
        data = part.data if part.data is not None else self._source.read(part.start, size)
        value = field.value(data)
        source, source_offset = self._origin(start, stop)
        return Explained(
            start,
            stop - start,
            part.structure,
            part.standard,
            part.subject,
            field.name,
            field.clause,
            "" if field.size == 1 and field.kind is Kind.LITTLE else field.kind.value,
            value,
            field.meaning(value),
            start - part.start,
            source,
            source_offset,
        )

    def _origin(self, start: int, stop: int) -> tuple[str, int]:
        """The host file that all of some bytes come from, and where they are in it."""
        if self._is_file:
            return "", 0
        origin = next(origins(self.image, start, stop - start))
        if origin.file is None or origin.offset is None:
            return "", 0
        return origin.file.path, origin.offset

    def _data(self, low: int, high: int, claim: Claim) -> Iterator[Explained]:
        """File data, cut where it comes from another host file."""
        first = claim.base - claim.start
        if self._is_file:
            yield Explained(low, high - low, "file", "", claim.subject, "", "", "", None, "", low + first)
            return
        for origin in origins(self.image, low, high - low):
            path, offset = ("", 0) if origin.file is None else (origin.file.path, origin.offset or 0)
            yield Explained(
                *(origin.start, origin.size, "file", "", claim.subject, "", "", "", None, ""),
                *(origin.start + first, path, offset),
            )

    def _unused(self, low: int, high: int, start: int) -> Iterator[Explained]:
        """What nothing claims: padding to the end of a sector, and sectors that are not in use."""
        sector = -(-start // SECTOR) * SECTOR
        if low < sector:
            before = self.stretches[bisect_right(self.starts, low) - 1][1]
            subject = f"to the end of the sector, behind {before.subject or f'the {before.kind}'}"
            yield self._gap(low, min(high, sector), start, subject)
            low = sector
        if low < high:
            yield self._gap(low, high, sector, "")

    def _gap(self, low: int, high: int, start: int, subject: str) -> Explained:
        data = self._source.read(low, min(high - low, LOOKED_AT))
        value = shown_bytes(data)
        if len(data) < high - low:
            value += f" in its first {len(data)} bytes"
        source, source_offset = self._origin(low, high)
        return Explained(
            *(low, high - low, UNUSED, "", subject, "", "", "", value, "", low - start, source, source_offset)
        )


def decode(source: Source, claim: Claim, low: int, high: int) -> Iterator[Part]:
    """The fields of a structure, at least those that bytes `low` to `high` of the image are in; none for data."""
    decoder = _DECODERS.get(claim.kind)
    return iter(()) if decoder is None else decoder(source, claim, low, high)


def explain(image: Image, offset: int, length: int) -> list[Explained]:
    """What the bytes of a range are; who asks often keeps an `Anatomy`, which raises the same errors."""
    return Anatomy(image).explain(offset, length)


def _flat(claims: list[Claim], size: int) -> Iterator[tuple[int, int, Claim]]:
    """(start, stop, claim) in order, without overlap: of several claims on a byte, the one of the lowest layer."""
    claims.sort(key=lambda claim: (claim.start, claim.layer))
    heap: list[tuple[Layer, int, Claim]] = []
    position = 0
    pending: tuple[int, int, Claim] | None = None
    for number in range(len(claims) + 1):
        limit = claims[number].start if number < len(claims) else size
        while heap and position < limit:
            _, _, top = heap[0]
            if top.stop <= position:
                heappop(heap)
                continue
            stop = min(top.stop, limit)
            if pending is not None and pending[2] is top and pending[1] == position:
                pending = pending[0], stop, top
            else:
                if pending is not None:
                    yield pending
                pending = position, stop, top
            position = stop
        if number < len(claims):
            position = max(position, limit)
            heappush(heap, (claims[number].layer, number, claims[number]))
    if pending is not None:
        yield pending
