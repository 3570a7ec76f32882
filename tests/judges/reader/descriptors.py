"""The Volume Descriptor Set: ECMA-119 6.7.1 and section 8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.judges.reader.fields import A_CHARACTERS, D_CHARACTERS, Fields, illegal, long_date, short_date
from tests.judges.reader.model import SECTOR

if TYPE_CHECKING:
    from tests.judges.reader.model import Source

JOLIET_ESCAPES = {b"%/@": 1, b"%/C": 2, b"%/E": 3}

# name, offset, length, allowed characters, clause
_STRINGS = (
    ("system_id", 8, 32, A_CHARACTERS, "8.4.5"),
    ("volume_id", 40, 32, D_CHARACTERS, "8.4.6"),
    ("volume_set_id", 190, 128, D_CHARACTERS, "8.4.19"),
    ("publisher_id", 318, 128, A_CHARACTERS, "8.4.20"),
    ("preparer_id", 446, 128, A_CHARACTERS, "8.4.21"),
    ("application_id", 574, 128, A_CHARACTERS, "8.4.22"),
    ("copyright_file_id", 702, 37, D_CHARACTERS | frozenset(b".;"), "8.4.23"),
    ("abstract_file_id", 739, 37, D_CHARACTERS | frozenset(b".;"), "8.4.24"),
    ("bibliographic_file_id", 776, 37, D_CHARACTERS | frozenset(b".;"), "8.4.25"),
)
_DATES = (("creation", 813), ("modification", 830), ("expiration", 847), ("effective", 864))
_MAY_NAME_A_FILE = ("publisher_id", "preparer_id", "application_id")


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A primary or supplementary volume descriptor; `joliet` is its UCS-2 level, 0 for a primary one."""

    sector: int
    joliet: int
    identifiers: dict[str, str]
    dates: dict[str, str]
    sectors: int
    path_table_size: int
    path_tables: tuple[int, int, int, int]
    root: bytes

    @property
    def name(self) -> str:
        return "Joliet descriptor" if self.joliet else "primary descriptor"


@dataclass(frozen=True, slots=True)
class DescriptorSet:
    primary: Descriptor | None
    joliet: Descriptor | None
    boot_record: bytes | None
    terminator: int


def read_descriptors(source: Source) -> DescriptorSet:
    """All descriptors from sector 16 to the terminator."""
    findings = source.findings
    primary: Descriptor | None = None
    joliet: Descriptor | None = None
    boot: bytes | None = None
    for sector in range(16, 16 + 64):
        where = f"volume descriptor in sector {sector}"
        data = source.peek(sector * SECTOR, SECTOR)
        if sector == 16 and data[1:6] == b"BEA01":
            return DescriptorSet(None, None, None, sector)  # UDF alone, without a bridge
        if len(data) < SECTOR or data[1:6] != b"CD001":
            findings.add("ECMA-119 8.1.2", "the standard identifier is not CD001, before any terminator", where)
            return DescriptorSet(primary, joliet, boot, sector)
        source.space.claim(sector * SECTOR, SECTOR, where)
        kind, version = data[0], data[6]
        if version != 1:
            findings.add("ECMA-119 8.1.3", f"version {version}", where)
        if kind == 255:
            if any(data[7:]):
                findings.add("ECMA-119 8.3.4", "the terminator's reserved bytes are not zero", where)
            if primary is None:
                findings.add("ECMA-119 6.7.1.1", "there is no primary volume descriptor", where)
            return DescriptorSet(primary, joliet, boot, sector)
        if kind == 0:
            boot = _boot_record(source, data, sector, boot)
        elif kind == 1:
            primary = primary or _volume(source, data, sector, 0)
        elif kind == 2:
            level = JOLIET_ESCAPES.get(data[88:91], 0)
            if level:
                joliet = joliet or _volume(source, data, sector, level)
            else:
                findings.add("ECMA-119 8.5.6", f"unknown escape sequences {data[88:120].rstrip(bytes(1))!r}", where)
        else:
            findings.add("ECMA-119 8.1.1", f"descriptor type {kind} is not defined", where)
    findings.add("ECMA-119 8.3", "no terminator within 64 descriptors", "volume descriptor set")
    return DescriptorSet(primary, joliet, boot, 80)


def _boot_record(source: Source, data: bytes, sector: int, before: bytes | None) -> bytes | None:
    where = f"boot record in sector {sector}"
    if data[7:39] != b"EL TORITO SPECIFICATION".ljust(32, b"\0"):
        return before
    if sector != 17:
        source.findings.add("El Torito 2.0", "the boot record is not in sector 17", where)
    if any(data[39:71]) or any(data[75:]):
        source.findings.add("El Torito figure 7", "an unused field is not zero", where)
    return data


