"""What a named VirtualBox would refuse in a recipe, or render otherwise.

Everything here is one table of rules; what it says about options comes from the table of options. Rules speak of what
the text says: whether a source is a link, or two directories share a name, only the sources can tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache

from qemu_viso.errors import Place
from qemu_viso.frozen import Frozen
from qemu_viso.viso import recipe as r
from qemu_viso.viso.options import BY_SPELLING, GROUPS, REMARKABLE, Option, Version
from qemu_viso.viso.quirks import Quirk

Find = Callable[[r.Recipe], Iterable[Place]]

JOLIET_LONGEST = 110
# Of a longer name, together with an identifier of full length, the entries have no room in the directory record.
ROCK_LONGEST = 100
# What Joliet does not allow, beside control characters.
ILLEGAL = "*:;?\\"
_ILLEGAL = frozenset(ILLEGAL)
_PUSHES = 4
# A Joliet text of more than this many UTF-16 units is blank there.
_TEXT_LONGEST = 255

# Options that VirtualBox's table has, and its code does not carry out.
_REFUSED = """
    -f --follow-symlinks -follow-symlinks -m -x --exclude -T --trans-tbl -hide --hide -hide-joliet --hide-joliet
    -sort --sort -uid --uid -gid --gid -volset-size --volset-size -volset-seqno --volset-seqno
    -joliet-long --joliet-long -quiet --quiet -input-charset --input-charset
