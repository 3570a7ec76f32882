"""Everything that is in an existing image, by path, in each namespace that it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qemu_viso.tree.existing.image import ExistingImage
from qemu_viso.tree.existing.volume import check_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qemu_viso.tree.existing.medium import Medium
    from qemu_viso.tree.existing.volume import FileSystem, Found, Location


def file_systems(medium: Medium) -> dict[str, FileSystem]:
    """The file systems of an image by the names of namespaces: "rock", "plain", "joliet" and "udf".

    Raises:
        RecipeError: the image has none, or is damaged.
    """
    image = ExistingImage(medium)
    found: dict[str, FileSystem] = {}
    if image.primary is not None:
        if image.primary.rock_ridge:
            found["rock"] = image.primary
            plain = ExistingImage(medium, rock=False, joliet=False).primary
            assert plain is not None
            found["plain"] = plain
        else:
            found["plain"] = image.primary
    if image.joliet is not None:
        found["joliet"] = image.joliet
    if image.udf is not None:
        found["udf"] = image.udf
    return found


def walk(system: FileSystem) -> Iterator[tuple[str, Found]]:
    """Every path with what is there, the root first, as "/"; of names that are there twice, the first.

    Raises:
        RecipeError: the image is damaged, holds a directory inside itself, or is too deep.
    """
    system.begin()
    root = system.root
    yield "/", root
    assert root.location is not None
    stack: list[tuple[str, Location, tuple[int, ...]]] = [("", root.location, ())]
    while stack:
        path, location, above = stack.pop()
        check_directory(system.medium, location, above, path)
        seen: set[str] = set()
        for found in system.entries(location):
            if found.name in seen:
                continue
            seen.add(found.name)
            yield f"{path}/{found.name}", found
            if found.location is not None:
                stack.append((f"{path}/{found.name}", found.location, (*above, location.offset)))
