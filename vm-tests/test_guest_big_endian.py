"""The big-endian halves of ISO 9660's both-endian fields, read by the firmware of s390x.

Linux reads the little-endian halves on every architecture, so that only a firmware tells whether the others are right.
"""

from __future__ import annotations

import asyncio
import shutil
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import GuestError
from qemu_viso.guest.build import build_guest
from qemu_viso.guest.definition import load_definition
from qemu_viso.guest.run import view
from qemu_viso.qemu.deadline import Deadline
from qemu_viso.qemu.devices import BUSES, FileMedium

if TYPE_CHECKING:
    from pathlib import Path

    from qemu_viso.guest.build import GuestBuild
    from qemu_viso.guest.view import GuestView

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def s390x() -> GuestBuild:
    definition = load_definition("linux-s390x")
    if shutil.which(definition.platform.program) is None:
        pytest.skip(f"{definition.platform.program} is missing")
    return build_guest(definition, progress=print)


@pytest.fixture
def image(s390x: GuestBuild, tmp_path: Path) -> Path:
    """A medium whose boot catalog says too little of the boot image's size, so that the firmware asks the directory."""
    if shutil.which("xorriso") is None:
        pytest.skip("xorriso is missing")
    (tmp_path / "files").mkdir()
    shutil.copy(s390x.kernel.parent / "boot.img", tmp_path / "files" / "boot.img")
    path = tmp_path / "image.iso"
    argv = ["xorriso", "-as", "mkisofs", "-quiet", "-R", "-V", "IPL", "-b", "boot.img", "-no-emul-boot"]
    subprocess.run([*argv, "-boot-load-size", "4", "-o", path, tmp_path / "files"], check=True, capture_output=True)
    return path


def start(build: GuestBuild, image: Path) -> list[GuestView]:
    medium, deadline = FileMedium(str(image)), Deadline.after(60)
    return asyncio.run(view(build, BUSES["scsi-cd"], medium, ["rock"], deadline, from_medium=True))


def test_a_right_image_starts(s390x: GuestBuild, image: Path) -> None:
    (seen,) = start(s390x, image)
    assert seen.label == "IPL"
    assert sorted(seen.entries) == ["/", "/boot.catalog", "/boot.img"]


def test_a_wrong_big_endian_field_is_noticed(s390x: GuestBuild, image: Path) -> None:
    """The location of extent, ECMA-119 9.1.3: BP 3 to 10, of which BP 7 to 10 are big-endian."""
    data = bytearray(image.read_bytes())
    record = data.index(b"\x0aBOOT.IMG;1") - 32
    little, big = struct.unpack_from("<I", data, record + 2), struct.unpack_from(">I", data, record + 6)
    assert little == big
    struct.pack_into(">I", data, record + 6, big[0] + 1000)
    image.write_bytes(data)
    with pytest.raises(GuestError, match="ISO boot image size could not be verified"):
        start(s390x, image)
