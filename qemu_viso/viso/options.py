"""The options of the language, as one table: spellings, values, steps, origin, help.

Reading, suggestions, the documentation and the portability check all come from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import TypeVar

from qemu_viso.errors import Place
from qemu_viso.frozen import Frozen
from qemu_viso.viso import recipe as r
from qemu_viso.viso import values as v
from qemu_viso.viso.names import DEFAULT_NAMES
from qemu_viso.viso.specs import BadValueError

T = TypeVar("T")
Steps = tuple[r.Step, ...]
Run = Callable[[Place, Sequence[str], int], Steps]


class Version(IntEnum):
    """The VirtualBox versions that are told apart, in their order."""

    V6_1 = 61
    V7_0 = 70
    TRUNK = 1000

    def __str__(self) -> str:
        return {61: "6.1", 70: "7.0"}.get(self.value, "trunk")


class Option(Frozen):
    """One option.

    Attributes:
        spellings: those that VirtualBox honours too; the first is the one that is written.
        also: those that only mkisofs (or only this project) has with this meaning.
        values: what help texts call its values; empty where it takes none.
        run: from a place, the values' texts and the number of names in force to steps; raises `BadValueError`.
        help: what it does, in one sentence without a full stop.
        since: the first VirtualBox that honours `spellings`.
        defect: what VirtualBox makes of it, where it knows the option and yet does not do what it says.
    """

    spellings: tuple[str, ...]
    also: tuple[str, ...]
    values: tuple[str, ...]
    run: Run
    help: str
    since: Version = Version.V6_1
    defect: str | None = None


def _flag(
    spellings: str,
    make: Callable[[Place], Steps],
    text: str,
    *,
    also: str = "",
    since: Version = Version.V6_1,
    defect: str | None = None,
) -> Option:
    def run(place: Place, _words: Sequence[str], _names: int) -> Steps:
        return make(place)

    return Option(tuple(spellings.split()), tuple(also.split()), (), run, text, since, defect)


def _takes(
    spellings: str,
    value: v.Value[T],
    make: Callable[[Place, T], Steps],
    text: str,
    *,
    also: str = "",
    since: Version = Version.V6_1,
    defect: str | None = None,
) -> Option:
    def run(place: Place, words: Sequence[str], names: int) -> Steps:
        return make(place, value.read(words[0], names))

    return Option(tuple(spellings.split()), tuple(also.split()), (value.metavar,), run, text, since, defect)


def _text(spellings: str, field: r.VolumeField, also: str = "") -> Option:
    what = field.value.replace("-", " ")
    return _takes(
        spellings,
        v.TEXT,
        lambda at, value: (r.SetText(at, field, value),),
        f"the {what} in the namespaces that are active; empty: not given",
        also=also,
    )


def _nothing(_place: Place, _value: object = None) -> Steps:
    return ()


def _rename(place: Place, words: Sequence[str], names: int) -> Steps:
    old, new = (v.NAMES.read(word, names) for word in words)
    if [name is None for name in old] != [name is None for name in new]:
        raise BadValueError("leaves other names blank than the name before it", "both need the same ones")
    return (r.Rename(place, old, new),)


def _media(media: r.Media) -> Callable[[Place], Steps]:
    return lambda at: (r.BootMedia(at, media),)


STRUCTURE = (
    _takes(
        "--name-setup",
        v.NAME_SETUP,
        lambda at, sets: (r.SetNames(at, sets),),
        "how many names a file spec has, and which namespaces each of them is for",
    ),
    _flag(
        "--name-setup-from-import",
        lambda at: (r.SetNamesFromImport(at),),
        "one name for all namespaces that hold something by now",
    ),
    _flag(
        "-graft-points --graft-points",
        lambda at: (r.SetNames(at, DEFAULT_NAMES),),
        "back to one name for ISO 9660, Joliet and UDF",
        defect="always fails, because HFS names are part of it there",
    ),
    _takes(
        "--import-iso",
        v.FILE,
        lambda at, path: (r.ImportIso(at, path, el_torito=True),),
        "copy the tree, the identifiers and the boot set-up of an image",
    ),
    _takes(
        "--import-iso-skip-eltorito",
        v.FILE,
        lambda at, path: (r.ImportIso(at, path, el_torito=False),),
        "the same without the boot set-up",
        since=Version.TRUNK,
    ),
    _takes(
        "--push-iso",
        v.FILE,
        lambda at, path: (r.PushIso(at, path, joliet=True, rock=True),),
        "take sources out of this image until --pop",
    ),
    _takes(
        "--push-iso-no-joliet",
        v.FILE,
        lambda at, path: (r.PushIso(at, path, joliet=False, rock=True),),
        "the same without its Joliet names",
    ),
    _takes(
        "--push-iso-no-rock",
        v.FILE,
        lambda at, path: (r.PushIso(at, path, joliet=True, rock=False),),
        "the same without its Rock Ridge names",
    ),
    _takes(
        "--push-iso-no-rock-no-joliet",
        v.FILE,
        lambda at, path: (r.PushIso(at, path, joliet=False, rock=False),),
        "the same with its plain names",
    ),
    _flag("--pop", lambda at: (r.PopIso(at),), "undo the last push"),
    Option(("--rename",), (), ("FROM", "TO"), _rename, "give something in the image another name", Version.TRUNK),
    _takes(
        "--iso-level ---iso-level",
        v.ISO_LEVEL,
        lambda at, n: (r.SetIsoLevel(at, n),),
        "interchange level of ISO 9660: 1 to 3",
        also="-iso-level",
    ),
    _flag("--rock-ridge", lambda at: (r.SetRockRidge(at, 2),), "Rock Ridge, with its ER entry"),
    _flag("--limited-rock-ridge", lambda at: (r.SetRockRidge(at, 1),), "Rock Ridge without its ER entry (the default)"),
    _flag("--no-rock-ridge", lambda at: (r.SetRockRidge(at, 0),), "no Rock Ridge"),
    _flag("--joliet -J", lambda at: (r.SetJoliet(at, 3),), "Joliet, UCS-2 level 3 (the default)"),
    _flag("--no-joliet", lambda at: (r.SetJoliet(at, 0),), "no Joliet"),
    _takes(
        "--joliet-ucs-level --ucs-level -ucs-level",
        v.JOLIET_LEVEL,
        lambda at, n: (r.SetJoliet(at, n),),
        "Joliet's UCS-2 level: 1 to 3; 0: no Joliet",
    ),
    _flag("", _nothing, "nothing: Joliet names may have 110 characters anyway", also="-joliet-long --joliet-long"),
    _flag("--udf -udf", lambda at: (r.SetUdf(at, on=True),), "a UDF 1.02 bridge", since=Version.TRUNK),
    _flag("--no-udf -no-udf", lambda at: (r.SetUdf(at, on=False),), "no UDF (the default)", since=Version.TRUNK),
    _flag("--long-names -l", lambda at: (r.LongNames(at),), "identifiers of up to 31 characters; lowers level 3 to 2"),
    _flag("", lambda at: (r.WriteTransTbl(at),), "a TRANS.TBL in each directory", also="-T --trans-tbl"),
    _flag("--pad -pad", lambda at: (r.SetPadding(at, 150),), "150 zero sectors at the end (the default)"),
    _flag("--no-pad -no-pad", lambda at: (r.SetPadding(at, 0),), "no zero sectors at the end"),
)

WALK = (
    _flag(
        "--ignore-symlinks",
        lambda at: (r.IgnoreLinks(at, ignore=True),),
        "leave out the symbolic links that directories hold",
        since=Version.TRUNK,
    ),
    _flag(
        "--no-ignore-symlinks",
        lambda at: (r.IgnoreLinks(at, ignore=False),),
        "keep the symbolic links that directories hold (the default)",
        since=Version.TRUNK,
    ),
    _flag(
        "",
        lambda at: (r.FollowLinks(at),),
        "symbolic links in directories stand for what they point to",
        also="-f --follow-symlinks -follow-symlinks -follow-links",
    ),
    _takes(
        "",
        v.GLOB,
        lambda at, glob: (r.Exclude(at, glob),),
        "leave out what matches by its name, or by its path from the source as it is written here, in directories "
        "added from here on",
        also="-m -x --exclude -exclude",
    ),
    _takes(
        "",
        v.GLOB,
        lambda at, glob: (r.Hide(at, glob, r.Name.ISO),),
        "what matches by its name, or by its path as for -x, has no name in the ISO 9660 tree",
        also="-hide --hide",
    ),
    _takes(
        "",
        v.GLOB,
        lambda at, glob: (r.Hide(at, glob, r.Name.JOLIET),),
        "what matches by its name, or by its path as for -x, has no name in the Joliet tree",
        also="-hide-joliet --hide-joliet",
    ),
    _takes(
        "",
        v.HOST_FILE,
        lambda at, path: (r.Sort(at, path),),
        "a file of lines 'path weight', with paths as for -x; heavier files come first; what is in a directory has its "
        "weight",
        also="-sort --sort",
    ),
    _takes("", v.CHARSET, _nothing, "nothing: names are UTF-8", also="-input-charset --input-charset"),
)

ATTRIBUTES = (
    _flag(
        "--rational-attribs",
        lambda at: (r.SetAttributeStyle(at, strict=False),),
        "readable by all, writable by nobody, owned by 0 (the default)",
    ),
    _flag(
        "--strict-attribs",
        lambda at: (r.SetAttributeStyle(at, strict=True),),
        "modes and owners as they are on the host",
    ),
    _flag(
        "--rock -rock -R",
        lambda at: (r.SetRockRidge(at, 2), r.SetAttributeStyle(at, strict=True)),
        "--rock-ridge and --strict-attribs",
    ),
    _flag(
        "--rational-rock -rational-rock -r",
        lambda at: (r.SetRockRidge(at, 2), r.SetAttributeStyle(at, strict=False)),
        "--rock-ridge and --rational-attribs",
    ),
    _takes(
        "--file-mode -file-mode",
        v.OCTAL_MODE,
        lambda at, mode: (r.ForceMode(at, r.Kind.FILE, mode),),
        "mode of all files from here on; turns Rock Ridge on",
    ),
    _takes(
        "--dir-mode -dir-mode",
        v.OCTAL_MODE,
        lambda at, mode: (r.ForceMode(at, r.Kind.DIRECTORY, mode),),
        "mode of all directories from here on; turns Rock Ridge on",
    ),
    _flag("--no-file-mode", lambda at: (r.ForceMode(at, r.Kind.FILE, None),), "files have modes of their own again"),
    _flag(
        "--no-dir-mode",
        lambda at: (r.ForceMode(at, r.Kind.DIRECTORY, None),),
        "directories have modes of their own again",
    ),
    _takes(
        "--new-dir-mode -new-dir-mode",
        v.OCTAL_MODE,
        lambda at, mode: (r.SetNewDirectoryMode(at, mode),),
        "mode of directories that only a path implies",
    ),
    _takes(
        "--chmod",
        v.MODE_AND_PATH,
        lambda at, value: (r.ChangeMode(at, value[0], value[1]),),
        "change the mode of something in the image, as chmod(1) does with a umask of 022",
    ),
    _takes(
        "--chown",
        v.ID_AND_PATH,
        lambda at, value: (r.ChangeOwner(at, value[0], None, value[1]),),
        "change the owner of something in the image",
    ),
    _takes(
        "--chgrp",
        v.ID_AND_PATH,
        lambda at, value: (r.ChangeOwner(at, None, value[0], value[1]),),
        "change the group of something in the image",
    ),
    _takes("", v.UINT32, lambda at, n: (r.ForceOwner(at, n, None),), "owner of all from here on", also="-uid --uid"),
    _takes("", v.UINT32, lambda at, n: (r.ForceOwner(at, None, n),), "group of all from here on", also="-gid --gid"),
)

BOOT = (
    _takes(
        "--eltorito-boot -eltorito-boot -b",
        v.IMAGE_PATH,
        lambda at, path: (r.BootImage(at, path),),
        "the boot image of this entry, a path in the image",
    ),
    _takes(
        "--eltorito-add-image",
        v.FILE_SPEC,
        lambda at, spec: (r.BootAddImage(at, spec[0], spec[1]),),
        "add a file, and boot this entry from it",
    ),
    _flag(
        "--eltorito-new-entry --eltorito-alt-boot -eltorito-alt-boot",
        lambda at: (r.BootNewEntry(at),),
        "what follows describes another entry",
    ),
    _takes(
        "",
        v.IMAGE_PATH,
        lambda at, path: (r.BootEfiImage(at, path, new_entry=False),),
        "this entry boots EFI from an image, a path in the image",
        also="-e",
    ),
    _takes(
        "",
        v.IMAGE_PATH,
        lambda at, path: (r.BootEfiImage(at, path, new_entry=True),),
        "an entry of its own boots EFI from an image, a path in the image",
        also="-efi-boot --efi-boot",
    ),
    _takes(
        "--eltorito-platform-id -eltorito-platform-id",
        v.PLATFORM,
        lambda at, n: (r.BootPlatform(at, n),),
        "x86, PPC, Mac, efi or a number",
    ),
    _flag(
        "--no-emulation-boot -no-emulation-boot",
        _media(r.Media.NO_EMULATION),
        "the image is a program, not a disk",
        also="-no-emul-boot --no-emul-boot",
    ),
    _flag("--hard-disk-boot -hard-disk-boot", _media(r.Media.HARD_DISK), "the image is a hard disk"),
    _flag("--eltorito-floppy-12", _media(r.Media.FLOPPY_12), "the image is a 1.2 MB floppy disk"),
    _flag("--eltorito-floppy-144", _media(r.Media.FLOPPY_144), "the image is a 1.44 MB floppy disk"),
    _flag("--eltorito-floppy-288", _media(r.Media.FLOPPY_288), "the image is a 2.88 MB floppy disk"),
    _flag("--no-boot -no-boot", lambda at: (r.BootNotBootable(at),), "this entry is marked as not bootable"),
    _takes(
        "--boot-load-seg -boot-load-seg",
        v.UINT16,
        lambda at, n: (r.BootLoadSegment(at, n),),
        "real-mode segment that this image is loaded at (0x7C0)",
    ),
    _takes(
        "--boot-load-size -boot-load-size",
        v.UINT16,
        lambda at, n: (r.BootLoadSize(at, n),),
        "512-byte sectors of this image that the firmware loads (4)",
    ),
    _flag(
        "--boot-info-table -boot-info-table",
        lambda at: (r.BootInfoTable(at),),
        "patch the boot info table into this image",
    ),
    _takes("--boot-catalog -c", v.NAMES, lambda at, names: (r.BootCatalog(at, names),), "name of the boot catalog"),
    _takes(
        "--generic-boot -G",
        v.HOST_FILE,
        lambda at, path: (r.SystemArea(at, path),),
        "the first 32 KiB of a file are the image's system area",
        defect="reads the file and then leaves the system area zero",
    ),
    _takes(
        "",
        v.HOST_FILE,
        lambda at, path: (r.IsohybridMbr(at, path),),
        "MBR boot code, so that the image boots as a disk too",
        also="-isohybrid-mbr --isohybrid-mbr",
    ),
    _flag(
        "",
        lambda at: (r.IsohybridGpt(at),),
        "announce this entry's image in a GPT",
        also="-isohybrid-gpt-basdat --isohybrid-gpt-basdat",
    ),
)

TEXTS = (
    _text("--volume-id --volid -volid", r.VolumeField.VOLUME_ID, also="-V"),
    _text("--sysid -sysid", r.VolumeField.SYSTEM_ID),
    _text("--volset -volset", r.VolumeField.VOLUME_SET_ID),
    _text("--publisher -publisher -P", r.VolumeField.PUBLISHER_ID),
    _text("--preparer -p", r.VolumeField.PREPARER_ID),
    _text("--application-id -A", r.VolumeField.APPLICATION_ID),
    _text("--copyright -copyright", r.VolumeField.COPYRIGHT_FILE),
    _text("--abstract -abstract", r.VolumeField.ABSTRACT_FILE),
    _text("--biblio -biblio", r.VolumeField.BIBLIOGRAPHIC_FILE),
    _takes(
        "",
        v.VOLUME_NUMBER,
        lambda at, n: (r.SetVolumeSet(at, n, None),),
        "number of volumes in the set",
        also="-volset-size --volset-size",
    ),
    _takes(
        "",
        v.VOLUME_NUMBER,
        lambda at, n: (r.SetVolumeSet(at, None, n),),
        "number of this volume in its set",
        also="-volset-seqno --volset-seqno",
    ),
)

MARKERS = (
    "--iprt-iso-maker-file-marker",
    "--iprt-iso-maker-file-marker-bourne",
    "--iprt-iso-maker-file-marker-bourne-sh",
    "--iprt-iso-maker-file-marker-ms",
    "--iprt-iso-maker-file-marker-ms-crt",
)

OTHER = (
    _takes(" ".join(MARKERS), v.TEXT, _nothing, "what a recipe begins with; nothing after its beginning"),
    _takes("--output-buffer-size", v.UINT32, _nothing, "nothing: for tests of VirtualBox"),
    _flag("--random-output-buffer-size", _nothing, "nothing: for tests of VirtualBox"),
    _takes("--random-order-verification", v.UINT32, _nothing, "nothing: for tests of VirtualBox"),
    _flag("", _nothing, "nothing", also="-quiet --quiet"),
)

GROUPS = {
    "Names, namespaces and existing images": STRUCTURE,
    "What directories yield": WALK,
    "Modes and owners": ATTRIBUTES,
    "Booting": BOOT,
    "Texts in the volume descriptors": TEXTS,
    "Others": OTHER,
}

BY_SPELLING = {s: option for group in GROUPS.values() for option in group for s in option.spellings + option.also}

# Spellings that not every VirtualBox honours.
REMARKABLE = frozenset(
    spelling
    for spelling, option in BY_SPELLING.items()
    if spelling in option.also or option.since is not Version.V6_1 or option.defect is not None
)