def _volume(source: Source, data: bytes, sector: int, joliet: int) -> Descriptor:
    where = f"{'Joliet' if joliet else 'primary'} descriptor in sector {sector}"
    fields = Fields(data, where, source.findings)
    add = source.findings.add
    if joliet:
        if data[7]:
            add("ECMA-119 8.5.3", f"volume flags {data[7]:#x}: the escape sequences are registered ones", where)
        fields.zeros(91, 120, "the escape sequences' unused end", "ECMA-119 8.5.6")
    else:
        fields.zeros(7, 8, "unused byte 8", "ECMA-119 8.4.4")
        fields.zeros(88, 120, "unused field 89 to 120", "ECMA-119 8.4.9")
    fields.zeros(72, 80, "unused field 73 to 80", "ECMA-119 8.4.7")
    fields.zeros(882, 883, "reserved byte 883", "ECMA-119 8.4.31")
    fields.zeros(1395, SECTOR, "reserved field 1396 to 2048", "ECMA-119 8.4.33")
    sectors = fields.both(80, 4, "the volume space size")
    if sectors * SECTOR != source.size:
        add("ECMA-119 8.4.8", f"the volume has {sectors} sectors, the image {source.size / SECTOR:g}", where)
    set_size = fields.both(120, 2, "the volume set size")
    sequence = fields.both(124, 2, "the volume sequence number")
    if not 1 <= sequence <= set_size:
        add("ECMA-119 8.4.11", f"volume {sequence} of {set_size}", where)
    if fields.both(128, 2, "the logical block size") != SECTOR:
        add("ECMA-119 8.4.12", f"logical blocks of {fields.little(128, 2)} bytes", where)
    if data[881] != 1:
        add("ECMA-119 8.4.30", f"file structure version {data[881]}", where)
    return Descriptor(
        sector=sector,
        joliet=joliet,
        identifiers=_strings(fields, joliet),
        dates=_dates(fields),
        sectors=sectors,
        path_table_size=fields.both(132, 4, "the path table size"),
        path_tables=(fields.little(140, 4), fields.little(144, 4), fields.big(148, 4), fields.big(152, 4)),
        root=data[156:190],
    )


def _strings(fields: Fields, joliet: int) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, start, length, allowed, clause in _STRINGS:
        raw = fields.data[start : start + length]
        if joliet:
            found[name] = _wide(fields, name, raw)
            continue
        value = raw.rstrip(b" ")
        if b"\0" in value:
            fields.findings.add("ECMA-119 7.4.3.2", f"{name} is filled with zeros, not spaces", fields.where)
            value = value.split(b"\0", 1)[0]
        body = value[1:] if name in _MAY_NAME_A_FILE and value[:1] == b"_" else value
        if set(body) - allowed:
            fields.findings.add(f"ECMA-119 {clause}", f"{name} has the bytes {illegal(body, allowed)}", fields.where)
        found[name] = value.decode("utf-8", "backslashreplace")
    return found


def _wide(fields: Fields, name: str, raw: bytes) -> str:
    """A Joliet string: UTF-16BE filled with spaces; the odd last byte of a 37-byte field is zero."""
    if len(raw) % 2:
        if raw[-1]:
            fields.findings.add("Joliet descriptor fields", f"the odd last byte of {name} is not zero", fields.where)
        raw = raw[:-1]
    try:
        value = raw.decode("utf-16-be")
    except UnicodeDecodeError:
        fields.findings.add("Joliet descriptor fields", f"{name} is not UTF-16: {raw.hex()}", fields.where)
        value = raw.decode("utf-16-be", "backslashreplace")
    if "\0" in value:
        fields.findings.add("Joliet descriptor fields", f"{name} is filled with zeros, not spaces", fields.where)
        value = value.split("\0", 1)[0]
    return value.rstrip(" ")


def _dates(fields: Fields) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, start in _DATES:
        raw = fields.data[start : start + 17]
        _, problem = long_date(raw)
        if problem:
            fields.findings.add("ECMA-119 8.4.26.1", f"{name} {problem}", fields.where)
        offset = int.from_bytes(raw[16:], "big", signed=True)
        found[name] = f"{raw[:16].decode('ascii', 'backslashreplace')}{offset:+d}"
    _, problem = short_date(fields.data[156 + 18 : 156 + 25])
    if problem:
        fields.findings.add("ECMA-119 9.1.5", f"root {problem}", fields.where)
    return found
