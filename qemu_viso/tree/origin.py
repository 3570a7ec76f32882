"""Where sources come from: the host's files, relative to the recipe's directory.

An origin turns the text of a source into a node that nothing else refers to; putting it into the tree is the
business of `qemu_viso.tree.graft`.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Protocol

from qemu_viso.errors import InputOutputError, MissingInputError, RecipeError
from qemu_viso.sources.host import HostDirectory, HostFile, open_error, scan
from qemu_viso.tree.nodes import Directory, File, Link
from qemu_viso.viso.source import shown as quoted

if TYPE_CHECKING:
    from collections.abc import Callable

    from qemu_viso.image import FileSlice, Joined
    from qemu_viso.tree.attributes import AttributeRules
    from qemu_viso.tree.globs import Globs
    from qemu_viso.tree.nodes import Node


class Origin(Protocol):
    """Something that sources can be taken from: the host, or an image that was pushed."""

    def node(self, source: str, rules: AttributeRules) -> Node:
        """A fresh node for `source`, with all below it."""

    def data(self, source: str) -> HostFile | FileSlice | Joined:
        """Where the bytes of the file `source` are, which is to be read now rather than put into the image."""


_RELATIVE = "a source is looked for from the recipe's directory on"
_ABSOLUTE = "a source is a path on the host; what it is to be called in the image stands before a '=', as in /x=FILE"
REPEATED = 65_536
"""How often links may lead to a directory that is in the image already: two links in each of some directories, to the
next of them, multiply with every step, though none leads back."""
EARLIEST_NS, LATEST_NS = -62_135_596_800 * 10**9, 253_402_300_799 * 10**9
"""The years 1 to 9999: some file systems keep times that no calendar has, and no date on a medium can tell."""


class Clock:
    """The times of sources.

    Args:
        limit_ns: no time of the image is later than this; None for no limit.

    Attributes:
        newest_ns: the newest time so far.
    """

    def __init__(self, limit_ns: int | None) -> None:
        self._limit_ns = LATEST_NS if limit_ns is None else limit_ns
        self.newest_ns = 0

    def clamped(self, mtime_ns: int) -> int:
        """A source's time as the image has it."""
        if not EARLIEST_NS <= mtime_ns <= self._limit_ns:
            mtime_ns = min(max(mtime_ns, EARLIEST_NS), self._limit_ns)
        if mtime_ns > self.newest_ns:
            self.newest_ns = mtime_ns
        return mtime_ns


class WalkOptions:
    """What happens to the things found in directories.

    Attributes:
        follow_links: symbolic links stand for what they point to.
        ignore_links: symbolic links are left out.
    """

    def __init__(self) -> None:
        self.follow_links = False
        self.ignore_links = False
        self._excluded: Globs | None = None

    def exclude(self, glob: str) -> None:
        """Leave out what matches a pattern, by its name or by its path."""
        if self._excluded is None:
            from qemu_viso.tree.globs import Globs

            self._excluded = Globs()
        self._excluded.add(glob)

    @property
    def excluding(self) -> bool:
        """Is anything to be left out?"""
        return self._excluded is not None

    def excludes(self, folder: str, name: str) -> bool:
        """Is an entry to be left out?

        Args:
            folder: the directory that it is in: the source as the recipe has it, and the path below that.
            name: its name.
        """
        excluded = self._excluded
        return excluded is not None and (excluded.match(name) or excluded.match(f"{folder}/{name}"))


