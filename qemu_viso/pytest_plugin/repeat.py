"""The line that runs one test once more, as it was run: from the same folder, with what decides how it runs."""

from __future__ import annotations

import shlex
import sys
from argparse import ArgumentParser
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from qemu_viso.pytest_plugin import Run

OURS = ("guest", "accel", "keep")
SELECTING = (
    *("-k", "-m", "--deselect", "--ignore", "--ignore-glob"),
    *("-n", "--numprocesses", "--maxprocesses", "--dist", "--tx"),
    *("--basetemp", "--junit-xml", "--junitxml"),
)
"""Options with a value that say which tests run and where, or where results go; one test needs none of them, and would
overwrite the results."""
SELECTING_FLAGS = (
    *("--lf", "--last-failed", "--ff", "--failed-first", "--nf", "--new-first"),
    *("--sw", "--stepwise", "--sw-skip", "--stepwise-skip", "--sw-reset", "--stepwise-reset", "-d"),
)


def repeat(item: pytest.Item, run: Run) -> str:
    """The line, for a shell.

    Args:
        item: the test.
        run: in which it was, as it began; of the process that was started by a person where there are workers.
    """
    environment = [f"{name}={shlex.quote(value)}" for name, value in sorted(run["environment"].items())]
    words = [sys.executable, *(["-P"] if sys.flags.safe_path else []), "-m", "pytest"]
    # Theirs count wherever they were said, on the command line or in a file.
    words += [f"--viso-{name}={item.config.getoption(f'--viso-{name}')}" for name in OURS]
    words += [*_kept(run["arguments"], run["selected"]), f"{item.config.rootpath}/{item.nodeid}"]
    return f"cd {shlex.quote(run['folder'])} && {' '.join([*environment, shlex.join(words)])}"


def _kept(arguments: Sequence[str], selected: Sequence[str]) -> list[str]:
    """The arguments of pytest without those that select tests, and without ours."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(*SELECTING, *(f"--viso-{name}" for name in OURS), dest="selecting", action="append")
    parser.add_argument(*SELECTING_FLAGS, dest="flags", action="store_true")
    _, kept = parser.parse_known_args(arguments)
    # Of equal words the last one is the test: an option's value comes behind the option.
    for word in selected:
        if word in kept:
            del kept[len(kept) - 1 - kept[::-1].index(word)]
    return [word for word in kept if word != "--"]
