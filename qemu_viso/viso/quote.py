"""Words to text: the inverse of splitting."""

from __future__ import annotations

import re

from qemu_viso.errors import RecipeError
from qemu_viso.viso.recipe import Quoting
from qemu_viso.viso.source import shown

_BOURNE_PLAIN = re.compile(r"""[^ \t\r\n'"\\]+""")
_MS_PLAIN = re.compile(r'[^ \t\r\n"]+')
_BEFORE_QUOTE = re.compile(r'(\\*)("|\Z)')


def quote(word: str, quoting: Quoting) -> str:
    """The text that splits into this one word, in every VirtualBox too.

    Raises:
        RecipeError: the word holds a NUL, or half of a surrogate pair, which no recipe can hold.
    """
    if "\0" in word or not _is_unicode(word):
        raise RecipeError(
            f"{shown(word)} cannot stand in a recipe, whose text is UTF-8 without NUL characters",
            hint="a file with such a name can come in with the directory that holds it",
        )
    if quoting is Quoting.BOURNE:
        return word if _BOURNE_PLAIN.fullmatch(word) else "'" + word.replace("'", r"'\''") + "'"
    if _MS_PLAIN.fullmatch(word):
        return word
    return '"' + _BEFORE_QUOTE.sub(_hidden, word) + '"'


def _is_unicode(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


def _hidden(match: re.Match[str]) -> str:
    """Backslashes that come before a quote are doubled, and the quote gets one of its own."""
    return match[1] * 2 + ('\\"' if match[2] else "")
