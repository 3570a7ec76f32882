"""UDF 1.02 on ECMA-167: recognition, anchors, the Volume Descriptor Sequence, integrity, and the File Set."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.judges.reader.model import SECTOR, Volume
from tests.judges.reader.udf_fields import (
    Allocation,
    charspec,
    domain,
    dstring,
    entity,
    extent,
    long_ad,
    read_tag,
    timestamp,
)
from tests.judges.reader.udf_files import FileTree

if TYPE_CHECKING:
    from tests.judges.reader.model import Source

PRIMARY, ANCHOR, POINTER, IMPLEMENTATION, PARTITION, LOGICAL, UNALLOCATED, TERMINATOR = 1, 2, 3, 4, 5, 6, 7, 8
INTEGRITY, FILE_SET = 9, 256
_NAMES = {1: "primary", 4: "implementation use", 5: "partition", 6: "logical volume", 7: "unallocated space"}
_REQUIRED = (PRIMARY, IMPLEMENTATION, PARTITION, LOGICAL, UNALLOCATED)


@dataclass(frozen=True, slots=True)
class Partition:
    """The one partition: number, first sector, length in sectors, access type (1: read only)."""

    number: int
    start: int
    length: int
    access: int


@dataclass(frozen=True, slots=True)
class LogicalVolume:
    identifier: str
    revision: int
    file_set: Allocation
    integrity: tuple[int, int]


def recognised(source: Source) -> bool:
    """2/8.3: the Volume Recognition Sequence from sector 16 holds BEA01, NSR02 or NSR03, TEA01, in that order."""
    order: list[bytes] = []
    for sector in range(16, 16 + 128):
        head = source.peek(sector * SECTOR, 7)
        name = head[1:6]
        if name not in (b"CD001", b"BEA01", b"NSR02", b"NSR03", b"TEA01", b"BOOT2"):
            break
        if name != b"CD001":
            where = f"volume recognition sequence, sector {sector}"
            source.space.claim(sector * SECTOR, SECTOR, where)
            order.append(name)
            rest = source.peek(sector * SECTOR + 7, SECTOR - 7)
            if (head[0], head[6]) != (0, 1) or any(rest):
                source.findings.add("ECMA-167 2/9.1", f"{name.decode()} with a type, version or data", where)
        if name == b"TEA01":
            break
    if not order:
        return False
    if order[0] != b"BEA01" or order[-1] != b"TEA01" or len(order) != 3:
        what = f"the extended area is {b' '.join(order).decode()}"
        source.findings.add("ECMA-167 2/8.3.1", what, "volume recognition sequence")
    return b"NSR02" in order or b"NSR03" in order


def udf_volume(source: Source) -> Volume | None:
    """The UDF tree; None where the image does not say that it has one."""
    if not recognised(source):
        return None
    sequences = _anchors(source)
    if not sequences:
        return None
    found = [_sequence(source, length, sector, name) for name, (length, sector) in sequences.items()]
    _same(source, found[0], found[-1])
    descriptors = found[0] if LOGICAL in found[0] and PARTITION in found[0] else found[-1]
    if LOGICAL not in descriptors or PARTITION not in descriptors:
        return None
    identifiers = _primary(source, descriptors[PRIMARY]) if PRIMARY in descriptors else {}
    partition = _partition(source, descriptors[PARTITION])
    logical = _logical(source, descriptors[LOGICAL], partition)
    identifiers["logical_volume_id"] = logical.identifier
    identifiers["revision"] = f"{logical.revision >> 8:x}.{logical.revision & 0xFF:02x}"
    if IMPLEMENTATION in descriptors:
        _implementation(source, descriptors[IMPLEMENTATION], logical)
    files = FileTree(source, partition.start, partition.length, logical.revision)
    root = _file_set(source, partition, logical, identifiers)
    if root is not None:
        files.read(root)
    _integrity(source, logical, partition, files)
    return Volume(identifiers, files.tree, {}, partition.length)


def _anchors(source: Source) -> dict[str, tuple[int, int]]:
    """3/8.4.2.1, UDF 2.2.3: anchors in at least two of the sectors 256, N - 256 and N."""
    last = source.size // SECTOR - 1
    good: list[tuple[tuple[int, int], tuple[int, int]]] = []
    for sector in dict.fromkeys((256, last - 256, last)):  # two of them may be one
        data = source.peek(sector * SECTOR, SECTOR) if sector > 0 else b""
        if data[:2] != b"\x02\0" or data[12:16] != sector.to_bytes(4, "little"):
            continue
        where = f"anchor in sector {sector}"
        if read_tag(source, data, sector, where, expected=ANCHOR) is None:
            continue
        source.space.claim(sector * SECTOR, SECTOR, where)
        if any(data[32:512]):
            source.findings.add("ECMA-167 3/10.2.4", "reserved bytes are not zero", where)
        good.append((extent(data[16:]), extent(data[24:])))
    if len(good) < 2:
        what = f"{len(good)} anchors in the sectors 256, {last - 256} and {last}"
        source.findings.add("UDF 2.2.3", what, "anchors")
    if not good:
        return {}
    if len(set(good)) > 1:
        source.findings.add("ECMA-167 3/10.2", f"the anchors disagree: {good}", "anchors")
    for length, _ in good[0]:
        if length < 16 * SECTOR:
            source.findings.add(
                "UDF 2.2.3.1", f"a descriptor sequence of {length} bytes, less than 16 sectors", "anchors"
            )
    return {"main sequence": good[0][0], "reserve sequence": good[0][1]}


def _sequence(source: Source, length: int, sector: int, name: str) -> dict[int, bytes]:
    """3/8.4.2: one Volume Descriptor Sequence; the prevailing descriptor of each type, by type."""
    source.space.claim(sector * SECTOR, length, f"UDF {name}")
    found: dict[int, bytes] = {}
    number: dict[int, int] = {}
    ended = False
    for index in range(min(length // SECTOR, 64)):
        data = source.peek((sector + index) * SECTOR, SECTOR)
        where = f"UDF {name}, sector {sector + index}"
        if not any(data[:512]):
            break  # an unrecorded sector ends the sequence as well (3/8.4.2)
        tag = read_tag(source, data, sector + index, where)
        if tag is None:
            continue
        if tag.identifier == TERMINATOR:
            if any(data[16:512]):
                source.findings.add("ECMA-167 3/10.9.2", "the terminator's reserved bytes are not zero", where)
            ended = True
            break
        if tag.identifier not in _NAMES and tag.identifier != POINTER:
            source.findings.add("ECMA-167 3/8.4.1", f"a descriptor of type {tag.identifier}", where)
            continue
        serial = int.from_bytes(data[16:20], "little")
        if serial >= number.get(tag.identifier, 0):
            found[tag.identifier], number[tag.identifier] = data, serial
    if not ended:
        source.findings.add("ECMA-167 3/8.4.2", "no terminating descriptor", f"UDF {name}")
    for kind in _REQUIRED:
        if kind not in found:
            source.findings.add("UDF 2.2", f"no {_NAMES[kind]} descriptor", f"UDF {name}")
    return found


def _same(source: Source, main: dict[int, bytes], reserve: dict[int, bytes]) -> None:
    """3/8.4.2.2: both sequences hold equivalent descriptors; only the tag's place and sums may differ."""
    for kind in sorted(main.keys() | reserve.keys()):
        if main.get(kind, b"")[16:] != reserve.get(kind, b"")[16:]:
            what = f"the {_NAMES.get(kind, kind)} descriptors of main and reserve sequence differ"
            source.findings.add("ECMA-167 3/8.4.2.2", what, "UDF reserve sequence")


