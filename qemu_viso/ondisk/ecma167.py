"""ECMA-167 (NSR02): tags, volume structure and file structure descriptors, field by field.

Each function packs one structure; clauses are those of ECMA-167, 2nd edition. All sizes are bytes; a sector or block is
2,048 of them, a sector counted from the start of the image, a block from the start of the partition.
"""

from __future__ import annotations

import struct
import time
from binascii import crc_hqx
from functools import lru_cache

BLOCK = 2048
RECOGNITION = (b"BEA01", b"NSR02", b"TEA01")
"""2/8.3: the volume recognition sequence behind the descriptors of ECMA-119, a sector each."""

EXTENT_LIMIT = 0x3FFFF800
"""4/14.14.1.1: an extent's length has 30 bits, and all extents but a file's last end with a block."""
CONTINUED = 3 << 30
"""4/14.14.1.1: the type of an extent that holds more allocation descriptors."""

PRIMARY, ANCHOR, IMPLEMENTATION_USE, PARTITION, LOGICAL_VOLUME, UNALLOCATED_SPACE = 1, 2, 4, 5, 6, 7
TERMINATING, INTEGRITY, FILE_SET, FILE_IDENTIFIER, ALLOCATION_EXTENT, FILE_ENTRY = 8, 9, 256, 257, 258, 261
"""3/7.2.1, 4/7.2.1: tag identifiers."""

TYPE_DIRECTORY, TYPE_FILE, TYPE_LINK = 4, 5, 12
"""4/14.6.6."""
ICB_SHORT, ICB_EMBEDDED = 0, 3
"""4/14.6.8, bits 0 to 2: short allocation descriptors, or the data itself in their place."""
ICB_SETUID, ICB_SETGID, ICB_STICKY = 0x40, 0x80, 0x100
"""4/14.6.8."""
FID_DIRECTORY, FID_PARENT = 2, 8
"""4/14.4.3: file characteristics."""

CURRENT, PARENT_COMPONENT, ROOT, NAME = 4, 3, 2, 5
"""4/14.16.1.1: types of path components."""

FILE_ENTRY_SIZE = 176
"""4/14.9: a file entry up to its extended attributes."""
ICB_ROOM = BLOCK - FILE_ENTRY_SIZE
"""Bytes for allocation descriptors, or for data, in an ICB of one block."""
SHORT_AD_SIZE = 8
IDENTIFIER_SIZE = 38
"""4/14.4: a file identifier descriptor without its identifier."""
ALLOCATION_EXTENT_SIZE = 24
"""4/14.5: an allocation extent descriptor, up to the descriptors behind it."""

_TAG = struct.Struct("<HHBBHHHI")
_VERSION = 2
_DESCRIPTOR = 512


def tagged(identifier: int, location: int, body: bytes) -> bytes:
    """A descriptor: its tag (3/7.2), which has the checksums, and its body."""
    tag = _TAG.pack(identifier, _VERSION, 0, 0, 0, crc_hqx(body, 0), len(body), location)
    return tag[:4] + bytes((sum(tag) & 0xFF,)) + tag[5:] + body


def _volume_descriptor(identifier: int, sector: int, body: bytes) -> bytes:
    """One of the descriptors of 3/10, which are 512 bytes long."""
    return tagged(identifier, sector, body.ljust(_DESCRIPTOR - _TAG.size, b"\0"))


def extent_ad(length: int, sector: int) -> bytes:
    """An extent descriptor (3/7.1)."""
    return struct.pack("<II", length, sector)


def short_ad(length: int, block: int) -> bytes:
    """A short allocation descriptor (4/14.14.1), its type in the two highest bits of the length."""
    return struct.pack("<II", length, block)


def long_ad(length: int, block: int, unique_id: int = 0) -> bytes:
    """A long allocation descriptor (4/14.14.2) in partition 0; a file's unique id stands in its implementation use."""
    return struct.pack("<IIHHI", length, block, 0, 0, unique_id & 0xFFFFFFFF)


