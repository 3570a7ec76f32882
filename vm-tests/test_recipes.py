"""The sample recipes, seen by a guest over each bus."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qemu_viso.guest.build import build_guest
from qemu_viso.guest.definition import load_definition
from qemu_viso.opening import open_viso
from qemu_viso.verify.run import verify

if TYPE_CHECKING:
    from collections.abc import Callable

    from qemu_viso.verify.report import Report

IMAGES = Path(__file__).resolve().parent.parent / "images"


def assert_as_promised(reports: list[Report], least: int) -> None:
    assert reports
    for report in reports:
        assert report.differences == (), report.table()
        assert report.expected >= least
        assert report.as_expected == report.expected


@pytest.mark.parametrize("bus", ["scsi-cd", "ide-cd", "virtio-blk", "vhost-user-blk"])
def test_demo(verified: Callable[..., list[Report]], bus: str) -> None:
    opened = open_viso(str(IMAGES / "demo.viso"))
    assert_as_promised(verified(opened, bus, ["rock", "joliet", "plain"]), 10)


def test_demo_on_ahci() -> None:
    """Debian's generic kernel has the driver that the one for clouds lacks."""
    opened = open_viso(str(IMAGES / "demo.viso"))
    build = build_guest(load_definition("linux-generic"), progress=print)
    assert_as_promised(asyncio.run(verify(opened, build, "ahci-cd", ["rock"])), 10)


def test_names_of_every_difficult_kind(verified: Callable[..., list[Report]]) -> None:
    opened = open_viso(str(IMAGES / "names.viso"))
    assert_as_promised(verified(opened, "virtio-blk", ["rock", "joliet", "plain"]), 80)


def test_isolinux_boots_by_itself(verified: Callable[..., list[Report]]) -> None:
    opened = open_viso(str(IMAGES / "isolinux.viso"))
    assert opened.tree.boot is not None
    assert_as_promised(verified(opened, "scsi-cd", ["rock", "joliet"], from_medium=True), 15)
