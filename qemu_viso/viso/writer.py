"""Steps to text: a recipe that reads as the same steps again, here and, as far as it has them, in VirtualBox."""

from __future__ import annotations

from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING, TypeVar

from qemu_viso.errors import RecipeError
from qemu_viso.frozen import field_names
from qemu_viso.viso import recipe as r
from qemu_viso.viso import specs
from qemu_viso.viso.modes import parse_mode
from qemu_viso.viso.parse import parse_recipe
from qemu_viso.viso.quote import quote
from qemu_viso.viso.source import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from uuid import UUID

S = TypeVar("S", bound=r.Step)
Words = tuple[str, ...]
Names = tuple[str | None, ...]

MARKERS = {
    r.Quoting.BOURNE: "--iprt-iso-maker-file-marker-bourne-sh",
    r.Quoting.MS_CRT: "--iprt-iso-maker-file-marker-ms-crt",
}


def write_recipe(steps: Iterable[r.Step], uuid: UUID, *, quoting: r.Quoting = r.Quoting.BOURNE) -> str:
    """The text of a recipe: the marker's line, then one line for each step.

    What is written has been read again, and gave the same steps.

    Raises:
        RecipeError: a step that the language cannot express, such as a name with `=` in it.
    """
    steps = tuple(steps)
    lines = [f"{MARKERS[quoting]} {uuid}"]
    lines += (" ".join(quote(word, quoting) for word in _words(step)) for step in steps)
    text = "\n".join(lines) + "\n"
    _check(text, steps)
    return text


def _words(step: r.Step) -> Words:
    words = _WRITERS[type(step)](step)
    if words is None:
        raise RecipeError(f"no option means {_description(step)}")
    return words


def _description(step: r.Step) -> str:
    values = (f"{name}={getattr(step, name)!r}" for name in field_names(step) if name != "place")
    return f"{type(step).__name__}({', '.join(values)})"


def _check(text: str, steps: Sequence[r.Step]) -> None:
    def no_response_files(name: str) -> bytes:
        raise FileNotFoundError(name)

    try:
        again = parse_recipe(text.encode(), "", no_response_files).steps
    except RecipeError as error:
        raise RecipeError(f"this cannot be written as a recipe: {error.message}", hint=error.hint) from None
    for before, after in zip(steps, again, strict=False):
        if not same(before, after):
            raise RecipeError(f"{_description(before)} would be read as {_description(after)}")


def same(one: r.Step, other: r.Step) -> bool:
    """Are two steps equal, wherever they stand?"""
    return type(one) is type(other) and all(
        getattr(one, name) == getattr(other, name) for name in field_names(one) if name != "place"
    )


# --- file specs ----------------------------------------------------------------------------------------------------


def _spec(names: Names, source: str) -> str:
    if source in specs.REMOVALS:
        raise RecipeError(f"a file called {shown(source)} cannot be a source", hint=f"write ./{source}")
    return f"{_names(names)}={_part(source)}"


def _names(names: Names) -> str:
    """The names, without those at the end that only repeat the one before."""
    parts = ["" if name is None else _part(name) for name in names]
    while len(parts) > 1 and parts[-1] == parts[-2]:
        parts.pop()
    return "=".join(parts)


def _part(part: str) -> str:
    if "=" in part:
        raise RecipeError(
            f"{shown(part)} has a '=' in it, which a file spec cannot express",
            hint="such a file can come in with the directory that holds it",
        )
    return part


def _add(step: r.AddSource) -> Words:
    return (_spec(step.names, step.source),)


def _remove(step: r.Remove) -> Words:
    return (f"{_names(step.names)}={specs.MUST_REMOVE if step.must_exist else specs.REMOVE}",)


def _rename(step: r.Rename) -> Words:
    return ("--rename", _names(step.from_names), _names(step.to_names))


_TERMS = {
    r.Name.ISO: "iso",
    r.Name.JOLIET: "joliet",
    r.Name.UDF: "udf",
    r.Name.ROCK: "iso-rock-ridge",
    r.Name.TRANS: "trans-tbl",
}


def _name_setup(step: r.SetNames) -> Words:
    parts = ("+".join(term for name, term in _TERMS.items() if name in names) for names in step.specifiers)
    return ("--name-setup=" + ",".join(parts),)


