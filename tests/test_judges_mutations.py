"""One thing wrong in a good image, and the strict reader tells it: ISO 9660, SUSP, Rock Ridge, Joliet, El Torito."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.judges import samples
from tests.judges.mutation import Editor, Mutation, Seen, both, sites, told
from tests.judges.reader.descriptors import read_descriptors
from tests.judges.reader.directory import Directory, read_tree
from tests.judges.reader.iso9660 import IsoRules, check_path_tables
from tests.judges.reader.model import SECTOR, Source

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(bool(samples.without("genisoimage")), reason=samples.without("genisoimage"))

HELLO, LONG, LINK = "/HELLO.TXT;1", "/LLLLLLLL.;1", "/LINK.;1"
MUTATIONS: list[Mutation] = []


def wrong(
    clause: str, words: str, *, base: str = "small", level: int = 3
) -> Callable[[Callable[[Editor], None]], None]:
    def add(change: Callable[[Editor], None]) -> None:
        MUTATIONS.append(Mutation(base, clause, words, change, level))

    return add


def put(clause: str, words: str, where: Callable[[Editor], int], *parts: bytes | int, level: int = 3) -> None:
    """A mutation that only overwrites bytes."""
    MUTATIONS.append(Mutation("small", clause, words, lambda e: e.put(where(e), *parts), level))


def at(offset: int) -> Callable[[Editor], int]:
    return lambda _: offset


def primary(offset: int) -> Callable[[Editor], int]:
    return lambda e: e.primary + offset


def joliet(offset: int) -> Callable[[Editor], int]:
    return lambda e: e.joliet + offset


def record(path: str, offset: int, hierarchy: str = "primary") -> Callable[[Editor], int]:
    return lambda e: e.record(path, hierarchy) + offset


def use(path: str, signature: str, offset: int, nth: int = 0) -> Callable[[Editor], int]:
    return lambda e: e.use(path, signature, nth) + offset


# --- volume descriptors
put("ECMA-119 8.1.2", "CD001", lambda e: e.terminator + 1, b"XX")
put("ECMA-119 8.1.3", "version 2", primary(6), 2)
put("ECMA-119 8.3.4", "reserved", lambda e: e.terminator + 100, 1)
put("ECMA-119 6.7.1.1", "no primary", primary(0), 3)
put("ECMA-119 8.1.1", "type 3", primary(0), 3)
put("ECMA-119 8.5.6", "unknown escape", joliet(88), b"%/A")
put("ECMA-119 8.5.6", "unused end", joliet(91), b" ")
put("ECMA-119 8.3", "no terminator", lambda e: e.terminator, *[b"\0CD001\1".ljust(SECTOR, b"\0")] * 64)
put("El Torito figure 7", "unused", lambda e: e.primary + SECTOR + 40, 1)
put("ECMA-119 8.5.3", "flags", joliet(7), 1)
put("ECMA-119 8.4.8", "sectors", primary(80), both(100))
put("ECMA-119 8.4.11", "volume 2 of 1", primary(124), both(2, 2))
put("ECMA-119 8.4.12", "512", primary(128), both(512, 2))
put("ECMA-119 8.4.30", "version 2", primary(881), 2)
put("ECMA-119 7.4.3.2", "zeros, not spaces", primary(40), b"AB\0")
put("ECMA-119 8.4.6", "volume_id", primary(40), b"lower")
put("ECMA-119 8.4.5", "system_id", primary(8), b"~")
put("Joliet descriptor fields", "odd last byte", joliet(702 + 36), 1)
put("Joliet descriptor fields", "not UTF-16", joliet(40), b"\xd8\0\0A")
put("Joliet descriptor fields", "filled with zeros", joliet(40), bytes(32))
put("ECMA-119 8.4.26.1", "not made of digits", primary(813), b"X")
put("ECMA-119 8.4.26.1", "month", primary(813), b"2020990100000000")
put("ECMA-119 8.4.26.1", "Greenwich", primary(813 + 16), 100)
put("ECMA-119 8.4.26.1", "unspecified", primary(847), b"0" * 16, 4)
put("ECMA-119 9.1.5", "root date", primary(156 + 19), 13)
put("ECMA-119 8.4.4", "byte 8", primary(7), 1)
put("ECMA-119 8.4.7", "73", primary(72), 1)
put("ECMA-119 8.4.9", "89", primary(88), 1)
put("ECMA-119 8.4.31", "883", primary(882), 1)
put("ECMA-119 8.4.33", "1396", primary(1500), 1)
put("ECMA-119 7.3.3", "volume space size", primary(84), b"\0\0\0\1")
put("ECMA-119 7.2.3", "logical block size", primary(130), b"\4\0")
put("ECMA-119 8.4.23", "'NO.TXT;1'", primary(702), b"NO.TXT;1")
put("ECMA-119 8.4.23", "'NO.TXT;1'", primary(318), b"_NO.TXT;1")


@wrong("El Torito 2.0", "not in sector 17")
def _(e: Editor) -> None:
    first, second = (bytes(e.data[i * SECTOR : (i + 1) * SECTOR]) for i in (17, 18))
    e.put(17 * SECTOR, second, first)


@wrong("ECMA-119 6.1.2", "whole sectors")
def _(e: Editor) -> None:
    del e.data[-5:]


@wrong("ECMA-119 6.2.2", "not all inside")
def _(e: Editor) -> None:
    e.put(e.primary + 140, (e.sectors + 5).to_bytes(4, "little"))


# --- directory records
put("ECMA-119 7.3.3", "in one byte order", record(HELLO, 2), 1)
put("ECMA-119 7.2.3", "in one byte order", record(HELLO, 28), 2)
put("ECMA-119 9.1.10", "identifier of 200", record(HELLO, 32), 200)
put("ECMA-119 9.1.12", "not zero", record("/BOOT.IMG;1", 43), 1)
put("ECMA-119 9.1.12", "missing", record("/BOOT.IMG;1", 0), 43)
put("ECMA-119 9.1.1", "has 121 bytes", record("/DIR/SUB/END.TXT;1", 0), 121)
put("ECMA-119 9.1.1", "has 20 bytes", record("/DIR/SUB/END.TXT;1", 0), 20)
put("ECMA-119 8.4.18", "34-byte", primary(156 + 32), 2)
put("ECMA-119 9.1.6", "root's record", primary(156 + 25), 0)
put("ECMA-119 6.8.2", "another directory", record("/TWO", 2), both(32))
put("ECMA-119 6.8.1.3", "1814 bytes", primary(166), both(1814))
put("ECMA-119 6.8.2.2", "reserved identifier", record("/DIR", 32), b"\1\1")
put("ECMA-119 6.8.1.1", "after the last record", at(34 * SECTOR - 1), 1)
put("ECMA-119 6.8.1.1", "crosses", record("/DIR/SUB", 10), both(200))
put("ECMA-119 9.1.5", "date", record(HELLO, 19), 13)
put("ECMA-119 9.1.5", "Greenwich", record(HELLO, 24), 100)
put("ECMA-119 9.1.6", "reserved bits", record(HELLO, 25), 0x20)
put("ECMA-119 9.1.6", "a directory with", record("/DIR", 25), 0x0A)
put("ECMA-119 9.1.6", "extended attribute", record(HELLO, 25), 0x10)
put("ECMA-119 9.1.7", "unit 1", record(HELLO, 26), 1)
put("ECMA-119 9.1.9", "number 2", record(HELLO, 28), both(2, 2))
put("ECMA-119 9.1.3", "not inside", record(HELLO, 2), both(0xFFFFFF))
put("ECMA-119 6.8.2.2", "first two records", record("/DIR/.", 33), 1)
put("ECMA-119 6.8.2.2", ". says", record("/DIR/.", 2), both(33))
put("ECMA-119 6.8.2.2", ".. says", record("/DIR/..", 10), both(4096))
put("ECMA-119 9.1.6", ". has the flags", record("/DIR/.", 25), 0)
put("ECMA-119 9.1.6", "DATA.BIN", record("/DIR/DATA.BIN;1", 25), 0x80)
put("ECMA-119 9.1.6", "B.BIN", record("/TWO/B.BIN;1", 25), 0x80)
put("ECMA-119 6.8.2.1", "twice", record("/TWO/B.BIN;1", 33), b"A")
put("ECMA-119 9.3", "greater", record("/TWO/A.BIN;1", 33), b"C")
put("ECMA-119 6.4", "belong to", record("/TWO/B.BIN;1", 2), both(40))
put("ECMA-119 6.4", "belong to", record(HELLO, 2), both(18))


def join(e: Editor, first: int, second: int) -> None:
    """Make the two files of /TWO one of two sections."""
    e.put(e.record("/TWO/A.BIN;1") + 10, both(first))
    e.put(e.record("/TWO/A.BIN;1") + 25, 0x80)
    e.put(e.record("/TWO/B.BIN;1") + 10, both(second))
    e.put(e.record("/TWO/B.BIN;1") + 33, b"A")


wrong("ECMA-119 6.4.5", "1000 bytes that is not the last")(lambda e: join(e, 1000, 500))
wrong("ECMA-119 6.4.5", "is empty")(lambda e: join(e, 2048, 0))
wrong("ECMA-119 10.2", "2 sections at level 2", level=2)(lambda e: join(e, 2048, 1000))


@wrong("ECMA-119 6.5.1", "differ")
def _(e: Editor) -> None:
    join(e, 2048, 1000)
    e.flip(e.record("/TWO/B.BIN;1") + 25)


# --- identifiers
put("ECMA-119 7.5.1", "NAME.EXTENSION", record("/BOOT.IMG;1", 33), b"BOOTTIMG;1")
put("ECMA-119 7.5.1", "NAME.EXTENSION", record("/BOOT.IMG;1", 33), b"BOOT.IMG.1")
put("ECMA-119 7.5.1", "neither", record(HELLO, 32), b"\3.;1")
put("ECMA-119 7.4.1", "other than", record(HELLO, 33), b"h")
put("ECMA-119 7.5.1", "version 0", record(HELLO, 33 + 10), b"0")
put("ECMA-119 7.5.1", "more than 30", record(LONG, 32), bytes([39]), b"L" * 30 + b".LLLLLL;1")
put("31 characters", "39 characters", record(LONG, 32), bytes([39]), b"L" * 30 + b".LLLLLL;1")
put("ECMA-119 10.1", "8 and 3", record(LONG, 32), bytes([15]), b"L" * 12 + b".;1", level=1)
put("ECMA-119 7.6.1", "empty", record("/DIR", 32), 0)
put("ECMA-119 7.6.1", "other than", record("/DIR", 33), b"D.R")


@wrong("ECMA-119 7.6.3", "more than 31")
def _(e: Editor) -> None:
    e.put(e.record(LONG) + 25, 2)
    e.put(e.record(LONG) + 32, bytes([39]), b"L" * 39)


@wrong("ECMA-119 10.1", "directory identifier of more than 8", level=1)
def _(e: Editor) -> None:
    e.put(e.record(LONG) + 25, 2)
    e.put(e.record(LONG) + 32, bytes([9]), b"L" * 9)


wrong("ECMA-119 6.8.2.1", "level 9", base="deep")(lambda _: None)
wrong("ECMA-119 6.8.2.1", "a path of", base="deep")(lambda _: None)

# --- path tables
put("ECMA-119 8.4.14", "none", primary(140), bytes(4))
put("ECMA-119 9.4", "cut or empty", lambda e: e.path_tables[0] * SECTOR + 10, 0)
put("ECMA-119 9.4.2", "attribute", lambda e: e.path_tables[0] * SECTOR + 11, 1)
put("ECMA-119 9.4.6", "padding", lambda e: e.path_tables[0] * SECTOR + 9, 1)
put("ECMA-119 6.9", "3 directories", primary(132), both(10 + 12 + 12))
put("ECMA-119 6.9.1", "directory 2", lambda e: e.path_tables[0] * SECTOR + 18, b"A")
put("ECMA-119 9.4.3", "directory 2", lambda e: e.path_tables[0] * SECTOR + 12, 99)
put("ECMA-119 9.4.4", "directory 2", lambda e: e.path_tables[2] * SECTOR + 16, b"\0\2")

# --- Joliet
put("Joliet identifiers", "of 19 bytes", record("/hello.txt", 32, "joliet"), 19)
put("Joliet identifiers", "version number", record("/dir", 33, "joliet"), b"\0d\0;\0001")
put("Joliet identifiers", "surrogate", record("/hello.txt", 33, "joliet"), b"\xd8\0")
put("Joliet allowed character set", "*", record("/hello.txt", 33, "joliet"), b"\0*")
put("Joliet sort ordering", "greater", record("/two/a.bin", 33, "joliet"), b"\0c")
put("Joliet identifiers", "two entries", record("/two/b.bin", 33, "joliet"), b"\0a")


@wrong("Joliet 64 units", "65 units")
def _(e: Editor) -> None:
    at = e.record("/" + "l" * 64, "joliet")
    e.put(at, 164)
    e.put(at + 32, 130)


@wrong("Joliet identifier length", "111 units")
def _(e: Editor) -> None:
    at = e.record("/" + "l" * 64, "joliet")
    e.put(at, 255)
    e.put(at + 32, 222)


# --- SUSP
put("SUSP 5.3", "SP entry with", use("/.", "SP", 4), b"\0")
put("SUSP 5.3", "outside", use(HELLO, "RR", 0), b"SP")
put("SUSP 4.1", "no entry begins", use(HELLO, "NM", 0), b"??")
put("SUSP 4", "zero bytes", use(HELLO, "TF", 0), bytes(26))
put("SUSP 4.1", "does not fit", use(HELLO, "TF", 2), 60)
put("SUSP 4.1", "version 2", use(HELLO, "TF", 3), 2)
put("SUSP 5.1", "crosses", use(LONG, "CE", 12), both(2000))
put("SUSP 5.1", "empty", use(LONG, "CE", 20), both(0))
put("SUSP 5.5", "of 7 bytes", use("/.", "ER", 2), 7)
put("SUSP 5.5", "parts end", use("/.", "ER", 4), 11)
put("SUSP 5.5", "outside", use(HELLO, "TF", 0), b"ER")
put("SUSP 5", "5 bytes instead of 4", use(HELLO, "TF", 0), b"ST\5\1\0")
put("ECMA-119 7.3.3", "block of the continuation", use(LONG, "CE", 4), 1)


@wrong("SUSP 5.1", "more than one")
def _(e: Editor) -> None:
    ce = e.use(LONG, "CE")
    e.put(e.use(HELLO, "PX"), bytes(e.data[ce : ce + 28]) * 2, b"PD\6\1")


@wrong("SUSP 5.1", "loop")
def _(e: Editor) -> None:
    ce = e.use("/.", "CE")
    block, offset = (int.from_bytes(e.data[ce + i : ce + i + 4], "little") for i in (4, 12))
    e.put(block * SECTOR + offset, bytes(e.data[ce : ce + 28]))


@wrong("SUSP 4", "after the last entry")
def _(e: Editor) -> None:
    at = e.record(HELLO)
    e.put(at + e.data[at] - 2, b"zz")


@wrong("ECMA-119 6.4", "continuation area")
def _(e: Editor) -> None:
    ce, other = e.use(LONG, "CE"), e.use("/.", "CE")
    e.put(ce + 4, bytes(e.data[other + 4 : other + 28]))


# --- Rock Ridge
put("RRIP 4.1", "more than one PX", use(HELLO, "RR", 0), b"PX")
put("RRIP 1.09 4.1.9", "RR says", use(HELLO, "RR", 4), 0x88)
put("RRIP 4.1", "PN has 26 bytes", use(HELLO, "TF", 0), b"PN")
put("RRIP 4.1.3", "an SL entry of 4", use(HELLO, "TF", 0), b"SL\4\1PD\x16\1")
put("RRIP 4.1.3.1", "flags 0x1 in SL", use(LINK, "SL", 4), 1)
put("RRIP 4.1.3.1", "does not fit its SL", use(LINK, "SL", 6), 100)
put("RRIP 4.1.3.1", "goes on", use(LINK, "SL", 2), 10, 1, 0, 1, 3)
put("RRIP 4.1.3", "without components", use(LINK, "SL", 2), 5, 1, 0, b"PD\x16\1")
put("RRIP 4.1.3.1", "a component with", use(LINK, "SL", 5), 2)
put("RRIP 4.1.3.1", "the component", use(LINK, "SL", 7), b"/")
put("RRIP 4.1.4", "an NM entry of 4", use(HELLO, "NM", 0), b"NM\4\1PD\x0a\1")
put("RRIP 4.1.4", "flags 0x1 in NM", use(HELLO, "NM", 4), 1)
put("RRIP 4.1.4", "and a name", use(HELLO, "NM", 4), 2)
put("RRIP 4.1.4", "the name", use(HELLO, "NM", 5), b"/")
put("RRIP 4.1.4", "the name b''", use(HELLO, "NM", 2), 5, 1, 0, b"PD\x09\1")
put("RRIP 4.1.6", "TF has", use(HELLO, "TF", 4), 0x0F)
put("RRIP 4.1.6", "month", use(HELLO, "TF", 6), 13)
put("RRIP 4.1.1", "no file type", use(HELLO, "PX", 4), both(0o644))
put("RRIP 4.1.1", "more than 16", use(HELLO, "PX", 4), both(0o40100644))
put("RRIP 4.1.1", "link count of 0", use(HELLO, "PX", 12), both(0))
put("RRIP 4.1.1", "in a record with", use(HELLO, "PX", 4), both(0o40644))
put("RRIP 4.1.3", "symbolic links", use(HELLO, "PX", 4), both(0o120777))
put("RRIP 4.1.2", "devices", use(HELLO, "PX", 4), both(0o020644))
put("RRIP 4.1.1", "a char with", use(HELLO, "PX", 4), both(0o020644))
put("ECMA-119 7.3.3", "PX mode", use(HELLO, "PX", 4), 1)
put("RRIP 4.1.4", "two entries have", use("/TWO/B.BIN;1", "NM", 5), b"a")
put("RRIP 4.1.1 links", "9 links", use("/TWO/.", "PX", 12), both(9))
put("RRIP 4.1.5.1", "no directory", use(HELLO, "TF", 0), b"CL\x0c\1", both(99), b"PD\x0e\1")
put("RRIP 4.1.4", "ordinary record", use(HELLO, "NM", 2), 5, 1, 2, b"PD\x09\1")
put("RRIP 4.1.4", "NM of .", use("/DIR/.", "TF", 0), b"NM\x06\1\0x", b"PD\x14\1")
put("RRIP 4.1.4", "NM of ..", use("/DIR/..", "TF", 0), b"NM\5\1\2", b"PD\x15\1")
put("RRIP 4.1.5", "CL, RE or SL in .", use("/DIR/.", "TF", 0), b"RE\4\1PD\x16\1")
put("RRIP 4.1.1 . and ..", ". says", use("/DIR/.", "PX", 20), both(7))
put("RRIP 4.1.1 . and ..", ".. says", use("/DIR/..", "PX", 4), both(0o40700))
put("RRIP 4.1.5.2", "only for them", use("/DIR/..", "TF", 0), b"PL\x0c\1", both(29), b"PD\x0e\1")
put("RRIP 4.1.5.2", "the parent is", use("/DIR/..", "TF", 0), b"PL\x0c\1", both(33), b"PD\x0e\1")
put("RRIP 4.1.1", "missing in some", use(HELLO, "PX", 0), b"PD")
put("RRIP 4.1.5.3", "no CL", use("/DIR", "TF", 0), b"RE\4\1PD\x16\1")
put("RRIP 4.3 version", "36 bytes", use("/.", "ER", 8), b"IEEE_P1282")


@wrong("RRIP 4.1", "SF has 4 bytes")
def _(e: Editor) -> None:
    e.put(e.use(HELLO, "TF"), b"SF\4\1PD\x16\1")


@wrong("RRIP 4.1.6", "twice")
def _(e: Editor) -> None:
    at = e.use(HELLO, "TF")
    e.put(at, (b"TF\x0c\1\2" + bytes(e.data[at + 5 : at + 12])) * 2, b"\0\0")


@wrong("RRIP 4.1.5.1", "two CL entries")
def _(e: Editor) -> None:
    for path in (HELLO, "/BOOT.IMG;1"):
        e.put(e.use(path, "TF"), b"CL\x0c\1", both(32), b"PD\x0e\1")


@wrong("RRIP 4.3", "2 ER entries")
def _(e: Editor) -> None:
    at = e.use("/.", "ER")
    e.put(at, b"ER\x12\1\x0a\0\0\1RRIP_1991A" * 2, b"PD", e.data[at + 2] - 36, 1)


def lengthen(e: Editor, path: str) -> None:
    """A PX entry of 44 bytes, in the place of PX and the entry after it."""
    at = e.use(path, "PX")
    rest = e.data[at + 36 + 2]
    e.put(at + 2, 44)
    e.put(at + 36, both(0), b"PD", rest - 8, 1, 0)


wrong("RRIP 4.1.1", "PX entries of [36, 44]")(lambda e: lengthen(e, HELLO))
wrong("RRIP 4.3 version", "44 bytes")(lambda e: lengthen(e, HELLO))


# --- El Torito
def catalog(offset: int) -> Callable[[Editor], int]:
    return lambda e: e.records["primary", "/BOOT.CAT;1"].start + offset


put("El Torito 2.1", "begins with", catalog(0), 2)
put("El Torito 2.1", "key bytes", catalog(30), 0)
put("El Torito 2.1", "add up", catalog(28), 1)
put("El Torito 2.1", "platform", catalog(1), 9)
put("El Torito 2.1", "reserved word", catalog(2), 1)
put("El Torito 2.2", "boot indicator", catalog(32), 1)
put("El Torito 2.2", "media type", catalog(33), 9)
put("El Torito 2.2", "byte 5", catalog(37), 1)
put("El Torito 2.2", "bytes 12 to 31", catalog(50), 1)
put("El Torito 2.4", "without a type", catalog(96 + 20), 1)
put("El Torito 2.2", "no sectors", catalog(38), b"\0\0")
put("El Torito 2.5", "extension entry", catalog(97), 0x20)
put("El Torito 2.2", "not inside", catalog(40), b"\xff\xff\xff\0")
put("El Torito 2.2", "media type 2 needs", catalog(33), 2)
put("El Torito 2.2", "no partition table", catalog(33), 4)
put("El Torito boot information table", "it says sector", lambda e: image(e) + 12, 1)
put("El Torito boot information table", "bytes, the image", lambda e: image(e) + 16, 1)
put("El Torito boot information table", "checksum", lambda e: image(e) + 100, b"????")
put("El Torito 2.0", "is not inside", at(17 * SECTOR + 71), b"\xff\xff\xff\0")
put("El Torito 2.3", "no section header", catalog(64), 0x90)
put("El Torito 2.3", "neither", catalog(64), 0x77)
put("El Torito 2.3", "platform", catalog(65), 0x77)
put("El Torito 2.3", "do not fit", catalog(66), b"\xff\xff")
put("El Torito 2.0", "rest of the catalog", catalog(1000), 1)


def image(e: Editor) -> int:
    return e.records["primary", "/BOOT.IMG;1"].start


@wrong("El Torito 2.0", "catalog's file")
def _(e: Editor) -> None:
    for path, hierarchy in (("/BOOT.CAT;1", "primary"), ("/boot.cat", "joliet")):
        e.put(e.record(path, hierarchy) + 10, both(20))


@wrong("El Torito 2.2", "system type")
def _(e: Editor) -> None:
    e.put(catalog(33)(e), 4)
    e.put(image(e) + 450, 6)
    e.put(image(e) + 510, b"\x55\xaa")


@wrong("El Torito 2.0", "catalog is not inside the image")
def _(e: Editor) -> None:
    """The catalog is said to be in the last sector, which is full of entries."""
    e.put(17 * SECTOR + 71, (e.sectors - 1).to_bytes(4, "little"))
    e.put((e.sectors - 1) * SECTOR, (b"\x90" + bytes(31)) * 64)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("mutations")
    source = folder / "tree"
    source.mkdir()
    samples.small_tree(source)
    boot = ("-b", "boot.img", "-c", "boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table")
    efi = ("-eltorito-alt-boot", "-b", "efi.img", "-no-emul-boot")
    small = samples.genisoimage(folder / "small.iso", source, "-R", "-J", "-V", "BASE", *boot, *efi)
    deep = folder / "deep"
    deep.joinpath(*(f"LEVEL{level}".ljust(30, "X") for level in range(9))).mkdir(parents=True)
    depths = samples.genisoimage(folder / "deep.iso", deep, "-D", "-l", "-V", "DEEP")
    return {"small": small.read_bytes(), "deep": depths.read_bytes()}


def test_the_base_is_good(bases: dict[str, bytes]) -> None:
    assert Editor(bases["small"]).inspect(level=1).violations() == []


@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
def test_mutation_is_told(bases: dict[str, bytes], mutation: Mutation) -> None:
    findings = mutation.findings(bases[mutation.base])
    assert told(mutation, findings), [str(finding) for finding in findings]


def too_many_directories(data: bytes) -> list[str]:
    """65,536 directories, more than a path table can number: only counted, so it needs no such image."""
    source = Source(lambda offset, length: data[offset : offset + length], len(data))
    descriptor = read_descriptors(source).primary
    assert descriptor is not None
    root: Directory = read_tree(source, descriptor, IsoRules())[0]
    check_path_tables(source, descriptor, [root] * 65536, lambda identifier: identifier)
    return [str(finding) for finding in source.findings.items]


def test_more_directories_than_numbers(bases: dict[str, bytes]) -> None:
    (said,) = too_many_directories(bases["small"])
    assert "65536 directories" in said


def test_every_check_was_seen_failing(bases: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen()
    seen.watch(monkeypatch)
    for mutation in MUTATIONS:
        mutation.findings(bases[mutation.base])
    too_many_directories(bases["small"])
    known = sites(
        "fields", "descriptors", "directory", "iso9660", "joliet", "susp", "rock", "rocktree", "eltorito", "model"
    )
    assert seen.unseen(known) == {}
