"""The big-endian halves of ISO 9660's both-endian fields, read by the firmware of s390x.

Linux reads the little-endian halves on every architecture, so that only a firmware tells whether the others are right.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import GuestError

if TYPE_CHECKING:
    from pathlib import Path

    from qemu_viso.pytest_plugin import GuestBuild, Views

pytestmark = [pytest.mark.full, pytest.mark.viso_guest("linux-s390x"), pytest.mark.viso_firmware("bios")]


@pytest.fixture
def image(viso_guest: GuestBuild, tmp_path: Path) -> Path:
    """A medium whose boot catalog says too little of the boot image's size, so that the firmware asks the directory."""
    if shutil.which("xorriso") is None:
        pytest.skip("xorriso is missing")
    (tmp_path / "files").mkdir()
    shutil.copy(viso_guest.kernel.parent / "boot.img", tmp_path / "files" / "boot.img")
    path = tmp_path / "image.iso"
    argv = ["xorriso", "-as", "mkisofs", "-quiet", "-R", "-V", "IPL", "-b", "boot.img", "-no-emul-boot"]
    subprocess.run([*argv, "-boot-load-size", "4", "-o", path, tmp_path / "files"], check=True, capture_output=True)
    return path


def test_a_right_image_starts(viso_view: Views, image: Path) -> None:
    seen = viso_view(image, "rock")
    assert seen.label == "IPL"
    assert sorted(seen) == ["/", "/boot.catalog", "/boot.img"]


def test_a_wrong_big_endian_field_is_noticed(viso_view: Views, image: Path) -> None:
    """The location of extent, ECMA-119 9.1.3: BP 3 to 10, of which BP 7 to 10 are big-endian."""
    data = bytearray(image.read_bytes())
    record = data.index(b"\x0aBOOT.IMG;1") - 32
    little, big = struct.unpack_from("<I", data, record + 2), struct.unpack_from(">I", data, record + 6)
    assert little == big
    struct.pack_into(">I", data, record + 6, big[0] + 1000)
    image.write_bytes(data)
    with pytest.raises(GuestError, match="ISO boot image size could not be verified"):
        viso_view(image, "rock")
