"""Modes as chmod(1) reads them: octal, `=755`, or clauses such as `u=rwX,go-w,g=u`.

Where a clause names nobody (`+w`), chmod(1) leaves out the bits of the umask. An image must not depend on who opens
it, so the umask is 022 here.
"""

from __future__ import annotations

import re
from functools import lru_cache

from qemu_viso.viso.recipe import ModeClause
from qemu_viso.viso.specs import BadValueError

ALL = 0o7777
MOST_OPERATIONS = 64
_UMASK = 0o022
_SPECIAL = 0o6000
_WHO = {"u": 0o4700, "g": 0o2070, "o": 0o1007, "a": ALL}
_BITS = {"r": 0o444, "w": 0o222, "x": 0o111, "s": _SPECIAL, "t": 0o1000, "X": 0}
_OCTAL = re.compile(r"[0-7]+")
# Octal digits end a clause, and only one that names nobody may have them.
_CLAUSE = re.compile(r"([ugoa]*+)((?:[-+=](?:[ugo]|[rwxXst]*+)(?![0-7]))*+)(?:([-+=])([0-7]++))?")
_OPERATION = re.compile(r"([-+=])([ugo]|[rwxXst]*)")


@lru_cache(256)
def parse_mode(text: str) -> tuple[ModeClause, ...]:
    """The clauses of a mode.

    Raises:
        BadValueError: with what is wrong, as the end of a sentence.
    """
    if _OCTAL.fullmatch(text):
        return (ModeClause(keep=0, add=_octal(text)),)
    clauses: list[ModeClause] = []
    for part in text.split(","):
        match = _CLAUSE.fullmatch(part)
        if match is None or (match[1] and match[4]) or not (match[2] or match[4]):
            raise BadValueError("is neither octal nor one of the symbolic modes of chmod(1)")
        clauses += (_operation(match[1], m[1], m[2]) for m in _OPERATION.finditer(match[2]))
        if match[4]:
            clauses.append(_clause(match[3], _octal(match[4]), ALL, special=0))
        if len(clauses) > MOST_OPERATIONS:
            raise BadValueError(f"has more than {MOST_OPERATIONS} operations")
    return tuple(clauses)


def _octal(digits: str) -> int:
    value = int(digits, 8) if len(digits) < 64 else ALL + 1
    if value > ALL:
        raise BadValueError("is above 07777")
    return value


def _operation(who: str, operator: str, permissions: str) -> ModeClause:
    affected = 0
    for letter in who:
        affected |= _WHO[letter]
    reach = affected if who else ALL & ~_UMASK
    keep = ALL & ~(affected if who else ALL) if operator == "=" else ALL
    if permissions in ("u", "g", "o"):
        special = _SPECIAL if operator == "=" else 0
        return ModeClause(keep, 0, directory_keep=special, copy=permissions, copy_reach=reach, subtract=operator == "-")
    bits = 0
    for letter in permissions:
        bits |= _BITS[letter]
    execute = reach & 0o111 if "X" in permissions else 0
    return _clause(operator, reach & bits, ALL & ~keep, special=_SPECIAL, execute=execute)


def _clause(operator: str, bits: int, cleared: int, *, special: int, execute: int = 0) -> ModeClause:
    if operator == "+":
        return ModeClause(keep=ALL, add=bits, add_execute=execute)
    if operator == "-":
        # Where no x is set there is none to take away, so X is x here.
        return ModeClause(keep=ALL & ~(bits | execute), add=0)
    return ModeClause(keep=ALL & ~cleared, add=bits, add_execute=execute, directory_keep=special & cleared)
