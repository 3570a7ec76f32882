"""Patterns of `-m`, `-x`, `-hide` and `-sort`.

They are those of fnmatch(3) with FNM_PATHNAME, which mkisofs matches names and paths with.
"""

from __future__ import annotations

import re

from qemu_viso.errors import RecipeError

LONGEST = 4095
"""Characters of a pattern; what it is to match, a path, has no more bytes on Linux."""
SPECIAL = frozenset("*?[\\")
_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": " \\t-\\r",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}
_NAMED = re.compile(r"\[:([a-z]+):\]")


class Globs:
    """Patterns that a name or a path may match. A slash is matched by itself only, a leading dot by anything."""

    def __init__(self) -> None:
        self._literals: set[str] = set()
        self._patterns: dict[str, re.Pattern[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._literals or self._patterns)

    def add(self, glob: str) -> None:
        """One more pattern."""
        if SPECIAL.isdisjoint(glob):
            self._literals.add(glob)
        elif glob not in self._patterns:
            self._patterns[glob] = translated(glob)

    def match(self, text: str) -> bool:
        """Does one of them match the whole of a name or path?"""
        return text in self._literals or any(pattern.fullmatch(text) for pattern in self._patterns.values())


def translated(glob: str) -> re.Pattern[str]:
    """The regular expression that matches what a pattern does, in time that grows with the product of both lengths.

    What stands between two asterisks matches texts of one length only, so the first place where it fits is as good as
    any: no earlier asterisk need be tried again, which atomic groups say.

    Raises:
        RecipeError: it is longer than any path.
    """
    if len(glob) > LONGEST:
        raise RecipeError(
            f"the pattern '{glob[:40]}…' is {len(glob):,} characters long, of at most {LONGEST:,}",
            hint="no path is as long; give several patterns",
        )
    pieces = [""]
    unclosed: set[int] = set()
    at = 0
    while at < len(glob):
        character = glob[at]
        at += 1
        if character == "*":
            pieces.append("")
        elif character == "?":
            pieces[-1] += "[^/]"
        elif character == "[" and (found := _bracket(glob, at, unclosed)) is not None:
            expression, at = found
            pieces[-1] += expression
        else:
            if character == "\\" and at < len(glob):
                character = glob[at]
                at += 1
            pieces[-1] += re.escape(character)
    first, *others = pieces
    last = "[^/]*" + others.pop() if others else ""
    return re.compile(first + "".join(f"(?>[^/]*?{piece})" for piece in others) + last)


def _bracket(glob: str, at: int, unclosed: set[int]) -> tuple[str, int] | None:
    """The expression for what stands in brackets, and where they end; None where they do not.

    With a slash in them nothing matches. `unclosed` collects the places from which no end was found: whoever comes to
    one of them need not look for it again.
    """
    negated = glob[at : at + 1] in ("!", "^")
    begin = at = at + negated
    inside = ""
    passed = set()
    while at < len(glob) and glob[at] != "/" and at not in unclosed:
        if at > begin:
            if glob[at] == "]":
                if not inside:
                    return ("[^/]" if negated else "(?!)"), at + 1
                return f"(?!/)[{'^' * negated}{inside}]", at + 1
            passed.add(at)
        named = _NAMED.match(glob, at)
        if named is not None and named[1] in _CLASSES:
            inside += _CLASSES[named[1]]
            at = named.end()
            continue
        low, at = _member(glob, at)
        high = low
        if glob[at : at + 1] == "-" and glob[at + 1 : at + 2] not in ("", "]", "/"):
            high, at = _member(glob, at + 1)
        if low <= high:
            inside += f"{re.escape(low)}-{re.escape(high)}"
    if at < len(glob) and at not in unclosed:
        return "(?!)", at
    unclosed |= passed
    return None


def _member(glob: str, at: int) -> tuple[str, int]:
    """One character in brackets, and where it ends."""
    if glob[at] == "\\" and at + 1 < len(glob):
        at += 1
    return glob[at], at + 1
