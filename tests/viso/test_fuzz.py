"""The fuzz target, on its corpus and on some thousand inputs that are always the same."""

from __future__ import annotations

import pytest

from qemu_viso.errors import RecipeError
from tests.viso import fuzz_recipe
from tests.viso.recipes import BOURNE


@pytest.mark.parametrize("name", sorted(path.name for path in fuzz_recipe.CORPUS.iterdir()))
def test_corpus(name: str) -> None:
    fuzz_recipe.one_input((fuzz_recipe.CORPUS / name).read_bytes())


def test_conformance_cases_and_mutations() -> None:
    for data in [*fuzz_recipe.seeds(), *fuzz_recipe.inputs(4000, seed=1)]:
        fuzz_recipe.one_input(data)


def test_inputs_reach_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many inputs are refused, and many are not, or the target would test little."""
    refused = 0

    def count(error: object) -> None:
        nonlocal refused
        refused += 1

    monkeypatch.setattr(fuzz_recipe, "check_error", count)
    for data in fuzz_recipe.inputs(500, seed=2):
        fuzz_recipe.one_input(data)

    assert 150 < refused < 350


def test_other_errors_are_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(word: str, names: int) -> object:
        raise KeyError(word, names)

    monkeypatch.setattr("qemu_viso.viso.parse.parse_spec", broken)
    with pytest.raises(KeyError):
        fuzz_recipe.one_input(BOURNE.encode() + b"a")


def test_an_error_without_a_place_is_found() -> None:
    with pytest.raises(AssertionError):
        fuzz_recipe.check_error(RecipeError("x"))
