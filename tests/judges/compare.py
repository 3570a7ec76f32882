"""Two views of one tree, compared in sentences.

A view is a dictionary from path to `Item`. A judge leaves None where it cannot see a value, and a value that either
side cannot see is not compared; so every comparison is as exact as the blinder of the two.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.judges.reader.model import Volume

_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFSOCK: "socket",
}


@dataclass(frozen=True, slots=True)
class Item:
    """What a judge says of one path; None: it cannot see that.

    Attributes:
        size: bytes, of files only.
        sha256: hexadecimal; `crc32` and `data` serve judges that have no better sum.
        mode: permission bits without the type (07777).
        mtime: whole seconds since 1970.
    """

    kind: str | None = None
    size: int | None = None
    sha256: str | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    links: int | None = None
    mtime: int | None = None
    target: str | None = None
    device: tuple[int, int] | None = None


View = dict[str, Item]
FIELDS = tuple(field.name for field in fields(Item))


def view_of(volume: Volume, *, content: bool = True) -> View:
    """A namespace as a view; `content` reads and hashes every file."""
    return {
        path: Item(
            kind=node.kind,
            size=node.size if node.kind == "file" else None,
            sha256=node.content.sha256() if content and node.content is not None else None,
            mode=None if node.mode is None else node.mode & 0o7777,
            uid=node.uid,
            gid=node.gid,
            links=node.links,
            mtime=None if node.mtime is None else node.mtime // 10**9,
            target=node.target,
            device=node.device,
        )
        for path, node in volume.tree.items()
    }


def view_of_directory(root: Path) -> View:
    """A directory of the host as a view; the paths begin with a slash, and links are not followed."""
    view: View = {}
    stack = [("/", os.fspath(root))]
    while stack:
        path, host = stack.pop()
        status = os.lstat(host)
        kind = _KINDS[stat.S_IFMT(status.st_mode)]
        view[path] = Item(
            kind=kind,
            size=status.st_size if kind == "file" else None,
            sha256=_sha256(host) if kind == "file" else None,
            mode=stat.S_IMODE(status.st_mode),
            uid=status.st_uid,
            gid=status.st_gid,
            mtime=int(status.st_mtime),
            target=os.readlink(host) if kind == "link" else None,
        )
        if kind == "dir":
            stack += [(f"{path.rstrip('/')}/{name}", f"{host}/{name}") for name in os.listdir(host)]
    return view


def _sha256(host: str) -> str:
    with open(host, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def difference(
    left: View, right: View, names: tuple[str, str] = ("left", "right"), *, ignore: tuple[str, ...] = ()
) -> list[str]:
    """Every difference between two views, a sentence each, in order of path.

    Args:
        left: one view.
        right: the other.
        names: who says it, for the sentences.
        ignore: fields of `Item` that are not to be compared.
    """
    said: list[str] = []
    compared = [field for field in FIELDS if field not in ignore]
    for path in sorted(left.keys() | right.keys()):
        one, other = left.get(path), right.get(path)
        if one is None or other is None:
            have, lack = (names[0], names[1]) if other is None else (names[1], names[0])
            said.append(f"{path!r} is in {have} and not in {lack}")
            continue
        for field in compared:
            a, b = getattr(one, field), getattr(other, field)
            if a is not None and b is not None and a != b:
                said.append(f"{path!r}: {field} is {_show(field, a)} in {names[0]}, {_show(field, b)} in {names[1]}")
    return said


def _show(field: str, value: object) -> str:
    return f"{value:o}" if field == "mode" and isinstance(value, int) else repr(value)


def blind(view: View, *fields_: str) -> View:
    """The view without some fields: what a judge that cannot see them would say."""
    nothing: dict[str, None] = dict.fromkeys(fields_)
    return {path: replace(item, **nothing) for path, item in view.items()}


def renamed(view: View, change: Callable[[str], str]) -> View:
    """The view with every path changed, for a judge that shows names in its own way."""
    return {change(path): item for path, item in view.items()}
