"""Recipes and response files on the host: the only part of this package that opens files."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from qemu_viso.errors import MissingInputError
from qemu_viso.frozen import Frozen
from qemu_viso.viso.marker import parse_head
from qemu_viso.viso.parse import RECIPE_LIMIT, RESPONSE_LIMIT, Load, parse_recipe, too_large, unreadable
from qemu_viso.viso.source import shown

if TYPE_CHECKING:
    from uuid import UUID

    from qemu_viso.viso.recipe import Quoting, Recipe

PROBED = 1023


class Probe(Frozen):
    """What the first 1,023 bytes of a recipe say.

    Attributes:
        path: the file.
        uuid_text: the image's UUID as the recipe writes it, without braces.
        quoting: how the text is split.
        size: of the recipe itself, in bytes.
    """

    path: str
    uuid_text: str
    quoting: Quoting
    size: int

    @property
    def uuid(self) -> UUID:
        """The image's UUID."""
        from uuid import UUID

        return UUID(self.uuid_text)


def probe(path: str) -> Probe:
    """Is a file a VISO? Like VirtualBox's probe, this looks at its first 1,023 bytes and its size.

    Raises:
        RecipeError: no marker, no UUID within these bytes, or a file of more than 32 MiB.
        MissingInputError, AccessError, InputOutputError: the file cannot be read.
    """
    data, size = _read(path, PROBED)
    head = parse_head(data, path)
    if size > RECIPE_LIMIT:
        raise too_large(path, size)
    return Probe(path, head.uuid_text, head.quoting, size)


def read_recipe(path: str, load: Load | None = None) -> Recipe:
    """Read a recipe and the response files that it names.

    Args:
        path: the recipe.
        load: gives the bytes of a response file; see `parse_recipe`. By default names are opened relative to the
            recipe's directory.

    Raises:
        RecipeError: what is wrong with the text, with its place.
        MissingInputError, AccessError, InputOutputError: a file cannot be read.
    """
    return parse_recipe(read_data(path), path, load or beside(path))


def read_data(path: str) -> bytes:
    """The whole of a recipe, which is not looked at.

    Raises:
        RecipeError: it has more than 32 MiB.
        MissingInputError, AccessError, InputOutputError: it cannot be read.
    """
    data, size = _read(path, RECIPE_LIMIT + 1)
    if size > RECIPE_LIMIT or len(data) > RECIPE_LIMIT:
        raise too_large(path, max(size, len(data)))
    return data


def beside(path: str) -> Load:
    """Gives response files whose names are relative to the directory that `path` is in."""
    directory = os.path.dirname(path)

    def load(name: str) -> bytes:
        return _contents(os.path.join(directory, name), RESPONSE_LIMIT)[0]

    return load


def _read(path: str, most: int) -> tuple[bytes, int]:
    try:
        return _contents(path, most)
    except (FileNotFoundError, NotADirectoryError):
        raise MissingInputError(
            f"the recipe {shown(path)} is not there", hint="'qemu-viso new -o RECIPE NAME=SOURCE' writes one"
        ) from None
    except (OSError, ValueError) as error:
        raise unreadable(f"the recipe {shown(path)}", error) from None


def _contents(path: str, most: int) -> tuple[bytes, int]:
    """At most `most` bytes of a regular file, and its size; nothing else is read, for it might never end."""
    # Without O_NONBLOCK, opening a FIFO would wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb", buffering=0) as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "it is not a regular file")
        parts = []
        while most and (part := file.read(most)):
            parts.append(part)
            most -= len(part)
        return b"".join(parts), status.st_size
