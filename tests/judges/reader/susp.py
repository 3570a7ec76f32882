"""System Use Sharing Protocol 1.12 (IEEE P1281): the entries of a record's System Use Area and its continuations."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from tests.judges.reader.fields import Fields
from tests.judges.reader.model import SECTOR

if TYPE_CHECKING:
    from tests.judges.reader.directory import Record
    from tests.judges.reader.model import Source

_FIXED_LENGTHS = {"CE": 28, "SP": 7, "ST": 4, "ES": 5}


@dataclass(frozen=True, slots=True)
class SystemUse:
    """One System Use Entry: its two-letter signature and all its bytes, header included; `at` in the image."""

    signature: str
    data: bytes
    at: int


@dataclass(frozen=True, slots=True)
class Extension:
    """What an ER entry says."""

    identifier: str
    descriptor: str
    source: str
    version: int


def find_sp(source: Source, root_dot: Record | None) -> int | None:
    """LEN_SKP of the SP entry that opens the root's first record (5.3), or None: SUSP is not in use."""
    if root_dot is None:
        return None
    for skip in (0, 15):  # 15 bytes of CD-ROM XA come before the entries of some images
        raw = root_dot.system_use[skip : skip + 7]
        if raw[:2] != b"SP":
            continue
        where = f"SP at {root_dot.system_use_at + skip}"
        if raw[2:4] != b"\x07\x01" or raw[4:6] != b"\xbe\xef":
            source.findings.add("SUSP 5.3", f"an SP entry with the bytes {raw.hex()}", where)
            return None
        return raw[6]
    return None


def entries(source: Source, record: Record, skip: int, where: str, *, root_dot: bool = False) -> list[SystemUse]:
    """All entries of a record, those in continuation areas too; padding and terminators are left out."""
    start = 0 if root_dot else skip
    found: list[SystemUse] = []
    data, at = record.system_use[start:], record.system_use_at + start
    visited: set[tuple[int, int]] = set()
    while True:
        area = _area(source, data, at, where)
        follow = [entry for entry in area if entry.signature == "CE"]
        found += [entry for entry in area if entry.signature not in ("CE", "PD")]
        if len(follow) > 1:
            source.findings.add("SUSP 5.1", "more than one CE in an area", where)
        if not follow:
            break
        block, offset, length = _continuation(source, follow[0], where)
        if (block, offset) in visited:
            source.findings.add("SUSP 5.1", "the continuation areas form a loop", where)
            break
        visited.add((block, offset))
        at = block * SECTOR + offset
        data = source.take(at, length, where)
        source.space.claim(at, length, f"{where} (continuation area)")
    for entry in found:
        if entry.signature == "SP" and not root_dot:
            source.findings.add("SUSP 5.3", "an SP entry outside the root's first record", where)
    return found


def _area(source: Source, data: bytes, at: int, where: str) -> list[SystemUse]:
    found: list[SystemUse] = []
    position = 0
    while len(data) - position >= 4:
        signature, length, version = data[position : position + 2], data[position + 2], data[position + 3]
        place = f"{where}, system use at {at + position}"
        if not signature.isalnum() or not signature.isupper():
            if any(data[position:]):
                source.findings.add("SUSP 4.1", f"no entry begins with {data[position : position + 4].hex()}", place)
            elif len(data) - position > 3:
                source.findings.add("SUSP 4", f"{len(data) - position} zero bytes in the place of an entry", place)
            return found
        if length < 4 or position + length > len(data):
            source.findings.add("SUSP 4.1", f"{signature!r} of {length} bytes does not fit its area", place)
            return found
        if version != 1:
            source.findings.add("SUSP 4.1", f"{signature!r} version {version}", place)
        entry = SystemUse(signature.decode("ascii"), data[position : position + length], at + position)
        want = _FIXED_LENGTHS.get(entry.signature, length)
        if length != want:
            source.findings.add("SUSP 5", f"{signature!r} has {length} bytes instead of {want}", place)
        position += length
        if entry.signature == "ST":
            return found
        found.append(entry)
    if any(data[position:]):
        source.findings.add("SUSP 4", f"the bytes {data[position:].hex()} after the last entry", where)
    return found


def _continuation(source: Source, entry: SystemUse, where: str) -> tuple[int, int, int]:
    fields = Fields(entry.data.ljust(28, b"\0"), f"{where}, CE at {entry.at}", source.findings)
    block = fields.both(4, 4, "the block of the continuation area")
    offset = fields.both(12, 4, "its offset")
    length = fields.both(20, 4, "its length")
    if offset + length > SECTOR:
        source.findings.add("SUSP 5.1", f"a continuation area of {length} bytes at {offset} crosses the sector", where)
    if not length:
        source.findings.add("SUSP 5.1", "an empty continuation area", where)
    return block, offset, min(length, 1 << 20)


def extension(source: Source, entry: SystemUse, where: str) -> Extension:
    """An ER entry (5.5)."""
    data = entry.data
    if len(data) < 8:
        source.findings.add("SUSP 5.5", f"an ER entry of {len(data)} bytes", where)
        data = data.ljust(8, b"\0")
    ends = [8]
    for size in data[4:7]:
        ends.append(ends[-1] + size)
    if ends[-1] != len(data):
        source.findings.add("SUSP 5.5", f"an ER entry of {len(data)} bytes whose parts end at {ends[-1]}", where)
    parts = [data[a:b].decode("ascii", "backslashreplace") for a, b in pairwise(ends)]
    return Extension(parts[0], parts[1], parts[2], data[7])
