"""Structures of ECMA-167 and UDF: their sizes, and what the strict reader's fields read out of them."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from qemu_viso.ondisk import ecma167, udf
from tests.judges.reader.model import Findings, Source
from tests.judges.reader.udf_fields import compressed_unicode, dstring, read_tag, timestamp

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufeff\ufffe\uffff"), max_size=200)


def source() -> Source:
    return Source(lambda _offset, length: bytes(length), 1 << 20)


def clean(seen: Source) -> bool:
    assert isinstance(seen.findings, Findings)
    return not seen.findings.items


def descriptors() -> dict[str, bytes]:
    entity, charspec = udf.IMPLEMENTATION, udf.CHARSPEC
    time = ecma167.timestamp(0)
    return {
        "primary": ecma167.primary(
            32,
            0,
            volume_id=bytes(32),
            volume_set_id=bytes(128),
            charspec=charspec,
            application=entity,
            implementation=entity,
            recorded=time,
        ),
        "anchor": ecma167.anchor(32, ecma167.extent_ad(1, 2), ecma167.extent_ad(3, 4)),
        "use": ecma167.implementation_use(32, 1, udf.LV_INFO, udf.lv_info("a", ("b", "c", "d"))),
        "partition": ecma167.partition(32, 2, 257, 9, contents=udf.PARTITION_CONTENTS, implementation=entity),
        "logical": ecma167.logical_volume(
            32,
            3,
            charspec=charspec,
            identifier=bytes(128),
            domain=udf.DOMAIN,
            contents_use=ecma167.long_ad(4096, 0),
            implementation=entity,
            integrity=ecma167.extent_ad(2048, 64),
        ),
        "unallocated": ecma167.unallocated_space(32, 4),
        "terminating": ecma167.terminating(32),
        "file set": ecma167.file_set(
            32,
            recorded=time,
            charspec=charspec,
            logical_volume_id=bytes(128),
            identifier=bytes(32),
            copyright_file=bytes(32),
            abstract_file=bytes(32),
            root=ecma167.long_ad(2048, 2),
            domain=udf.DOMAIN,
        ),
    }


def test_descriptors_are_512_bytes_with_a_good_tag() -> None:
    for name, data in descriptors().items():
        seen = source()
        assert len(data) == 512, name
        assert read_tag(seen, data, 32, name) is not None
        assert clean(seen), name


def test_the_map_follows_the_integrity_extent() -> None:
    """ECMA-167 3/10.6: the partition maps begin at byte 440."""
    assert descriptors()["logical"][432:448] == b"\0\x08\0\0\x40\0\0\0" + b"\x01\x06\x01\0\0\0" + b"\0\0"


def test_the_integrity_descriptor_ends_with_its_use() -> None:
    use = udf.integrity_use(3, 4)
    data = ecma167.integrity(64, recorded=ecma167.timestamp(0), next_unique_id=16, length=7, use=use)
    assert len(use) == 46
    assert len(data) == 88 + len(use)


@given(body=st.binary(max_size=600), location=st.integers(0, 0xFFFFFFFF), flip=st.integers(0, 10_000))
def test_a_tag_tells_of_every_changed_byte(body: bytes, location: int, flip: int) -> None:
    data = ecma167.tagged(257, location, body)
    seen = source()
    assert read_tag(seen, data, location, "tag", expected=257) is not None
    assert clean(seen)
    broken = bytearray(data)
    broken[flip % len(data)] ^= 0x10
    seen = source()
    read_tag(seen, bytes(broken), location, "tag", expected=257)
    assert not clean(seen)


@given(st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999))
@example(0)
@example(-1)
def test_times_keep_their_microseconds(microseconds: int) -> None:
    seen = source()
    raw = ecma167.timestamp(microseconds)
    assert len(raw) == 12
    assert timestamp(seen, raw, "time") == microseconds * 1000
    assert clean(seen)


def test_times_out_of_range_become_the_nearest_year() -> None:
    assert int.from_bytes(ecma167.timestamp(400_000_000_000_000_000)[2:4], "little") == 9999


@given(st.integers(0, 0o7777))
def test_permissions_come_back_as_linux_reads_them(mode: int) -> None:
    """fs/udf/inode.c, udf_convert_permissions."""
    found, flags = ecma167.permissions(mode), ecma167.icb_flags(mode)
    linux = found & 0o7 | found >> 2 & 0o70 | found >> 4 & 0o700
    linux |= (0o4000 if flags & 0x40 else 0) | (0o2000 if flags & 0x80 else 0) | (0o1000 if flags & 0x100 else 0)
    assert linux == mode
    assert not found >> 15


@given(st.binary(max_size=255))
def test_a_file_identifier_is_as_long_as_was_planned(name: bytes) -> None:
    data = ecma167.file_identifier(7, 0, name, ecma167.long_ad(2048, 9, 25))
    assert len(data) == ecma167.file_identifier_size(len(name))
    assert len(data) % 4 == 0
    assert data[38 : 38 + len(name)] == name


def test_file_entries_fill_a_block() -> None:
    for allocation in (b"", bytes(ecma167.ICB_ROOM)):
        data = ecma167.file_entry(
            5,
            kind=5,
            flags=0,
            uid=1,
            gid=2,
            permissions=0,
            links=1,
            size=0,
            blocks=0,
            time=ecma167.timestamp(0),
            implementation=udf.IMPLEMENTATION,
            unique_id=18,
            allocation=allocation,
        )
        assert len(data) == ecma167.BLOCK
        assert data[172:176] == len(allocation).to_bytes(4, "little")


@given(text=TEXTS, size=st.sampled_from([32, 36, 128]))
@example(text="", size=32)
@example(text="x" * 200, size=32)
@example(text="🙂" * 100, size=32)
def test_fixed_texts_hold_the_beginning(text: str, size: int) -> None:
    seen = source()
    field = udf.dstring(text, size)
    assert len(field) == size
    kept = dstring(seen, field, "text")
    assert clean(seen)
    assert text.startswith(kept)
    if len(udf.compressed(text)) <= size - 1:
        assert kept == text


@given(TEXTS)
def test_compressed_unicode_comes_back(text: str) -> None:
    seen = source()
    assert compressed_unicode(seen, udf.compressed(text), "text") == text
    assert clean(seen)


def test_sixteen_bits_are_big_endian() -> None:
    assert udf.compressed("é") == b"\x08\xe9"
    assert udf.compressed("尺é") == b"\x10\x5c\x3a\x00\xe9"


def test_what_is_no_character_is_replaced() -> None:
    assert udf.representable("a\udcff\ufeffb") == "a\ufffd_b"
