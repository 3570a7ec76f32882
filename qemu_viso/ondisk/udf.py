"""OSTA UDF 1.02: what it fixes of ECMA-167's fields. Clauses are those of UDF 1.02."""

from __future__ import annotations

import re
import struct

from qemu_viso.ondisk.ecma167 import entity

REVISION = 0x0102
CHARSPEC = b"\0" + b"OSTA Compressed Unicode".ljust(63, b"\0")
"""2.1.2."""
NAME_BYTES = 254
"""Bytes of a file name without its compression id: the length of an identifier is one byte (2.3.4)."""
FIRST_UNIQUE_ID = 16
"""3.2.1.1: numbers below are for systems that want them; the root directory has 0."""

_HARD_WRITE_PROTECT = 1
DOMAIN = entity(b"*OSTA UDF Compliant", struct.pack("<HB", REVISION, _HARD_WRITE_PROTECT))
"""2.1.5.3: the revision, and that nothing can be written."""
LV_INFO = entity(b"*UDF LV Info", struct.pack("<H", REVISION))
"""2.2.7.1."""
PARTITION_CONTENTS = entity(b"+NSR02")
IMPLEMENTATION = entity(b"*qemu-viso")
"""2.1.5.2: who made the volume; operating system undefined, because the bytes are the same on all of them."""

_ILLEGAL = re.compile("[\ufeff\ufffe\uffff]")


def representable(text: str) -> str:
    """A text in characters that 2.1.1 allows: without byte order marks, and U+FFFD for what is no character."""
    return _ILLEGAL.sub("_", text.encode("utf-16-be", "surrogatepass").decode("utf-16-be", "replace"))


def compressed(text: str) -> bytes:
    """OSTA compressed Unicode (2.1.1): 8 bits a character if they do for all of them, else 16, big-endian."""
    try:
        return b"\x08" + text.encode("latin-1")
    except UnicodeEncodeError:
        return b"\x10" + text.encode("utf-16-be")


def cut(text: str, room: int) -> str:
    """As much of a text as compressed Unicode holds in `room` bytes without the compression id, whole characters."""
    try:
        return text.encode("latin-1")[:room].decode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-16-be")[: room & ~1].decode("utf-16-be", "ignore")


def dstring(text: str, size: int) -> bytes:
    """A text in a field of fixed length (2.1.3), cut to what fits: the last byte counts the ones in use."""
    kept = cut(representable(text), size - 2)
    if not kept:
        return bytes(size)
    encoded = compressed(kept)
    return encoded.ljust(size - 1, b"\0") + bytes((len(encoded),))


def lv_info(logical_volume_id: str, lines: tuple[str, str, str]) -> bytes:
    """The implementation use of the descriptor `LV_INFO` (2.2.7.2): three lines on whose volume it is."""
    return CHARSPEC + dstring(logical_volume_id, 128) + b"".join(dstring(line, 36) for line in lines) + IMPLEMENTATION


def integrity_use(files: int, directories: int) -> bytes:
    """The implementation use of the integrity descriptor (2.2.6.4): counts, and the revisions that can be read with."""
    return IMPLEMENTATION + struct.pack("<IIHHH", files, directories, REVISION, REVISION, REVISION)
