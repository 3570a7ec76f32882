"""What a named VirtualBox would refuse in a recipe, or render otherwise.

Everything here is one table of rules; what it says about options comes from the table of options. Rules speak of what
the text says: whether a source is a link, or two directories share a name, `qemu_viso.tree.portable` tells.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache

from qemu_viso.errors import Place
from qemu_viso.frozen import Frozen
from qemu_viso.viso import recipe as r
from qemu_viso.viso.chains import parse_chain
from qemu_viso.viso.options import BY_SPELLING, GROUPS, REMARKABLE, Option, Version
from qemu_viso.viso.quirks import Quirk
from qemu_viso.viso.source import shown
from qemu_viso.viso.specs import CHAIN

Find = Callable[[r.Recipe], Iterable[Place]]

JOLIET_LONGEST = 110
# Of a longer name, together with an identifier of full length, the entries have no room in the directory record.
ROCK_LONGEST = 100
# Bytes of a UDF name; a character has two where one of the name is beyond U+00FF (UDF 1.02, 2.1.1).
UDF_LONGEST = 254
# What Joliet does not allow, beside control characters.
ILLEGAL = "*:;?\\"
_ILLEGAL = frozenset(ILLEGAL)
_KEPT = re.compile(r"[A-Za-z0-9_]")
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
        path: what in the sources or in the image it is about; empty where the text says it.
        more: of how much else the same is to be said.
    """

    place: Place
    what: str
    reason: str
    path: str = ""
    more: int = 0

    def __str__(self) -> str:
        about = f" ({shown(self.path)}{f' and {self.more} more' if self.more else ''})" if self.path else ""
        return f"{self.place}: {self.what}{about}: {self.reason}"


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


class NameRule(Frozen):
    """What is said of a name, whether the text or a source has it.

    Attributes:
        what, reasons: as of a `Rule`.
        name: of which kind; Rock Ridge, Joliet and UDF names count where these are on.
        is_meant: is it such a name?
    """

    what: str
    reasons: dict[Version, str]
    name: r.Name
    is_meant: Callable[[str], bool]


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
        *(Rule(rule.what, rule.reasons, _named_where(rule)) for rule in NAME_RULES),
    )


def everywhere(reason: str) -> dict[Version, str]:
    """One reason for every VirtualBox."""
    return dict.fromkeys(Version, reason)


def before_trunk(reason: str) -> dict[Version, str]:
    """One reason for those before trunk."""
    return {Version.V6_1: reason, Version.V7_0: reason}


def in_trunk(reason: str) -> dict[Version, str]:
    """A reason for what only trunk has."""
    return {Version.TRUNK: reason}


# --- options -------------------------------------------------------------------------------------------------------


def _option_rules(option: Option) -> Iterator[Rule]:
    for spelling in option.spellings + option.also:
        if spelling in REMARKABLE:
            yield Rule(spelling, _reasons(spelling))


def _reasons(spelling: str) -> dict[Version, str]:
    option = BY_SPELLING[spelling]
    if spelling == "-V":
        return everywhere("it asks for VirtualBox's version there, which ends the recipe with an error")
    if spelling in _REFUSED.split():
        return everywhere("it is known there and refused as not implemented")
    if spelling in option.also:
        instead = f"; {option.spellings[0]} is" if option.spellings else ""
        return everywhere(f"it is not known there{instead}")
    if option.defect is not None:
        return everywhere(option.defect)
    return {version: f"it is known from {option.since} on" for version in Version if version < option.since}


# --- words ---------------------------------------------------------------------------------------------------------