# --- attributes ----------------------------------------------------------------------------------------------------


@cache
def _symbolic() -> dict[r.ModeClause, str]:
    """Every clause that one operation of a symbolic mode can be, and a text for it; `a` comes first (a+rx)."""
    whos = ["a"] + ["".join(who) for count in range(3) for who in combinations("ugo", count)]
    permissions = [*"ugo"] + ["".join(p) for count in range(7) for p in combinations("rwxXst", count)]
    found: dict[r.ModeClause, str] = {}
    for who in whos:
        for permission in permissions:
            for operator in "+-=":
                text = who + operator + permission
                found.setdefault(parse_mode(text)[0], text)
    return found


def _operation(clause: r.ModeClause) -> str | None:
    """One clause as an operation: symbolic, or `+`, `-` and `=` with octal digits."""
    if clause in _symbolic():
        return _symbolic()[clause]
    for text in (f"={clause.add:o}", f"+{clause.add:o}", f"-{0o7777 & ~clause.keep:o}"):
        if parse_mode(text) == (clause,):
            return text
    return None


def _chmod(step: r.ChangeMode) -> Words | None:
    if len(step.clauses) == 1 and step.clauses == parse_mode(f"{step.clauses[0].add:o}"):
        return (f"--chmod={step.clauses[0].add:04o}:{step.path}",)
    operations = [_operation(clause) for clause in step.clauses]
    modes = [operation for operation in operations if operation is not None]
    return (f"--chmod={','.join(modes)}:{step.path}",) if modes and len(modes) == len(operations) else None


def _chown(step: r.ChangeOwner) -> Words | None:
    if (step.uid is None) == (step.gid is None):
        return None
    return (f"--chown={step.uid}:{step.path}",) if step.gid is None else (f"--chgrp={step.gid}:{step.path}",)


def _force_mode(step: r.ForceMode) -> Words:
    name = "file-mode" if step.kind is r.Kind.FILE else "dir-mode"
    return (f"--no-{name}",) if step.mode is None else (f"--{name}={step.mode:04o}",)


def _either(first: str, second: str) -> Callable[[int | None, int | None], Words | None]:
    """The words of a step that has exactly one of two numbers."""

    def words(one: int | None, other: int | None) -> Words | None:
        if (one is None) == (other is None):
            return None
        return (f"{first}={one}",) if other is None else (f"{second}={other}",)

    return words


# --- the rest ------------------------------------------------------------------------------------------------------

_TEXTS = {
    r.VolumeField.SYSTEM_ID: "--sysid",
    r.VolumeField.VOLUME_ID: "--volume-id",
    r.VolumeField.VOLUME_SET_ID: "--volset",
    r.VolumeField.PUBLISHER_ID: "--publisher",
    r.VolumeField.PREPARER_ID: "--preparer",
    r.VolumeField.APPLICATION_ID: "--application-id",
    r.VolumeField.COPYRIGHT_FILE: "--copyright",
    r.VolumeField.ABSTRACT_FILE: "--abstract",
    r.VolumeField.BIBLIOGRAPHIC_FILE: "--biblio",
}
_MEDIA = {
    r.Media.NO_EMULATION: "--no-emulation-boot",
    r.Media.HARD_DISK: "--hard-disk-boot",
    r.Media.FLOPPY_12: "--eltorito-floppy-12",
    r.Media.FLOPPY_144: "--eltorito-floppy-144",
    r.Media.FLOPPY_288: "--eltorito-floppy-288",
}
_HIDES = {r.Name.ISO: "--hide", r.Name.JOLIET: "--hide-joliet"}
_ROCK_RIDGE = {0: "--no-rock-ridge", 1: "--limited-rock-ridge", 2: "--rock-ridge"}
_PADDING = {0: "--no-pad", 150: "--pad"}
_PLATFORMS = {0: "x86", 1: "PPC", 2: "Mac", 0xEF: "efi"}


def _one_of(words: str | None) -> Words | None:
    return None if words is None else (words,)


def _push(step: r.PushIso) -> Words:
    return (f"--push-iso{'' if step.rock else '-no-rock'}{'' if step.joliet else '-no-joliet'}={step.path}",)


