"""Which modes and owners objects get (sections I1 and I2 of the VISO language)."""

from __future__ import annotations

import stat

import pytest

from qemu_viso.tree.attributes import AttributeRules
from qemu_viso.viso.recipe import Kind

DIRECTORY, FILE, LINK = stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK


@pytest.mark.parametrize(
    ("mode", "rational"),
    [
        (FILE | 0o600, 0o444),
        (FILE | 0o755, 0o555),
        (FILE | 0o100, 0o555),
        (FILE | 0o4711, 0o4555),
        (FILE | 0o000, 0o444),
        (DIRECTORY | 0o700, 0o555),
        (DIRECTORY | 0o1777, 0o555),
        (DIRECTORY | 0o2750, 0o555),
        (LINK | 0o777, 0o777),
    ],
)
def test_rational_is_readable_by_all_and_writable_by_none(mode: int, rational: int) -> None:
    assert AttributeRules().from_source(mode, 12, 34) == (rational, 0, 0)


@pytest.mark.parametrize("mode", [FILE | 0o4751, DIRECTORY | 0o1777, LINK | 0o777])
def test_strict_is_as_in_the_source(mode: int) -> None:
    rules = AttributeRules()
    rules.set_style(strict=True)

    assert rules.from_source(mode, 12, 34) == (stat.S_IMODE(mode), 12, 34)


def test_forced_modes_replace_all_bits_and_become_the_default() -> None:
    rules = AttributeRules()
    rules.force_mode(Kind.FILE, 0o640)
    rules.force_mode(Kind.DIRECTORY, 0o750)

    assert rules.from_source(FILE | 0o4755, 0, 0).mode == 0o640
    assert rules.from_source(DIRECTORY | 0o755, 0, 0).mode == 0o750
    assert (rules.new_file().mode, rules.new_directory().mode) == (0o640, 0o750)

    rules.force_mode(Kind.FILE, None)
    assert rules.from_source(FILE | 0o755, 0, 0).mode == 0o555
    assert rules.new_file().mode == 0o640, "the default stays as it was last set"

    rules.set_style(strict=True)
    assert rules.new_file().mode == 0o640
    rules.set_style(strict=False)
    assert (rules.new_file().mode, rules.new_directory().mode) == (0o444, 0o555)
    assert rules.from_source(DIRECTORY | 0o755, 0, 0).mode == 0o750, "the forcing stays"


def test_forced_owners() -> None:
    rules = AttributeRules()
    rules.force_owner(7, None)
    rules.force_owner(None, 8)

    assert rules.from_source(FILE | 0o644, 1, 2)[1:] == (7, 8)
    assert rules.new_directory()[1:] == (7, 8)


def test_what_was_made_before_is_not_touched() -> None:
    rules = AttributeRules()
    before = rules.from_source(FILE | 0o644, 0, 0)
    rules.force_mode(Kind.FILE, 0o600)

    assert (before.mode, rules.from_source(FILE | 0o644, 0, 0).mode) == (0o444, 0o600)
