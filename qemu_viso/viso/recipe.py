"""What a VISO says, as values: a recipe is a program, and these are its instructions.

Steps are carried out in order on a tree under construction (`qemu_viso.tree`). Nothing here knows the host's files
or ISO 9660. Paths inside the image are the texts that the recipe gives, always with a leading slash; a trailing slash
is kept, because it says "a directory".
"""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import TYPE_CHECKING

from qemu_viso.frozen import Frozen

if TYPE_CHECKING:
    from uuid import UUID

    from qemu_viso.errors import Place


class Name(StrEnum):
    """The names that an object can have, as `--name-setup` tells them apart.

    `ROCK` is the Rock Ridge name beside an ISO 9660 identifier; `TRANS` (a TRANS.TBL name) takes a position in a
    file spec but has no meaning of its own, because a TRANS.TBL always lists the ISO 9660 names.
    """

    ISO = "iso"
    JOLIET = "joliet"
    UDF = "udf"
    ROCK = "rock-ridge"
    TRANS = "trans-tbl"


class Quoting(Enum):
    """How a recipe's text is split into words."""

    BOURNE = "bourne"
    MS_CRT = "ms-crt"


class Media(Enum):
    """El Torito boot media types (El Torito 1.0, figure 3); AUTO decides by the size of the image."""

    AUTO = -1
    NO_EMULATION = 0
    FLOPPY_12 = 1
    FLOPPY_144 = 2
    FLOPPY_288 = 3
    HARD_DISK = 4


class VolumeField(StrEnum):
    """The text fields of a volume descriptor (ECMA-119 8.4)."""

    SYSTEM_ID = "system-id"
    VOLUME_ID = "volume-id"
    VOLUME_SET_ID = "volume-set-id"
    PUBLISHER_ID = "publisher-id"
    PREPARER_ID = "preparer-id"
    APPLICATION_ID = "application-id"
    COPYRIGHT_FILE = "copyright-file"
    ABSTRACT_FILE = "abstract-file"
    BIBLIOGRAPHIC_FILE = "bibliographic-file"


class Step(Frozen):
    """One instruction, and the place of the word that gave it."""

    place: Place


# --- what is in the image ------------------------------------------------------------------------------------------


class AddSource(Step):
    """`[name=[name=...]]source`: put a host file or directory into the image.

    `names` has one entry for each specifier of the `SetNames` in force (one, before any): a path, or None for a blank
    name. Repeated last names are already filled in.
    """

    names: tuple[str | None, ...]
    source: str


class Remove(Step):
    """`name=:remove:` and `name=:must-remove:`: take a name, with all below it, out of every namespace."""

    names: tuple[str | None, ...]
    must_exist: bool


class Rename(Step):
    """`--rename FROM TO`; both have one entry for each specifier, blank in the same positions."""

    from_names: tuple[str | None, ...]
    to_names: tuple[str | None, ...]


class SetNames(Step):
    """`--name-setup`: what each name of a file spec means; one set for each specifier."""

    specifiers: tuple[frozenset[Name], ...]


class SetNamesFromImport(Step):
    """`--name-setup-from-import`: one name for all namespaces that hold something by now."""


class ImportIso(Step):
    """`--import-iso FILE`: copy the tree and the identifiers of an image, and with `el_torito` its boot set-up."""

    path: str
    el_torito: bool


class PushIso(Step):
    """`--push-iso FILE`: sources come out of this image until `PopIso`; `joliet`, `rock`: may these be used."""

    path: str
    joliet: bool
    rock: bool


class PopIso(Step):
    """`--pop`: undo the last push."""


class Exclude(Step):
    """`-m GLOB`, `-x GLOB`: directories do not yield what matches, by its name or by source and path below it."""

    pattern: str


class Hide(Step):
    """`-hide GLOB`, `-hide-joliet GLOB`: what matches has no name in this namespace, though its data stays."""

    pattern: str
    name: Name


class Sort(Step):
    """`-sort FILE`: a file of lines `path weight`; heavier files lie nearer to the start of the image."""

    path: str


class FollowLinks(Step):
    """`-f`: symbolic links found in directories stand for what they point to."""


class IgnoreLinks(Step):
    """`--ignore-symlinks` / `--no-ignore-symlinks`: leave symbolic links found in directories out of the image."""

    ignore: bool


# --- the image as a whole ------------------------------------------------------------------------------------------


class SetIsoLevel(Step):
    """`--iso-level N`: 1 to 3 (ECMA-119 clause 10)."""

    level: int


class LongNames(Step):
    """`-l`: identifiers of up to 31 characters; a level of 2 or more becomes 2."""


class SetRockRidge(Step):
    """Rock Ridge: 0 none, 1 limited (no ER entry), 2 full."""

    level: int


class SetJoliet(Step):
    """Joliet UCS-2 level: 0 none, 1 to 3."""

    level: int


class SetUdf(Step):
    """`--udf`, `--no-udf`: a UDF 1.02 bridge beside ISO 9660."""

    on: bool


class SetPadding(Step):
    """`--pad`, `--no-pad`: zero sectors (2,048 bytes each) at the end of the image."""

    sectors: int


class WriteTransTbl(Step):
    """`-T`: a TRANS.TBL file in each directory of the primary tree."""


class SetText(Step):
    """A text field of the volume descriptors in the active namespaces; an empty value means "not given"."""

    field: VolumeField
    value: str


class SetVolumeSet(Step):
    """`-volset-size N`, `-volset-seqno N`: None leaves the other value alone."""

    size: int | None
    sequence: int | None


# --- attributes ----------------------------------------------------------------------------------------------------


class Kind(Enum):
    """What a forced mode applies to."""

    FILE = "file"
    DIRECTORY = "directory"


