"""SUSP 1.12 and RRIP 1.12 (IEEE P1281, P1282): the system use entries of Rock Ridge."""

from __future__ import annotations

from functools import lru_cache

from qemu_viso.ondisk.ecma119 import both_32

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
