"""A Debian with systemd and cloud-init takes its NoCloud seed from a recipe."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest

from qemu_viso.errors import MissingProgramError
from qemu_viso.guest.build import build_guest
from qemu_viso.guest.definition import definitions_folder, load_definition
from qemu_viso.guest.run import kernel_of
from qemu_viso.nbd import Server, listen_unix
from qemu_viso.nbd.uri import UnixAddress
from qemu_viso.opening import open_viso
from qemu_viso.qemu.deadline import Deadline
from qemu_viso.qemu.devices import BUSES, BlockNode, FileMedium, Frontend, NbdMedium
from qemu_viso.qemu.machine import machine_for
from qemu_viso.qemu.process import find_program
from qemu_viso.qemu.sync import SyncMachine

IMAGES = Path(__file__).resolve().parent.parent / "images"
MEMORY = 1024
# Without hardware virtualisation systemd and cloud-init take most of a minute on an idle machine.
SECONDS = 900.0

# Building it downloads and installs a hundred packages.
pytestmark = [pytest.mark.full, pytest.mark.timeout(1200)]


def test_the_seed_of_the_samples() -> None:
    """Host name, user, file and its mode, and a command, which tells of them on the console."""
    definition = load_definition("debian-cloud-init", definitions_folder() / "systems")
    try:
        for program in ("mmdebstrap", "genext2fs", definition.platform.program):
            find_program(program)
    except MissingProgramError as error:
        pytest.skip(error.message)
    build = build_guest(definition, progress=print)
    found = open_viso(str(IMAGES / "seed.viso"))
    listener = listen_unix()
    assert isinstance(listener.address, UnixAddress)
    medium, deadline = NbdMedium(listener.address.path), Deadline.after(SECONDS)
    root = FileMedium(str(build.kernel.parent / "root.img"))
    disk = (BlockNode("root", root), Frontend("virtio-blk-pci", (("drive", "root"),)))
    spec = machine_for(definition.platform, BUSES["scsi-cd"], medium, kernel_of(build), *disk)
    spec = replace(spec, agent=False, memory=MEMORY)
    with Server({found.image.name: found.image}, listener), SyncMachine(spec) as machine:
        machine.release(deadline)
        said = machine.wait_for_console(rb"seeded: [^\r\n]+|Cloud-init v[^\r\n]* finished at [^\r\n]+", deadline)
    content = re.search(r"content: \|\n +(.*\n)", (IMAGES / "seed" / "user-data").read_text(encoding="utf-8"))
    assert content is not None
    assert said.decode() == f"seeded: lovelace ada 640 {hashlib.sha256(content[1].encode()).hexdigest()} -"
