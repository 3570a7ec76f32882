"""What a guest must see, worked out from the tree: names, attributes and contents as each namespace shows them.

Nothing here reads the image back: names follow the rules of Linux's isofs and udf drivers, or of another reader;
contents come from the sources themselves.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, NamedTuple

from qemu_viso.errors import UsageError
from qemu_viso.image import FileSlice, Generated, Joined, Literal, Patched
from qemu_viso.layout.joliet import Joliet
from qemu_viso.layout.primary import Primary
from qemu_viso.layout.rock_ridge import recorded_names
from qemu_viso.layout.udf_names import udf_names
from qemu_viso.layout.volumes import fitted
from qemu_viso.ondisk import udf
from qemu_viso.ondisk.ecma119 import record_seconds
from qemu_viso.ondisk.susp import NM_HEAD, nm
from qemu_viso.sources.host import HostFile
from qemu_viso.tree.nodes import Directory, File
from qemu_viso.tree.nodes import Namespace as TreeNamespace
from qemu_viso.verify.udf_names import recorded_name, shown_name, shown_target
from qemu_viso.viso.recipe import VolumeField

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from qemu_viso.guest.view import Kind, Namespace, ReaderName
    from qemu_viso.image import Content
    from qemu_viso.tree.nodes import Node
    from qemu_viso.tree.tree import Tree

BARE_MODE = 0o555
"""What isofs shows for every object where there is no Rock Ridge (fs/isofs/inode.c, isofs_read_inode)."""
LABEL_BYTES = 32
UDF_LABEL_BYTES = 30
"""Bytes of characters in a field of 32, beside the compression id and the length."""
LONGEST_ROCK_NAME = 253
UNPRINTABLE: Mapping[ReaderName, Mapping[int, int]] = {"grub": str.maketrans("\t\n", "??")}
"""What a reader cannot show of a name, and what it shows instead."""
ALIKE: Mapping[ReaderName, Mapping[int, int]] = {
    "uefi-shell": {each: each - 0x20 for each in (*range(0x61, 0x7B), *range(0xE0, 0xF7), *range(0xF8, 0xFF))}
}
"""Letters that are the same to a reader, which shows only one of two such names in a directory. EDK2's shell drops one
as a duplicate (ShellPkg, EfiShellRemoveDupInFileList), by StriColl, which folds the case of Latin-1."""


class Expected(NamedTuple):
    """One name as a guest must see it; `size` and `content` are None for all but files.

    `mtime` is in seconds, `mtime_nanoseconds` its fraction: ISO 9660 tells none, UDF tells whole microseconds.
    """

    kind: Kind
    size: int | None
    mode: int
    uid: int
    gid: int
    target: str | None
    mtime: int
    content: Content | None
    mtime_nanoseconds: int = 0


def namespaces(tree: Tree) -> tuple[Namespace, ...]:
    """The namespaces that the image has."""
    settings = tree.settings
    found: list[Namespace] = ["plain"]
    if settings.rock_ridge:
        found.insert(0, "rock")
    if settings.joliet:
        found.append("joliet")
    if settings.udf:
        found.append("udf")
    return tuple(found)


def missing_namespace(tree: Tree, namespace: Namespace) -> UsageError:
    """Why nobody can see a namespace."""
    return UsageError(
        f"the image has no {namespace} namespace, so no guest can see it",
        hint=f"it has {', '.join(namespaces(tree))}",
    )


def require(tree: Tree, namespace: Namespace) -> None:
    """Raise `UsageError` unless the image has the namespace."""
    if namespace not in namespaces(tree):
        raise missing_namespace(tree, namespace)


def expected_view(tree: Tree, namespace: Namespace, reader: ReaderName = "agent") -> dict[str, Expected]:
    """Every path, the root included, that a reader must show of a laid out tree; Linux, if none is named.

    Raises:
        UsageError: the image has no such namespace.
    """
    require(tree, namespace)
    view = {"/": _expected(tree, tree.root, namespace)}
    stack: list[tuple[str, Directory]] = [("", tree.root)]
    while stack:
        path, directory = stack.pop()
        for name, node in _names(tree, directory, namespace, reader):
            if reader in UNPRINTABLE:
                name = name.translate(UNPRINTABLE[reader])
            view[f"{path}/{name}"] = _expected(tree, node, namespace)
            if isinstance(node, Directory):
                stack.append((f"{path}/{name}", node))
    return view


def _names(tree: Tree, directory: Directory, namespace: Namespace, reader: ReaderName) -> Iterator[tuple[str, Node]]:
    linux = reader == "agent"
    if namespace == "rock":
        renamed = recorded_names(directory)
        for name, node in directory.nodes(TreeNamespace.ISO).items():
            name = renamed.get(name, name)
            yield rock_name(name) if linux else name, node
    elif namespace == "plain":
        for identifier, _, node in Primary(tree.settings).entries(directory):
            yield plain_name(identifier.decode()), node
    elif namespace == "joliet":
        for encoded, _, node in Joliet().entries(directory):
            name = encoded.decode("utf-16-be")
            # get_joliet_filename drops dots at the end.
            yield name.rstrip(".") if linux else name, node
    else:
        nodes = directory.nodes(TreeNamespace.UDF)
        for identifier, node in zip(udf_names(list(nodes)), nodes.values(), strict=True):
            yield shown_name(identifier) if linux else recorded_name(identifier), node


def hidden(expected: Mapping[str, Expected], seen: Collection[str], reader: ReaderName) -> set[str]:
    """The paths that a reader need not show, because it shows another one that is the same to it."""
    if reader not in ALIKE:
        return set()
    shown = {path.translate(ALIKE[reader]) for path in seen if path in expected}
    found: set[str] = set()
    for path in expected:  # a directory comes before what is in it
        if path not in seen and (os.path.dirname(path) in found or path.translate(ALIKE[reader]) in shown):
            found.add(path)
    return found


def rock_name(name: str) -> str:
    """A Rock Ridge name as Linux shows it: of more than 253 bytes, only those in the first NM entry (rock.c)."""
    encoded = os.fsencode(name)
    if len(encoded) <= LONGEST_ROCK_NAME:
        return name
    return os.fsdecode(nm(encoded)[0][NM_HEAD:])


def plain_name(identifier: str) -> str:
    """An ISO 9660 identifier as isofs shows it with map=normal: in lower case, without version and final dot."""
    return identifier.lower().removesuffix(";1").removesuffix(".")


def _expected(tree: Tree, node: Node, namespace: Namespace) -> Expected:
    mode, uid, gid = node.attributes
    if namespace in ("plain", "joliet"):
        mode, uid, gid = BARE_MODE, 0, 0
    mtime, fraction = divmod(tree.time_ns if node.mtime_ns is None else node.mtime_ns, 1_000_000_000)
    if namespace == "udf":
        fraction = fraction // 1000 * 1000
    else:
        mtime, fraction = record_seconds(mtime), 0
    if isinstance(node, Directory):
        return Expected("directory", None, mode, uid, gid, None, mtime, None, fraction)
    if isinstance(node, File):
        return Expected("file", node.data.size, mode, uid, gid, None, mtime, node.data, fraction)
    if namespace == "plain":  # a link's record without its Rock Ridge part is that of an empty file
        return Expected("file", 0, mode, uid, gid, None, mtime, Literal(b"", "link"))
    if namespace == "udf":  # udf_read_inode shows links with all permissions, whatever is on the medium
        return Expected("symlink", None, 0o777, uid, gid, shown_target(node.target), mtime, None, fraction)
    return Expected("symlink", None, mode, uid, gid, node.target, mtime, None, fraction)


def expected_label(tree: Tree, namespace: Namespace) -> str:
    """The volume label of a namespace, without the spaces that fill its field."""
    if namespace == "udf":
        return udf.cut(udf.representable(tree.text(TreeNamespace.UDF, VolumeField.VOLUME_ID)), UDF_LABEL_BYTES)
    which = TreeNamespace.JOLIET if namespace == "joliet" else TreeNamespace.ISO
    return fitted(tree.text(which, VolumeField.VOLUME_ID), LABEL_BYTES, which).rstrip(" ")


def content_sha256(content: Content) -> str:
    """The hash of what a file holds, read from its source.

    Raises:
        StaleSourceError: the source is no longer the one that was laid out.
    """
    digest = hashlib.sha256()
    for part in content_bytes(content):
        digest.update(part)
    return digest.hexdigest()


def content_bytes(content: Content) -> Iterator[bytes]:
    """What a file holds, in parts, read from its source.

    Raises:
        StaleSourceError: the source is no longer the one that was laid out.
    """
    if isinstance(content, HostFile):
        yield from _file_bytes(content, 0, content.size)
    elif isinstance(content, FileSlice):
        yield from _file_bytes(content.file, content.offset, content.size)
    elif isinstance(content, Joined):
        for part in content.parts:
            yield from content_bytes(part) if isinstance(part, FileSlice) else _zeros(part.size)
    elif isinstance(content, Literal):
        yield content.data
    elif isinstance(content, Generated):
        yield content.produce()
    elif isinstance(content, Patched):
        yield from _patched_bytes(content)


def _zeros(size: int) -> Iterator[bytes]:
    while size:
        take = min(size, 1 << 20)
        yield bytes(take)
        size -= take


def _patched_bytes(content: Patched) -> Iterator[bytes]:
    position, edit = 0, content.edit.produce()
    start, stop = content.edit_offset, content.edit_offset + len(edit)
    for part in content_bytes(content.base):
        data = bytearray(part)
        low, high = max(start, position), min(stop, position + len(part))
        if low < high:
            data[low - position : high - position] = edit[low - start : high - start]
        position += len(part)
        yield bytes(data)


def _file_bytes(file: HostFile, offset: int, size: int) -> Iterator[bytes]:
    descriptor = file.open()
    try:
        stop = offset + size
        while offset < stop:
            data = os.pread(descriptor, min(1 << 20, stop - offset), offset)
            if not data:
                break
            offset += len(data)
            yield data
        file.check(os.fstat(descriptor))
    finally:
        os.close(descriptor)
