"""What a program that looks for a medium by itself would not find on it."""

from __future__ import annotations

import gzip
import io
import json
import posixpath
import zlib
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from qemu_viso.tree.nodes import Namespace as TreeNamespace
from qemu_viso.verify.expected import content_bytes, expected_label, expected_view, namespaces
from qemu_viso.viso.recipe import VolumeField
from qemu_viso.viso.seeds import SEEDS
from qemu_viso.viso.source import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from qemu_viso.guest.view import Namespace
    from qemu_viso.tree.tree import Tree
    from qemu_viso.verify.expected import Expected
    from qemu_viso.viso.seeds import Seed, SeedFile

    View = Mapping[str, Expected]

_JOLIET_LABEL = 16
_MOST_READ = 16 << 20
_MOST_LINKS = 8
_CALLED = {"rock": "Rock Ridge", "joliet": "Joliet", "plain": "ISO 9660", "udf": "UDF"}
_USER_DATA_HEADERS = (
    "#include",
    "#!",
    "#cloud-config",
    "#part-handler",
    "#cloud-boothook",
    "## template: jinja",
)
"""What the first line of user data may begin with (cloud-init, user data formats)."""
_UNATTEND = "{urn:schemas-microsoft-com:unattend}"


def missed_by(tree: Tree, consumer: str) -> list[str]:
    """What the program behind a seed's name would not find in a laid out tree, or not accept; as sentences.

    Raises:
        StaleSourceError, AccessError, InputOutputError: a file that is looked for cannot be read.
    """
    seed = SEEDS[consumer]
    namespace = read_by_windows(tree) if consumer == "autounattend" else read_by_linux(tree)
    view = expected_view(tree, namespace)
    missed = [*_label(tree, seed, namespace)]
    if consumer == "nocloud" and namespace == "udf":
        missed.append(f"{seed.reader} looks at iso9660 and vfat only, and Linux takes this image for udf; use --no-udf")
    for file in seed.files:
        path = _find(view, file.path, fold=consumer == "autounattend")
        if path is None:
            if file.required:
                missed.append(_missing(tree, seed, file, namespace, view))
            continue
        entry = view[path]
        if entry.kind != "file":
            missed.append(f"'{path}' is a {entry.kind}, and {seed.reader} wants a file there")
            continue
        reason = _reason(file, entry)
        if reason is not None:
            missed.append(f"'{path}' {reason}")
    return missed


def read_by_linux(tree: Tree) -> Namespace:
    """What Linux mounts without options: UDF where there is any, for blkid finds it first; then Rock Ridge."""
    return _first(tree, ("udf", "rock", "joliet", "plain"))


def read_by_windows(tree: Tree) -> Namespace:
    """What Windows reads: it knows no Rock Ridge."""
    return _first(tree, ("udf", "joliet", "plain"))


def _first(tree: Tree, order: Iterable[Namespace]) -> Namespace:
    present = namespaces(tree)
    return next(namespace for namespace in order if namespace in present)


# --- the label -----------------------------------------------------------------------------------------------------


def linux_label(tree: Tree) -> str:
    """The label as blkid tells it: UDF's; or Joliet's, of 16 characters, completed by a primary one that agrees."""
    present = namespaces(tree)
    if "udf" in present:
        return expected_label(tree, "udf")
    primary = expected_label(tree, "plain")
    if "joliet" not in present:
        return primary
    joliet = expected_label(tree, "joliet")
    return primary if len(joliet) == _JOLIET_LABEL and primary.startswith(joliet) else joliet


def _label(tree: Tree, seed: Seed, namespace: Namespace) -> Iterable[str]:
    label = linux_label(tree)
    if not seed.labels or label in seed.labels:
        return
    wanted = " or ".join(f"'{each}'" for each in seed.labels)
    kind = {"udf": TreeNamespace.UDF, "joliet": TreeNamespace.JOLIET}.get(namespace, TreeNamespace.ISO)
    asked = tree.text(kind, VolumeField.VOLUME_ID)
    cut = f", which is what fits of {shown(asked)}," if asked != label and asked.startswith(label) else ""
    yield (f"the label is {shown(label)}{cut} and {seed.reader} looks for {wanted}; --volume-id={seed.label} gives it")


# --- names ---------------------------------------------------------------------------------------------------------


