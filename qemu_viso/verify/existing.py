"""What Linux shows of an image that is there already: the same view as that of a recipe, read from the image."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from qemu_viso.errors import UsageError
from qemu_viso.image import Literal
from qemu_viso.ondisk import udf
from qemu_viso.tree.existing.descriptors import read_descriptors
from qemu_viso.tree.existing.listing import file_systems, walk
from qemu_viso.tree.existing.medium import Medium
from qemu_viso.tree.existing.udf import Udf
from qemu_viso.verify.expected import BARE_MODE, Expected, plain_name, rock_name
from qemu_viso.verify.udf_names import shown_name
from qemu_viso.viso.recipe import VolumeField

if TYPE_CHECKING:
    from qemu_viso.guest.view import Namespace
    from qemu_viso.sources.host import HostFile
    from qemu_viso.tree.existing.volume import FileSystem, Found


class ExistingView:
    """An image in a host file.

    Attributes:
        namespaces: those that it has.
        volume_id: the label of the primary volume, or of UDF's where there is no other.
        is_bootable: it has a boot catalog.

    Raises:
        RecipeError: it is no image that can be read.
        MissingInputError, AccessError, StaleSourceError, InputOutputError: the host file cannot be opened.
    """

    def __init__(self, file: HostFile) -> None:
        names: tuple[Namespace, ...] = ("rock", "plain", "joliet", "udf")
        medium = Medium(file, file.path)
        systems = file_systems(medium)
        self._systems: dict[Namespace, FileSystem] = {name: systems[name] for name in names if name in systems}
        self.namespaces: tuple[Namespace, ...] = tuple(self._systems)
        descriptors, volume = read_descriptors(medium), systems.get("udf")
        self.is_bootable = descriptors.boot_catalog is not None
        self.volume_id = volume.label if isinstance(volume, Udf) else ""
        if descriptors.primary is not None:
            self.volume_id = descriptors.primary.texts.get(VolumeField.VOLUME_ID, "")

    def view(self, namespace: Namespace) -> dict[str, Expected]:
        """Every path, the root included.

        Raises:
            UsageError: the image has no such namespace.
            RecipeError: it is damaged.
        """
        if namespace not in self._systems:
            raise UsageError(f"the image has no {namespace} namespace", hint=f"it has {', '.join(self.namespaces)}")
        found: dict[str, Expected] = {}
        shown: dict[str, str] = {"": "", "/": ""}
        for path, each in walk(self._systems[namespace]):
            entry = _entry(namespace, each)
            if entry is None:
                continue
            parent, _, name = path.rpartition("/")
            full = "/" if path == "/" else f"{shown[parent]}/{_name(namespace, name, each)}"
            if each.location is not None and path != "/":
                shown[path] = full
            found.setdefault(full, entry)
        return found


def _name(namespace: Namespace, name: str, found: Found) -> str:
    """A name as isofs and udf show it."""
    if namespace == "rock":
        return rock_name(name)
    if namespace == "plain":
        return name.lower() if found.location is not None else plain_name(name)
    return name.rstrip(".") if namespace == "joliet" else shown_name(udf.compressed(name))


def _entry(namespace: Namespace, found: Found) -> Expected | None:
    """What a name stands for; None for a special file, which no recipe makes."""
    mode, uid, gid = stat.S_IMODE(found.mode), found.uid, found.gid
    if namespace in ("plain", "joliet"):
        mode, uid, gid = BARE_MODE, 0, 0
    seconds, fraction = divmod(found.mtime_ns or 0, 1_000_000_000)
    if found.location is not None:
        return Expected("directory", None, mode, uid, gid, None, seconds, None, fraction)
    if stat.S_ISLNK(found.mode):
        return Expected("symlink", None, mode, uid, gid, found.target, seconds, None, fraction)
    if found.data is None:
        return None
    content = found.data if found.data.size else Literal(b"", "nothing")
    return Expected("file", found.data.size, mode, uid, gid, None, seconds, content, fraction)
