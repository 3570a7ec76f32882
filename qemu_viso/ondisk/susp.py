"""SUSP 1.12 and RRIP 1.12 (IEEE P1281, P1282): the system use entries of Rock Ridge."""

from __future__ import annotations

from functools import lru_cache

from qemu_viso.ondisk.ecma119 import both_32
from qemu_viso.ondisk.fields import Field, Kind, Structure

CE_SIZE = 28
PX_SIZE = 44
TF_SIZE = 26
NM_HEAD = 5
SL_HEAD = 5
ENTRY_LIMIT = 255
"""The length of an entry is one byte (SUSP 4.1)."""

NM_CONTINUE, NM_CURRENT, NM_PARENT = 1, 2, 4
SL_CONTINUE, SL_CURRENT, SL_PARENT, SL_ROOT = 1, 2, 4, 8
TF_MODIFY, TF_ACCESS, TF_ATTRIBUTES = 2, 4, 8

_ER_ID = b"IEEE_P1282"
_ER_DESCRIPTION = b"THE IEEE P1282 PROTOCOL PROVIDES SUPPORT FOR POSIX FILE SYSTEM SEMANTICS"
_ER_SOURCE = b"PLEASE CONTACT THE IEEE STANDARDS DEPARTMENT, PISCATAWAY, NJ, USA FOR THE P1282 SPECIFICATION."

SP = b"SP\x07\x01\xbe\xef\x00"
"""SUSP 5.3: the first entry of the root directory's first record; nothing to skip."""

ER = (
    b"ER"
    + bytes((8 + len(_ER_ID) + len(_ER_DESCRIPTION) + len(_ER_SOURCE), 1))
    + bytes((len(_ER_ID), len(_ER_DESCRIPTION), len(_ER_SOURCE), 1))
    + _ER_ID
    + _ER_DESCRIPTION
    + _ER_SOURCE
)
"""SUSP 5.5, with the texts of RRIP 4.3."""

_PX_HEAD = b"PX\x2c\x01"
_TF_HEAD = bytes((0x54, 0x46, TF_SIZE, 1, TF_MODIFY | TF_ACCESS | TF_ATTRIBUTES))


_BEGIN = (
    Field("signature word", 2, Kind.TEXT, "SUSP 4.1"),
    Field("length", 1, clause="SUSP 4.1"),
    Field("system use entry version", 1, clause="SUSP 4.1"),
)
"""What every entry begins with (SUSP 4.1)."""


def _entry(signature: str, what: str, standard: str, *fields: Field) -> tuple[bytes, Structure]:
    return signature.encode(), Structure(f"{signature} entry ({what})", standard, *_BEGIN, *fields)


def _both(*names: str) -> tuple[Field, ...]:
    return tuple(Field(name, 8, Kind.BOTH) for name in names)


NM_FLAGS = {1: "continue", 2: "current", 4: "parent", 32: "host name"}
SL_FLAGS = {1: "continue", 2: "current", 4: "parent", 8: "root", 16: "volume root", 32: "host name"}
SL_ENTRY_FLAGS = {1: "continue"}
TF_TIMES = ("creation", "modify", "access", "attributes", "backup", "expiration", "effective")
TF_LONG = 0x80
TF_FLAGS = {1 << bit: name for bit, name in enumerate(TF_TIMES)} | {TF_LONG: "long form"}

ENTRIES = dict(
    (
        _entry("CE", "continuation area", "SUSP 5.1", *_both("location", "offset", "size")),
        _entry("PD", "padding", "SUSP 5.2"),
        _entry(
            *("SP", "system use sharing protocol", "SUSP 5.3"),
            Field("check bytes", 2, Kind.BYTES),
            Field("bytes skipped", 1),
        ),
        _entry("ST", "terminator", "SUSP 5.4"),
        _entry(
            *("ER", "extensions reference", "SUSP 5.5"),
            *(Field(f"{name}", 1) for name in ("identifier length", "descriptor length", "source length")),
            Field("extension version", 1),
        ),
        _entry("ES", "extension selector", "SUSP 5.6", Field("extension sequence", 1)),
        _entry(
            *("PX", "POSIX file attributes", "RRIP 4.1.1"),
            *_both("file mode", "file links", "user id", "group id", "serial number"),
        ),
        _entry("PN", "POSIX device number", "RRIP 4.1.2", *_both("device number high", "device number low")),
        _entry("SL", "symbolic link", "RRIP 4.1.3", Field("flags", 1, Kind.LITTLE, "", SL_ENTRY_FLAGS, bits=True)),
        _entry("NM", "alternate name", "RRIP 4.1.4", Field("flags", 1, Kind.LITTLE, "", NM_FLAGS, bits=True)),
        _entry("CL", "child link", "RRIP 4.1.5.1", *_both("location of child directory")),
        _entry("PL", "parent link", "RRIP 4.1.5.2", *_both("location of parent directory")),
        _entry("RE", "relocated directory", "RRIP 4.1.5.3"),
        _entry("TF", "time stamps", "RRIP 4.1.6", Field("flags", 1, Kind.LITTLE, "", TF_FLAGS, bits=True)),
        _entry(
            *("SF", "sparse file", "RRIP 4.1.7"),
            *_both("virtual file size high", "virtual file size low"),
            Field("table depth", 1),
        ),
        _entry("RR", "Rock Ridge entries in use, of RRIP 1.09", "RRIP 1.09 4.1.7", Field("flags", 1)),
        _entry(
            *("ZF", "compressed file", "zisofs"),
            Field("algorithm", 2, Kind.TEXT),
            Field("header size divided by four", 1),
            Field("block size, as a power of two", 1),
            Field("uncompressed size", 8, Kind.BOTH),
        ),
    )
)
"""The fixed part of each entry, by its signature."""
OTHER_ENTRY = Structure("system use entry", "SUSP 4.1", *_BEGIN)
SL_COMPONENT = Structure(
    "component record",
    "RRIP 4.1.3.1",
    Field("component flags", 1, Kind.LITTLE, "", SL_FLAGS, bits=True),
    Field("component length", 1),
)


