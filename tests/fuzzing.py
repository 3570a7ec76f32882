"""What drives the fuzz targets: mutated inputs until one of them fails, or atheris where that is installed.

A target is a module with a function that tries one input, and one that makes the next input:

    python -m tests.viso.fuzz_recipe --runs 1000000 [--seed N]
    python -m tests.viso.fuzz_recipe --atheris [libFuzzer's arguments]
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Try = Callable[[bytes], None]
    Make = Callable[[random.Random], bytes]

SLOW = 5.0
"""Seconds after which an input is told of, though it does not fail."""


def lines_of_corpus(path: Path) -> list[bytes]:
    """Inputs worth keeping: one a line in hexadecimal, and maybe a word about it behind a #."""
    lines = (line.partition("#")[0] for line in path.read_text("ascii").splitlines())
    return [bytes.fromhex(line) for line in lines if line.strip()]


def drive(one_input: Try, make: Make, description: str | None, words: Sequence[str] | None = None) -> None:
    """The command line of a target; an input that fails is shown in hexadecimal, and its error raised.

    Args:
        one_input: tries an input; whatever it raises is a finding.
        make: makes an input with these random numbers, for the same ones always the same.
        description: the target's own.
        words: the command line; the process's own by default.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000, metavar="N", help="how many inputs to try")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="which inputs")
    parser.add_argument("--atheris", action="store_true", help="let atheris make the inputs")
    arguments, others = parser.parse_known_args(words)
    if others and not arguments.atheris:
        parser.error(f"what is {others[0]}?")
    logging.disable(logging.CRITICAL)  # targets let the software complain all the time
    try:
        if arguments.atheris:
            _atheris(one_input, others)
        else:
            _run(one_input, make, arguments.runs, arguments.seed)
    finally:
        logging.disable(logging.NOTSET)


def _atheris(one_input: Try, words: list[str]) -> None:
    import atheris

    atheris.instrument_all()
    atheris.Setup([sys.argv[0], *words], one_input)
    atheris.Fuzz()


def _run(one_input: Try, make: Make, runs: int, seed: int) -> None:
    chance = random.Random(seed)
    begin = time.monotonic()
    for number in range(runs):
        data = make(chance)
        start = time.monotonic()
        try:
            one_input(data)
        except BaseException:
            print(f"input {number:,} of seed {seed} is a finding: {data.hex()}", file=sys.stderr)
            raise
        seconds = time.monotonic() - start
        if seconds > SLOW:
            print(f"input {number:,} of seed {seed} takes {seconds:.0f} s: {data.hex()}", file=sys.stderr)
        if (number + 1) % 100_000 == 0:
            print(f"{number + 1:,} inputs in {time.monotonic() - begin:.0f} s", file=sys.stderr)
    print(f"{runs:,} inputs of seed {seed} in {time.monotonic() - begin:.0f} s: nothing but documented errors")
