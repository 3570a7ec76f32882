"""The El Torito options as they come: which entry each of them speaks of (section G2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qemu_viso.errors import RecipeError
from qemu_viso.tree.nodes import BOOT_CATALOG, Directory, File, Link
from qemu_viso.tree.tree import BootEntry
from qemu_viso.viso.recipe import Media
from qemu_viso.viso.source import spelled

if TYPE_CHECKING:
    from collections.abc import Callable

    from qemu_viso.errors import Place
    from qemu_viso.tree.nodes import Attributes, Namespace, Node

EFI = 0xEF


class BootOptions:
    """Entries under construction. A boot image that is not there yet is looked for again at the end.

    Args:
        new_attributes: those that a file which the image itself needs would have now.

    Attributes:
        entries: those of the options, and of imported images.
        catalog_named: where `-c` gave the catalog a name.
    """

    def __init__(self, new_attributes: Callable[[], Attributes]) -> None:
        self._new_attributes = new_attributes
        self._catalog: File | None = None
        self.catalog_named: set[Namespace] = set()
        self.entries: list[BootEntry] = []
        self._made = 0  # so many of the entries are the options' own; others behind them were imported
        self._platform = 0
        self._begin_next = True
        self._awaited: list[tuple[BootEntry, str, Place]] = []
        self._places: list[Place] = []

    def catalog(self) -> File:
        """The boot catalog, which is there from the first boot option on (section G2), and has no name of its own."""
        if self._catalog is None:
            self._catalog = File(BOOT_CATALOG, self._new_attributes(), None)
        return self._catalog

    def new_entry(self, place: Place) -> None:
        """What follows describes another entry, which must get an image."""
        if self._made:
            self._begin_next = True
        self.current(place)

    def take_over(self, entries: list[BootEntry], place: Place) -> None:
        """The entries of an imported image. Options that follow replace them from the first one on (section H1)."""
        self.entries[self._made :] = entries[self._made :]
        self._places[self._made :] = [place] * len(entries[self._made :])

    def platform(self, platform: int) -> None:
        """The platform of the entries that follow; an entry that has an image already stays what it is."""
        self.catalog()
        self._platform = platform
        if self._made and not self._begin_next:
            entry = self.entries[self._made - 1]
            if self._has_image(entry):
                self._begin_next = True
            else:
                entry.platform = platform

    def current(self, place: Place) -> BootEntry:
        """The entry that an option speaks of, begun if need be."""
        self.catalog()
        if self._begin_next:
            self.entries[self._made : self._made + 1] = [BootEntry(platform=self._platform)]
            self._places[self._made : self._made + 1] = [place]
            self._made += 1
            self._begin_next = False
        return self.entries[self._made - 1]

    def _has_image(self, entry: BootEntry) -> bool:
        return entry.image is not None or any(awaited is entry for awaited, _, _ in self._awaited)

    def claim(self, place: Place) -> BootEntry:
        """The current entry, for an image.

        Raises:
            RecipeError: it has one.
        """
        entry = self.current(place)
        if self._has_image(entry):
            other = spelled(place)
            raise RecipeError(
                f"boot entry {self._made} already has an image{other and f', and {other} names another'}",
                place=place,
                hint="begin another entry with --eltorito-new-entry",
            )
        return entry

    def name_image(self, path: str, place: Place, look_up: Callable[[str], Node | None]) -> None:
        """`-b PATH`: now if it is there, or else at the end."""
        entry = self.claim(place)
        node = look_up(path)
        if node is None:
            self._awaited.append((entry, path, place))
        else:
            self._set_image(entry, node, path, place)

    def efi_image(self, path: str, place: Place, look_up: Callable[[str], Node | None], *, new_entry: bool) -> None:
        """`-e PATH` and its kin: an EFI image without emulation."""
        if new_entry and self._made and self._has_image(self.entries[self._made - 1]):
            self.new_entry(place)
        entry = self.claim(place)
        entry.platform = EFI
        entry.media = Media.NO_EMULATION
        node = look_up(path)
        if node is None:
            self._awaited.append((entry, path, place))
        else:
            self._set_image(entry, node, path, place)

    @staticmethod
    def _set_image(entry: BootEntry, node: Node, path: str, place: Place) -> None:
        if isinstance(node, Link):
            raise RecipeError(f"the boot image '{path}' is a symbolic link", place=place, hint="name the file itself")
        entry.image = node

    def finish(self, look_up: Callable[[str], Node | None]) -> list[BootEntry]:
        """The entries, all with their images.

        Raises:
            RecipeError: an image is missing.
        """
        for entry, path, place in self._awaited:
            node = look_up(path)
            if node is None:
                raise RecipeError(
                    f"the boot image '{path}' is not in the image",
                    place=place,
                    hint="add the file under that path; the path is the one in the image, not on the host",
                )
            self._set_image(entry, node, path, place)
        for number, (entry, place) in enumerate(zip(self.entries, self._places, strict=True), 1):
            entry.place = place
            if not isinstance(entry.image, File | Directory):
                begun = spelled(place)
                raise RecipeError(
                    f"boot entry {number} has no image{begun and f', though {begun} begins it'}",
                    place=place,
                    hint="give it one with -b PATH or --eltorito-add-image SPEC",
                )
        return self.entries
