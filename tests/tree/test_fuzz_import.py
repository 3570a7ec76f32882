"""What the fuzz target has found before, and a stretch of new inputs."""

from __future__ import annotations

import random

import pytest

from tests.tree import fuzz_import


@pytest.mark.parametrize("data", fuzz_import.pool(), ids=lambda data: data.hex()[:20])
def test_corpus(data: bytes) -> None:
    fuzz_import.one_input(data)


def test_some_runs() -> None:
    chance = random.Random(2026)
    for _ in range(200):
        fuzz_import.one_input(fuzz_import.mutate(chance, fuzz_import.pool()))


def test_edits_do_what_they_say() -> None:
    whole, used = fuzz_import.images()[0]
    place = used[3] * 2048

    image, _ = fuzz_import.damaged(bytes((0, 0)) + bytes((3, 0, 5, 0, 2)) + b"ab")
    assert image == whole[: place + 5] + b"ab" + whole[place + 7 :]
    image, _ = fuzz_import.damaged(bytes((0, 0)) + bytes((3, 0, 5, 0, 0)))
    assert image == whole[: place + 5]
    image, recipe = fuzz_import.damaged(bytes((0, 1)) + bytes((3, 0, 5, 0, 255)) + bytes((2, 0)))
    assert image[place : place + 2048] == whole[used[2] * 2048 :][:2048]
    assert recipe == fuzz_import.RECIPES[1]
