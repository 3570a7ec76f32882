"""The fuzz target on its corpus, and on a few thousand mutations of it."""

from __future__ import annotations

import random

import pytest

from tests.nbd.fuzz_nbd import corpus, mutate, one_input
from tests.nbd.wire import TRIM, request

INPUTS = corpus()


@pytest.mark.parametrize("number", range(len(INPUTS)))
def test_corpus(number: int) -> None:
    one_input(INPUTS[number])


def test_mutations() -> None:
    chooser = random.Random(20_000)
    for _ in range(3000):
        one_input(mutate(chooser, INPUTS))


def test_the_target_notices_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qemu_viso.nbd.session.refusal", lambda *_, **__: (7, "no error of NBD"))
    with pytest.raises(AssertionError):
        one_input(b"\4\0" + request(TRIM, 0, 512))
