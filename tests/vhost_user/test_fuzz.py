"""The fuzz target, over its corpus and for a short while."""

from __future__ import annotations

import random

import pytest

from tests.vhost_user.fuzz_vhost_user import mutate, one_input, pool


@pytest.mark.parametrize("number", range(len(pool())))
def test_corpus(number: int) -> None:
    one_input(pool()[number])


def test_neighbours_of_the_corpus() -> None:
    chance, inputs = random.Random(0), pool()
    for _ in range(3000):
        one_input(mutate(chance, inputs))
