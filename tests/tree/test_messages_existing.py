"""What is said about images that cannot be read, or not be taken over whole: each message once, in a golden file."""

from __future__ import annotations

from pathlib import Path

import qemu_viso.tree.existing
from tests.messages import lines_met, unmet
from tests.tree import damaged

PACKAGE = Path(qemu_viso.tree.existing.__file__).parent
MAKERS = {
    "RecipeError",
    "MissingInputError",
    "InputOutputError",
    "medium.error",
    "medium.unsupported",
    "self.error",
    "_bad",
    "warnings.add",
}


def test_messages_are_the_golden_ones() -> None:
    with lines_met() as met:
        found = damaged.text()

    assert found == damaged.GOLDEN.read_text(encoding="utf-8")
    assert unmet(PACKAGE, MAKERS, met) == []


def test_every_message_is_there_once() -> None:
    all_said = [said for _, said in damaged.messages()]

    assert all(all_said)
    assert len(all_said) == len(set(all_said))
    assert all(line.isprintable() for said in all_said for line in said.split("\n"))
