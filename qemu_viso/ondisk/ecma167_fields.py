"""ECMA-167's descriptors as tables of fields, with the clauses of its 2nd edition (of the 3rd where that is newer)."""

from __future__ import annotations

from qemu_viso.ondisk.fields import Field, Kind, Structure

TAG_NAMES = {
    1: "primary volume descriptor",
    2: "anchor volume descriptor pointer",
    3: "volume descriptor pointer",
    4: "implementation use volume descriptor",
    5: "partition descriptor",
    6: "logical volume descriptor",
    7: "unallocated space descriptor",
    8: "terminating descriptor",
    9: "logical volume integrity descriptor",
    256: "file set descriptor",
    257: "file identifier descriptor",
    258: "allocation extent descriptor",
    259: "indirect entry",
    260: "terminal entry",
    261: "file entry",
    262: "extended attribute header descriptor",
    263: "unallocated space entry",
    264: "space bitmap descriptor",
    265: "partition integrity entry",
    266: "extended file entry",
}
FILE_TYPES = {
    4: "directory",
    5: "file",
    6: "block device",
    7: "character device",
    9: "FIFO",
    10: "socket",
    12: "symbolic link",
    249: "real-time file",
    250: "metadata file",
    251: "metadata mirror file",
    252: "metadata bitmap file",
}
ICB_FLAGS = {
    3: "data in the place of allocation descriptors",
    0x40: "set-user-id",
    0x80: "set-group-id",
    0x100: "sticky",
    0x200: "contiguous",
}
CHARACTERISTICS = {1: "hidden", 2: "directory", 4: "deleted", 8: "parent", 16: "metadata"}
COMPONENT_TYPES = {1: "root, as agreed", 2: "root", 3: "parent", 4: "current", 5: "name"}
EXTENT_TYPES = {0: "recorded", 1: "allocated, not recorded", 2: "not allocated", 3: "more descriptors"}

TAG = Structure(
    "descriptor tag",
    "ECMA-167 3/7.2",
    Field("tag identifier", 2, Kind.LITTLE, "3/7.2.1", TAG_NAMES),
    Field("descriptor version", 2, clause="3/7.2.2"),
    Field("tag checksum", 1, clause="3/7.2.3"),
    Field("reserved", 1, Kind.UNUSED, "3/7.2.4"),
    Field("tag serial number", 2, clause="3/7.2.5"),
    Field("descriptor CRC", 2, clause="3/7.2.6"),
    Field("descriptor CRC length", 2, clause="3/7.2.7"),
    Field("tag location", 4, clause="3/7.2.8"),
)
_EXTENT = Structure(
    "extent", "ECMA-167 3/7.1", Field("length", 4, clause="3/7.1.1"), Field("location", 4, clause="3/7.1.2")
)
_CHARSPEC = Structure(
    "charspec",
    "ECMA-167 1/7.2.1",
    Field("character set type", 1, clause="1/7.2.1.1"),
    Field("character set information", 63, Kind.TEXT, "1/7.2.1.2"),
)
_ENTITY = Structure(
    "entity identifier",
    "ECMA-167 1/7.4",
    Field("flags", 1, clause="1/7.4.1"),
    Field("identifier", 23, Kind.TEXT, "1/7.4.2"),
    Field("identifier suffix", 8, Kind.BYTES, "1/7.4.3"),
)
SHORT_AD = Structure(
    "short allocation descriptor",
    "ECMA-167 4/14.14.1",
    Field("extent length, with its type in the highest bits", 4, clause="4/14.14.1.1"),
    Field("extent position", 4, clause="4/14.14.1.2"),
)
LONG_AD = Structure(
    "long allocation descriptor",
    "ECMA-167 4/14.14.2",
    Field("extent length, with its type in the highest bits", 4, clause="4/14.14.2.1"),
    Field("extent location: logical block number", 4, clause="4/14.14.2.2"),
    Field("extent location: partition reference number", 2, clause="4/14.14.2.2"),
    Field("implementation use", 6, Kind.BYTES, "4/14.14.2.3"),
)


