"""Those structures of ECMA-119 as tables of fields by which nothing is written."""

from __future__ import annotations

from qemu_viso.ondisk.ecma119 import descriptor_head, supplementary
from qemu_viso.ondisk.fields import Field, Kind, Structure

JOLIET_DESCRIPTOR = supplementary("Joliet volume descriptor", Kind.WIDE)
BOOT_RECORD = Structure(
    "boot record",
    "ECMA-119 8.2",
    *descriptor_head("8.2"),
    Field("boot system identifier", 32, Kind.TEXT, "8.2.4"),
    Field("boot identifier", 32, Kind.TEXT, "8.2.5"),
    Field("boot system use", 1977, Kind.BYTES, "8.2.6"),
)
PARTITION_DESCRIPTOR = Structure(
    "volume partition descriptor",
    "ECMA-119 8.6",
    *descriptor_head("8.6"),
    Field("unused field", 1, Kind.UNUSED, "8.6.4"),
    Field("system identifier", 32, Kind.TEXT, "8.6.5"),
    Field("volume partition identifier", 32, Kind.TEXT, "8.6.6"),
    Field("volume partition location", 8, Kind.BOTH, "8.6.7"),
    Field("volume partition size", 8, Kind.BOTH, "8.6.8"),
    Field("system use", 1960, Kind.BYTES, "8.6.9"),
)
OTHER_DESCRIPTOR = Structure(
    "volume descriptor", "ECMA-119 8.1", *descriptor_head("8.1"), Field("data", 2041, Kind.BYTES, "8.1.4")
)


def path_table_fields(*, big_endian: bool) -> Structure:
    """A path table record up to its identifier (9.4)."""
    order = Kind.BIG if big_endian else Kind.LITTLE
    return Structure(
        "path table record",
        "ECMA-119 9.4",
        Field("length of directory identifier", 1, clause="9.4.1"),
        Field("extended attribute record length", 1, clause="9.4.2"),
        Field("location of extent", 4, order, "9.4.3"),
        Field("parent directory number", 2, order, "9.4.4"),
    )
