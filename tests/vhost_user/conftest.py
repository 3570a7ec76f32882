from __future__ import annotations

import gc
import os
import threading
from typing import TYPE_CHECKING

import pytest

from tests.vhost_user.media import mixed, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from qemu_viso.image import Image


@pytest.fixture
def image(tmp_path: Path) -> Iterator[Image]:
    image = mixed(tmp_path)
    yield image
    image._handles.clear()


@pytest.fixture
def clean() -> Iterator[None]:
    """Nothing is left behind: no descriptor, no mapping, no thread."""

    def state() -> tuple[set[str], set[threading.Thread], list[str]]:
        with open("/proc/self/maps") as maps:
            shared = sorted(line.split()[0] for line in maps if "memfd:guest" in line or "memfd:qemu-viso" in line)
        return set(os.listdir("/proc/self/fd")), set(threading.enumerate()), shared

    gc.collect()  # what earlier tests have left may not go in the midst of this one
    before = state()
    yield
    assert state() == before


@pytest.fixture
def path(clean: None, tmp_path: Path, image: Image) -> Iterator[str]:
    """The socket of a device that serves `image`."""
    path = str(tmp_path / "v.sock")
    with serving(image, path):
        yield path
    assert not os.path.exists(path)
