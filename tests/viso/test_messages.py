"""The messages that users meet, all of them, once each."""

from __future__ import annotations

from tests.messages import lines_met, unmet
from tests.viso import messages


def test_messages_are_the_golden_ones() -> None:
    assert messages.text() == messages.GOLDEN.read_text()


def test_every_error_is_among_them() -> None:
    with lines_met() as met:
        messages.text()

    assert unmet(messages.PACKAGE, messages.ERRORS, met) == []


def test_every_message_is_there_once() -> None:
    all_said = [said for _, said in messages.messages()]

    assert all(all_said)
    assert len(all_said) == len(set(all_said))
    assert all(line.isprintable() for said in all_said for line in said.split("\n"))