class SetAttributeStyle(Step):
    """Strict: attributes as on the host. Rational: readable by all, writable by none, owned by 0 (section I1)."""

    strict: bool


class ForceMode(Step):
    """`--file-mode`, `--dir-mode`: permission bits of all that is added from here on; None stops it.

    A mode also sets Rock Ridge to level 2, whatever it was before, as in VirtualBox (section I2); None does not.
    """

    kind: Kind
    mode: int | None


class SetNewDirectoryMode(Step):
    """`--new-dir-mode`: permission bits of directories that the recipe only implies."""

    mode: int


class ForceOwner(Step):
    """`-uid N`, `-gid N`: owner or group of all that is added from here on; None leaves the other alone."""

    uid: int | None
    gid: int | None


class ModeClause(Frozen):
    """One clause of a mode; `apply` says what it does.

    An octal mode is `keep=0`. A symbolic mode, as chmod(1) reads it, is one clause for each operation.

    Attributes:
        keep: the old bits that stay.
        add: bits that are set then.
        add_execute: x bits that are set where the object is a directory or had any x (`X`).
        directory_keep: further old bits that stay on a directory (set-user-ID and set-group-ID).
        copy: "u", "g" or "o" where the clause takes over permissions (`g=u`), else "".
        copy_reach: the bits that the copy may touch.
        subtract: the copied permissions are taken away (`g-u`), not given.
    """

    keep: int
    add: int
    add_execute: int = 0
    directory_keep: int = 0
    copy: str = ""
    copy_reach: int = 0
    subtract: bool = False

    def apply(self, mode: int, *, directory: bool) -> int:
        """The permission bits (12 of them) that become of `mode`'s."""
        new = mode & (self.keep | (self.directory_keep if directory else 0)) | self.add
        if directory or mode & 0o111:
            new |= self.add_execute
        if self.copy:
            copied = (mode >> {"u": 6, "g": 3, "o": 0}[self.copy] & 7) * 0o111 & self.copy_reach
            new = new & ~copied if self.subtract else new | copied
        return new & 0o7777


class ChangeMode(Step):
    """`--chmod MODE:/path`: clauses are applied from left to right."""

    clauses: tuple[ModeClause, ...]
    path: str


class ChangeOwner(Step):
    """`--chown ID:/path` and `--chgrp ID:/path`: None leaves the other value alone."""

    uid: int | None
    gid: int | None
    path: str


# --- boot ----------------------------------------------------------------------------------------------------------


class BootImage(Step):
    """`-b PATH`: the boot image of the current entry, a path in the image; looked up again at the end if absent."""

    path: str


class BootAddImage(Step):
    """`--eltorito-add-image SPEC`: add a file and make it the current entry's boot image; names as in `AddSource`."""

    names: tuple[str | None, ...]
    source: str


class BootEfiImage(Step):
    """`-e PATH`, `-efi-boot PATH`, `--efi-boot PATH`: an entry for EFI, no emulation.

    `-e` fills the current entry; the other spellings begin an entry of their own where the current one has an image.
    """

    path: str
    new_entry: bool


class BootNewEntry(Step):
    """`-eltorito-alt-boot`, `--eltorito-new-entry`: what follows describes another entry."""


class BootPlatform(Step):
    """`--eltorito-platform-id ID`: 0 x86, 1 PowerPC, 2 Mac, 0xEF EFI, or any other byte."""

    platform: int


class BootMedia(Step):
    """The emulation of the current entry."""

    media: Media


class BootNotBootable(Step):
    """`-no-boot`: the current entry is marked as not bootable."""


class BootLoadSegment(Step):
    """`-boot-load-seg N`: real-mode segment at which the current entry is loaded."""

    segment: int


class BootLoadSize(Step):
    """`-boot-load-size N`: 512-byte sectors that the firmware loads."""

    sectors: int


class BootInfoTable(Step):
    """`-boot-info-table`: patch the 56-byte table into the current entry's image as it is read."""


class BootCatalog(Step):
    """`-c NAME`: give the boot catalog a name; without it the catalog is in the image but in no directory."""

    names: tuple[str | None, ...]


class SystemArea(Step):
    """`-G FILE`: the first 32 KiB of a host file are the image's system area (ECMA-119 6.2.1)."""

    source: str


class IsohybridMbr(Step):
    """`-isohybrid-mbr FILE`: MBR boot code, so that the image boots as a disk too."""

    source: str


class IsohybridGpt(Step):
    """`-isohybrid-gpt-basdat`: announce the current entry's image in a GPT, as a basic data partition."""


class Remark(Frozen):
    """Something in the text that its steps no longer tell, kept for those who ask about VirtualBox.

    Attributes:
        place: the word that it is about.
        what: an option as it is spelled there, or a `qemu_viso.viso.quirks.Quirk`.
    """

    place: Place
    what: str


class Recipe(Frozen):
    """A whole recipe.

    Attributes:
        path: the file that it was read from; what relative sources are relative to is its directory.
        uuid_text: the image's UUID as the marker gives it, without braces.
        quoting: how the text was split.
        steps: the program.
        warnings: sentences, each with its place, about what was accepted though it may not be meant.
        remarks: spellings that not every VirtualBox reads alike, in the order of the text.
        response_files: the response files that were read, as the text names them.
    """

    path: str
    uuid_text: str
    quoting: Quoting
    steps: tuple[Step, ...]
    warnings: tuple[str, ...] = ()
    remarks: tuple[Remark, ...] = ()
    response_files: tuple[str, ...] = ()

    @property
    def uuid(self) -> UUID:
        """The image's UUID."""
        from uuid import UUID

        return UUID(self.uuid_text)
