"""What the fuzz target has found before, and a stretch of new inputs."""

from __future__ import annotations

import random

from tests.tree import fuzz_import


def test_some_runs() -> None:
    chance = random.Random(2026)
    inputs = [*fuzz_import.pool(), *(fuzz_import.mutate(chance, fuzz_import.pool()) for _ in range(200))]
    for data in inputs:
        fuzz_import.one_input(data)
    assert len(set(inputs)) > 150


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
