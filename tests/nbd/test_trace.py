"""What clients read, written down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qemu_viso.nbd import Server, listen_unix
from qemu_viso.nbd.constants import Mode
from qemu_viso.nbd.trace import MOST_READS, Read, ReadTrace, TracedParser
from qemu_viso.nbd.transmission import COMPACT_REQUEST, EXTENDED_REQUEST, RequestParser, read_head
from tests.nbd.test_clients import run
from tests.recipes import opened

if TYPE_CHECKING:
    from pathlib import Path


def places(reads: list[Read]) -> list[tuple[int, int]]:
    return [(read.offset, read.length) for read in reads]


def test_a_client_s_reads_are_written_down(tmp_path: Path) -> None:
    image = opened(tmp_path, "/a=a", files={"a": b"x" * 5000}).image
    trace = ReadTrace()
    with Server({"one": image, "two": image}, listen_unix(), trace=trace) as server:
        for name, offset in (("one", 32768), ("two", 0), ("one", 2048)):
            run("nbdsh", "-u", server.uri_of(name), "-c", f"h.pread(512, {offset})")
    assert places(trace.of("one")) == [(32768, 512), (2048, 512)]
    assert places(trace.of("two")) == [(0, 512)]
    assert trace.seen == 3
    assert trace.of("one")[0].seconds <= trace.of("one")[1].seconds


@pytest.mark.parametrize(("mode", "header"), [(Mode.STRUCTURED, COMPACT_REQUEST), (Mode.EXTENDED, EXTENDED_REQUEST)])
def test_the_parser_gives_what_a_plain_one_gives(mode: Mode, header: object) -> None:
    trace = ReadTrace()
    pack = header.pack  # type: ignore[attr-defined]
    data = b"".join(pack(read_head(mode) + kind, 7, 2048 * kind, 512, b"") for kind in (0, 3, 0))
    traced, plain = TracedParser(mode, trace, "x"), RequestParser(mode)
    for at in range(0, len(data), 10):
        assert traced.receive(data[at : at + 10]) == plain.receive(data[at : at + 10])
    assert places(trace.of("x")) == [(0, 512), (0, 512)]  # a flush is no read


def test_only_the_last_reads_are_remembered() -> None:
    trace = ReadTrace()
    head = read_head(Mode.STRUCTURED)
    trace.note("x", [(head, 0, number, 1, b"") for number in range(MOST_READS + 5)])
    assert len(trace.of("x")) == MOST_READS
    assert trace.seen == MOST_READS + 5
    assert trace.of("x")[0].offset == 5
