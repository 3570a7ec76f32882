"""Errors are sentences: a test's report shows the line of the test that met one, and not the way to it."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from qemu_viso.errors import QemuVisoError

if TYPE_CHECKING:
    from collections.abc import Callable

# pytest leaves out frames whose globals or locals say so.
__tracebackhide__ = True

P = ParamSpec("P")
T = TypeVar("T")


def plainly(function: Callable[P, T]) -> Callable[P, T]:
    """The function, with errors of the project that come as if they were raised here."""

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except QemuVisoError as error:
            raise error.with_traceback(None) from None

    return wrapper
