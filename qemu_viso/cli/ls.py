"""`qemu-viso ls`: what is in the image, without a socket or a guest."""

from __future__ import annotations

import stat
import time
from typing import TYPE_CHECKING

from qemu_viso.cli.common import add_image, add_json, add_namespace, open_view, print_json
from qemu_viso.verify.report import printable

if TYPE_CHECKING:
    import argparse

    from qemu_viso.verify.expected import Expected

KINDS = {"directory": stat.S_IFDIR, "file": stat.S_IFREG, "symlink": stat.S_IFLNK}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Image and namespace."""
    add_image(parser)
    add_namespace(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """List, as Linux shows the namespace."""
    namespace, found = open_view(arguments.spec, arguments.namespace)
    view = sorted(found.items())
    if arguments.json:
        entries = {path: _json(entry) for path, entry in view}
        print_json({"namespace": namespace, "entries": entries})
        return 0
    for path, entry in view:
        print(_line(path, entry))
    return 0


def _json(entry: Expected) -> dict[str, object]:
    shown = {
        "kind": entry.kind,
        "mode": f"{entry.mode:04o}",
        "uid": entry.uid,
        "gid": entry.gid,
        "mtime": entry.mtime,
    }
    if entry.size is not None:
        shown["size"] = entry.size
    if entry.target is not None:
        shown["target"] = entry.target
    return shown


def _line(path: str, entry: Expected) -> str:
    mode = stat.filemode(KINDS[entry.kind] | entry.mode)
    size = "-" if entry.size is None else str(entry.size)
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(entry.mtime))
    arrow = "" if entry.target is None else f" -> {printable(entry.target)}"
    return f"{mode} {entry.uid:>5} {entry.gid:>5} {size:>12} {when} {printable(path)}{arrow}"
