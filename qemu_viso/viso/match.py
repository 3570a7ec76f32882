"""Which option a word is: long names first, then letters, then the sentence that says why it is none."""

from __future__ import annotations

import re

from qemu_viso.frozen import Frozen
from qemu_viso.viso import known
from qemu_viso.viso.options import BY_SPELLING, Option
from qemu_viso.viso.specs import BadValueError

_NAME = re.compile(r"[^=:]*+")
_LOOKS_LONG = re.compile(r"-[A-Za-z][a-z0-9-]{3,40}")
_LONG = [spelling for spelling in BY_SPELLING if len(spelling) > 2]
_BY_LETTER: dict[str, list[str]] = {}
for _option in _LONG:
    _BY_LETTER.setdefault(_option.lstrip("-")[0], []).append(_option)
_LONGEST = max(map(len, _LONG))
_FILE_HINT = "a file whose name begins with a dash is written ./-name, or after the word --"


class Match(Frozen):
    """An option in a word; `value` is None where the word holds none."""

    option: Option
    spelling: str
    value: str | None = None


def match(word: str) -> list[Match]:
    """The option that a word is, or the several that its letters are.

    Raises:
        BadValueError: the word is no option, or one that cannot be in a recipe.
    """
    if (option := BY_SPELLING.get(word)) is not None:
        return [Match(option, word)]
    name = _NAME.match(word)[0]  # type: ignore[index]
    if (option := BY_SPELLING.get(name)) is not None:
        if not option.values:
            raise BadValueError("gives a value to an option that takes none", f"write {name}")
        return [Match(option, name, word[len(name) + 1 :])]
    _refuse_known(name)
    return (_letters(word) if word[1:2] not in ("", "-") else None) or _unknown(name)


def is_option(word: str) -> bool:
    """Is there an option of this name, be it supported or not?"""
    name = _NAME.match(word)[0]  # type: ignore[index]
    return name in BY_SPELLING or name in known.MISPLACED or name in known.REFUSED


def mistaken_for(word: str) -> str | None:
    """The long option that a word such as `-pads` or `-Volid=x` nearly is, though it reads as a letter with a value.

    Its first letter is that option's, or its second is, because a recipe may have a million words to look at.
    """
    name = _NAME.match(word)[0]  # type: ignore[index]
    if not _LOOKS_LONG.fullmatch(name):
        return None
    name = name.lower()
    options = [option for letter in {*name[1:3]} for option in _BY_LETTER.get(letter, ())]
    return next(iter(_nearest(name, options, 0.85)), None)


def _letters(word: str) -> list[Match] | None:
    """`-JR`, `-Jclabel`: letters without values, the last of which may have one."""
    found: list[Match] = []
    for at, letter in enumerate(word[1:], 1):
        spelling = "-" + letter
        option = BY_SPELLING.get(spelling)
        if option is None:
            if not _like(word):
                _refuse_known(spelling, f"{'begins with' if at == 1 else 'has'} '{spelling}', which ")
            return None
        if option.values:
            rest = word[at + 1 :]
            value = rest[1:] if rest[:1] in ("=", ":") else rest
            if at == 1 and spelling in option.also and mistaken_for(word) is not None:
                return None
            return [*found, Match(option, spelling, value if rest else None)]
        found.append(Match(option, spelling))
        if at > len(BY_SPELLING):
            return None
    return found


def _refuse_known(name: str, begin: str = "") -> None:
    if name in known.MISPLACED:
        wrong, hint = known.MISPLACED[name]
        raise BadValueError(begin + wrong, hint)
    if name in known.REFUSED:
        instead = known.INSTEAD.get(name) or known.INSTEAD.get(name[1:])
        raise BadValueError(
            f"{begin}is an option of mkisofs that is known and not supported",
            f"use {instead}" if instead else "leave it out",
        )


def _unknown(name: str) -> list[Match]:
    """Refuse a word; a name that is like no option is told the nearest one all the same."""
    if not name.strip("-"):
        raise BadValueError("is not an option", _FILE_HINT)
    if near := _like(name):
        raise BadValueError("is not an option", f"did you mean {near[0]}?")
    [nearest] = _nearest(name[: _LONGEST + 1], list(BY_SPELLING), 0)
    raise BadValueError("is not an option", f"the nearest one is {nearest}; {_FILE_HINT}")


def _like(word: str) -> list[str]:
    """The long option that a word is like, if it is like any, whatever its case."""
    name = _NAME.match(word[: _LONGEST + 1])[0]  # type: ignore[index]
    return _nearest(name.lower(), _LONG, 0.65)


def _nearest(name: str, options: list[str], similarity: float) -> list[str]:
    """The option that is most like a name, if one is."""
    from difflib import get_close_matches

    return get_close_matches(name, options, 1, similarity)
