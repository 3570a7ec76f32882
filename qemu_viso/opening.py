"""From a recipe's path to an image that can be read: the steps that every command begins with."""

from __future__ import annotations

import gc
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from qemu_viso.frozen import Frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qemu_viso.image import Image
    from qemu_viso.tree.tree import Tree
    from qemu_viso.viso.recipe import Recipe


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


def open_viso(path: str) -> Opened:
    """Read a recipe, carry it out, and lay its image out. No file data is read.

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
        tree = build_tree(recipe)
        try:
            return Opened(recipe, tree, lay_out(tree))
        except QemuVisoError as error:
            error.place = error.place or Place(path, 1, 1)  # what the layout finds wrong is the recipe as a whole
            raise


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