class HostOrigin:
    """The host's files.

    Args:
        base: the recipe's directory.
        options: how directories are walked; shared with the builder, which changes it as the recipe goes on.
        clock: clamps times, and keeps the newest.
        warnings: where sentences about things left out are appended.
        special: is called with the path of each special file in a directory, unless None.
    """

    def __init__(
        self,
        base: str,
        options: WalkOptions,
        clock: Clock,
        warnings: list[str],
        special: Callable[[str], None] | None = None,
    ) -> None:
        self._base = base
        self._special = special
        self._options = options
        self._time = clock.clamped
        self._warnings = warnings
        self._directories: dict[tuple[str, int], HostDirectory] = {}
        self._walked: list[str] = []
        self._followed: set[tuple[int, int]] = set()  # directories, by device and inode
        self._repeated = 0

    @property
    def folders(self) -> set[str]:
        """Every host directory whose entries the image depends on, as paths."""
        return {*self._walked, *(folder or "." for folder, _ in self._directories)}

    def _resolve(self, source: str) -> tuple[str, str, os.stat_result]:
        """The host path that a source means, the source with slashes, and what is there, links followed.

        As in VirtualBox, a backslash separates components too, unless a file has that very name, and `..` in a
        relative source takes away the name before it, be that a link or nothing at all (section D4).
        """
        path = self._path(source)
        try:
            return path, source, os.stat(path)
        except OSError as error:
            if "\\" in source and isinstance(error, FileNotFoundError | NotADirectoryError):
                try:
                    slashed = source.replace("\\", "/")
                    return self._path(slashed), slashed, os.stat(self._path(slashed))
                except OSError:
                    pass
            if os.path.islink(path):
                raise MissingInputError(
                    f"the source '{source}' is a symbolic link to '{_read_link(path)}', which cannot be reached",
                    hint="name a file or directory, or let the link lead to one",
                ) from None
            said = open_error(path, error)
            if isinstance(said, MissingInputError):
                said.hint = _ABSOLUTE if source.startswith("/") else _RELATIVE
            raise said from None
        except ValueError:
            raise RecipeError(f"the source {quoted(source)} has a NUL character in it") from None

    def _path(self, source: str) -> str:
        if ".." in source and not source.startswith("/"):
            source = os.path.normpath(source) + "/" * source.endswith("/")
        return os.path.join(self._base, source)

    def node(self, source: str, rules: AttributeRules) -> Node:
        """A file or a directory with all below it.

        Raises:
            MissingInputError, AccessError, InputOutputError: the host says no.
            RecipeError: the source is neither a file nor a directory.
        """
        path, written, status = self._resolve(source)
        if stat.S_ISREG(status.st_mode):
            return self._file(path, status, rules)
        if stat.S_ISDIR(status.st_mode):
            self._walked.append(os.path.dirname(path) or ".")  # where another could take its place
            return self._walk(path, written.rstrip("/"), status, rules)
        raise RecipeError(
            f"the source '{source}' is a {_kind(status.st_mode)}, and only files and directories can be in an image",
            hint="name one of these; special files that a directory holds are left out",
        )

    def file(self, source: str) -> HostFile:
        """A regular file that the image is made with, rather than one that is in it."""
        path, _, status = self._resolve(source)
        if not stat.S_ISREG(status.st_mode):
            raise RecipeError(
                f"'{source}' is a {_kind(status.st_mode)}, and a file is needed here", hint="name a regular file"
            )
        return self._host_file(path, status)

    def data(self, source: str) -> HostFile:
        """The same as `file`."""
        return self.file(source)

    def _host_file(self, path: str, status: os.stat_result) -> HostFile:
        folder, name = os.path.split(path)
        key = (folder, status.st_dev)
        directory = self._directories.get(key)
        if directory is None:
            directory = self._directories[key] = HostDirectory(None, folder, status.st_dev)
        return HostFile(directory, name, status.st_size, status.st_mtime_ns, status.st_ino)

    def _file(self, path: str, status: os.stat_result, rules: AttributeRules) -> File:
        return File(self._host_file(path, status), rules.of(status), self._time(status.st_mtime_ns))

    def _walk(self, path: str, written: str, status: os.stat_result, rules: AttributeRules) -> Directory:
        """A directory with all below it; `written` is its path as the recipe has it."""
        top = Directory(rules.of(status), self._time(status.st_mtime_ns))
        # An inode and device for each directory above, so that a link back up is noticed.
        stack: list[tuple[HostDirectory, Directory, tuple[tuple[int, int], ...], str]] = []
        stack.append((HostDirectory(None, path, status.st_dev), top, ((status.st_dev, status.st_ino),), written))
        while stack:
            host, directory, above, written = stack.pop()
            folder = host.path
            self._walked.append(folder)
            nodes = directory.listings[0].nodes
            below = []
            excluding = self._options.excluding
            for name, found in scan(folder):
                kind = found.st_mode & 0o170000
                if excluding and self._options.excludes(written, name):
                    continue
                if kind == stat.S_IFLNK and self._options.follow_links:
                    found = self._follow(f"{folder}/{name}")
                    kind = found.st_mode & 0o170000
                if kind == stat.S_IFREG:
                    place = host if found.st_dev == host.device else HostDirectory(None, folder, found.st_dev)
                    mtime_ns = found.st_mtime_ns
                    data = HostFile(place, name, found.st_size, mtime_ns, found.st_ino)
                    nodes[name] = File(data, rules.of(found), self._time(mtime_ns))
                elif kind == stat.S_IFDIR:
                    child = nodes[name] = Directory(rules.of(found), self._time(found.st_mtime_ns))
                    identity = (found.st_dev, found.st_ino)
                    if identity in above:
                        raise RecipeError(
                            f"the directory '{folder}/{name}' leads back to one that holds it",
                            hint="without -f, links are kept as links",
                        )
                    if self._options.follow_links:
                        self._count(identity, f"{folder}/{name}")
                    inside = HostDirectory(host, name, found.st_dev)
                    below.append((inside, child, (*above, identity), f"{written}/{name}"))
                elif kind == stat.S_IFLNK:
                    if not self._options.ignore_links:
                        target = _read_link(f"{folder}/{name}")
                        nodes[name] = Link(target, rules.of(found), self._time(found.st_mtime_ns))
                else:
                    self._warnings.append(f"the {_kind(found.st_mode)} '{folder}/{name}' is left out of the image")
                    if self._special is not None:
                        self._special(f"{written}/{name}")
            stack.extend(reversed(below))
        return top

    def _count(self, identity: tuple[int, int], path: str) -> None:
        """Refuse a walk in which links multiply."""
        if identity not in self._followed:
            self._followed.add(identity)
            return
        self._repeated += 1
        if self._repeated > REPEATED:
            raise RecipeError(
                f"with '{path}', links lead more than {REPEATED:,} times to directories that are in the image already",
                hint="without -f, links are kept as links",
            )

    @staticmethod
    def _follow(path: str) -> os.stat_result:
        try:
            return os.stat(path)
        except FileNotFoundError:
            raise MissingInputError(
                f"the source '{path}' is a symbolic link to '{_read_link(path)}', which does not exist",
                hint="without -f, links are kept as links",
            ) from None
        except OSError as error:
            raise InputOutputError(
                f"the link '{path}' cannot be followed: {error.strerror}", hint="without -f, links are kept as links"
            ) from None


def _read_link(path: str) -> str:
    """A link's target; it may be gone since it was seen."""
    try:
        return os.readlink(path)
    except OSError as error:
        raise open_error(path, error) from None


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFIFO: "FIFO",
        stat.S_IFSOCK: "socket",
        stat.S_IFCHR: "character device",
        stat.S_IFBLK: "block device",
        stat.S_IFDIR: "directory",
        stat.S_IFLNK: "symbolic link",
    }
    return kinds.get(stat.S_IFMT(mode), "special file")
