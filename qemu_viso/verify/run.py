"""What a guest that has booted sees of a recipe, compared with what the recipe promises."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import TYPE_CHECKING

from qemu_viso.guest.agent import CONTENT_LIMIT
from qemu_viso.qemu.deadline import guest_seconds, stretch
from qemu_viso.verify.contents import Sums, first_wrong_byte, sampled
from qemu_viso.verify.diff import compare
from qemu_viso.verify.expected import expected_view
from qemu_viso.verify.place import Extent, Places, find_extent
from qemu_viso.verify.report import SHOWN, Report

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qemu_viso.guest.run import Session
    from qemu_viso.guest.view import GuestView, Namespace
    from qemu_viso.opening import Opened
    from qemu_viso.qemu.deadline import Deadline
    from qemu_viso.verify.contents import ReadGuest
    from qemu_viso.verify.diff import Difference
    from qemu_viso.verify.expected import Expected

DATA_RATE = 40_000_000
"""Bytes a second that even a slow guest reads, if the host's processor executes it; what is added to its time."""
ENTRY_RATE = 200
"""Names a second, likewise."""
NARROWED = 4
"""Files of wrong content in which the first wrong byte is looked for."""


def names_of(opened: Opened) -> int:
    """How many names there are in an image, roughly: usual files and directories have a region each."""
    return len(opened.image.regions)


def allowance(opened: Opened, namespaces: int, accelerator: str, seconds: float | None = None) -> float:
    """How long a guest may look at a recipe: some seconds, and what its names and data take even a slow guest.

    Args:
        opened: the recipe.
        namespaces: how many times it looks.
        accelerator: what executes the guest's instructions.
        seconds: the fixed part; the default for the accelerator if not given.
    """
    contents = opened.image.regions.contents
    data = sum(each.size for each in contents if each is not None and each.size < CONTENT_LIMIT)
    work = namespaces * (data / DATA_RATE + names_of(opened) / ENTRY_RATE)
    return guest_seconds(accelerator, seconds) + stretch(accelerator) * work


class Looking:
    """One recipe under the eyes of one guest.

    Args:
        session: the guest, with the recipe's medium in its drive.
        opened: the recipe.
        guest: the guest's name.
        bus: of the medium.
        sums: hashes that are known already.
    """

    def __init__(self, session: Session, opened: Opened, guest: str, bus: str, sums: Sums) -> None:
        self._session = session
        self._opened = opened
        self._guest = guest
        self._bus = bus
        self._sums = sums
        self._places = Places(opened.image)

    async def report(self, namespace: Namespace, deadline: Deadline, started: float) -> Report:
        """Let the guest look in one namespace, and compare.

        Args:
            namespace: how it mounts the medium.
            deadline: when it is too late.
            started: since when the time counts, as `time.monotonic()` told it.

        Raises:
            GuestError: QEMU or the guest failed.
            StaleSourceError: a source changed meanwhile.
        """
        view = await self._session.view(namespace, deadline)
        # Other guests' machines are attended to while this takes its time.
        expected = await asyncio.to_thread(expected_view, self._opened.tree, namespace, view.reader)
        pieces = await self._sample(view, expected, deadline)
        count, differences = await asyncio.to_thread(compare, self._opened.tree, view, self._sums, pieces, expected)
        wrong = await self._wrong_bytes(differences, expected, view, pieces, deadline)
        placed = await asyncio.to_thread(self._placed, differences[:SHOWN], namespace, wrong)
        return Report(
            self._opened.recipe.path,
            self._guest,
            self._bus,
            namespace,
            count,
            (*placed, *differences[SHOWN:]),
            time.monotonic() - started,
            kernel=self._session.description,
            sampled=len(pieces),
        )

    def _reader(self, namespace: Namespace, path: str, deadline: Deadline) -> ReadGuest:
        async def read(offset: int, length: int) -> bytes:
            return await self._session.read(namespace, path, offset, length, deadline)

        return read

    async def _sample(
        self, view: GuestView, expected: Mapping[str, Expected], deadline: Deadline
    ) -> dict[str, int | None]:
        """The files that did not come as a whole, and where the guest reads them wrong."""
        found: dict[str, int | None] = {}
        for path, entry in view.entries.items():
            if entry.kind == "file" and entry.sha256 is None and path in expected:
                content = expected[path].content
                if content is not None and content.size == entry.size:
                    found[path] = await sampled(content, self._reader(view.namespace, path, deadline))
        return found

    async def _wrong_bytes(
        self,
        differences: Sequence[Difference],
        expected: Mapping[str, Expected],
        view: GuestView,
        pieces: Mapping[str, int | None],
        deadline: Deadline,
    ) -> dict[str, int | None]:
        """The first wrong byte of the first few files that have one."""
        found = dict(pieces)
        paths = [each.path for each in differences if each.field == "content" and each.path not in pieces]
        for path in paths[:NARROWED]:
            content = expected[path].content
            assert content is not None, "only contents are compared as such"
            found[path] = await first_wrong_byte(content, self._reader(view.namespace, path, deadline))
        return found

    def _placed(
        self, differences: Sequence[Difference], namespace: Namespace, wrong: Mapping[str, int | None]
    ) -> list[Difference]:
        """Differences with the bytes from which the guest read them."""
        found = []
        for difference in differences:
            extent = find_extent(self._opened, namespace, difference.path, difference.field)
            byte = wrong.get(difference.path) if difference.field == "content" else None
            if extent is not None and byte is not None:
                extent = Extent(extent.start + byte, 1)
            place = None if extent is None else self._places.of(extent, difference.field)
            found.append(dataclasses.replace(difference, place=place, wrong_byte=byte))
        return found
