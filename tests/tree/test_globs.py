"""Patterns that are made to take long: what they match is tested against genisoimage in `test_patterns`."""

from __future__ import annotations

import pytest

from qemu_viso.errors import RecipeError
from qemu_viso.tree import globs
from qemu_viso.tree.globs import translated


@pytest.mark.timeout(60)
@pytest.mark.parametrize("piece", ["[a-", "[a", "*[a", "[[:alpha:]", "[!", "[\\]"])
@pytest.mark.parametrize("end", ["", "\\]", "/]"])
def test_brackets_that_nothing_closes(piece: str, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is looked at once, not again to the end of the pattern for each that stands before it."""
    monkeypatch.setattr(globs, "LONGEST", 1 << 20)
    translated(piece * 20_000 + end)


@pytest.mark.parametrize(
    ("glob", "text", "matches"),
    [
        ("[a[b", "[a[b", True),
        ("[a[bc]", "[ab", False),
        ("[a[bc]", "[", True),
        ("[[:alpha:]", "[a", True),
        ("[[:alpha:]", "[1", False),
        ("[[:alpha:][", "[a[", True),
        ("[]", "[]", True),
        ("[a\\]", "[a]", True),
        ("[!a[!b]", "c", True),
    ],
)
def test_brackets_before_brackets(glob: str, text: str, *, matches: bool) -> None:
    """What fnmatch(3) of the GNU C library says."""
    assert (translated(glob).fullmatch(text) is not None) is matches


def test_a_pattern_that_is_longer_than_any_path() -> None:
    translated("?" * 4095)
    with pytest.raises(RecipeError, match="is 4,096 characters long, of at most 4,095"):
        translated("?" * 4096)
