"""Guests of every architecture, over every bus that they can drive: all of them see the same."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from qemu_viso.pytest_plugin import guest_names, load_definition

if TYPE_CHECKING:
    from pathlib import Path

    from qemu_viso.pytest_plugin import GuestView, Namespace, Session

# Kernels of 30 to 50 MB are downloaded for each, and some take 10 s to boot.
pytestmark = pytest.mark.full
NAMESPACES: tuple[Namespace, ...] = ("rock", "joliet", "plain", "udf")


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


def views(session: Session, guest: str, bus: str, image: Path) -> list[GuestView]:
    """What a guest sees in each namespace; each of these guests can mount all of them."""
    return [session.view(guest, bus, image, namespace).view for namespace in NAMESPACES]


@pytest.fixture(scope="module")
def reference(viso_session: Session, image: Path) -> list[GuestView]:
    """What the usual guest sees."""
    found = views(viso_session, "linux-cloud", "virtio-blk", image)
    assert all(len(each.entries) == 304 for each in found)
    return found


LINUX = [definition for definition in map(load_definition, guest_names()) if definition.reader == "agent"]
PAIRS = [(definition.name, bus) for definition in LINUX for bus in definition.buses]


@pytest.mark.parametrize(("name", "bus"), PAIRS)
def test_every_guest_sees_the_same(
    viso_session: Session, name: str, bus: str, image: Path, reference: list[GuestView]
) -> None:
    assert views(viso_session, name, bus, image) == reference
