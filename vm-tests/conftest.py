"""What the tests that boot guests share: the guest, built once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qemu_viso.guest.build import build_guest
from qemu_viso.guest.definition import load_definition
from qemu_viso.verify.run import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qemu_viso.guest.build import GuestBuild
    from qemu_viso.guest.view import Namespace
    from qemu_viso.opening import Opened
    from qemu_viso.verify.report import Report

IMAGES = Path(__file__).resolve().parent.parent / "images"


@pytest.fixture(scope="session")
def linux_cloud() -> GuestBuild:
    """The fast guest."""
    return build_guest(load_definition("linux-cloud"), progress=print)


@pytest.fixture(scope="session")
def verified(linux_cloud: GuestBuild) -> Callable[..., list[Report]]:
    """Verify an opened recipe by the fast guest."""

    def run(opened: Opened, bus: str, namespaces: Sequence[Namespace], *, from_medium: bool = False) -> list[Report]:
        return asyncio.run(verify(opened, linux_cloud, bus, namespaces, from_medium=from_medium))

    return run