def _find(view: View, path: str, *, fold: bool) -> str | None:
    """The path that a reader gets at, behind links, as it is in the view."""
    if fold:
        path = next((each for each in view if each.casefold() == path.casefold()), path)
    for _ in range(_MOST_LINKS):
        entry = view.get(path)
        if entry is None or entry.target is None:
            return path if entry is not None else None
        path = posixpath.normpath(posixpath.join(posixpath.dirname(path), entry.target))
    return None


def _missing(tree: Tree, seed: Seed, file: SeedFile, namespace: Namespace, view: View) -> str:
    text = f"'{file.path}' is not there, and {seed.reader} accepts no medium without it"
    for other in namespaces(tree):
        if other != namespace and file.path in expected_view(tree, other):
            return f"{text}: there is such a name only in {_CALLED[other]}, and {_CALLED[namespace]} is what it reads"
    name = posixpath.basename(file.path).casefold()
    near = sorted(path for path in view if posixpath.basename(path).casefold() == name)
    if not near:
        stem = name.partition(".")[0].replace("_", "-")
        near = sorted(
            path for path in view if posixpath.basename(path).casefold().partition(".")[0].replace("_", "-") == stem
        )
    return f"{text}: there is {shown(near[0])} instead" if near else text


# --- contents ------------------------------------------------------------------------------------------------------


def _content(entry: Expected) -> bytes:
    assert entry.content is not None, "a file has content"
    return b"".join(content_bytes(entry.content))


def _reason(file: SeedFile, entry: Expected) -> str | None:
    """Why the program would not accept what is in a file."""
    check = _CHECKS.get(file.path)
    if check is None:
        return None
    if entry.size is not None and entry.size > _MOST_READ:
        return f"has {entry.size:,} bytes, which is more than anything of this kind has"
    return check(_content(entry))


def _user_data(data: bytes) -> str | None:
    """Empty is fine; anything else must say what it is."""
    if data.startswith(b"\x1f\x8b"):
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
                data = file.read(_MOST_READ)
        except (OSError, EOFError, zlib.error):
            return "begins like gzip, and cannot be unpacked"
    if not data:
        return None
    if data.startswith(b"\xef\xbb\xbf"):
        return "begins with a byte order mark, so that cloud-init does not see what it is and ignores it"
    head = data[:4096].decode("utf-8", "replace").lower()
    if "mime-version:" in head or head.lstrip().startswith(_USER_DATA_HEADERS):
        return None
    first = head.lstrip().partition("\n")[0].rstrip()
    return f"begins with {shown(first)}, so that cloud-init ignores it; '#cloud-config' or '#!' says what it is"


def _not_json(data: bytes) -> str | None:
    try:
        json.loads(data)
    except (ValueError, RecursionError) as error:
        return f"is not JSON: {error}"
    return None


def _meta_data_json(data: bytes) -> str | None:
    reason = _not_json(data)
    if reason is not None:
        return reason
    content = json.loads(data)
    if not isinstance(content, dict):
        return "is not a JSON object"
    if "uuid" not in content:
        return "has no 'uuid', which cloud-init takes for the instance's id and insists on"
    return None


def _kickstart(data: bytes) -> str | None:
    return None if data.strip() else "is empty, so that the installation is not unattended"


def _unattend(data: bytes) -> str | None:
    """Setup takes a file only if it has settings for the pass that it is in (implicit answer file search)."""
    try:
        root = ET.fromstring(data)
    except (ET.ParseError, ValueError, LookupError) as error:
        return f"is not well-formed XML: {error}"
    if root.tag != f"{_UNATTEND}unattend":
        return f"has {shown(root.tag)} as its root, and not 'unattend' of the namespace {_UNATTEND[1:-1]}"
    passes = {settings.get("pass") for settings in root.iter(f"{_UNATTEND}settings")}
    if not passes & {"windowsPE", "offlineServicing"}:
        return "has no settings for the pass 'windowsPE', the one in which Setup looks for it"
    return None


_CHECKS: dict[str, Callable[[bytes], str | None]] = {
    "/user-data": _user_data,
    "/openstack/latest/user_data": _user_data,
    "/openstack/latest/meta_data.json": _meta_data_json,
    "/openstack/latest/network_data.json": _not_json,
    "/openstack/latest/vendor_data.json": _not_json,
    "/ks.cfg": _kickstart,
    "/autounattend.xml": _unattend,
}
