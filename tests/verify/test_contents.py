"""What files must hold: in pieces, from every kind of source."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import GuestError, StaleSourceError
from qemu_viso.image import FileSlice, Generated, Hole, Joined, Literal, Patched
from qemu_viso.ondisk import ecma119
from qemu_viso.sources.host import HostFile
from qemu_viso.verify import contents
from qemu_viso.verify.contents import SAMPLE, Sums, content_piece, first_wrong_byte, sample_offsets, sampled
from qemu_viso.verify.expected import content_bytes
from tests.recipes import opened

if TYPE_CHECKING:
    from pathlib import Path

    from qemu_viso.image import Content

DATA = os.urandom(10_000)


def host_file(folder: Path, data: bytes = DATA) -> HostFile:
    (found,) = (
        each for each in opened(folder, "/a=a", files={"a": data}).image.regions.contents if isinstance(each, HostFile)
    )
    return found


def every_kind(file: HostFile) -> list[Content]:
    part = FileSlice(file, 100, 5000)
    return [
        file,
        part,
        Joined((part, Hole(3000), FileSlice(file, 0, 50))),
        Literal(DATA, "literal"),
        Generated(len(DATA), lambda: DATA, "generated"),
        Patched(file, 4000, Generated(300, lambda: b"p" * 300, "patch")),
        Patched(part, 0, Generated(1, lambda: b"p", "patch")),
    ]


def test_pieces_are_parts_of_the_whole(tmp_path: Path) -> None:
    for content in every_kind(host_file(tmp_path)):
        whole = b"".join(content_bytes(content))
        assert len(whole) == content.size
        for offset in (0, 1, 3999, 4150, 4999, 5000, 7999, 8000, 9999, 10_000, 20_000):
            for length in (0, 1, 200, 5000, 50_000):
                assert content_piece(content, offset, length) == whole[offset : offset + length]


def test_a_changed_source_gives_no_piece(tmp_path: Path) -> None:
    file = host_file(tmp_path)
    (tmp_path / "a").write_bytes(b"other")
    with pytest.raises(StaleSourceError):
        content_piece(file, 0, 10)


def test_a_content_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Content] = []

    def hashed(content: Content) -> str:
        asked.append(content)
        return str(len(asked))

    monkeypatch.setattr(contents, "content_sha256", hashed)
    sums, one, other = Sums(), Literal(b"x", "one"), Literal(b"x", "other")
    assert [sums(one), sums(other), sums(one), sums(other)] == ["1", "2", "1", "2"]
    assert asked == [one, other]


def guest_that_reads(data: bytes) -> contents.ReadGuest:
    async def read(offset: int, length: int) -> bytes:
        if offset > len(data):
            raise GuestError("behind the end")
        return data[offset : offset + length]

    return read


@pytest.mark.parametrize("at", [0, 1, 4999, 9999])
def test_the_first_wrong_byte_is_found(at: int) -> None:
    seen = bytearray(DATA)
    seen[at:] = bytes(each ^ 1 for each in DATA[at:])
    assert asyncio.run(first_wrong_byte(Literal(DATA, ""), guest_that_reads(bytes(seen)))) == at


def test_a_file_that_ends_early_or_cannot_be_read() -> None:
    content = Literal(DATA, "")
    assert asyncio.run(first_wrong_byte(content, guest_that_reads(DATA[:700]))) == 700
    assert asyncio.run(first_wrong_byte(content, guest_that_reads(DATA))) is None

    async def refuse(offset: int, length: int) -> bytes:
        raise GuestError("I/O error")

    assert asyncio.run(first_wrong_byte(content, refuse)) is None


def test_samples_cover_ends_and_borders() -> None:
    for size in (SAMPLE, SAMPLE + 1, 3 << 30, 20 << 30, 1 << 40):
        offsets = sample_offsets(size)
        assert offsets[0] == 0
        assert offsets[-1] + SAMPLE >= size
        assert len(offsets) < 60
        for border in (ecma119.EXTENT_LIMIT, size // ecma119.EXTENT_LIMIT * ecma119.EXTENT_LIMIT):
            if 0 < border < size:
                assert any(offset < border < offset + SAMPLE for offset in offsets)


def test_samples_are_compared(tmp_path: Path) -> None:
    (tmp_path / "big").touch()
    os.truncate(tmp_path / "big", 64 << 20)
    (content,) = (each for each in opened(tmp_path, "/big=big").image.regions.contents if isinstance(each, HostFile))
    good = bytes(64 << 20)
    assert asyncio.run(sampled(content, guest_that_reads(good))) is None
    bad = bytearray(good)
    bad[-3] = 1
    assert asyncio.run(sampled(content, guest_that_reads(bytes(bad)))) == len(bad) - 3