def _primary(source: Source, data: bytes) -> dict[str, str]:
    """3/10.1, UDF 2.2.2."""
    where = "UDF primary volume descriptor"
    sequence, last = struct.unpack("<HH", data[56:60])
    levels = struct.unpack("<HH", data[60:64])
    if sequence != 1 or not 0 <= last <= 1 or levels not in ((2, 2), (2, 3), (3, 3)):
        source.findings.add("UDF 2.2.2", f"volume {sequence} of {last}, interchange levels {levels}", where)
    if struct.unpack("<II", data[64:72]) != (1, 1):
        source.findings.add("UDF 2.2.2.3", f"character set lists {data[64:72].hex()}", where)
    charspec(source, data[200:264], where)
    charspec(source, data[264:328], where)
    timestamp(source, data[376:388], where)
    entity(source, data[388:420], f"{where}, implementation")
    if any(data[490:512]):
        source.findings.add("ECMA-167 3/10.1.21", "reserved bytes are not zero", where)
    volume_set = dstring(source, data[72:200], f"{where}, volume set identifier")
    if len(volume_set) < 8:
        source.findings.add("UDF 2.2.2.5", f"the volume set identifier {volume_set!r} is not unique in itself", where)
    return {"volume_id": dstring(source, data[24:56], f"{where}, volume identifier"), "volume_set_id": volume_set}


