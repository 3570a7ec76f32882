"""The sample recipes, seen by a guest over each bus."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from qemu_viso.guest.view import Namespace
    from qemu_viso.pytest_plugin.recipes import Recipes
    from qemu_viso.pytest_plugin.views import Views

IMAGES = Path(__file__).resolve().parent.parent / "images"
ISO: tuple[Namespace, ...] = ("rock", "joliet", "plain")


@pytest.mark.viso_bus("scsi-cd", "ide-cd", "virtio-blk", "vhost-user-blk")
def test_demo(viso: Recipes, viso_view: Views) -> None:
    demo = viso(IMAGES / "demo.viso")
    for namespace in ISO:
        assert viso_view(demo, namespace).verify().expected >= 10


@pytest.mark.viso_guest("linux-generic")
@pytest.mark.viso_bus("ahci-cd")
def test_demo_on_ahci(viso: Recipes, viso_view: Views) -> None:
    """Debian's generic kernel has the driver that the one for clouds lacks."""
    assert viso_view(viso(IMAGES / "demo.viso"), "rock").verify().expected >= 10


def test_names_of_every_difficult_kind(viso: Recipes, viso_view: Views) -> None:
    names = viso(IMAGES / "names.viso")
    for namespace in ISO:
        assert viso_view(names, namespace).verify().expected >= 80


@pytest.mark.viso_firmware("bios")
def test_isolinux_boots_by_itself(viso: Recipes, viso_view: Views) -> None:
    isolinux = viso(IMAGES / "isolinux.viso")
    assert isolinux.tree.boot is not None
    assert viso_view(isolinux, "rock").verify().expected >= 15
    assert viso_view(isolinux, "joliet").verify().expected >= 15
