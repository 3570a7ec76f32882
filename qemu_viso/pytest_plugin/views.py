"""The fixture `viso_view`: what a guest sees of a recipe, from a guest that runs already where that is possible."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from qemu_viso.errors import RefusedError, UsageError
from qemu_viso.guest.agent import CONTENT_LIMIT
from qemu_viso.pytest_plugin.exports import origin
from qemu_viso.pytest_plugin.plainly import plainly
from qemu_viso.pytest_plugin.seen import Seen, choose_namespace

if TYPE_CHECKING:
    from collections.abc import Callable

    from qemu_viso.guest.view import Namespace
    from qemu_viso.pytest_plugin.exports import Export, Source
    from qemu_viso.pytest_plugin.machines import GuestMachine
    from qemu_viso.pytest_plugin.session import Session
    from qemu_viso.pytest_plugin.target import Target

T = TypeVar("T")

__tracebackhide__ = True

MOST_RUNNING = 3


class Pool:
    """Guests that have looked at a medium and still run, so that the next one costs a change of medium and no boot.

    A guest that failed, or whose test failed, is ended: nobody knows what it would say next. A guest that says that it
    cannot do what was asked is as good as before.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        # In the order of their last use.
        self._running: dict[Target, GuestMachine] = {}

    @property
    def machines(self) -> list[GuestMachine]:
        """Those that run, the one that was used last at the end."""
        return list(self._running.values())

    def ask(self, target: Target, source: Source, question: Callable[[GuestMachine], T]) -> T:
        """Let a guest look at a medium, and ask it something.

        Raises:
            GuestError: the guest failed, or refused.
        """
        machine = self._take(target, source)
        try:
            return question(machine)
        except RefusedError:
            raise
        except BaseException:
            self.end(machine)
            raise

    def _take(self, target: Target, source: Source) -> GuestMachine:
        """A guest with that medium in its drive."""
        machine = self._running.get(target)
        suits = machine is not None and (machine.source is source or self._changeable(target))
        if machine is not None and not (suits and machine.running):
            self.end(machine)
            machine = None
        if machine is None:
            while len(self._running) >= MOST_RUNNING:
                self._make_room()
            machine = self._start(target, source)
        else:
            self._session.record.used(machine)
            if machine.source is not source:
                self._change(machine, source)
        self._running.pop(target, None)
        self._running[target] = machine
        return machine

    def _changeable(self, target: Target) -> bool:
        """Whether a guest can be shown another medium; firmware starts only the first one."""
        return self._session.bus(target.bus).removable and target.firmware is None

    def _make_room(self) -> None:
        """End the guest that is of least use: one that only ever sees one medium, or else the one not used for long."""
        targets = sorted(self._running, key=self._changeable)
        self.end(self._running[targets[0]])

    def _start(self, target: Target, source: Source) -> GuestMachine:
        machine, inserted = self._session.machine(source, target)
        try:
            machine.start(inserted)
        except BaseException:
            machine.close()
            raise
        return machine

    def _change(self, machine: GuestMachine, source: Source) -> None:
        try:
            machine.change_medium(source)
        except BaseException:
            self.end(machine)
            raise

    def end(self, machine: GuestMachine) -> None:
        """End a guest."""
        self._running = {target: each for target, each in self._running.items() if each is not machine}
        machine.close()

    def forget(self, export: Export) -> None:
        """End the guests that look at an export, which goes."""
        for machine in [each for each in self._running.values() if each.source is export]:
            self.end(machine)

    def close(self) -> None:
        """End all."""
        for machine in self.machines:
            self.end(machine)

    def view(
        self,
        target: Target,
        source: Source,
        namespace: Namespace | None = None,
        *,
        limit: int = CONTENT_LIMIT,
        seconds: float | None = None,
    ) -> Seen:
        """What a guest sees; see `Views`."""
        wanted = choose_namespace(origin(source), target, namespace)
        began = time.monotonic()
        if target.definition.reader != "agent":
            found, ended = self._session.scripted_view(target, source, wanted, seconds)
            took = time.monotonic() - began
            accelerator = self._session.accelerator(target.definition.platform).accelerator
            note = partial(self._session.reported, ended)
            return Seen(found, origin(source), target, _reads_nothing, took, note, accelerator=accelerator)

        def look(machine: GuestMachine) -> Seen:
            found = machine.look(wanted, limit, machine.deadline(seconds))
            took = time.monotonic() - began
            note = partial(self._session.reported, machine)
            return Seen(found, origin(source), target, read, took, note, machine.guest, machine.accelerator)

        def read(path: str, mounted: Namespace, offset: int = 0, length: int | None = None) -> bytes:
            return self.ask(target, source, lambda machine: machine.read(path, mounted, offset, length))

        return self.ask(target, source, look)


def _reads_nothing(path: str, *_: object) -> bytes:
    raise UsageError(f"the content of {path!r} cannot be asked for: this guest tells everything at once, by its hash")


class Views:
    """What the fixture `viso_view` is: lets the test's guest look at media."""

    def __init__(self, session: Session, target: Target) -> None:
        self._session = session
        self._target = target

    @plainly
    def __call__(
        self,
        source: Source,
        namespace: Namespace | None = None,
        *,
        limit: int = CONTENT_LIMIT,
        seconds: float | None = None,
    ) -> Seen:
        """What the guest sees of a medium.

        A guest that runs already is used again where the medium can be changed under it.

        Args:
            source: a recipe, an export of it, or the path of an image of another origin.
            namespace: how the guest mounts it; by default the one that shows most of those that guest and image have.
            limit: files smaller than this, in bytes, are read and hashed.
            seconds: how long that may take; 60, and 120 under TCG, if not given.

        Raises:
            GuestError: the guest failed, with its last words; or it refused.
            UsageError: the image has no such namespace.
            StaleSourceError: a source changed meanwhile.
        """
        return self._session.pool.view(self._target, source, namespace, limit=limit, seconds=seconds)
