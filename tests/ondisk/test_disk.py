"""MBR and GPT, packed, and read by the strict reader."""

from __future__ import annotations

import uuid

from hypothesis import example, given
from hypothesis import strategies as st

from qemu_viso.ondisk import gpt, mbr
from tests.judges.reader.hybrid import read_disk
from tests.judges.reader.model import Source

BLOCKS = 20480


def source(image: bytes) -> Source:
    return Source(lambda offset, length: image[offset : offset + length], len(image))


def test_the_record_is_a_block_with_everything_in_its_place() -> None:
    record = mbr.record(b"code", 0x12345678, [b"1" * 16, b"2" * 16])
    assert len(record) == 512
    assert record[:5] == b"code\0"
    assert record[440:446] == b"\x78\x56\x34\x12\0\0"
    assert record[446:510] == b"1" * 16 + b"2" * 16 + bytes(32)
    assert record[510:] == b"\x55\xaa"


def test_isohybrid_code_is_told_where_isolinux_is() -> None:
    code = mbr.isohybrid_code(b"x" * 432, 0x1_0000_0001)
    assert len(code) == mbr.CODE_SIZE
    assert code[432:] == b"\1\0\0\0\1\0\0\0"


def test_an_isohybrid_partition_is_as_xorriso_writes_it() -> None:
    """Of an image of 9 MiB."""
    record = mbr.partition(mbr.TYPE_HIDDEN_NTFS, 0, 18432, active=True)
    assert record.hex() == "80000100173f20080000000000480000"


@given(start=st.integers(0, BLOCKS - 1), count=st.integers(1, BLOCKS))
@example(start=0, count=BLOCKS)
def test_a_partition_comes_back(start: int, count: int) -> None:
    count = min(count, BLOCKS - start)
    seen = source(mbr.record(b"", 1, [mbr.partition(0x17, start, count)]).ljust(BLOCKS * 512, b"\0"))
    disk = read_disk(seen, None)
    assert disk is not None
    assert seen.findings.items == []
    assert [(each.start, each.count, each.active) for each in disk.mbr] == [(start, count, False)]


def test_what_an_address_cannot_tell() -> None:
    record = mbr.partition(mbr.TYPE_PROTECTIVE, 1, 1 << 40)
    assert record[5:8] == b"\xfe\xff\xff"
    assert record[12:] == b"\xff\xff\xff\xff"


@given(st.lists(st.tuples(st.integers(64, 20000), st.integers(1, 50)), max_size=8), st.text(max_size=50))
def test_a_table_comes_back(spans: list[tuple[int, int]], name: str) -> None:
    disk = uuid.uuid5(uuid.NAMESPACE_OID, name)
    taken, entries, expected = 63, [], []
    for number, (first, count) in enumerate(sorted(spans)):
        first = max(first, taken + 1)
        taken = first + count - 1
        identifier = uuid.uuid5(disk, str(number))
        entries.append(gpt.entry(gpt.BASIC_DATA, identifier, first, taken, gpt.REQUIRED, name))
        expected.append((gpt.BASIC_DATA, identifier, first, taken))
    table = gpt.table(entries)
    image = bytearray(BLOCKS * 512)
    image[:512] = mbr.record(b"", 1, [mbr.partition(mbr.TYPE_PROTECTIVE, 1, BLOCKS - 1)])
    primary, backup = gpt.primary(BLOCKS, 64, disk, table), gpt.backup(BLOCKS, 64, disk, table)
    assert len(backup) == gpt.BACKUP_BLOCKS * 512
    image[512 : 512 + len(primary)] = primary
    image[-len(backup) :] = backup
    seen = source(bytes(image))
    found = read_disk(seen, None)
    assert found is not None
    assert seen.findings.items == []
    assert found.disk_guid == disk
    assert [(each.kind, each.identifier, each.first, each.last) for each in found.gpt] == expected