def _import(step: r.ImportIso) -> Words:
    return (f"--import-iso{'' if step.el_torito else '-skip-eltorito'}={step.path}",)


def _hide(step: r.Hide) -> Words | None:
    option = _HIDES.get(step.name)
    return None if option is None else (f"{option}={step.pattern}",)


_WRITERS: dict[type[r.Step], Callable[[r.Step], Words | None]] = {}


def _writes(kind: type[S], write: Callable[[S], Words | None]) -> None:
    _WRITERS[kind] = write  # type: ignore[assignment]


_writes(r.AddSource, _add)
_writes(r.Remove, _remove)
_writes(r.Rename, _rename)
_writes(r.SetNames, _name_setup)
_writes(r.SetNamesFromImport, lambda _: ("--name-setup-from-import",))
_writes(r.ImportIso, _import)
_writes(r.PushIso, _push)
_writes(r.PopIso, lambda _: ("--pop",))
_writes(r.Exclude, lambda step: (f"--exclude={step.pattern}",))
_writes(r.Hide, _hide)
_writes(r.Sort, lambda step: (f"--sort={step.path}",))
_writes(r.FollowLinks, lambda _: ("--follow-symlinks",))
_writes(r.IgnoreLinks, lambda step: ("--ignore-symlinks" if step.ignore else "--no-ignore-symlinks",))
_writes(r.SetIsoLevel, lambda step: (f"--iso-level={step.level}",))
_writes(r.LongNames, lambda _: ("--long-names",))
_writes(r.SetRockRidge, lambda step: _one_of(_ROCK_RIDGE.get(step.level)))
_writes(r.SetJoliet, lambda step: (f"--joliet-ucs-level={step.level}",))
_writes(r.SetUdf, lambda step: ("--udf" if step.on else "--no-udf",))
_writes(r.SetPadding, lambda step: _one_of(_PADDING.get(step.sectors)))
_writes(r.WriteTransTbl, lambda _: ("--trans-tbl",))
_writes(r.SetText, lambda step: (f"{_TEXTS[step.field]}={step.value}",))
_writes(r.SetVolumeSet, lambda step: _either("--volset-size", "--volset-seqno")(step.size, step.sequence))
_writes(r.SetAttributeStyle, lambda step: ("--strict-attribs" if step.strict else "--rational-attribs",))
_writes(r.ForceMode, _force_mode)
_writes(r.SetNewDirectoryMode, lambda step: (f"--new-dir-mode={step.mode:04o}",))
_writes(r.ForceOwner, lambda step: _either("--uid", "--gid")(step.uid, step.gid))
_writes(r.ChangeMode, _chmod)
_writes(r.ChangeOwner, _chown)
_writes(r.BootImage, lambda step: (f"--eltorito-boot={step.path}",))
_writes(r.BootAddImage, lambda step: (f"--eltorito-add-image={_spec(step.names, step.source)}",))
_writes(r.BootEfiImage, lambda step: (f"--efi-boot={step.path}",) if step.new_entry else ("-e", step.path))
_writes(r.BootNewEntry, lambda _: ("--eltorito-new-entry",))
_writes(r.BootPlatform, lambda step: (f"--eltorito-platform-id={_PLATFORMS.get(step.platform, step.platform)}",))
_writes(r.BootMedia, lambda step: _one_of(_MEDIA.get(step.media)))
_writes(r.BootNotBootable, lambda _: ("--no-boot",))
_writes(r.BootLoadSegment, lambda step: (f"--boot-load-seg={step.segment:#x}",))
_writes(r.BootLoadSize, lambda step: (f"--boot-load-size={step.sectors}",))
_writes(r.BootInfoTable, lambda _: ("--boot-info-table",))
_writes(r.BootCatalog, lambda step: (f"--boot-catalog={_names(step.names)}",))
_writes(r.SystemArea, lambda step: (f"--generic-boot={step.source}",))
_writes(r.IsohybridMbr, lambda step: (f"--isohybrid-mbr={step.source}",))
_writes(r.IsohybridGpt, lambda _: ("--isohybrid-gpt-basdat",))
