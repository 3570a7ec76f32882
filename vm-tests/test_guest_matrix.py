"""Guests of every architecture, over every bus that they can drive: all of them see the same."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from qemu_viso.guest.build import build_guest
from qemu_viso.guest.definition import guest_names, load_definition
from qemu_viso.guest.run import view
from qemu_viso.qemu.deadline import Deadline
from qemu_viso.qemu.devices import BUSES, FileMedium

if TYPE_CHECKING:
    from pathlib import Path

    from qemu_viso.guest.build import GuestBuild
    from qemu_viso.guest.view import GuestView

# Kernels of 30 to 50 MB are downloaded for each, and some take 10 s to boot.
pytestmark = pytest.mark.full
SECONDS = 100.0


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("genisoimage") is None:
        pytest.skip("genisoimage is missing")
    root = tmp_path_factory.mktemp("matrix")
    (root / "files" / "sub").mkdir(parents=True)
    (root / "files" / "sub" / "Größe und Maß").write_bytes(os.urandom(200_001))
    (root / "files" / "sub" / "link").symlink_to("Größe und Maß")
    for number in range(300):
        (root / "files" / f"file {number}").write_text(str(number))
    path = root / "image.iso"
    argv = ["genisoimage", "-quiet", "-V", "MATRIX", "-J", "-R", "-udf", "-o", str(path), str(root / "files")]
    subprocess.run(argv, check=True, capture_output=True)
    return path


@pytest.fixture(scope="module")
def reference(linux_cloud: GuestBuild, image: Path) -> list[GuestView]:
    """What the usual guest sees."""
    namespaces = linux_cloud.definition.namespaces
    medium = FileMedium(str(image))
    views = asyncio.run(view(linux_cloud, BUSES["virtio-blk"], medium, namespaces, Deadline.after(SECONDS)))
    assert all(len(each.entries) == 304 for each in views)
    return views


LINUX = [definition for definition in map(load_definition, guest_names()) if definition.reader == "agent"]
PAIRS = [(definition.name, bus) for definition in LINUX for bus in definition.buses]


@pytest.mark.parametrize(("name", "bus"), PAIRS)
def test_every_guest_sees_the_same(name: str, bus: str, image: Path, reference: list[GuestView]) -> None:
    definition = load_definition(name)
    if shutil.which(definition.platform.program) is None:
        pytest.skip(f"{definition.platform.program} is missing")
    build = build_guest(definition, progress=print)
    medium = FileMedium(str(image))
    views = asyncio.run(view(build, BUSES[bus], medium, definition.namespaces, Deadline.after(SECONDS)))
    assert views == reference
