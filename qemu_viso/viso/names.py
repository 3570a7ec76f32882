"""`--name-setup`: how many names a file spec has, and what each of them means."""

from __future__ import annotations

import re
from functools import lru_cache

from qemu_viso.viso.recipe import Name
from qemu_viso.viso.source import shown
from qemu_viso.viso.specs import BadValueError

DEFAULT_NAMES = (frozenset((Name.ISO, Name.JOLIET, Name.UDF)),)
MOST_NAMES = 8

_ISO_MAJOR = ("iso", "primary", "iso9660", "iso-9660", "primary-iso", "iso-primary")
_ISO_PREFIX = ("iso", "primary", "iso9660", "iso-9660", "primaryiso", "primary-iso")
_ROCK = ("rr", "rock", "rock-ridge")
_TRANS = ("trans", "trans-tbl")
_MAJORS = {**dict.fromkeys(_ISO_MAJOR, Name.ISO), "joliet": Name.JOLIET, "udf": Name.UDF}
# A minor name belongs to a major one. Only a Rock Ridge name beside an ISO one means anything in an image; Joliet has
# no Rock Ridge here, so such a name takes its position and is not used, like a TRANS.TBL one.
_MINORS = {
    **{f"{major}-{minor}": (Name.ISO, Name.ROCK) for major in _ISO_PREFIX for minor in _ROCK},
    **{f"{major}-{minor}": (Name.ISO, Name.TRANS) for major in _ISO_PREFIX for minor in _TRANS},
    **{f"joliet-{minor}": (Name.JOLIET, Name.TRANS) for minor in _ROCK + _TRANS},
    **{f"udf-{minor}": (Name.UDF, Name.TRANS) for minor in _TRANS},
}
_HFS = re.compile(r"(?:hfs|hfsplus|hfs-plus)(?:-.*)?")
_BETWEEN = re.compile(r"[ \t\n\v\f\r+|]+")
_TERMS = "the terms are iso, joliet, udf, rock-ridge and trans-tbl, with '+' inside a name and ',' between names"


@lru_cache(64)
def parse_name_setup(text: str) -> tuple[frozenset[Name], ...]:
    """The set of namespaces that each name goes to.

    Raises:
        BadValueError: an unknown term, an empty name, a namespace given twice, a minor name without its major, hfs.
    """
    parts = text.split(",")
    if len(parts) > 1 and not parts[-1]:
        parts.pop()
    if len(parts) > MOST_NAMES:
        raise BadValueError(f"sets up {len(parts)} names", f"{MOST_NAMES} is the most")
    specifiers: list[frozenset[Name]] = []
    major: Name | None = None
    for part in parts:
        found: set[Name] = set()
        for term in filter(None, _BETWEEN.split(part)):
            name, major = _term(term, major, specifiers, found)
            found.add(name)
        if not found:
            raise BadValueError("has a name for nothing", _TERMS)
        specifiers.append(frozenset(found))
    return tuple(specifiers)


def _term(term: str, major: Name | None, before: list[frozenset[Name]], here: set[Name]) -> tuple[Name, Name | None]:
    """What one term stands for, and the major name that is the latest after it."""
    if (found := _MAJORS.get(term)) is not None:
        if any(found in names for names in before):
            raise BadValueError(f"gives two names to '{found}'", "each namespace can occur once")
        return found, found
    if term in _ROCK or term in _TRANS:
        if major is None or (term in _ROCK and major is Name.UDF):
            raise BadValueError(
                f"has {shown(term)} without the name that it goes with", "for instance iso,rock-ridge,joliet"
            )
        return (Name.ROCK if term in _ROCK and major is Name.ISO else Name.TRANS), major
    if term in _MINORS:
        owner, name = _MINORS[term]
        if owner not in here and not any(owner in names for names in before):
            raise BadValueError(f"has {shown(term)} before '{owner}'", "the major name comes first")
        return name, major
    if _HFS.fullmatch(term):
        raise BadValueError("asks for HFS names, which neither VirtualBox nor qemu-viso writes", _TERMS)
    raise BadValueError(f"has an unknown term {shown(term)}", _TERMS)
