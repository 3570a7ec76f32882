"""The demo recipe, with UDF beside all that it has, seen in every namespace: over each bus, and by other kernels."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from qemu_viso.pytest_plugin import Namespace, Opened, Recipes, Views

IMAGES = Path(__file__).resolve().parent.parent / "images"
NAMESPACES: tuple[Namespace, ...] = ("rock", "joliet", "plain", "udf")


@pytest.fixture
def demo(viso: Recipes) -> Opened:
    shutil.copytree(IMAGES / "demo", viso.folder / "demo", symlinks=True)
    return viso((IMAGES / "demo.viso").read_text(encoding="utf-8"), "--udf")


def sees_all(viso_view: Views, demo: Opened) -> None:
    for namespace in NAMESPACES:
        assert viso_view(demo, namespace).verify().expected >= 10


@pytest.mark.viso_bus("scsi-cd", "ide-cd", "virtio-blk", "vhost-user-blk")
def test_the_usual_guest(demo: Opened, viso_view: Views) -> None:
    sees_all(viso_view, demo)


@pytest.mark.viso_guest("linux-generic")
@pytest.mark.viso_bus("ahci-cd")
def test_ahci(demo: Opened, viso_view: Views) -> None:
    """Debian's generic kernel has the driver that the one for clouds lacks."""
    sees_all(viso_view, demo)


@pytest.mark.viso_guest("linux-arm64")
@pytest.mark.viso_bus("scsi-cd")
def test_arm64(demo: Opened, viso_view: Views) -> None:
    """A processor that is no x86."""
    sees_all(viso_view, demo)
