"""Which messages a package can make, and which of them were made."""

from __future__ import annotations

import ast
import sys
from contextlib import ExitStack, contextmanager
from traceback import walk_stack
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from qemu_viso.errors import QemuVisoError
from qemu_viso.tree.existing.volume import Warnings
from qemu_viso.viso.specs import BadValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MAKERS: tuple[tuple[type, str], ...] = ((QemuVisoError, "__init__"), (BadValueError, "__init__"), (Warnings, "add"))


@contextmanager
def lines_met() -> Iterator[set[tuple[str, int]]]:
    """File and line of everything that is being carried out whenever a message is made."""
    met: set[tuple[str, int]] = set()

    def watched(real: Callable[..., None]) -> Callable[..., None]:
        def make(*args: Any, **kwargs: Any) -> None:
            met.update((frame.f_code.co_filename, line) for frame, line in walk_stack(sys._getframe(1)))
            real(*args, **kwargs)

        return make

    with ExitStack() as stack:
        for kind, name in MAKERS:
            stack.enter_context(patch.object(kind, name, watched(getattr(kind, name))))
        yield met


def unmet(package: Path, makers: set[str], met: set[tuple[str, int]]) -> list[str]:
    """The calls in a package that make a message, and have not been met.

    Args:
        package: its directory.
        makers: what makes one, by its last two names at most: `RecipeError`, `medium.error`, `warnings.add`.
        met: what `lines_met` gave.
    """
    return [
        f"{path}:{call.lineno}"
        for path in sorted(package.glob("*.py"))
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and _name(call.func) in makers
        if not any((str(path), line) in met for line in range(call.lineno, (call.end_lineno or call.lineno) + 1))
    ]


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Name):
        return function.id
    if not isinstance(function, ast.Attribute):
        return ""
    owner = function.value
    last = owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
    return f"{last.lstrip('_')}.{function.attr}"