def _partition(source: Source, data: bytes) -> Partition:
    """3/10.5, UDF 2.2.12."""
    where = "UDF partition descriptor"
    flags, number = struct.unpack("<HH", data[20:24])
    access, start, length = struct.unpack("<III", data[184:196])
    if not flags & 1 or flags & ~1:
        source.findings.add("ECMA-167 3/10.5.3", f"partition flags {flags:#x}", where)
    contents = data[25:48].rstrip(b"\0")
    if contents not in (b"+NSR02", b"+NSR03"):
        source.findings.add("ECMA-167 3/10.5.5", f"partition contents {contents!r}", where)
    if not 1 <= access <= 4:
        source.findings.add("ECMA-167 3/10.5.7", f"access type {access}", where)
    if access == 1 and any(data[56:184]):
        source.findings.add("UDF 2.3.3", "a read-only partition with space tables", where)
    if (start + length) * SECTOR > source.size:
        what = f"{length} sectors from {start} are more than the image's {source.size // SECTOR}"
        source.findings.add("ECMA-167 3/10.5.9", what, where)
    entity(source, data[196:228], f"{where}, implementation")
    return Partition(number, start, length, access)


def _logical(source: Source, data: bytes, partition: Partition) -> LogicalVolume:
    """3/10.6, UDF 2.2.4."""
    where = "UDF logical volume descriptor"
    charspec(source, data[20:84], where)
    block_size, revision = int.from_bytes(data[212:216], "little"), domain(source, data[216:248], where)
    if block_size != SECTOR:
        source.findings.add("UDF 2.2.4.2", f"logical blocks of {block_size} bytes", where)
    table_length, maps = struct.unpack("<II", data[264:272])
    table = data[440 : 440 + table_length]
    if maps != 1 or table[:2] != b"\1\6" or table_length != 6:
        source.findings.add("UDF 2.2.8", f"{maps} partition maps: {table.hex()}", where)
    elif struct.unpack("<HH", table[2:6]) != (1, partition.number):
        source.findings.add("ECMA-167 3/10.7.2", f"the map {table.hex()} is not of partition {partition.number}", where)
    entity(source, data[272:304], f"{where}, implementation")
    name = dstring(source, data[84:212], f"{where}, identifier")
    return LogicalVolume(name, revision, long_ad(data[248:264]), extent(data[432:440]))


def _implementation(source: Source, data: bytes, logical: LogicalVolume) -> None:
    """3/10.4, UDF 2.2.7: the descriptor *UDF LV Info."""
    where = "UDF implementation use volume descriptor"
    suffix = entity(source, data[20:52], where, expected=b"*UDF LV Info")
    if int.from_bytes(suffix[:2], "little") != logical.revision:
        source.findings.add("UDF 2.1.5.3", f"revision {suffix[:2].hex()}, the volume has {logical.revision:04x}", where)
    charspec(source, data[52:116], where)
    name = dstring(source, data[116:244], f"{where}, logical volume identifier")
    if name != logical.identifier:
        source.findings.add("UDF 2.2.7.2.2", f"{name!r}, but the volume is {logical.identifier!r}", where)
    for start in (244, 280, 316):
        dstring(source, data[start : start + 36], f"{where}, info at {start}")


