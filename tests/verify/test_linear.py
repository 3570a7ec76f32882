"""Twice the entries, twice the work, no more: counted in calls, which do not depend on how busy the host is."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from qemu_viso.guest.wire import Feed, parse_view
from qemu_viso.verify.contents import Sums
from qemu_viso.verify.diff import compare
from tests.guest.test_wire import FILE, Answer, run
from tests.recipes import opened
from tests.verify.seeing import honest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ENTRIES = 200


def calls(work: Callable[[], object]) -> int:
    """How many calls of functions, C's included, some work takes."""
    count = 0

    def profile(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def test_reading_a_view(tmp_path: Path) -> None:
    def work(entries: int) -> Callable[[], object]:
        answer = Answer()
        for number in range(entries):
            answer.add(b"./%06d" % number, FILE.format(3), b"abc")
        data, feed = bytes(answer), Feed()
        return lambda: run(parse_view(feed, 7, "rock", 1 << 20), feed, data, 1 << 16)

    once, twice = calls(work(ENTRIES)), calls(work(2 * ENTRIES))
    assert ENTRIES < once < twice < 2.1 * once


def test_comparing(tmp_path: Path) -> None:
    def work(entries: int) -> Callable[[], object]:
        folder = tmp_path / str(entries)
        files = {f"in/d{number % 7}/{number:06}": b"x" for number in range(entries)}
        folder.mkdir()
        tree = opened(folder, "-R --udf /=in", files=files).tree
        view = honest(tree, "rock")
        return lambda: compare(tree, view, Sums())

    once, twice = calls(work(ENTRIES)), calls(work(2 * ENTRIES))
    assert ENTRIES < once < twice < 2.1 * once
