"""What the tests that boot guests share: the guest, built once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qemu_viso.guest.build import GuestBuild
    from qemu_viso.guest.view import Namespace
    from qemu_viso.opening import Opened
    from qemu_viso.pytest_plugin.session import Session
    from qemu_viso.pytest_plugin.target import Firmware
    from qemu_viso.verify.report import Report

# In the checkout there is no entry point that tells pytest of it.
pytest_plugins = ["qemu_viso.pytest_plugin"]

FULL = "QEMU_VISO_FULL"


def pytest_configure(config: pytest.Config) -> None:
    """Say what the marker means."""
    config.addinivalue_line("markers", "full: runs in the full tier only, `make vm-test-full`")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the full tier out, unless it is asked for."""
    if os.environ.get(FULL) != "1":
        full = [item for item in items if item.get_closest_marker("full")]
        config.hook.pytest_deselected(items=full)
        items[:] = [item for item in items if item not in full]


@pytest.fixture(scope="session")
def linux_cloud(viso_session: Session) -> GuestBuild:
    """The fast guest."""
    return viso_session.guest("linux-cloud")


@pytest.fixture(scope="session")
def verified(viso_session: Session) -> Callable[..., list[Report]]:
    """Verify an opened recipe by the fast guest."""

    def run(opened: Opened, bus: str, namespaces: Sequence[Namespace], *, from_medium: bool = False) -> list[Report]:
        firmware: Firmware | None = "bios" if from_medium else None
        return [viso_session.view("linux-cloud", bus, opened, each, firmware=firmware).report for each in namespaces]

    return run