_QUIRKS: dict[Quirk, dict[Version, str]] = {
    Quirk.BACKSLASH: everywhere("a double quote takes the backslash's place"),
    Quirk.LOOKALIKE: before_trunk("it is a file spec there"),
    Quirk.LOOKALIKE_FILE: {Version.TRUNK: "it is an unknown option there, and refused"},
    Quirk.DOT: everywhere("the name '/.' is refused where nothing was added before; '/=.' is not"),
    Quirk.RESPONSE_FILE: everywhere("it is looked for in the directory that VirtualBox was started in"),
    Quirk.FIRST_COMMENT: before_trunk("its words are file specs there"),
    Quirk.COMMENT: {
        **before_trunk("its words are file specs there"),
        Version.TRUNK: "the words before and after it become one",
    },
    Quirk.BOOT_PATH: everywhere("it is never found there"),
    Quirk.SYMBOLIC_MODE: everywhere("it is refused there"),
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


_GIVES_IMAGE = (r.BootImage, r.BootAddImage, r.BootEfiImage)
_FILLS_ENTRY = (
    *_GIVES_IMAGE,
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
    begun, has_image = False, False
    for step in recipe.steps:
        if isinstance(step, _GIVES_IMAGE):
            begun = has_image = True
        elif isinstance(step, r.BootNewEntry):
            begun, has_image = True, False
        elif isinstance(step, _FILLS_ENTRY):
            begun = True
        elif isinstance(step, r.BootPlatform):
            if begun and not has_image:
                yield step.place
            begun = has_image = False


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
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _given_names(recipe: r.Recipe, kind: r.Name) -> Iterator[tuple[r.Step, list[str]]]:
    """Each step that gives or takes away names in a namespace, with these, as long as the namespace is on."""
    name = r.Name.ISO if kind is r.Name.ROCK else kind
    is_on = _IS_ON[kind]
    positions: tuple[int, ...] = (0,)
    on = kind is not r.Name.UDF
    for step in recipe.steps:
        on = is_on(step, on)
        if isinstance(step, r.SetNames):
            positions = tuple(at for at, names in enumerate(step.specifiers) if name in names)
        elif isinstance(step, r.SetNamesFromImport):
            positions = (0,)
        elif on and isinstance(step, (*_NAMES, r.Remove, r.Rename)):
            paths = step.to_names if isinstance(step, r.Rename) else step.names
            yield step, [path for at in positions if (path := paths[at])]


_NAMES = (r.AddSource, r.BootAddImage, r.BootCatalog)


def _named_where(rule: NameRule) -> Find:
    """The steps that name such a file or directory in a namespace, as long as that is on."""

    def find(recipe: r.Recipe) -> Iterator[Place]:
        for step, paths in _given_names(recipe, rule.name):
            if not isinstance(step, r.Remove) and any(
                rule.is_meant(part) for path in paths for part in path.split("/")
            ):
                yield step.place

    return find


def _removed_tables(recipe: r.Recipe) -> Iterator[Place]:
    for step, paths in _given_names(recipe, r.Name.ISO):
        if isinstance(step, r.Remove) and any(_is_table(path.rstrip("/").rpartition("/")[2]) for path in paths):
            yield step.place


def _is_table(name: str) -> bool:
    return name.upper() == "TRANS.TBL"


def _unheard_texts(kind: r.Name) -> Find:
    """The texts given for a namespace before that was turned on; UDF has a volume id only."""

    def find(recipe: r.Recipe) -> Iterator[Place]:
        on, active = kind is not r.Name.UDF, True
        unheard: dict[r.VolumeField, Place] = {}
        for step in recipe.steps:
            on = _IS_ON[kind](step, on)
            if isinstance(step, r.SetNames):
                active = any(kind in names for names in step.specifiers)
            elif isinstance(step, r.SetText) and active:
                unheard.pop(step.field, None)
                if not on and step.value and (kind is r.Name.JOLIET or step.field is r.VolumeField.VOLUME_ID):
                    unheard[step.field] = step.place
        if on:
            yield from unheard.values()

    return find


def _joliet_is_on(step: r.Step, on: bool) -> bool:
    return step.level > 0 if isinstance(step, r.SetJoliet) else on


def _rock_ridge_is_on(step: r.Step, on: bool) -> bool:
    if isinstance(step, r.SetRockRidge):
        return step.level > 0
    return on or (isinstance(step, r.ForceMode) and step.mode is not None)


_IS_ON: dict[r.Name, Callable[[r.Step, bool], bool]] = {
    r.Name.ISO: lambda _, on: on,
    r.Name.JOLIET: _joliet_is_on,
    r.Name.ROCK: _rock_ridge_is_on,
    r.Name.UDF: lambda step, on: step.on if isinstance(step, r.SetUdf) else on,
}


def _slashes(recipe: r.Recipe) -> Iterator[Place]:
    for step in recipe.steps:
        paths: tuple[str | None, ...] = ()
        if isinstance(step, (r.AddSource, r.BootAddImage, r.Remove, r.BootCatalog)):
            paths = step.names
        elif isinstance(step, r.Rename):
            paths = step.from_names + step.to_names
        elif isinstance(step, (r.ChangeMode, r.ChangeOwner, r.BootImage)):
            paths = (step.path,)
        if any(path is not None and len(path) > 1 and not path.strip("/") for path in paths):
            yield step.place


def _relative_chains(recipe: r.Recipe) -> Iterator[Place]:
    for step in recipe.steps:
        if isinstance(step, (r.AddSource, r.BootAddImage)):
            source = step.source
        elif isinstance(step, (r.ImportIso, r.PushIso)):
            source = step.path
        else:
            continue
        if source.startswith(CHAIN) and not parse_chain(source).file.startswith("/"):
            yield step.place


_STEPS = (
    Rule("udf in a name set-up", before_trunk("there are no UDF names there"), _udf_names),
    Rule(
        "a Rock Ridge name apart from the ISO 9660 name",
        everywhere("it is read and not used; the Rock Ridge name is the ISO 9660 one"),
        _rock_names,
    ),
    Rule("a further boot entry", before_trunk("a boot catalog with sections is refused"), _further_entries),
    Rule(
        "a platform for an entry that has no image yet",
        everywhere("it begins one more entry, and refuses the one without an image; it belongs before the entry"),
        _empty_entries,
    ),
    Rule(
        "a namespace or level that changes after something was added",
        everywhere("it is in force only for what is added after it, which leaves half a tree"),
        _late_namespaces,
    ),
    Rule(
        "nothing that has an ISO 9660 name",
        everywhere("an image whose ISO 9660 tree is empty is refused"),
        _no_primary_tree,
    ),
    Rule("a fifth image pushed", everywhere("four is the most"), _deep_pushes),
    Rule(
        f"a text of more than {_TEXT_LONGEST} characters",
        everywhere("it is blank in the Joliet descriptor"),
        _long_texts,
    ),
    Rule(
        "a relative path in a chain",
        everywhere("it is looked for in the directory that VirtualBox was started in"),
        _relative_chains,
    ),
    Rule(
        "a text given before --joliet turns Joliet on",
        everywhere("the Joliet volume does not have it"),
        _unheard_texts(r.Name.JOLIET),
    ),
    Rule("a volume id given before --udf", in_trunk("the UDF volume does not have it"), _unheard_texts(r.Name.UDF)),
    Rule(
        "TRANS.TBL removed", everywhere("it removes the table of the directory, and then never ends"), _removed_tables
    ),
    Rule("a name of several slashes and nothing else", everywhere("it is refused, with an internal error"), _slashes),
)


def _leaves_nothing(name: str) -> bool:
    """Has the identifier of a name nothing before the extension (section E3)?"""
    bare = name.lstrip(".")
    return bool(bare) and not _KEPT.search(bare.rpartition(".")[0] or bare)


NAME_RULES = (
    NameRule(
        "an ISO 9660 name TRANS.TBL",
        everywhere("it collides with the TRANS.TBL that every directory has there"),
        r.Name.ISO,
        _is_table,
    ),
    NameRule(
        "a name without an ASCII letter, a digit or an underscore before its extension",
        everywhere("its ISO 9660 identifier is empty, but for the extension"),
        r.Name.ISO,
        _leaves_nothing,
    ),
    NameRule(
        f"a Joliet name of more than {JOLIET_LONGEST} characters",
        everywhere("the whole image is refused"),
        r.Name.JOLIET,
        lambda name: len(name) * 2 > JOLIET_LONGEST and _units(name) > JOLIET_LONGEST,
    ),
    NameRule(
        f"a Joliet name with one of {' '.join(ILLEGAL)}",
        everywhere("it is written as it is, though Joliet does not allow it; here an underscore takes its place"),
        r.Name.JOLIET,
        lambda name: not _ILLEGAL.isdisjoint(name),
    ),
    NameRule(
        f"a Rock Ridge name of more than {ROCK_LONGEST} bytes",
        everywhere("beside a long identifier it has no room in the directory record, and is then written wrongly"),
        r.Name.ROCK,
        lambda name: len(name) * 4 > ROCK_LONGEST and len(name.encode(errors="surrogatepass")) > ROCK_LONGEST,
    ),
    NameRule(
        "a UDF name with a character beyond U+00FF",
        in_trunk("its characters have their bytes in the wrong order"),
        r.Name.UDF,
        lambda name: not name.isascii() and max(name) > "\xff",
    ),
    NameRule(
        f"a UDF name of more than {UDF_LONGEST} bytes",
        in_trunk("it is cut without a word, and refused where that makes two names one"),
        r.Name.UDF,
        lambda name: len(name) * 4 > UDF_LONGEST and _udf_bytes(name) > UDF_LONGEST,
    ),
)


def _udf_bytes(name: str) -> int:
    """The bytes of a name in OSTA compressed Unicode, without the one that tells how many a character has."""
    return 2 * _units(name) if max(name) > "\xff" else len(name)