def timestamp(microseconds: int) -> bytes:
    """The twelve bytes of 1/7.3, in UTC, for microseconds since 1970."""
    seconds, fraction = divmod(microseconds, 1_000_000)
    return _whole_seconds(seconds) + bytes((fraction // 10_000, fraction // 100 % 100, fraction % 100))


@lru_cache(maxsize=65536)
def _whole_seconds(seconds: int) -> bytes:
    """A time stamp up to its fractions; the files of a tree often have the same."""
    at = time.gmtime(seconds)
    year = min(max(at.tm_year, 1), 9999)
    # Type 1 is local time, here 0 minutes from UTC.
    return struct.pack("<HhBBBBB", 1 << 12, year, at.tm_mon, at.tm_mday, at.tm_hour, at.tm_min, min(at.tm_sec, 59))


def entity(identifier: bytes, suffix: bytes = b"") -> bytes:
    """An entity identifier (1/7.4), without flags."""
    return struct.pack("<B23s8s", 0, identifier, suffix)


def recognition() -> bytes:
    """The volume recognition sequence (2/8.3): three sectors, each a type of 0, a name and version 1 (2/9)."""
    return b"".join((b"\0" + name + b"\x01").ljust(BLOCK, b"\0") for name in RECOGNITION)


def anchor(sector: int, main: bytes, reserve: bytes) -> bytes:
    """An anchor volume descriptor pointer (3/10.2); `main` and `reserve` are extents."""
    return _volume_descriptor(ANCHOR, sector, main + reserve)


def primary(
    sector: int,
    number: int,
    *,
    volume_id: bytes,
    volume_set_id: bytes,
    charspec: bytes,
    application: bytes,
    implementation: bytes,
    recorded: bytes,
) -> bytes:
    """A primary volume descriptor (3/10.1) of the only volume in its set; `number` is its place in the sequence."""
    body = (
        struct.pack("<II", number, 0)
        + volume_id
        + struct.pack("<HHHHII", 1, 1, 2, 3, 1, 1)
        + volume_set_id
        + charspec * 2
        + bytes(16)
        + application
        + recorded
        + implementation
    )
    return _volume_descriptor(PRIMARY, sector, body)


def implementation_use(sector: int, number: int, identifier: bytes, use: bytes) -> bytes:
    """An implementation use volume descriptor (3/10.4)."""
    return _volume_descriptor(IMPLEMENTATION_USE, sector, struct.pack("<I", number) + identifier + use)


def partition(sector: int, number: int, start: int, length: int, *, contents: bytes, implementation: bytes) -> bytes:
    """The descriptor (3/10.5) of partition 0, which is allocated and read only; `start` and `length` in sectors."""
    body = (
        struct.pack("<IHH", number, 1, 0)
        + contents
        + bytes(128)
        + struct.pack("<III", 1, start, length)
        + implementation
    )
    return _volume_descriptor(PARTITION, sector, body)


def logical_volume(
    sector: int,
    number: int,
    *,
    charspec: bytes,
    identifier: bytes,
    domain: bytes,
    contents_use: bytes,
    implementation: bytes,
    integrity: bytes,
) -> bytes:
    """A logical volume descriptor (3/10.6) with one map (3/10.7.2), of partition 0 on volume 1."""
    partition_map = struct.pack("<BBHH", 1, 6, 1, 0)
    body = (
        struct.pack("<I", number)
        + charspec
        + identifier
        + struct.pack("<I", BLOCK)
        + domain
        + contents_use
        + struct.pack("<II", len(partition_map), 1)
        + implementation
        + bytes(128)
        + integrity
        + partition_map
    )
    return _volume_descriptor(LOGICAL_VOLUME, sector, body)


def unallocated_space(sector: int, number: int) -> bytes:
    """An unallocated space descriptor (3/10.8) that tells of none."""
    return _volume_descriptor(UNALLOCATED_SPACE, sector, struct.pack("<II", number, 0))


def terminating(location: int) -> bytes:
    """A terminating descriptor (3/10.9, 4/14.2)."""
    return _volume_descriptor(TERMINATING, location, b"")


def integrity(sector: int, *, recorded: bytes, next_unique_id: int, length: int, use: bytes) -> bytes:
    """A closed logical volume integrity descriptor (3/10.10) of one partition of `length` blocks, all of them used."""
    body = (
        recorded
        + struct.pack("<I", 1)
        + extent_ad(0, 0)
        + struct.pack("<Q24x", next_unique_id)  # 4/14.15
        + struct.pack("<IIII", 1, len(use), 0, length)
        + use
    )
    return tagged(INTEGRITY, sector, body)


def file_set(
    block: int,
    *,
    recorded: bytes,
    charspec: bytes,
    logical_volume_id: bytes,
    identifier: bytes,
    copyright_file: bytes,
    abstract_file: bytes,
    root: bytes,
    domain: bytes,
) -> bytes:
    """A file set descriptor (4/14.1), the only one; `root` is the long allocation descriptor of the root's ICB."""
    body = (
        recorded
        + struct.pack("<HHIIII", 3, 3, 1, 1, 0, 0)
        + charspec
        + logical_volume_id
        + charspec
        + identifier
        + copyright_file
        + abstract_file
        + root
        + domain
    )
    return _volume_descriptor(FILE_SET, block, body)


_FILE_ENTRY = struct.Struct("<IHHHBB6xHIIIHBBIQQ12s12s12sI16x32sQII")


def file_entry(
    block: int,
    *,
    kind: int,
    flags: int,
    uid: int,
    gid: int,
    permissions: int,
    links: int,
    size: int,
    blocks: int,
    time: bytes,
    implementation: bytes,
    unique_id: int,
    allocation: bytes,
) -> bytes:
    """A file entry (4/14.9) of strategy 4 (4/A.5) as an ICB of one block.

    Args:
        block: where it lies.
        kind: file type (4/14.6.6).
        flags: ICB flags (4/14.6.8), which tell what `allocation` is.
        uid: owner.
        gid: group.
        permissions: as 4/14.9.5 has them.
        links: names that lead to it, at most 65,535.
        size: bytes of the file.
        blocks: blocks that hold them outside the ICB.
        time: of access, modification and change alike.
        implementation: who wrote it.
        unique_id: a number that no other file has.
        allocation: allocation descriptors, or the data itself.
    """
    body = _FILE_ENTRY.pack(
        *(0, 4, 0, 1, 0, kind, flags),
        *(uid, gid, permissions, links, 0, 0, 0, size, blocks),
        *(time, time, time, 1, implementation, unique_id, 0, len(allocation)),
    )
    return tagged(FILE_ENTRY, block, body + allocation).ljust(BLOCK, b"\0")


def allocation_extent(block: int, previous: int, allocation: bytes) -> bytes:
    """An allocation extent descriptor (4/14.5) and the allocation descriptors behind it: one block."""
    body = struct.pack("<II", previous, len(allocation))
    return (tagged(ALLOCATION_EXTENT, block, body) + allocation).ljust(BLOCK, b"\0")


_FILE_IDENTIFIER = struct.Struct("<HBB16sH")


def file_identifier(block: int, characteristics: int, identifier: bytes, icb: bytes) -> bytes:
    """A file identifier descriptor (4/14.4), padded; `block` is the one that it begins in."""
    body = _FILE_IDENTIFIER.pack(1, characteristics, len(identifier), icb, 0) + identifier
    return tagged(FILE_IDENTIFIER, block, body + bytes(-(IDENTIFIER_SIZE + len(identifier)) % 4))


def file_identifier_size(identifier_size: int) -> int:
    """Bytes of a file identifier descriptor (4/14.4)."""
    return (IDENTIFIER_SIZE + identifier_size + 3) & ~3


def path_component(kind: int, identifier: bytes = b"") -> bytes:
    """A component of a symbolic link's target (4/14.16.1)."""
    return struct.pack("<BBH", kind, len(identifier), 0) + identifier


@lru_cache(maxsize=4096)
def permissions(mode: int) -> int:
    """Permissions (4/14.9.5) out of POSIX ones: who may write may also delete and change attributes."""
    found = 0
    for shift, group in ((0, 0), (3, 5), (6, 10)):
        bits = mode >> shift & 7
        found |= (bits | (0x18 if bits & 2 else 0)) << group
    return found


@lru_cache(maxsize=4096)
def icb_flags(mode: int) -> int:
    """Set-id and sticky bits of a POSIX mode as ICB flags (4/14.6.8)."""
    return (
        (ICB_SETUID if mode & 0o4000 else 0)
        | (ICB_SETGID if mode & 0o2000 else 0)
        | (ICB_STICKY if mode & 0o1000 else 0)
    )
