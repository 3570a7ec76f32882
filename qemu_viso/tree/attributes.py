"""Which mode, owner and group an object gets (sections I1 to I3 of the VISO language)."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from qemu_viso.tree.nodes import Attributes
from qemu_viso.viso.recipe import Kind

if TYPE_CHECKING:
    import os

DEFAULT_FILE_MODE = 0o444
DEFAULT_DIRECTORY_MODE = 0o555


class AttributeRules:
    """The attribute options in force at one point of a recipe."""

    def __init__(self) -> None:
        self.strict = False
        self.forced: dict[Kind, int | None] = {Kind.FILE: None, Kind.DIRECTORY: None}
        self.default_file_mode = DEFAULT_FILE_MODE
        self.default_directory_mode = DEFAULT_DIRECTORY_MODE
        self.uid: int | None = None
        self.gid: int | None = None
        self._known: dict[tuple[int, int, int], Attributes] = {}

    def set_style(self, *, strict: bool) -> None:
        """Strict or rational; the latter also resets the modes of generated objects, as in VirtualBox."""
        self.strict = strict
        if not strict:
            self.default_file_mode, self.default_directory_mode = DEFAULT_FILE_MODE, DEFAULT_DIRECTORY_MODE
        self._known = {}

    def force_mode(self, kind: Kind, mode: int | None) -> None:
        """Force permission bits, which also become the default of generated objects; None ends the forcing only."""
        self.forced[kind] = mode
        if mode is not None:
            if kind is Kind.FILE:
                self.default_file_mode = mode
            else:
                self.default_directory_mode = mode
        self._known = {}

    def force_owner(self, uid: int | None, gid: int | None) -> None:
        """Force owner, group or both; None leaves one as it was."""
        self.uid = self.uid if uid is None else uid
        self.gid = self.gid if gid is None else gid
        self._known = {}

    def of(self, status: os.stat_result) -> Attributes:
        """The attributes of an object made from a host file, directory or link with this status."""
        key = (status.st_mode, status.st_uid, status.st_gid)
        return self._known.get(key) or self.from_source(*key)

    def from_source(self, mode: int, uid: int, gid: int) -> Attributes:
        """The attributes of an object made from a source; `mode` with type bits."""
        key = (mode, uid, gid)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._derive(mode, uid, gid)
        return known

    def _derive(self, mode: int, uid: int, gid: int) -> Attributes:
        bits = mode & 0o7777
        if not self.strict:
            uid = gid = 0
        forced: int | None = None
        if stat.S_ISDIR(mode):
            forced = self.forced[Kind.DIRECTORY]
            if not self.strict:
                bits = (bits & ~0o7222) | 0o555
        elif stat.S_ISREG(mode):
            forced = self.forced[Kind.FILE]
            if not self.strict:
                bits = (bits & ~0o222) | 0o444
                if bits & 0o111:
                    bits |= 0o111
        return Attributes(
            bits if forced is None else forced,
            uid if self.uid is None else self.uid,
            gid if self.gid is None else self.gid,
        )

    def new_directory(self) -> Attributes:
        """The attributes of a directory that the recipe only implies."""
        return Attributes(self.default_directory_mode, self.uid or 0, self.gid or 0)

    def new_file(self) -> Attributes:
        """The attributes of a file that the image itself needs: a boot catalog, a TRANS.TBL."""
        return Attributes(self.default_file_mode, self.uid or 0, self.gid or 0)
