"""System use entries as tables of fields (SUSP 1.12, RRIP 1.12)."""

from __future__ import annotations

from qemu_viso.ondisk.fields import Field, Kind, Structure

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
        _entry("RR", "Rock Ridge entries in use, of RRIP 1.09", "RRIP 1.09", Field("flags", 1)),
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
