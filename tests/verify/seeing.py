# ruff: noqa: ARG002 (who stands for somebody takes what that one takes)
"""Guests that are only pretended: they see what the tree promises, or what a test wants them to see."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from qemu_viso.guest.view import Entry, GuestView
from qemu_viso.qemu.remains import Remains
from qemu_viso.verify.expected import content_sha256, expected_label, expected_view

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from qemu_viso.guest.build import GuestBuild
    from qemu_viso.guest.view import Namespace
    from qemu_viso.qemu.deadline import Deadline
    from qemu_viso.qemu.devices import Bus, NbdMedium
    from qemu_viso.tree.tree import Tree

REMAINS = Remains((("qemu", "a b"),), ("> x",), b"\x1b[31mbooting\r\n<b>\xff", (("qemu", "hm"),), None)


def honest(tree: Tree, namespace: Namespace) -> GuestView:
    """What a guest sees that sees everything right."""
    entries = {}
    for path, wanted in expected_view(tree, namespace).items():
        sha256 = None if wanted.content is None else content_sha256(wanted.content)
        size = 2048 if wanted.size is None else wanted.size
        entries[path] = Entry(
            wanted.kind, size, wanted.mode, wanted.uid, wanted.gid, wanted.target, wanted.mtime, sha256
        )
    return GuestView(namespace, expected_label(tree, namespace), entries)


class Guests:
    """Stands for `booted`; writes down what happens.

    Args:
        trees: by export, as the fan-out names them.
        on_view: may raise, or change what is seen.
    """

    def __init__(
        self, trees: dict[str, Tree], on_view: Callable[[str, str, GuestView], GuestView] = lambda _, __, view: view
    ) -> None:
        self.trees = trees
        self.on_view = on_view
        self.log: list[str] = []
        self.allowed: list[float] = []
        self.names: list[object] = []
        self.running = 0
        self.most = 0

    @asynccontextmanager
    async def booted(
        self,
        build: GuestBuild,
        bus: Bus,
        medium: NbdMedium,
        deadline: Deadline,
        namespaces: Sequence[Namespace],
        **options: object,
    ) -> AsyncIterator[PretendedSession]:
        self.allowed.append(deadline.remaining)
        self.names.append(options["names"])
        self.log.append(f"boot {bus.name} {medium.export}")
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            yield PretendedSession(self, bus, medium.export)
        except Exception:
            options["on_failure"](REMAINS)  # type: ignore[operator]
            raise
        finally:
            self.running -= 1


class PretendedSession:
    """Stands for a `Session`."""

    description = "x86_64 6.1"

    def __init__(self, guests: Guests, bus: Bus, export: str) -> None:
        self.guests = guests
        self.bus = bus
        self.export = export

    async def view(self, namespace: Namespace, deadline: Deadline) -> GuestView:
        self.guests.log.append(f"view {self.export} {namespace}")
        seen = honest(self.guests.trees[self.export], namespace)
        return self.guests.on_view(self.export, namespace, seen)

    async def read(self, namespace: Namespace, path: str, offset: int, length: int, deadline: Deadline) -> bytes:
        return b"?" * length

    async def change(self, medium: NbdMedium, deadline: Deadline) -> None:
        self.guests.log.append(f"change {medium.export}")
        self.export = medium.export

    async def remains(self) -> Remains:
        return REMAINS

    async def quit(self, deadline: Deadline) -> None:
        self.guests.log.append("quit")
