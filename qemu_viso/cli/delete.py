"""`qemu-viso delete`: a recipe goes, and with it what an unattended installation left beside it."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack
from typing import TYPE_CHECKING

from qemu_viso.cli.common import add_json, add_recipe, print_json
from qemu_viso.verify.report import printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

Components = tuple[str, ...]
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Recipe, how much of it, and whether it is meant."""
    add_recipe(parser)
    parser.add_argument(
        "--unattended",
        action="store_true",
        help="also the files called Unattended-… that the recipe names in its directory and below",
    )
    parser.add_argument("--yes", action="store_true", help="delete; without it, only say what would be deleted")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Find, show, delete."""
    from qemu_viso.viso.reading import read_data
    from qemu_viso.viso.unattended import unattended_files

    data = read_data(arguments.spec)
    # Also without --unattended only a recipe is deleted, never another file.
    named = unattended_files(data, arguments.spec)
    folder, name = os.path.split(arguments.spec)
    with ExitStack() as stack:
        top = os.open(folder or ".", _FOLDER)
        stack.callback(os.close, top)
        doomed = [path for path in named if _is_file(top, path)] if arguments.unattended else []
        doomed = [path for path in doomed if path != (name,)]
        doomed.append((name,))
        if arguments.yes:
            _delete(top, doomed, folder)
    shown = [os.path.join(folder, *path) for path in doomed]
    if arguments.json:
        print_json({"recipe": arguments.spec, "files": shown, "deleted": arguments.yes})
        return 0
    for path in shown:
        print(f"{'deleted' if arguments.yes else 'would delete'} {printable(path)}")
    if not arguments.yes:
        print("nothing is deleted without --yes")
    return 0


def _is_file(top: int, path: Components) -> bool:
    """Is there a file, or a link, which goes without what it points to?"""
    with ExitStack() as stack:
        try:
            folder = _walk(top, path[:-1], stack)
            mode = os.stat(path[-1], dir_fd=folder, follow_symlinks=False).st_mode
        except OSError:
            return False
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode)


def _walk(top: int, path: Components, stack: ExitStack) -> int:
    """The directory below `top`; no component may be a link, which could lead out of it."""
    for component in path:
        top = os.open(component, _FOLDER | os.O_NOFOLLOW, dir_fd=top)
        stack.callback(os.close, top)
    return top


def _delete(top: int, paths: Sequence[Components], folder: str) -> None:
    """One after the other, the recipe last: as long as anything is left, it says what."""
    from qemu_viso.errors import AccessError, InputOutputError

    for path in paths:
        try:
            with ExitStack() as stack:
                os.unlink(path[-1], dir_fd=_walk(top, path[:-1], stack))
        except FileNotFoundError:
            continue
        except OSError as error:
            kind = AccessError if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else InputOutputError
            shown = os.path.join(folder, *path)
            raise kind(f"'{shown}' cannot be deleted: {error.strerror}", hint="what comes after it is kept") from None
