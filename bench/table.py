"""The tables that the benchmarks print: Markdown, so that a run can be pasted where it is to be read."""

from __future__ import annotations

import os
import platform
import re
import subprocess


def machine(*commands: list[str]) -> None:
    """A line about what was measured on; of each command's answer, the first number with a point."""
    versions = [f"Linux {platform.release()}", f"Python {platform.python_version()}"]
    for command in commands:
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found = re.search(r"\d+\.[\d.]*\d", told)
        versions.append(f"{command[0]} {found[0] if found else 'of some version'}")
    print(f"{len(os.sched_getaffinity(0))} processors, {', '.join(versions)}\n", flush=True)


def header(*cells: str) -> None:
    """The first line: the first column is text, the others are figures."""
    row(*cells)
    row("---", *("---:" for _ in cells[1:]))


def row(*cells: str) -> None:
    """One line, seen at once."""
    print(f"| {' | '.join(cells)} |", flush=True)


def verdict(*, passed: bool) -> str:
    """The last cell of a row with a bar."""
    return "pass" if passed else "**fail**"
