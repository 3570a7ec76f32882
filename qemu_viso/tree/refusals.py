"""What one namespace refuses: an error where it is on, and nothing where it is off (sections D3 and D9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qemu_viso.errors import Place, RecipeError
    from qemu_viso.tree.nodes import Namespace
    from qemu_viso.tree.tree import Settings


class Refusals:
    """Raises what is refused in a namespace that is on; keeps the rest, because an option may turn one on later.

    Attributes:
        place: the step that is carried out.
    """

    def __init__(self, settings: Settings) -> None:
        self.place: Place | None = None
        self._settings = settings
        self._kept: list[tuple[RecipeError, frozenset[Namespace]]] = []

    def __call__(self, error: RecipeError, namespaces: frozenset[Namespace]) -> None:
        """Something is refused in these namespaces.

        Raises:
            RecipeError: the error, because one of them is on.
        """
        if any(map(self._settings.is_on, namespaces)):
            raise error
        if error.place is None:
            error.place = self.place
        self._kept.append((error, namespaces))

    def finish(self) -> None:
        """All steps are carried out.

        Raises:
            RecipeError: the first that was refused in a namespace that is on now.
        """
        for error, namespaces in self._kept:
            if any(map(self._settings.is_on, namespaces)):
                raise error