def ce(block: int, offset: int, length: int) -> bytes:
    """SUSP 5.1: the entries go on at byte `offset` of sector `block`, for `length` bytes."""
    return b"CE\x1c\x01" + both_32(block) + both_32(offset) + both_32(length)


@lru_cache(maxsize=4096)
def _px_head(mode: int, links: int, uid: int, gid: int) -> bytes:
    return _PX_HEAD + both_32(mode) + both_32(links) + both_32(uid) + both_32(gid)


def px(mode: int, links: int, uid: int, gid: int, serial: int) -> bytes:
    """RRIP 4.1.1: POSIX attributes; `mode` with type bits, `serial` as st_ino."""
    return _px_head(mode, links, uid, gid) + both_32(serial)


@lru_cache(maxsize=65536)
def tf(date: bytes) -> bytes:
    """RRIP 4.1.6: one 7-byte date as time of modification, access and attribute change."""
    return _TF_HEAD + date + date + date


_NM_HEADS = [b"NM" + bytes((NM_HEAD + size, 1, 0)) for size in range(ENTRY_LIMIT - NM_HEAD + 1)]
"""By the bytes of the name."""


def nm(name: bytes) -> list[bytes]:
    """RRIP 4.1.4: a name, in as many entries as it needs.

    A name is cut between UTF-8 characters, because Linux shows but the first entry of one with more than 253 bytes.
    """
    if len(name) <= ENTRY_LIMIT - NM_HEAD:
        return [_NM_HEADS[len(name)] + name]
    entries = []
    while True:
        limit = ENTRY_LIMIT - NM_HEAD
        while limit > 1 and len(name) > limit and name[limit] & 0xC0 == 0x80:
            limit -= 1
        part, name = name[:limit], name[limit:]
        flags = NM_CONTINUE if name else 0
        entries.append(b"NM" + bytes((NM_HEAD + len(part), 1, flags)) + part)
        if not name:
            return entries


def sl(target: bytes) -> list[bytes]:
    """RRIP 4.1.3: the target of a symbolic link, in as many entries as it needs.

    A component is a flag byte, a length byte and a text; one that does not fit into an entry goes on in the next.
    """
    entries: list[bytearray] = [bytearray()]
    for flags, text in _components(target):
        while True:
            room = ENTRY_LIMIT - SL_HEAD - len(entries[-1]) - 2
            if room < min(len(text), 1):
                entries.append(bytearray())
                continue
            part, text = text[:room], text[room:]
            entries[-1] += bytes((flags | (SL_CONTINUE if text else 0), len(part))) + part
            if not text:
                break
            entries.append(bytearray())
    last = len(entries) - 1
    return [
        b"SL" + bytes((SL_HEAD + len(body), 1, SL_CONTINUE if index < last else 0)) + bytes(body)
        for index, body in enumerate(entries)
    ]


def _components(target: bytes) -> list[tuple[int, bytes]]:
    """A target between its slashes. What lies between two of them is a component of no bytes, as xorriso writes it.

    Nothing in RRIP 4.1.3.1 forbids one, and every reader puts the slashes back, so that the target stays as it is.
    """
    components: list[tuple[int, bytes]] = []
    if target.startswith(b"/"):
        components.append((SL_ROOT, b""))
        target = target[1:]
        if not target:
            return components
    for part in target.split(b"/"):
        if part == b".":
            components.append((SL_CURRENT, b""))
        elif part == b"..":
            components.append((SL_PARENT, b""))
        else:
            components.append((0, part))
    return components
