"""Hypothesis strategies: words, paths, and every kind of step that the language can express."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from qemu_viso.errors import Place
from qemu_viso.viso import recipe as r
from qemu_viso.viso.modes import parse_mode
from qemu_viso.viso.specs import REMOVALS

if TYPE_CHECKING:
    from collections.abc import Callable

NOWHERE = Place("", 1, 1)

# Text of all scripts, and more of what quoting has to care about.
CHARACTERS = st.one_of(
    st.sampled_from(" \t\r\n\v\f'\"\\`$#@=-:,+|/.*\u2013\u00a0\u0085"),
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]),
)
WORDS = st.text(CHARACTERS, max_size=40)
_PARTS = WORDS.map(lambda text: text.replace("=", ""))
PATHS = _PARTS.map(lambda text: "/" + text)
SOURCES = _PARTS.filter(lambda text: text not in ("", *REMOVALS) and not text.startswith(":iprtvfs:"))
FILES = WORDS.filter(lambda text: text != "" and not text.startswith(":iprtvfs:"))
IMAGE_PATHS = WORDS.map(lambda text: "/" + text)
U32 = st.integers(0, 0xFFFFFFFF)
U16 = st.integers(0, 0xFFFF)
MODES = st.integers(0, 0o7777)


@st.composite
def operations(draw: st.DrawFn) -> str:
    who = "".join(draw(st.lists(st.sampled_from("ugoa"), max_size=3)))
    permissions = st.one_of(st.sampled_from("ugo"), st.text("rwxXst", max_size=4))
    clause = who + "".join(draw(st.lists(st.builds(str.__add__, st.sampled_from("+-="), permissions), max_size=3)))
    if not who and draw(st.booleans()):
        return clause + draw(st.sampled_from("+-=")) + format(draw(MODES), "o")
    return clause if clause != who else who + "+"


SYMBOLIC = st.lists(operations(), min_size=1, max_size=4).map(",".join)
CLAUSES = st.one_of(SYMBOLIC, MODES.map(lambda mode: format(mode, "o"))).map(parse_mode)


@st.composite
def setups(draw: st.DrawFn) -> tuple[frozenset[r.Name], ...]:
    """Sets that `--name-setup` can express: each major once, minors after their majors."""
    count = draw(st.integers(1, 8))
    sets: list[set[r.Name]] = [set() for _ in range(count)]
    majors = draw(st.lists(st.sampled_from([r.Name.ISO, r.Name.JOLIET, r.Name.UDF]), min_size=1, unique=True))
    for at, name in enumerate(majors):
        sets[0 if at == 0 else draw(st.integers(0, count - 1))].add(name)
    seen_iso = False
    for names in sets:
        seen_iso |= r.Name.ISO in names
        if draw(st.booleans()) or not names:
            names.add(r.Name.ROCK if seen_iso and draw(st.booleans()) else r.Name.TRANS)
    return tuple(map(frozenset, sets))


def names(count: int) -> st.SearchStrategy[tuple[str | None, ...]]:
    return st.tuples(*[st.one_of(st.none(), PATHS)] * count)


@st.composite
def renames(draw: st.DrawFn, count: int) -> r.Rename:
    old = draw(names(count))
    new = tuple(None if name is None else draw(PATHS) for name in old)
    return r.Rename(NOWHERE, old, new)


def _simple() -> list[st.SearchStrategy[r.Step]]:
    """Steps that do not depend on the name set-up, a strategy for each type or branch."""

    def flag(step: type[r.Step]) -> st.SearchStrategy[r.Step]:
        return st.just(step(NOWHERE))

    def of(make: Callable[..., r.Step], *values: st.SearchStrategy[object]) -> st.SearchStrategy[r.Step]:
        return st.builds(make, st.just(NOWHERE), *values)

    none = st.none()
    return [
        flag(r.SetNamesFromImport),
        of(r.ImportIso, FILES, st.booleans()),
        of(r.PushIso, FILES, st.booleans(), st.booleans()),
        of(r.Exclude, WORDS.filter(bool)),
        of(r.Hide, WORDS.filter(bool), st.sampled_from([r.Name.ISO, r.Name.JOLIET])),
        of(r.Sort, FILES),
        flag(r.FollowLinks),
        of(r.IgnoreLinks, st.booleans()),
        of(r.SetIsoLevel, st.integers(1, 3)),
        flag(r.LongNames),
        of(r.SetRockRidge, st.integers(0, 2)),
        of(r.SetJoliet, st.integers(0, 3)),
        of(r.SetUdf, st.booleans()),
        of(r.SetPadding, st.sampled_from([0, 150])),
        flag(r.WriteTransTbl),
        of(r.SetText, st.sampled_from(r.VolumeField), WORDS),
        of(r.SetVolumeSet, st.integers(1, 0xFFFF), none),
        of(r.SetVolumeSet, none, st.integers(1, 0xFFFF)),
        of(r.SetAttributeStyle, st.booleans()),
        of(r.ForceMode, st.sampled_from(r.Kind), st.one_of(none, MODES)),
        of(r.SetNewDirectoryMode, MODES),
        of(r.ForceOwner, U32, none),
        of(r.ForceOwner, none, U32),
        of(r.ChangeMode, CLAUSES, IMAGE_PATHS),
        of(r.ChangeOwner, U32, none, IMAGE_PATHS),
        of(r.ChangeOwner, none, U32, IMAGE_PATHS),
        of(r.BootImage, IMAGE_PATHS),
        of(r.BootEfiImage, IMAGE_PATHS, st.booleans()),
        flag(r.BootNewEntry),
        of(r.BootPlatform, st.integers(0, 0xFF)),
        of(r.BootMedia, st.sampled_from([media for media in r.Media if media is not r.Media.AUTO])),
        flag(r.BootNotBootable),
        of(r.BootLoadSegment, U16),
        of(r.BootLoadSize, U16),
        flag(r.BootInfoTable),
        of(r.SystemArea, FILES),
        of(r.IsohybridMbr, FILES),
        flag(r.IsohybridGpt),
    ]


SIMPLE = st.one_of(_simple())


@st.composite
def step_lists(draw: st.DrawFn) -> list[r.Step]:
    """Whole programs, in which names agree with the set-up in force and every pop has its push."""
    steps: list[r.Step] = []
    count, pushed = 1, 0
    for _ in range(draw(st.integers(0, 8))):
        step: r.Step
        match draw(st.integers(0, 9)):
            case 0:
                step = r.SetNames(NOWHERE, draw(setups()))
                count = len(step.specifiers)
            case 1 | 2:
                step = r.AddSource(NOWHERE, draw(names(count)), draw(SOURCES))
            case 3:
                step = r.Remove(NOWHERE, draw(names(count)), draw(st.booleans()))
            case 4:
                step = draw(renames(count))
            case 5:
                step = r.BootAddImage(NOWHERE, draw(names(count)), draw(SOURCES))
            case 6:
                step = r.BootCatalog(NOWHERE, draw(names(count)))
            case 7 if pushed:
                step = r.PopIso(NOWHERE)
            case _:
                step = draw(SIMPLE)
        pushed += isinstance(step, r.PushIso) - isinstance(step, r.PopIso)
        count = 1 if isinstance(step, r.SetNamesFromImport) else count
        steps.append(step)
    return steps
