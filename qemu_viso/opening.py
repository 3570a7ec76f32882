"""From a path to an image that can be read: the steps that every command begins with."""

from __future__ import annotations

import gc
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from qemu_viso.frozen import Frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qemu_viso.image import Image
    from qemu_viso.sources.host import HostFile
    from qemu_viso.tree.facts import Facts
    from qemu_viso.tree.tree import Tree
    from qemu_viso.viso.recipe import Recipe

SECTOR = 2048
DESCRIPTORS = 16 * SECTOR
"""Where the volume descriptors of an image begin."""


class Opened(Frozen):
    """A recipe, what is in its image, and the image."""

    recipe: Recipe
    tree: Tree
    image: Image

    @property
    def folders(self) -> set[str]:
        """Every host directory in which a change may change the image: of recipe, response files and sources."""
        directory = os.path.dirname(self.recipe.path) or "."
        files = (os.path.join(directory, name) for name in self.recipe.response_files)
        return {directory, *(os.path.dirname(file) for file in files), *self.tree.folders}


def open_viso(path: str, facts: Facts | None = None) -> Opened:
    """Read a recipe, carry it out, and lay its image out. No file data is read.

    Args:
        path: the recipe's.
        facts: is told of what VirtualBox may take otherwise, unless None.

    Raises:
        RecipeError, MissingInputError, AccessError, InputOutputError, ConfigurationError: with the place in the recipe
            where there is one.
    """
    from qemu_viso.errors import Place, QemuVisoError
    from qemu_viso.layout import lay_out
    from qemu_viso.tree.builder import build_tree
    from qemu_viso.viso import read_recipe

    with _no_garbage_collection():
        recipe = read_recipe(path)
        tree = build_tree(recipe, facts=facts)
        try:
            return Opened(recipe, tree, lay_out(tree))
        except QemuVisoError as error:
            error.place = error.place or Place(path, 1, 1)  # what the layout finds wrong is the recipe as a whole
            raise


def open_image(path: str) -> Image:
    """The image of a recipe, or of a file that is an image already, whatever its name.

    Raises:
        RecipeError, MissingInputError, AccessError, InputOutputError, ConfigurationError: as `open_viso`.
    """
    return open_image_file(path) if is_image(path) else open_viso(path).image


def is_image(path: str) -> bool:
    """Whether a file has a volume descriptor of ISO 9660, or UDF's volume recognition sequence, where they belong."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False  # what is wrong is said when it is opened
    try:
        return os.pread(descriptor, 5, DESCRIPTORS + 1) in (b"CD001", b"BEA01", b"NSR02", b"NSR03")
    except OSError:
        return False
    finally:
        os.close(descriptor)


def host_file(path: str) -> HostFile:
    """A regular file of the host, as it is now.

    Raises:
        MissingInputError, AccessError, InputOutputError: it cannot be looked at, is empty, or is no regular file.
    """
    from qemu_viso.errors import InputOutputError
    from qemu_viso.sources.host import HostDirectory, HostFile, open_error

    try:
        status = os.stat(path)
    except OSError as error:
        raise open_error(path, error) from None
    if not stat.S_ISREG(status.st_mode) or not status.st_size:
        raise InputOutputError(
            f"'{path}' is not an image: it is no regular file, or empty", hint="name a recipe or an ISO image"
        )
    folder, name = os.path.split(path)
    directory = HostDirectory(None, folder, status.st_dev)
    return HostFile(directory, name, status.st_size, status.st_mtime_ns, status.st_ino)


def open_image_file(path: str) -> Image:
    """A file as an image; what lacks in its last sector reads as zeros.

    Raises:
        MissingInputError, AccessError, InputOutputError: as `host_file`.
    """
    from qemu_viso.image import Image, RegionMap

    file = host_file(path)
    regions = RegionMap()
    regions.append(0, -(-file.size // SECTOR) * SECTOR, file)
    return Image(regions, os.path.splitext(file.name)[0])


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """A tree is many objects and no garbage: looking for cycles in it again and again is a fifth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
