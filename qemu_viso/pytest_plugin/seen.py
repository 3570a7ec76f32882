"""What a guest saw of a recipe, for assertions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import UsageError
from qemu_viso.guest.view import NAMESPACES
from qemu_viso.opening import Opened
from qemu_viso.verify.diff import compare
from qemu_viso.verify.expected import namespaces, require
from qemu_viso.verify.report import Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qemu_viso.guest.view import Entry, GuestView, Namespace
    from qemu_viso.pytest_plugin.target import Target

__tracebackhide__ = True

PREFERRED: tuple[Namespace, ...] = ("rock", "udf", "joliet", "plain")


class Seen(Mapping[str, "Entry"]):
    """Everything that a guest saw of a medium in one namespace: paths from the root `/`, and what lies there.

    Attributes:
        view: the same as a plain value, to be compared with other guests' views.
        what: the recipe, or the path of an image of another origin.
        target: the guest and its bus.
        seconds: how long the guest took, with its boot if it had to be started.
    """

    def __init__(
        self,
        view: GuestView,
        what: Opened | Path,
        target: Target,
        read: Callable[[str, Namespace], bytes],
        seconds: float,
    ) -> None:
        self.view = view
        self.what = what
        self.target = target
        self.seconds = seconds
        self._read = read

    @property
    def label(self) -> str:
        """The volume label, from the descriptor of the namespace."""
        return self.view.label

    @property
    def namespace(self) -> Namespace:
        """How the guest mounted the medium."""
        return self.view.namespace

    def __getitem__(self, path: str) -> Entry:
        return self.view.entries[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self.view.entries)

    def __len__(self) -> int:
        return len(self.view.entries)

    def __repr__(self) -> str:
        return f"<what {self.target} shows as {self.namespace}: {len(self)} entries>"

    def read(self, path: str) -> bytes:
        """A file's content, as the guest reads it now.

        Raises:
            GuestError: the guest failed, or could not read it.
        """
        return self._read(path, self.namespace)

    @property
    def report(self) -> Report:
        """The comparison of what the guest saw with what the recipe promises.

        Raises:
            UsageError: there is no recipe.
        """
        if isinstance(self.what, Path):
            raise UsageError(f"'{self.what}' is an image, not a recipe: nothing says what a guest should see")
        expected, differences = compare(self.what.tree, self.view)
        path, where = self.what.recipe.path, self.target
        return Report(path, where.guest, where.bus, self.namespace, expected, tuple(differences), self.seconds)

    def verify(self) -> Report:
        """Assert that the guest saw what the recipe promises, all of it and nothing else.

        Raises:
            AssertionError: it did not; with a table of the differences.
        """
        report = self.report
        if report.differences:
            raise AssertionError(f"{report.summary()}\n{report.table()}")
        return report


def choose_namespace(what: Opened | Path, target: Target, asked: Namespace | None) -> Namespace:
    """The namespace that was asked for, or the one that shows most of those that guest and image have.

    Raises:
        UsageError: the image has no such namespace, or it is of another origin and none was asked for.
    """
    known = target.definition.namespaces
    if asked is not None:
        if asked not in NAMESPACES:
            raise UsageError(f"there is no namespace '{asked}'", hint=f"one of {', '.join(NAMESPACES)}")
        if isinstance(what, Opened):
            require(what.tree, asked)
        if asked not in known:
            pytest.skip(f"the guest '{target.guest}' cannot mount {asked}; it can mount {', '.join(known)}")
        return asked
    if isinstance(what, Path):
        raise UsageError(f"'{what}' is an image, not a recipe: say in which namespace it is to be looked at")
    seen = target.definition.sees(namespaces(what.tree))
    if not seen:
        pytest.skip(f"the guest '{target.guest}' can read none of the namespaces of '{what.recipe.path}'")
    return next(each for each in PREFERRED if each in seen)
