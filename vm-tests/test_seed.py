"""A Debian with systemd and cloud-init takes its NoCloud seed from a recipe."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from qemu_viso.pytest_plugin import GuestBuild, Machines, Recipes, Session

IMAGES = Path(__file__).resolve().parent.parent / "images"
MEMORY = 1024
# Without hardware virtualisation systemd and cloud-init take most of a minute on an idle machine.
SECONDS = 600.0

# Building it downloads and installs a hundred packages.
pytestmark = [pytest.mark.full, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def debian(viso_session: Session) -> GuestBuild:
    for program in ("mmdebstrap", "genext2fs"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is missing")
    return viso_session.guest(IMAGES / "guests" / "systems" / "debian-cloud-init.toml")


def root_disk(build: GuestBuild) -> list[str]:
    """QEMU options for its root file system, which stays as it is."""
    path = str(build.kernel.parent / "root.img")
    node = {"driver": "file", "node-name": "root", "filename": path, "read-only": True, "locking": "off"}
    return ["-blockdev", json.dumps(node), "-device", "virtio-blk-pci,drive=root"]


def test_the_seed_of_the_samples(debian: GuestBuild, viso: Recipes, viso_machine: Machines) -> None:
    """Host name, user, file and its mode, and a command, which tells of them on the console."""
    seed = viso(IMAGES / "seed.viso")
    machine = viso_machine(seed, guest=debian, memory=MEMORY, options=root_disk(debian), seconds=SECONDS)
    said = machine.wait_for_console(r"seeded: [^\r\n]+(?=[\r\n])")
    content = re.search(r"content: \|\n +(.*\n)", (IMAGES / "seed" / "user-data").read_text(encoding="utf-8"))
    assert content is not None
    assert said == f"seeded: lovelace ada 640 {hashlib.sha256(content[1].encode()).hexdigest()} -"
