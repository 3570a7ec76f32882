"""Which option a word is: long names first, then letters, then the sentence that says why it is none."""

from __future__ import annotations

import re

from qemu_viso.frozen import Frozen
from qemu_viso.viso import known
from qemu_viso.viso.options import BY_SPELLING, Option
from qemu_viso.viso.specs import BadValueError

_NAME = re.compile(r"[^=:]*+")
_LOOKS_LONG = re.compile(r"-[a-z][a-z0-9-]{3,40}")
_LONG = [spelling for spelling in BY_SPELLING if len(spelling) > 2]
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
    """The long option that a word such as `-pads` nearly is, though it reads as a letter with a value."""
    if not _LOOKS_LONG.fullmatch(word):
        return None
    return next(iter(_nearest(word, 0.85)), None)


def _letters(word: str) -> list[Match] | None:
    """`-JR`, `-Jclabel`: letters without values, the last of which may have one."""
    found: list[Match] = []
    for at, letter in enumerate(word[1:], 1):
        spelling = "-" + letter
        option = BY_SPELLING.get(spelling)
        if option is None:
            if at == 1 and mistaken_for(word) is None:
                _refuse_known(spelling)
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


def _refuse_known(name: str) -> None:
    if name in known.MISPLACED:
        raise BadValueError(known.MISPLACED[name])
    if name in known.REFUSED:
        instead = known.INSTEAD.get(name) or known.INSTEAD.get(name[1:])
        raise BadValueError("is an option of mkisofs that is known and not supported", instead and f"use {instead}")


def _unknown(name: str) -> list[Match]:
    near = _nearest(name, 0.65) if len(name) <= 48 else []
    raise BadValueError("is not an option", f"did you mean {near[0]}?" if near else _FILE_HINT)


def _nearest(name: str, similarity: float) -> list[str]:
    """The long option that is most like a name, if one is."""
    from difflib import get_close_matches

    return get_close_matches(name, _LONG, 1, similarity)
