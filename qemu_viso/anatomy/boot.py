"""The system area, partition tables, the boot catalog, and what boot images say of themselves, taken apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qemu_viso.anatomy.model import Part, piece, placed
from qemu_viso.ondisk import eltorito, gpt, mbr
from qemu_viso.ondisk.fields import Field, Kind, Structure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qemu_viso.anatomy.model import Claim, Source

ENTRY = eltorito.ENTRY_SIZE
UNUSED_ENTRY = Structure("unused boot catalog entry", "El Torito 2.0", Field("unused", ENTRY, Kind.UNUSED))
UNUSED_PARTITION = Structure("unused GPT partition entry", "UEFI 5.3.3", Field("unused", gpt.ENTRY_SIZE, Kind.UNUSED))
APPLE_ENTRY = Structure(
    "Apple partition map entry",
    "Inside Macintosh: Devices 3",
    Field("signature", 2, Kind.TEXT),
    Field("reserved", 2, Kind.UNUSED),
    Field("blocks of the map", 4, Kind.BIG),
    Field("first block of the partition", 4, Kind.BIG),
    Field("blocks of the partition", 4, Kind.BIG),
    Field("partition name", 32, Kind.TEXT),
    Field("partition type", 32, Kind.TEXT),
    Field("other fields", 432, Kind.BYTES),
)


def record(source: Source, claim: Claim, low: int, high: int) -> Iterator[Part]:  # noqa: ARG001
    """The master boot record."""
    return placed(mbr.RECORD, claim.start, claim.subject)


def gpt_header(source: Source, claim: Claim, low: int, high: int) -> Iterator[Part]:  # noqa: ARG001
    """A header of a GUID partition table."""
    yield from placed(gpt.HEADER, claim.start, claim.subject)
    behind = claim.start + gpt.HEADER.size
    yield from piece(gpt.HEADER, behind, claim.subject, "reserved to the end of the block", 420, Kind.UNUSED)


def gpt_table(source: Source, claim: Claim, low: int, high: int) -> Iterator[Part]:
    """Entries of a GUID partition table; the context is their size."""
    size = claim.context
    assert isinstance(size, int)
    first = claim.start + (low - claim.start) // size * size
    for at in range(first, high, size):
        used = any(source.read(at, 16))
        number = (at - claim.start) // size + 1
        yield from placed(gpt.ENTRY if used else UNUSED_PARTITION, at, f"partition {number} in {claim.subject}")


def apple_entry(source: Source, claim: Claim, low: int, high: int) -> Iterator[Part]:  # noqa: ARG001
    """An entry of an Apple partition map."""
    return placed(APPLE_ENTRY, claim.start, claim.subject)


def catalog(source: Source, claim: Claim, low: int, high: int) -> Iterator[Part]:  # noqa: ARG001
    """The boot catalog: which entry is which depends on those before it."""
    data = source.read(claim.start, claim.stop - claim.start)
    left, section, number = 1, 0, 0
    for at in range(0, len(data) - ENTRY + 1, ENTRY):
        kind = data[at]
        if at == 0:
            structure, subject = eltorito.VALIDATION_ENTRY, "the boot catalog"
        elif kind in (0x90, 0x91) and not left:
            section += 1
            left = int.from_bytes(data[at + 2 : at + 4], "little")
            structure, subject = eltorito.SECTION_HEADER, f"section {section}"
        elif kind == 0x44 and number:
            structure, subject = eltorito.EXTENSION_ENTRY, f"boot entry {number}"
        elif left or kind == 0x88:
            left, number = max(0, left - 1), number + 1
            structure = eltorito.DEFAULT_ENTRY if number == 1 else eltorito.SECTION_ENTRY
            subject = f"boot entry {number}"
        else:
            structure, subject = UNUSED_ENTRY, "the boot catalog"
        yield from placed(structure, claim.start + at, subject)


def info_table(source: Source, claim: Claim, low: int, high: int) -> Iterator[Part]:  # noqa: ARG001
    """The boot information table inside a boot image."""
    return placed(eltorito.INFO_TABLE, claim.start, claim.subject)


def grub_note(source: Source, claim: Claim, low: int, high: int) -> Iterator[Part]:  # noqa: ARG001
    """GRUB's note inside its boot image."""
    return placed(eltorito.GRUB_NOTE, claim.start, claim.subject)