def _file_set(
    source: Source, partition: Partition, logical: LogicalVolume, identifiers: dict[str, str]
) -> Allocation | None:
    """4/14.1, UDF 2.3.2; gives the ICB of the root directory."""
    sector = partition.start + logical.file_set.block
    where = f"UDF file set descriptor in sector {sector}"
    data = source.peek(sector * SECTOR, SECTOR)
    if read_tag(source, data, logical.file_set.block, where, expected=FILE_SET) is None:
        return None
    source.space.claim(sector * SECTOR, logical.file_set.length, where)
    timestamp(source, data[16:28], where)
    if struct.unpack("<HHII", data[28:40]) != (3, 3, 1, 1):
        source.findings.add("UDF 2.3.2", f"interchange levels and character sets {data[28:40].hex()}", where)
    charspec(source, data[48:112], where)
    charspec(source, data[240:304], where)
    if domain(source, data[416:448], where) != logical.revision:
        source.findings.add("UDF 2.3.2.7", "another revision than the logical volume", where)
    if dstring(source, data[112:240], f"{where}, logical volume identifier") != logical.identifier:
        source.findings.add("ECMA-167 4/14.1.11", "another logical volume identifier", where)
    identifiers["file_set_id"] = dstring(source, data[304:336], f"{where}, file set identifier")
    if any(data[464:512]) and logical.revision < 0x200:
        source.findings.add("ECMA-167 4/14.1.18", "reserved bytes are not zero", where)
    return long_ad(data[400:416])


def _integrity(source: Source, logical: LogicalVolume, partition: Partition, files: FileTree) -> None:
    """3/10.10, UDF 2.2.6: the volume was closed, and its sums are those of the tree."""
    length, sector = logical.integrity
    where = f"UDF logical volume integrity descriptor in sector {sector}"
    data = source.peek(sector * SECTOR, SECTOR)
    source.space.claim(sector * SECTOR, length, where)
    if read_tag(source, data, sector, where, expected=INTEGRITY) is None:
        return
    add = source.findings.add
    timestamp(source, data[16:28], where)
    if data[28:32] != b"\1\0\0\0":
        add("ECMA-167 3/10.10.3", f"integrity type {data[28]} is not closed", where)
    next_id = int.from_bytes(data[40:48], "little")
    if next_id <= max(files.unique_ids, default=0) or next_id < 16:
        add("UDF 3.2.1.1", f"next unique id {next_id}, but {max(files.unique_ids, default=0)} is in use", where)
    partitions, use_length = struct.unpack("<II", data[72:80])
    if partitions != 1:
        add("ECMA-167 3/10.10.6", f"{partitions} partitions", where)
        return
    free, size = struct.unpack("<II", data[80:88])
    if size != partition.length:
        add("ECMA-167 3/10.10.9", f"size table says {size}, the partition has {partition.length} blocks", where)
    if free and partition.access == 1:
        add("ECMA-167 3/10.10.8", f"{free} free blocks on read-only media", where)
    if use_length < 46:
        add("UDF 2.2.6.4", f"{use_length} bytes of implementation use", where)
        return
    entity(source, data[88:120], f"{where}, implementation")
    file_count, directory_count, *revisions = struct.unpack("<IIHHH", data[120:134])
    if (file_count, directory_count) != (files.files, files.directories):
        what = f"{file_count} files and {directory_count} directories, found {files.files} and {files.directories}"
        add("UDF 2.2.6.4", what, where)
    if revisions[0] > logical.revision or revisions[1] > revisions[2]:
        add("UDF 2.2.6.4", f"revisions {revisions} of a volume of {logical.revision:#06x}", where)
