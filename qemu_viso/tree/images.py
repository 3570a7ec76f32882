"""The steps about existing images, and what they leave to be done when all steps are carried out.

Reading an image is the business of `qemu_viso.tree.existing`, which is imported when there is one to be read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qemu_viso.errors import RecipeError
from qemu_viso.image import FileSlice
from qemu_viso.tree import graft
from qemu_viso.tree.nodes import ALL_NAMESPACES
from qemu_viso.viso.specs import CHAIN

if TYPE_CHECKING:
    from collections.abc import Container

    from qemu_viso.tree.attributes import AttributeRules
    from qemu_viso.tree.boot import BootOptions
    from qemu_viso.tree.existing.importing import Imported, ImportedDisk
    from qemu_viso.tree.facts import Facts
    from qemu_viso.tree.nodes import Directory, Namespace
    from qemu_viso.tree.origin import Clock, HostOrigin, Origin, WalkOptions
    from qemu_viso.tree.tree import Tree
    from qemu_viso.viso.recipe import ImportIso, PushIso, VolumeField

MAX_PUSHES = 4
BOOT_CODE_BYTES = 440


class ExistingImages:
    """Images that are imported into a tree, and images that sources come out of."""

    def __init__(
        self,
        tree: Tree,
        rules: AttributeRules,
        clock: Clock,
        walk: WalkOptions,
        host: HostOrigin,
        boot: BootOptions,
        refuse: graft.Refuse,
        facts: Facts | None,
    ) -> None:
        self._tree = tree
        self._rules = rules
        self._clock = clock
        self._walk = walk
        self._boot = boot
        self._refuse = refuse
        self._facts = facts
        self._met = None if facts is None else facts.import_merged
        self._origins: list[Origin] = [host]
        self._chained: dict[tuple[str, bool, bool], Origin] = {}
        self._has_catalog = False
        self._only_udf: list[tuple[int, str]] = []
        self._disk: tuple[ImportedDisk, str] | None = None

    def through(self, source: str) -> tuple[Origin, str]:
        """Where a source comes from, and what it is called there: a chain leads to the host's files and into images."""
        if not source.startswith(CHAIN):
            return self._origins[-1], source
        from qemu_viso.viso.chains import parse_chain

        chain = parse_chain(source)
        host = self._origins[0]
        if not chain.in_image:
            return host, chain.file
        key = (chain.file, chain.joliet, chain.rock)
        if key not in self._chained:
            self._chained[key] = self._open(host, chain.file, joliet=chain.joliet, rock=chain.rock)
        return self._chained[key], chain.path or "/"

    def push(self, step: PushIso) -> None:
        """`--push-iso`: sources come out of an image from here on."""
        if len(self._origins) > MAX_PUSHES:
            raise RecipeError(
                f"'{step.path}' cannot be pushed on {MAX_PUSHES} other images", hint="put a --pop before it"
            )
        self._origins.append(self._open(*self.through(step.path), joliet=step.joliet, rock=step.rock))

    def _open(self, origin: Origin, path: str, *, joliet: bool, rock: bool) -> Origin:
        from qemu_viso.tree.existing.pushed import PushedOrigin

        return PushedOrigin(
            origin.data(path),
            path,
            joliet=joliet,
            rock=rock,
            options=self._walk,
            clock=self._clock,
            warnings=self._tree.warnings,
            facts=self._facts,
        )

    def pop(self) -> None:
        """`--pop`: sources come from where they came from before the last push."""
        if len(self._origins) == 1:
            raise RecipeError("there is no pushed image for --pop to undo", hint="put --push-iso IMAGE before it")
        self._origins.pop()

    def take_over(self, step: ImportIso, given: Container[tuple[Namespace, VolumeField]]) -> frozenset[Namespace]:
        """`--import-iso`: everything that an image holds comes into the tree.

        Args:
            step: the image.
            given: texts that the recipe gives itself.

        Returns:
            the namespaces that the image has.
        """
        from qemu_viso.tree.existing.image import ExistingImage
        from qemu_viso.tree.existing.importing import import_image
        from qemu_viso.tree.existing.medium import Medium

        origin, path = self.through(step.path)
        image = ExistingImage(Medium(origin.data(path), path))
        catalog = self._boot.catalog if step.el_torito else None
        imported = import_image(image, self._rules, self._clock, catalog)
        if self._facts is not None:
            self._facts.imported(imported, step.path, self._tree.settings)
        if imported.entries:
            self._name_catalog(imported.root)
        graft.merge(self._tree.root, imported.root, ALL_NAMESPACES, "/", self._met, self._refuse)
        self._tree.warnings += imported.warnings
        self._take_over_settings(imported, given)
        if imported.entries:
            self._boot.take_over(imported.entries, step.place)
        if imported.only_udf:
            self._only_udf.append((imported.only_udf, step.path))
        if imported.disk is not None:
            self._disk = (imported.disk, step.path)
        return imported.namespaces

    def _name_catalog(self, incoming: Directory) -> None:
        """The catalog has one name in each namespace: that of `-c`, or else that of the last image."""
        catalog, given = self._boot.catalog(), frozenset(self._boot.catalog_named)
        if given:
            graft.unname(incoming, catalog, given)
        if self._has_catalog:
            graft.unname(self._tree.root, catalog, ALL_NAMESPACES - given)
        self._has_catalog = True

    def _take_over_settings(self, imported: Imported, given: Container[tuple[Namespace, VolumeField]]) -> None:
        settings = self._tree.settings
        for namespace, texts in imported.texts.items():
            for field, text in texts.items():
                if (namespace, field) not in given:
                    settings.texts[namespace][field] = text
                elif self._facts is not None:
                    self._facts.text_kept(field)
        if imported.full_rock_ridge and settings.rock_ridge:
            settings.rock_ridge = 2

    def finish(self) -> None:
        """What could not be decided before the last step."""
        tree = self._tree
        if not tree.settings.udf:
            tree.warnings += [
                f"the image '{name}' has {count} names in UDF only, which are left out without --udf"
                for count, name in self._only_udf
            ]
        if self._disk is not None and tree.system_area is None and tree.isohybrid_mbr is None:
            self._finish_disk(*self._disk)

    def _finish_disk(self, disk: ImportedDisk, name: str) -> None:
        """The boot code of an imported image, where the recipe gives none and what it starts is still there."""
        from qemu_viso.tree.existing.hybrid import Loader

        tree = self._tree
        entries = tree.boot.entries if tree.boot is not None else []
        first = next((entry.image for entry in entries if entry.platform == 0), None)
        for entry in entries:
            entry.in_gpt |= any(entry is partition for partition in disk.partitions)
        if disk.loader is Loader.OTHER:
            # A new partition table takes the place of the old one; without one, all is left as it is.
            tables = any(entry.in_gpt for entry in entries)
            size = min(BOOT_CODE_BYTES, disk.area.size) if tables else disk.area.size
            tree.system_area = FileSlice(disk.area.file, disk.area.offset, size)
            tree.warnings.append(
                f"the system area of the image '{name}' is of an unknown kind and is kept as it is, "
                "but places on the disk that it tells of are other ones now"
            )
        elif disk.loader is not Loader.NONE and first is not disk.starts:
            tree.warnings.append(f"the boot code of '{name}' for disks is left out, because its boot image is not used")
        elif disk.loader is Loader.ISOLINUX:
            tree.isohybrid_mbr = disk.code
        elif disk.loader is Loader.GRUB:
            tree.grub_mbr = disk.code
