"""A recipe's result: what is in the image, and how the image is to be made. Nothing here knows sectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qemu_viso.tree.nodes import Directory, File, Namespace
from qemu_viso.viso.recipe import Media, VolumeField

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qemu_viso.errors import Place
    from qemu_viso.image import Content
    from qemu_viso.tree.nodes import Node
    from qemu_viso.viso.recipe import Step

PADDING_SECTORS = 150


class BootEntry:
    """One bootable image of the El Torito catalog (El Torito 1.0, 2.2 and 2.4).

    Attributes:
        platform: 0 x86, 1 PowerPC, 2 Mac, 0xEF EFI.
        image: the file; a directory, which VirtualBox accepts, is an image without content.
        load_segment: real-mode segment.
        load_sectors: how many 512-byte sectors the firmware loads; None for "whatever suits", see `sectors`.
        info_table: the image wants the boot information table of ISOLINUX.
        system_type: what the catalog says of it, unless it is a hard disk whose partition table knows better.
        criteria: selection criteria type and criteria (2.4), b"" for none.
        section_id: the id of the section that the entry is in; neighbours of one platform and id share a section.
        grub_info: the image wants GRUB's note of where it lies.
        place: the option that begins it; None where no recipe does.
    """

    def __init__(self, platform: int = 0) -> None:
        self.platform = platform
        self.image: File | Directory | None = None
        self.media = Media.AUTO
        self.bootable = True
        self.load_segment = 0x7C0
        self.load_sectors: int | None = None
        self.info_table = False
        self.in_gpt = False
        self.system_type = 1
        self.criteria = b""
        self.section_id = b""
        self.grub_info = False
        self.place: Place | None = None


class BootCatalog:
    """The El Torito boot catalog: its entries, and the file that shows it where it has a name."""

    def __init__(self, entries: list[BootEntry], file: File) -> None:
        self.entries = entries
        self.file = file


class Settings:
    """What counts for the image as a whole: the last word of the recipe."""

    def __init__(self) -> None:
        self.iso_level = 3
        self.rock_ridge = 1
        self.joliet = 3
        self.udf = False
        self.padding = PADDING_SECTORS
        self.trans_tbl = False
        self.volume_set_size = 1
        self.volume_sequence = 1
        self.texts: dict[Namespace, dict[VolumeField, str]] = {namespace: {} for namespace in Namespace}

    def is_on(self, namespace: Namespace) -> bool:
        """Is the image to have this namespace, as far as the recipe says until now? The primary tree is always on."""
        return {Namespace.ISO: True, Namespace.JOLIET: self.joliet > 0, Namespace.UDF: self.udf}[namespace]


class Tree:
    """A tree under construction, and then done.

    Attributes:
        name: the recipe's file stem, which is the default volume id and export name.
        root: the root directory, in all namespaces.
        time_ns: the image's own time, nanoseconds since the epoch: the newest source's mtime, or SOURCE_DATE_EPOCH.
        system_area: what fills sectors 0 to 15, at most 32 KiB.
        isohybrid_mbr: MBR boot code of ISOLINUX, 432 bytes or less.
        grub_mbr: MBR boot code of GRUB, 432 bytes or less.
        tables: the TRANS.TBL files, each with the directory that it is in and about.
        weights: what `-sort` gave to files, by their ids: heavier files lie nearer to the start.
        warnings: sentences about what the image cannot hold as the source has it.
        folders: every host directory whose entries the image depends on.
        base: the directory that relative sources are relative to.
        steps: the recipe's, so that what is found wrong at the end can be told where it was asked for.
    """

    def __init__(self, name: str, root: Directory) -> None:
        self.name = name
        self.root = root
        self.settings = Settings()
        self.time_ns = 0
        self.boot: BootCatalog | None = None
        self.system_area: Content | None = None
        self.isohybrid_mbr: Content | None = None
        self.grub_mbr: Content | None = None
        self.tables: list[tuple[Directory, File]] = []
        self.weights: dict[int, int] = {}
        self.warnings: list[str] = []
        self.folders: set[str] = set()
        self.base = "."
        self.steps: Sequence[Step] = ()

    def walk(self, namespace: Namespace) -> Iterator[tuple[str, Node]]:
        """Every path but the root, with its node, in byte order of the names, a directory before what is in it."""
        stack: list[tuple[str, Directory]] = [("", self.root)]
        while stack:
            path, directory = stack.pop()
            below: list[tuple[str, Directory]] = []
            for name, node in sorted(directory.nodes(namespace).items()):
                yield f"{path}/{name}", node
                if isinstance(node, Directory):
                    below.append((f"{path}/{name}", node))
            stack.extend(reversed(below))

    def path_of(self, node: Node) -> str:
        """A path that leads to a node, for messages; empty where none does."""
        paths = (path for namespace in Namespace for path, other in self.walk(namespace) if other is node)
        return next(paths, "")

    def place_of(self, *kinds: type[Step]) -> Place | None:
        """Where the last step of these kinds stands, for messages."""
        return next((step.place for step in reversed(self.steps) if isinstance(step, kinds)), None)

    @property
    def volume_id(self) -> str:
        """The volume id of the primary volume, as the recipe gives it or by default."""
        return self.text(Namespace.ISO, VolumeField.VOLUME_ID)

    def text(self, namespace: Namespace, which: VolumeField) -> str:
        """A descriptor's text as asked for (not yet fitted to its field), with defaults filled in."""
        value = self.settings.texts[namespace].get(which, "")
        if not value and which is VolumeField.VOLUME_ID:
            return self.name
        return value
