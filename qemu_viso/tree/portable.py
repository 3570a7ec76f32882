"""What a named VirtualBox would refuse or render otherwise for what the sources are; see `qemu_viso.viso.portable`."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from qemu_viso.tree.facts import Fact
from qemu_viso.viso import portable as viso
from qemu_viso.viso.options import Version
from qemu_viso.viso.portable import NAME_RULES, Finding, Rule, before_trunk, everywhere

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qemu_viso.tree.facts import Facts
    from qemu_viso.viso.recipe import Recipe

_REASONS: dict[Fact, dict[Version, str]] = {
    Fact.MERGED: everywhere("only the directory that a file spec names is merged; one below it must be new"),
    Fact.IMPORTED_MERGED: everywhere("an imported directory must be new"),
    Fact.CASE: everywhere("they are one name, and the second is refused"),
    Fact.LINK: {
        **before_trunk("it is refused as not implemented"),
        Version.TRUNK: "it is refused as not implemented; --ignore-symlinks leaves it out",
    },
    Fact.SPECIAL: everywhere("it is refused as not implemented; here it is left out"),
    Fact.DEEP: everywhere("it is refused"),
    Fact.TABLE: everywhere("it is left out, because every directory has a TRANS.TBL of its own there"),
    Fact.IN_DIRECTORY: everywhere("only a directory may have such a name; here the file keeps its own in it"),
    Fact.LARGE: everywhere("its records do not agree on where its further parts are"),
    Fact.LARGE_LOW: everywhere("it is refused, whatever the level is later"),
    Fact.EMPTY: everywhere(
        "a directory that a file spec names does not count, so there is nothing to put into an image"
    ),
    Fact.IMPORTED_ROCK: everywhere("an image with its ER entry turns it on; otherwise symbolic links are refused"),
    Fact.IMPORTED_ENTRIES: before_trunk("those after the first section are dropped, or the image is refused"),
    Fact.IMPORTED_DISK: everywhere("its boot code and partitions are lost; the system area is zero"),
    Fact.IMPORTED_TEXT: everywhere("the image's text takes its place; here the recipe's stays"),
    Fact.IMPORTED_DEEP: everywhere("they appear where they were moved to, not where they belong"),
    Fact.PUSHED_ROCK: before_trunk("plain ISO 9660 names are taken, without modes, owners and links"),
    Fact.PUSHED_JOLIET: everywhere(
        "its UDF or Joliet names are taken, without the modes, owners and links of Rock Ridge"
    ),
    Fact.PARTLY: everywhere("it changes where the name set-up says; here all namespaces have one mode and owner"),
    Fact.HARD_LINK: everywhere("each name is a file of its own; here it is one, with one mode and owner"),
    Fact.LATE_BOOT_IMAGE: everywhere("the path is kept in memory that is no longer its own, and may not be found"),
    Fact.CROWDED: everywhere("it is refused"),
}


@cache
def rules() -> tuple[Rule, ...]:
    """What the sources tell, beside what the text does."""
    return tuple(Rule(fact.value, reasons) for fact, reasons in _REASONS.items())


def portability(recipe: Recipe, facts: Facts, version: Version) -> list[Finding]:
    """What the named VirtualBox would refuse or render otherwise, of the text and of what carrying it out met."""
    found = [*viso.portability(recipe, version), *_met(facts, version)]
    return sorted(found, key=lambda f: (f.place.file != recipe.path, f.place.file, f.place.line, f.place.column))


def _met(facts: Facts, version: Version) -> Iterator[Finding]:
    reasons = {rule.what: rule.reasons for rule in rules()} | {rule.what: rule.reasons for rule in NAME_RULES}
    for met in facts:
        if (reason := reasons[met.what].get(version)) is not None:
            yield Finding(met.place, met.what, reason, met.path, met.more)