"""


class Finding(Frozen):
    """One step or word that a VirtualBox takes otherwise.

    Attributes:
        place: where it stands.
        what: the option, or a description of what is written.
        reason: what that VirtualBox does, as a sentence without a full stop.
    """

    place: Place
    what: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}: {self.reason}"


class Rule(Frozen):
    """One line of the table.

    Attributes:
        what: an option's spelling, or a description.
        reasons: what each VirtualBox that takes it otherwise does.
        find: where it is in a recipe; None where the recipe has remarks of this name.
    """

    what: str
    reasons: dict[Version, str]
    find: Find | None = None


def portability(recipe: r.Recipe, version: Version) -> list[Finding]:
    """What the named VirtualBox would refuse or render otherwise, in the order of the text.

    The recipe must have been read: one that was made of steps alone does not say how it is spelled.
    """
    remarks: dict[str, list[Place]] = {}
    for remark in recipe.remarks:
        remarks.setdefault(remark.what, []).append(remark.place)
    findings = [
        Finding(place, rule.what, rule.reasons[version])
        for rule in rules()
        if version in rule.reasons
        for place in (rule.find(recipe) if rule.find else remarks.get(rule.what, ()))
    ]
    return sorted(findings, key=lambda f: (f.place.file != recipe.path, f.place.file, f.place.line, f.place.column))


@cache
def rules() -> tuple[Rule, ...]:
    """The whole table."""
    options = (option for group in GROUPS.values() for option in group)
    return (
        *(rule for option in options for rule in _option_rules(option)),
        *(Rule(quirk.value, reasons) for quirk, reasons in _QUIRKS.items()),
        *_STEPS,
    )


def _everywhere(reason: str) -> dict[Version, str]:
    return dict.fromkeys(Version, reason)


def _before_trunk(reason: str) -> dict[Version, str]:
    return {Version.V6_1: reason, Version.V7_0: reason}


# --- options -------------------------------------------------------------------------------------------------------


def _option_rules(option: Option) -> Iterator[Rule]:
    for spelling in option.spellings + option.also:
        if spelling in REMARKABLE:
            yield Rule(spelling, _reasons(spelling))


def _reasons(spelling: str) -> dict[Version, str]:
    option = BY_SPELLING[spelling]
    if spelling == "-V":
        return _everywhere("it asks for VirtualBox's version there, which ends the recipe with an error")
    if spelling in _REFUSED.split():
        return _everywhere("it is known there and refused as not implemented")
    if spelling in option.also:
        instead = f"; {option.spellings[0]} is" if option.spellings else ""
        return _everywhere(f"it is not known there{instead}")
    if option.defect is not None:
        return _everywhere(option.defect)
    return {version: f"it is known from {option.since} on" for version in Version if version < option.since}


# --- words ---------------------------------------------------------------------------------------------------------

_QUIRKS: dict[Quirk, dict[Version, str]] = {
    Quirk.BACKSLASH: _everywhere("a double quote takes the backslash's place"),
    Quirk.LOOKALIKE: _before_trunk("it is a file spec there"),
    Quirk.LOOKALIKE_FILE: {Version.TRUNK: "it is an unknown option there, and refused"},
    Quirk.DOT: _everywhere("the name '/.' is refused where nothing was added before; '/=.' is not"),
    Quirk.RESPONSE_FILE: _everywhere("it is looked for in the directory that VirtualBox was started in"),
    Quirk.FIRST_COMMENT: _before_trunk("its words are file specs there"),
    Quirk.COMMENT: {
        **_before_trunk("its words are file specs there"),
        Version.TRUNK: "the words before and after it become one",
    },
    Quirk.BOOT_PATH: _everywhere("it is never found there"),
    Quirk.SYMBOLIC_MODE: _everywhere("it is refused there"),
}


# --- steps ---------------------------------------------------------------------------------------------------------


def _udf_names(recipe: r.Recipe) -> Iterator[Place]:
    for step in recipe.steps:
        if isinstance(step, r.SetNames) and any(r.Name.UDF in names for names in step.specifiers):
            yield step.place


def _rock_names(recipe: r.Recipe) -> Iterator[Place]:
    for step in recipe.steps:
        if isinstance(step, r.SetNames) and any(
            r.Name.ROCK in names and r.Name.ISO not in names for names in step.specifiers
        ):
            yield step.place


_FILLS_ENTRY = (
    r.BootImage,
    r.BootAddImage,
    r.BootEfiImage,
    r.BootMedia,
    r.BootNotBootable,
    r.BootLoadSegment,
    r.BootLoadSize,
    r.BootInfoTable,
)


def _further_entries(recipe: r.Recipe) -> Iterator[Place]:
    begun = False
    for step in recipe.steps:
        if begun and isinstance(step, (r.BootNewEntry, r.BootPlatform)):
            yield step.place
        begun = begun or isinstance(step, (*_FILLS_ENTRY, r.BootNewEntry))


def _empty_entries(recipe: r.Recipe) -> Iterator[Place]:
    fresh = False
    for step in recipe.steps:
        if isinstance(step, r.BootNewEntry):
            fresh = True
        elif isinstance(step, _FILLS_ENTRY):
            fresh = False
        elif isinstance(step, r.BootPlatform) and fresh:
            yield step.place
            fresh = False


_ADDS = (r.AddSource, r.BootAddImage, r.ImportIso)


def _late_namespaces(recipe: r.Recipe) -> Iterator[Place]:
    state: dict[type[r.Step], bool] = {r.SetRockRidge: True, r.SetJoliet: True, r.SetUdf: False, r.SetIsoLevel: False}
    added = False
    for step in recipe.steps:
        if isinstance(step, _ADDS):
            added = True
            continue
        if isinstance(step, (r.SetRockRidge, r.SetJoliet)):
            on = step.level > 0
        elif isinstance(step, r.SetUdf):
            on = step.on
        elif isinstance(step, r.SetIsoLevel):
            on = step.level == 1
        else:
            continue
        if added and state[type(step)] != on:
            yield step.place
        state[type(step)] = on


def _no_primary_tree(recipe: r.Recipe) -> Iterator[Place]:
    positions: tuple[int, ...] = (0,)
    first: Place | None = None
    for step in recipe.steps:
        if isinstance(step, r.SetNames):
            positions = tuple(at for at, names in enumerate(step.specifiers) if r.Name.ISO in names)
        elif isinstance(step, (r.ImportIso, r.SetNamesFromImport)):
            return
        elif isinstance(step, (r.AddSource, r.BootAddImage)):
            if any(step.names[at] is not None for at in positions):
                return
            first = first or step.place
    if first is not None:
        yield first


def _deep_pushes(recipe: r.Recipe) -> Iterator[Place]:
    depth = 0
    for step in recipe.steps:
        depth += isinstance(step, r.PushIso) - isinstance(step, r.PopIso)
        if isinstance(step, r.PushIso) and depth > _PUSHES:
            yield step.place


def _long_texts(recipe: r.Recipe) -> Iterator[Place]:
    for step in recipe.steps:
        if isinstance(step, r.SetText) and _units(step.value) > _TEXT_LONGEST:
            yield step.place


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _named_where(
    name: r.Name, is_meant: Callable[[str], bool], is_on: Callable[[r.Step, bool], bool] = lambda _, on: on
) -> Find:
    """The file specs that name such a file or directory in a namespace, as long as that is on."""

    def find(recipe: r.Recipe) -> Iterator[Place]:
        positions: tuple[int, ...] = (0,)
        on = True
        for step in recipe.steps:
            on = is_on(step, on)
            if isinstance(step, r.SetNames):
                positions = tuple(at for at, names in enumerate(step.specifiers) if name in names)
            elif isinstance(step, r.SetNamesFromImport):
                positions = (0,)
            elif (
                on
                and isinstance(step, (r.AddSource, r.BootAddImage))
                and any(is_meant(part) for at in positions for part in (step.names[at] or "").split("/"))
            ):
                yield step.place

    return find


def _joliet_is_on(step: r.Step, on: bool) -> bool:
    return step.level > 0 if isinstance(step, r.SetJoliet) else on


def _rock_ridge_is_on(step: r.Step, on: bool) -> bool:
    if isinstance(step, r.SetRockRidge):
        return step.level > 0
    return on or (isinstance(step, r.ForceMode) and step.mode is not None)


_STEPS = (
    Rule("udf in a name set-up", _before_trunk("there are no UDF names there"), _udf_names),
    Rule(
        "a Rock Ridge name apart from the ISO 9660 name",
        _everywhere("it is read and not used; the Rock Ridge name is the ISO 9660 one"),
        _rock_names,
    ),
    Rule("a further boot entry", _before_trunk("a boot catalog with sections is refused"), _further_entries),
    Rule(
        "a platform for an entry that was just begun",
        _everywhere("it begins one more entry, and refuses the one without an image; it belongs before the new entry"),
        _empty_entries,
    ),
    Rule(
        "a namespace or level that changes after something was added",
        _everywhere("it is in force only for what is added after it, which leaves half a tree"),
        _late_namespaces,
    ),
    Rule(
        "nothing that has an ISO 9660 name",
        _everywhere("an image whose ISO 9660 tree is empty is refused"),
        _no_primary_tree,
    ),
    Rule("a fifth image pushed", _everywhere("four is the most"), _deep_pushes),
    Rule(
        f"a text of more than {_TEXT_LONGEST} characters",
        _everywhere("it is blank in the Joliet descriptor"),
        _long_texts,
    ),
    Rule(
        "an ISO 9660 name TRANS.TBL",
        _everywhere("it collides with the TRANS.TBL that every directory has there"),
        _named_where(r.Name.ISO, lambda name: name.upper() == "TRANS.TBL"),
    ),
    Rule(
        f"a Joliet name of more than {JOLIET_LONGEST} characters",
        _everywhere("the whole image is refused"),
        _named_where(
            r.Name.JOLIET, lambda name: len(name) * 2 > JOLIET_LONGEST and _units(name) > JOLIET_LONGEST, _joliet_is_on
        ),
    ),
    Rule(
        f"a Joliet name with one of {' '.join(ILLEGAL)}",
        _everywhere("it is written as it is, though Joliet does not allow it; here an underscore takes its place"),
        _named_where(r.Name.JOLIET, lambda name: not _ILLEGAL.isdisjoint(name), _joliet_is_on),
    ),
    Rule(
        f"a Rock Ridge name of more than {ROCK_LONGEST} bytes",
        _everywhere("beside a long identifier it has no room in the directory record, and is then written wrongly"),
        _named_where(
            r.Name.ISO,
            lambda name: len(name) * 4 > ROCK_LONGEST and len(name.encode()) > ROCK_LONGEST,
            _rock_ridge_is_on,
        ),
    ),
)
