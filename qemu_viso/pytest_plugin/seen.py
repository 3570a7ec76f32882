"""What a guest saw of a recipe, for assertions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import pytest

from qemu_viso.errors import UsageError
from qemu_viso.guest.view import NAMESPACES
from qemu_viso.opening import Opened, open_image_file
from qemu_viso.verify.contents import sampled
from qemu_viso.verify.diff import compare
from qemu_viso.verify.expected import expected_view, namespaces, require
from qemu_viso.verify.place import Places, find_extent
from qemu_viso.verify.report import SHOWN, Report

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from qemu_viso.guest.view import Entry, GuestView, Namespace
    from qemu_viso.pytest_plugin.target import Target
    from qemu_viso.verify.diff import Difference
    from qemu_viso.verify.expected import Expected

__tracebackhide__ = True

T = TypeVar("T")

PREFERRED: tuple[Namespace, ...] = ("rock", "udf", "joliet", "plain")


class Read(Protocol):
    """Lets the guest read a file, or a piece of it."""

    def __call__(self, path: str, namespace: Namespace, offset: int = 0, length: int | None = None, /) -> bytes:
        """The bytes, by the file's path, as mounted, from an offset on; all that follow without a length."""
        ...


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
        read: Read,
        seconds: float,
        note: Callable[[Report], None] | None = None,
        kernel: str = "",
        accelerator: str = "",
    ) -> None:
        self.view = view
        self.what = what
        self.target = target
        self.seconds = seconds
        self._read = read
        self._note = note
        self._kernel = kernel
        self._accelerator = accelerator

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
            raise UsageError(
                f"'{self.what}' is an image, not a recipe: nothing says what a guest should see",
                hint="`held_to(recipe)` holds it to a recipe's promise",
            )
        opened, where, view = self.what, self.target, self.view
        expected = expected_view(opened.tree, view.namespace, view.reader)
        pieces = self._sampled(expected)
        count, differences = compare(opened.tree, view, sampled=pieces, expected=expected)
        places = Places(opened.image)
        placed = [_placed(each, opened, view.namespace, places) for each in differences[:SHOWN]]
        report = Report(
            opened.recipe.path,
            where.guest,
            where.bus,
            view.namespace,
            count,
            (*placed, *differences[SHOWN:]),
            self.seconds,
            kernel=self._kernel,
            sampled=len(pieces),
            accelerator=self._accelerator,
        )
        if self._note is not None:
            self._note(report)
        return report

    def held_to(self, recipe: Opened) -> Seen:
        """The same, for `report` and `verify` to hold to the promise of another recipe than the guest looked at.

        An image of another origin promises nothing by itself.

        Args:
            recipe: says what the guest should have seen.

        Raises:
            UsageError: its image has no such namespace.
        """
        require(recipe.tree, self.namespace)
        image = open_image_file(str(self.what)) if isinstance(self.what, Path) else self.what.image
        promise = Opened(recipe.recipe, recipe.tree, image)  # differences tell the bytes that the guest did read
        return Seen(
            self.view, promise, self.target, self._read, self.seconds, self._note, self._kernel, self._accelerator
        )

    def _sampled(self, expected: Mapping[str, Expected]) -> dict[str, int | None]:
        """Of files that did not come as a whole, pieces are read now; where the guest reads them wrong."""
        found: dict[str, int | None] = {}
        for path, entry in self.view.entries.items():
            content = expected[path].content if path in expected else None
            if entry.kind == "file" and entry.sha256 is None and content is not None and content.size == entry.size:

                async def read(offset: int, length: int, path: str = path) -> bytes:
                    return self._read(path, self.namespace, offset, length)

                found[path] = _finished(sampled(content, read))
        return found

    def verify(self) -> Report:
        """Assert that the guest saw what the recipe promises, all of it and nothing else.

        Raises:
            AssertionError: it did not; with a table of the differences.
        """
        report = self.report
        if report.differences:
            raise AssertionError(f"{report.summary()}\n{report.table()}")
        return report


def _finished(work: Coroutine[object, object, T]) -> T:
    """The result of a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("it waits for something")


def _placed(difference: Difference, opened: Opened, namespace: Namespace, places: Places) -> Difference:
    """A difference with the bytes from which the guest read it."""
    extent = find_extent(opened, namespace, difference.path, difference.field)
    return difference if extent is None else replace(difference, place=places.of(extent, difference.field))


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
