"""`--push-iso`: sources that come out of an existing image."""

from __future__ import annotations

import posixpath
import stat
from typing import TYPE_CHECKING

from qemu_viso.errors import RecipeError
from qemu_viso.tree.existing.image import ExistingImage, Paths
from qemu_viso.tree.existing.medium import Medium
from qemu_viso.tree.existing.nodes import NodeMaker
from qemu_viso.tree.nodes import ALL_NAMESPACES

if TYPE_CHECKING:
    from qemu_viso.image import FileSlice, Joined
    from qemu_viso.sources.host import HostFile
    from qemu_viso.tree.attributes import AttributeRules
    from qemu_viso.tree.existing.volume import Found
    from qemu_viso.tree.facts import Facts
    from qemu_viso.tree.nodes import Node
    from qemu_viso.tree.origin import Clock, WalkOptions


class PushedOrigin:
    """An image as a place where sources are; an absolute path begins at the image's root, and so does a relative one.

    Args:
        content: the image's bytes.
        name: how messages call it.
        joliet: may its Joliet names be used?
        rock: may its Rock Ridge be used?
        options: how directories are walked.
        clock: clamps times, and keeps the newest.
        warnings: where sentences about things left out are appended.
        facts: is told of each source, unless None.

    Raises:
        RecipeError: it is no image that can be read.
        MissingInputError, AccessError, InputOutputError: the host says no.
    """

    def __init__(
        self,
        content: HostFile | FileSlice | Joined,
        name: str,
        *,
        joliet: bool,
        rock: bool,
        options: WalkOptions,
        clock: Clock,
        warnings: list[str],
        facts: Facts | None,
    ) -> None:
        self._image = ExistingImage(Medium(content, name), joliet=joliet, rock=rock)
        self._system = self._image.preferred()
        self._paths = Paths(self._system)
        self._options = options
        self._clock = clock
        self._warnings = warnings
        self._facts = facts

    def node(self, source: str, rules: AttributeRules) -> Node:
        """A file or a directory with all below it.

        Raises:
            MissingInputError: the image has nothing of that name.
            RecipeError: it is neither a file nor a directory, or the image is damaged.
        """
        if self._facts is not None:
            self._facts.pushed(self._image, source)
        written = source.replace("\\", "/").rstrip("/")
        maker = NodeMaker(rules, self._clock, lambda path, found: self._left_out(written, path, found))
        found = self._paths.look_up(source)
        if found.location is not None:
            node: Node = maker.tree(self._system, found, ALL_NAMESPACES)
        elif found.data is not None:
            node = maker.file(found)
        else:
            raise RecipeError(
                f"'{source}' in the image '{self._image.medium.name}' is a special file, "
                "and only files and directories can be in an image",
                hint="name one of these; special files that a directory holds are left out",
            )
        self._image.medium.verify()
        self._warnings += self._system.warnings.take()
        return node

    def data(self, source: str) -> FileSlice | Joined:
        """Where the bytes of a file of the image are.

        Raises:
            MissingInputError: the image has nothing of that name.
            RecipeError: it is no file.
        """
        found = self._paths.look_up(source)
        if found.data is None:
            raise RecipeError(
                f"'{source}' in the image '{self._image.medium.name}' is no file, and a file is needed here",
                hint="name an image that is in it",
            )
        return found.data

    def _left_out(self, written: str, path: str, found: Found) -> bool:
        if stat.S_ISLNK(found.mode) and self._options.ignore_links:
            return True
        return self._options.excluding and self._options.excludes(
            written + posixpath.dirname(path).rstrip("/"), found.name
        )
