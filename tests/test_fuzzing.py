"""The driver of the fuzz targets finds what fails, and says which input it was."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from tests import fuzzing

if TYPE_CHECKING:
    import random
    from pathlib import Path


def make(chance: random.Random) -> bytes:
    return bytes((chance.randrange(256),))


def test_all_inputs_are_tried_and_are_those_of_the_seed(capsys: pytest.CaptureFixture[str]) -> None:
    tried: list[list[bytes]] = []
    for seed in ("1", "1", "2"):
        tried.append([])
        fuzzing.drive(tried[-1].append, make, None, ["--runs", "300", "--seed", seed])

    assert tried[0] == tried[1] != tried[2]
    assert [len(inputs) for inputs in tried] == [300, 300, 300]
    assert capsys.readouterr().out.startswith("300 inputs of seed 1 in ")


def test_a_finding_is_shown_and_raised(capsys: pytest.CaptureFixture[str]) -> None:
    def fail_at(data: bytes) -> None:
        if data == b"\x2a":
            raise KeyError(data)

    with pytest.raises(KeyError):
        fuzzing.drive(fail_at, make, None, ["--runs", "100000"])
    told = capsys.readouterr()
    assert told.err.startswith("input ")
    assert told.err.endswith(" of seed 0 is a finding: 2a\n")
    assert told.out == ""
    assert not logging.root.manager.disable


def test_slow_inputs_are_told_of(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(fuzzing, "SLOW", -1.0)
    fuzzing.drive(lambda _: None, make, None, ["--runs", "2"])
    assert capsys.readouterr().err.count(" of seed 0 takes 0 s: ") == 2


def test_words_that_mean_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        fuzzing.drive(lambda _: None, make, None, ["--run", "2", "more"])
    assert "what is more?" in capsys.readouterr().err


def test_lines_of_a_corpus(tmp_path: Path) -> None:
    (tmp_path / "corpus").write_text("00ff # a word\n\n# nothing\n2a\n")
    assert fuzzing.lines_of_corpus(tmp_path / "corpus") == [b"\0\xff", b"*"]
