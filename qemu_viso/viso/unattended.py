"""The files of an unattended installation that a recipe names, and that VirtualBox deletes together with it.

VirtualBox compares strings, so that a recipe in `/vm/a` also reaches into `/vm/ab`, and one that is opened by its bare
name reaches nothing. Here the components of absolute paths are compared.
"""

from __future__ import annotations

import os

from qemu_viso.errors import RecipeError
from qemu_viso.viso.marker import parse_head
from qemu_viso.viso.source import Source, shown
from qemu_viso.viso.words import split

PREFIX = "Unattended-"


def unattended_files(data: bytes, path: str) -> tuple[tuple[str, ...], ...]:
    """What a recipe names below its own directory with a last component that begins with `Unattended-`.

    Args:
        data: the whole recipe.
        path: where it lies.

    Returns:
        Paths relative to the recipe's directory, as components, none of which is `.` or `..`; each once, in the order
        of the text. Whether there are such files is not looked at.

    Raises:
        RecipeError: the text is no recipe, or not UTF-8.
    """
    head = parse_head(data, path)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise RecipeError(
            f"the recipe {shown(path)} is not UTF-8 without NUL characters, so nothing in it is believed",
            hint=f"delete by hand what is to go: the files beside it whose names begin with {PREFIX}, and the recipe",
        )
    directory = os.path.dirname(path) or "."
    # A recipe may name its directory with the links on the way to it, or without them.
    bases = _components(os.path.abspath(directory)), _components(os.path.realpath(directory))
    found: dict[tuple[str, ...], None] = {}
    for word, _ in split(Source(path, text), head.quoting):
        named = word.rpartition("=")[2]
        if not named or named.startswith("-"):
            continue
        components = _components(os.path.abspath(os.path.join(directory, named)))
        if not components or not components[-1].startswith(PREFIX):
            continue
        base = next((base for base in bases if components[: len(base)] == base), None)
        if base is not None:
            found[components[len(base) :]] = None
    return tuple(found)


def _components(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split("/") if part)
