"""The two tiers of the tests that boot guests; everything else is the public plugin's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.signals import obey_ctrl_c

# In the checkout there is no entry point that tells pytest of it.
pytest_plugins = ["qemu_viso.pytest_plugin"]

FULL = "QEMU_VISO_FULL"
# Later than any deadline of the machines, whose sentence tells more than a stack: guests start slowly on a busy host.
SECONDS = 300

obey_ctrl_c()


def pytest_configure(config: pytest.Config) -> None:
    """Say what the marker means, and where guests are kept."""
    # `pytester` gives its test a home of its own, in which they would be built, and accelerators probed, once more.
    os.environ.setdefault("XDG_CACHE_HOME", os.fspath(Path.home() / ".cache"))
    config.addinivalue_line("markers", "full: runs in the full tier only, `make vm-test-full`")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the full tier out, unless it is asked for; and give guests their time."""
    for item in items:
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SECONDS))
    if os.environ.get(FULL) != "1":
        full = [item for item in items if item.get_closest_marker("full")]
        config.hook.pytest_deselected(items=full)
        items[:] = [item for item in items if item not in full]