def _descriptor(part: int, clause: str, name: str, *fields: Field | tuple[str, Structure]) -> Structure:
    """A descriptor, its tag first; the clauses of its fields are numbered in their order from the tag on."""
    numbered: list[Field | tuple[str, Structure]] = [("descriptor tag", TAG)]
    for number, field in enumerate(fields, 2):
        if isinstance(field, Field):
            own = f"{part}/{clause}.{number}"
            field = Field(field.name, field.size, field.kind, own, field.meanings, field.bits)
        numbered.append(field)
    return Structure(name, f"ECMA-167 {part}/{clause}", *numbered)


_NUMBER = Field("volume descriptor sequence number", 4)

PRIMARY = _descriptor(
    *(3, "10.1", TAG_NAMES[1]),
    _NUMBER,
    Field("primary volume descriptor number", 4),
    Field("volume identifier", 32, Kind.DSTRING),
    Field("volume sequence number", 2),
    Field("maximum volume sequence number", 2),
    Field("interchange level", 2),
    Field("maximum interchange level", 2),
    Field("character set list", 4),
    Field("maximum character set list", 4),
    Field("volume set identifier", 128, Kind.DSTRING),
    ("descriptor character set", _CHARSPEC),
    ("explanatory character set", _CHARSPEC),
    ("volume abstract", _EXTENT),
    ("volume copyright notice", _EXTENT),
    ("application identifier", _ENTITY),
    Field("recording date and time", 12, Kind.TIMESTAMP),
    ("implementation identifier", _ENTITY),
    Field("implementation use", 64, Kind.BYTES),
    Field("predecessor volume descriptor sequence location", 4),
    Field("flags", 2),
    Field("reserved", 22, Kind.UNUSED),
)
ANCHOR = _descriptor(
    *(3, "10.2", TAG_NAMES[2]),
    ("main volume descriptor sequence extent", _EXTENT),
    ("reserve volume descriptor sequence extent", _EXTENT),
    Field("reserved", 480, Kind.UNUSED),
)
POINTER = _descriptor(
    *(3, "10.3", TAG_NAMES[3]),
    _NUMBER,
    ("next volume descriptor sequence extent", _EXTENT),
    Field("reserved", 484, Kind.UNUSED),
)
IMPLEMENTATION_USE = _descriptor(
    *(3, "10.4", TAG_NAMES[4]),
    _NUMBER,
    ("implementation identifier", _ENTITY),
    Field("implementation use", 460, Kind.BYTES),
)
_LV_INFORMATION = "UDF 2.2.7.2"
LV_INFO = Structure(
    TAG_NAMES[4],
    "ECMA-167 3/10.4",
    *(field for _, field in IMPLEMENTATION_USE.fields[:-1]),
    ("LV information (UDF 2.2.7.2)", _CHARSPEC),
    Field("logical volume identifier", 128, Kind.DSTRING, _LV_INFORMATION),
    Field("LV info 1", 36, Kind.DSTRING, _LV_INFORMATION),
    Field("LV info 2", 36, Kind.DSTRING, _LV_INFORMATION),
    Field("LV info 3", 36, Kind.DSTRING, _LV_INFORMATION),
    ("implementation id", _ENTITY),
    Field("implementation use", 128, Kind.BYTES, _LV_INFORMATION),
)
"""What UDF 2.2.7 makes of it where the implementation identifier is "*UDF LV Info"."""
PARTITION = _descriptor(
    *(3, "10.5", TAG_NAMES[5]),
    _NUMBER,
    Field("partition flags", 2, Kind.LITTLE, "", {1: "allocated"}, bits=True),
    Field("partition number", 2),
    ("partition contents", _ENTITY),
    Field("partition contents use", 128, Kind.BYTES),
    Field("access type", 4, Kind.LITTLE, "", {1: "read only", 2: "write once", 3: "rewritable", 4: "overwritable"}),
    Field("partition starting location", 4),
    Field("partition length", 4),
    ("implementation identifier", _ENTITY),
    Field("implementation use", 128, Kind.BYTES),
    Field("reserved", 156, Kind.UNUSED),
)
LOGICAL_VOLUME = _descriptor(
    *(3, "10.6", TAG_NAMES[6]),
    _NUMBER,
    ("descriptor character set", _CHARSPEC),
    Field("logical volume identifier", 128, Kind.DSTRING),
    Field("logical block size", 4),
    ("domain identifier", _ENTITY),
    ("logical volume contents use (file set)", LONG_AD),
    Field("map table length", 4),
    Field("number of partition maps", 4),
    ("implementation identifier", _ENTITY),
    Field("implementation use", 128, Kind.BYTES),
    ("integrity sequence extent", _EXTENT),
)
"""Up to the partition maps."""
PLAIN_MAP = Structure(
    "type 1 partition map",
    "ECMA-167 3/10.7.2",
    Field("partition map type", 1, clause="3/10.7.2.1"),
    Field("partition map length", 1, clause="3/10.7.2.2"),
    Field("volume sequence number", 2, clause="3/10.7.2.3"),
    Field("partition number", 2, clause="3/10.7.2.4"),
)
OTHER_MAP = Structure(
    "type 2 partition map",
    "ECMA-167 3/10.7.3",
    Field("partition map type", 1, clause="3/10.7.3.1"),
    Field("partition map length", 1, clause="3/10.7.3.2"),
)
UNALLOCATED_SPACE = _descriptor(
    *(3, "10.8", TAG_NAMES[7]),
    _NUMBER,
    Field("number of allocation descriptors", 4),
)
TERMINATING = _descriptor(*(3, "10.9", TAG_NAMES[8]), Field("reserved", 496, Kind.UNUSED))
_HEADER = Structure(
    "logical volume header descriptor",
    "ECMA-167 4/14.15",
    Field("unique id", 8, clause="4/14.15.1"),
    Field("reserved", 24, Kind.UNUSED, "4/14.15.2"),
)
INTEGRITY = _descriptor(
    *(3, "10.10", TAG_NAMES[9]),
    Field("recording date and time", 12, Kind.TIMESTAMP),
    Field("integrity type", 4, Kind.LITTLE, "", {0: "open", 1: "closed"}),
    ("next integrity extent", _EXTENT),
    ("logical volume contents use", _HEADER),
    Field("number of partitions", 4),
    Field("length of implementation use", 4),
)
"""Up to the tables of free space and of sizes."""
INTEGRITY_USE = Structure(
    "implementation use of the integrity descriptor",
    "UDF 2.2.6.4",
    ("implementation id", _ENTITY),
    Field("number of files", 4),
    Field("number of directories", 4),
    Field("minimum UDF read revision", 2),
    Field("minimum UDF write revision", 2),
    Field("maximum UDF write revision", 2),
)
FILE_SET = _descriptor(
    *(4, "14.1", TAG_NAMES[256]),
    Field("recording date and time", 12, Kind.TIMESTAMP),
    Field("interchange level", 2),
    Field("maximum interchange level", 2),
    Field("character set list", 4),
    Field("maximum character set list", 4),
    Field("file set number", 4),
    Field("file set descriptor number", 4),
    ("logical volume identifier character set", _CHARSPEC),
    Field("logical volume identifier", 128, Kind.DSTRING),
    ("file set character set", _CHARSPEC),
    Field("file set identifier", 32, Kind.DSTRING),
    Field("copyright file identifier", 32, Kind.DSTRING),
    Field("abstract file identifier", 32, Kind.DSTRING),
    ("root directory ICB", LONG_AD),
    ("domain identifier", _ENTITY),
    ("next extent", LONG_AD),
    ("system stream directory ICB", LONG_AD),
    Field("reserved", 32, Kind.UNUSED),
)
FILE_IDENTIFIER = _descriptor(
    *(4, "14.4", TAG_NAMES[257]),
    Field("file version number", 2),
    Field("file characteristics", 1, Kind.LITTLE, "", CHARACTERISTICS, bits=True),
    Field("length of file identifier", 1),
    ("ICB", LONG_AD),
    Field("length of implementation use", 2),
)
"""Up to the implementation use, which the identifier follows."""
ALLOCATION_EXTENT = _descriptor(
    *(4, "14.5", TAG_NAMES[258]),
    Field("previous allocation extent location", 4),
    Field("length of allocation descriptors", 4),
)
ICB_TAG = Structure(
    "ICB tag",
    "ECMA-167 4/14.6",
    Field("prior recorded number of direct entries", 4, clause="4/14.6.1"),
    Field("strategy type", 2, clause="4/14.6.2"),
    Field("strategy parameter", 2, clause="4/14.6.3"),
    Field("maximum number of entries", 2, clause="4/14.6.4"),
    Field("reserved", 1, Kind.UNUSED, "4/14.6.5"),
    Field("file type", 1, Kind.LITTLE, "4/14.6.6", FILE_TYPES),
    Field("parent ICB location", 6, Kind.BYTES, "4/14.6.7"),
    Field("flags", 2, Kind.LITTLE, "4/14.6.8", ICB_FLAGS, bits=True),
)
_OWNER = (
    ("ICB tag", ICB_TAG),
    Field("uid", 4),
    Field("gid", 4),
    Field("permissions", 4),
    Field("file link count", 2),
    Field("record format", 1),
    Field("record display attributes", 1),
    Field("record length", 4),
    Field("information length", 8),
)
_TAIL = (
    Field("length of extended attributes", 4),
    Field("length of allocation descriptors", 4),
)
FILE_ENTRY = _descriptor(
    *(4, "14.9", TAG_NAMES[261]),
    *_OWNER,
    Field("logical blocks recorded", 8),
    Field("access date and time", 12, Kind.TIMESTAMP),
    Field("modification date and time", 12, Kind.TIMESTAMP),
    Field("attribute date and time", 12, Kind.TIMESTAMP),
    Field("checkpoint", 4),
    ("extended attribute ICB", LONG_AD),
    ("implementation identifier", _ENTITY),
    Field("unique id", 8),
    *_TAIL,
)
EXTENDED_FILE_ENTRY = _descriptor(
    *(4, "14.17", TAG_NAMES[266]),
    *_OWNER,
    Field("object size", 8),
    Field("logical blocks recorded", 8),
    Field("access date and time", 12, Kind.TIMESTAMP),
    Field("modification date and time", 12, Kind.TIMESTAMP),
    Field("creation date and time", 12, Kind.TIMESTAMP),
    Field("attribute date and time", 12, Kind.TIMESTAMP),
    Field("checkpoint", 4),
    Field("reserved", 4, Kind.UNUSED),
    ("extended attribute ICB", LONG_AD),
    ("stream directory ICB", LONG_AD),
    ("implementation identifier", _ENTITY),
    Field("unique id", 8),
    *_TAIL,
)
SPACE_BITMAP = _descriptor(
    *(4, "14.12", TAG_NAMES[264]),
    Field("number of bits", 4),
    Field("number of bytes", 4),
)
PATH_COMPONENT = Structure(
    "path component",
    "ECMA-167 4/14.16.1",
    Field("component type", 1, Kind.LITTLE, "4/14.16.1.1", COMPONENT_TYPES),
    Field("length of component identifier", 1, clause="4/14.16.1.2"),
    Field("component file version number", 2, clause="4/14.16.1.3"),
)
RECOGNITION = Structure(
    "volume structure descriptor",
    "ECMA-167 2/9.1",
    Field("structure type", 1, clause="2/9.1.1"),
    Field("standard identifier", 5, Kind.TEXT, "2/9.1.2"),
    Field("structure version", 1, clause="2/9.1.3"),
    Field("structure data", 2041, Kind.BYTES, "2/9.1.4"),
)

BY_TAG = {
    1: PRIMARY,
    2: ANCHOR,
    3: POINTER,
    4: IMPLEMENTATION_USE,
    5: PARTITION,
    6: LOGICAL_VOLUME,
    7: UNALLOCATED_SPACE,
    8: TERMINATING,
    9: INTEGRITY,
    256: FILE_SET,
    257: FILE_IDENTIFIER,
    258: ALLOCATION_EXTENT,
    261: FILE_ENTRY,
    264: SPACE_BITMAP,
    266: EXTENDED_FILE_ENTRY,
}
"""The table of each descriptor, by its tag identifier."""
