"""Rock Ridge for one directory record: which entries it has, and which of them go to the continuation area."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from qemu_viso.errors import InternalError
from qemu_viso.ondisk import susp
from qemu_viso.ondisk.ecma119 import SECTOR, record_length
from qemu_viso.tree.nodes import Directory, File, Link, Namespace

if TYPE_CHECKING:
    from qemu_viso.tree.nodes import Node

RECORD_LIMIT = 254
"""A directory record's length is one byte, and even."""
PLAIN_SIZE = susp.PX_SIZE + susp.TF_SIZE
"""Bytes of the entries that every record has."""
SHOWN_BYTES = 253
"""Linux shows longer names as far as their first NM entry goes (fs/isofs/rock.c)."""
MODE_TYPES: dict[type[Node], int] = {File: stat.S_IFREG, Directory: stat.S_IFDIR, Link: stat.S_IFLNK}


class ContinuationArea:
    """The entries of one directory that do not fit into its records (SUSP 5.1).

    Pieces begin at multiples of four bytes and lie within one sector each. The area is built twice: for its size,
    when its place is not known yet, and for its bytes.

    Args:
        extent: its first sector; any number while only the size is wanted.
    """

    def __init__(self, extent: int = 0) -> None:
        self._extent = extent
        self._data = bytearray()

    def __len__(self) -> int:
        return len(self._data)

    @property
    def data(self) -> bytes:
        """The area's bytes, without the padding of its last sector."""
        return bytes(self._data)

    def fit(self, entries: list[bytes], room: int) -> bytes:
        """The entries as far as they fit into `room` bytes; the others go to the area, behind a CE entry."""
        whole = b"".join(entries)
        if len(whole) <= room:
            return whole
        inline, rest = _split(entries, room - susp.CE_SIZE)
        return inline + self._append(rest)

    def _append(self, entries: list[bytes]) -> bytes:
        """Write entries to the area, and give the CE entry that leads to them."""
        self._data += bytes(-len(self._data) % 4)
        left = SECTOR - len(self._data) % SECTOR
        total = sum(map(len, entries))
        if total > left and left < SECTOR // 4:
            self._data += bytes(left)
            left = SECTOR
        if total <= left:
            return self._write(b"".join(entries))
        body, rest = _split(entries, left - susp.CE_SIZE)
        # The space is taken before what follows it is placed, though its own CE is known only afterwards.
        start = len(self._data)
        size = len(body) + susp.CE_SIZE
        self._data += bytes(size)
        self._data[start : start + size] = body + self._append(rest)
        return self._locate(start, size)

    def _write(self, body: bytes) -> bytes:
        start = len(self._data)
        self._data += body
        return self._locate(start, len(body))

    def _locate(self, start: int, size: int) -> bytes:
        return susp.ce(self._extent + start // SECTOR, start % SECTOR, size)


def _split(entries: list[bytes], room: int) -> tuple[bytes, list[bytes]]:
    """The leading entries that fit into `room` bytes, and the others."""
    used = 0
    for index, entry in enumerate(entries):
        if used + len(entry) > room:
            return b"".join(entries[:index]), entries[index:]
        used += len(entry)
    raise InternalError("system use entries that fit were split")


def recorded_names(directory: Directory) -> dict[str, str]:
    """The Rock Ridge names that are not those of the primary tree's listing, by the latter.

    They are given apart; or they are long, and Linux would show them like another one in the directory, so that they
    are shortened until they differ.
    """
    nodes = directory.nodes(Namespace.ISO)
    longest = max(map(len, nodes), default=0)
    recorded = {}
    if directory.rock_names is not None:
        recorded = {name: own for name in nodes if (own := directory.rock_name(name)) != name}
        longest = max(longest, *map(len, recorded.values())) if recorded else longest
    if longest * 4 <= SHOWN_BYTES:
        return recorded
    names = {name: recorded.get(name, name) for name in nodes}
    long_names = {name: own for name, own in names.items() if len(os.fsencode(own)) > SHOWN_BYTES}
    taken = {own for name, own in names.items() if name not in long_names}
    numbers: dict[str, int] = {}
    for name, own in long_names.items():
        shown = start = _shown(own)
        while shown in taken:
            numbers[start] = numbers.get(start, 0) + 1
            shown = recorded[name] = _shortened(own, f"~{numbers[start]}")
        taken.add(shown)
    return recorded


def _shown(name: str) -> str:
    return os.fsdecode(susp.nm(os.fsencode(name))[0][susp.NM_HEAD :])


def _shortened(name: str, mark: str) -> str:
    """A name that is shown whole, with `mark` before its extension; no character is cut in two."""
    base, dot, extension = os.fsencode(name).rpartition(b".")
    if not dot or not base or len(extension) > SHOWN_BYTES // 8:
        base, extension = os.fsencode(name), b""
    tail = mark.encode() + dot * bool(extension) + extension
    room = SHOWN_BYTES - len(tail)
    while room and base[room : room + 1] and base[room] & 0xC0 == 0x80:
        room -= 1
    return os.fsdecode(base[:room] + tail)


def name_entries(node: Node, name: str) -> list[bytes]:
    """NM, and SL for a link: what a record has beside PX and TF."""
    entries = susp.nm(encoded_name(name))
    if type(node) is Link:
        entries += susp.sl(os.fsencode(node.target))
    return entries


def encoded_name(name: str) -> bytes:
    """A name as the host has it; nearly all are ASCII, and need not ask for the file system's encoding."""
    return name.encode() if name.isascii() else os.fsencode(name)


def attribute_entries(node: Node, date: bytes, links: int, serial: int) -> list[bytes]:
    """PX and TF of a node of that date (9.1.5)."""
    mode, uid, gid = node.attributes
    return [susp.px(MODE_TYPES[type(node)] | mode, links, uid, gid, serial), susp.tf(date)]


def room(identifier_size: int) -> int:
    """Bytes for system use entries in a record."""
    return RECORD_LIMIT - record_length(identifier_size)
