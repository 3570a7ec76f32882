"""Images that are broken on purpose: each mistake is noticed by the guest that must notice it."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import GuestError, RefusedError
from tests.broken import broken, record_of, start_of

if TYPE_CHECKING:
    from qemu_viso.pytest_plugin import GuestBuild, Namespace, Opened, Recipes, Views

FILES = {"/first": b"1" * 3000, "/second": b"2" * 3000, "/third": b"3" * 3000}


@pytest.fixture
def recipe(viso: Recipes) -> Opened:
    """An image with all namespaces."""
    return viso("--udf -R --volume-id=BROKEN", files=FILES)


def fields(views: Views, opened: Opened, namespace: Namespace) -> list[tuple[str, str]]:
    """Path and field of all differences."""
    return [(each.path, each.field) for each in views(opened, namespace).report.differences]


@pytest.mark.viso_guest("linux-cloud", "grub")
def test_one_byte(recipe: Opened, viso_view: Views) -> None:
    at, _ = record_of(recipe, b"SECOND.;1")
    (sector,) = struct.unpack("<I", recipe.image.read(at + 2, 4))
    image = broken(recipe, sector * 2048 + 2999, b"x")
    assert fields(viso_view, image, "rock") == [("/second", "content")]


@pytest.mark.viso_guest("linux-cloud", "grub")
def test_one_missing_name(recipe: Opened, viso_view: Views) -> None:
    at, length = record_of(recipe, b"SECOND.;1")
    rest = 2048 - at % 2048 - length
    image = broken(recipe, at, recipe.image.read(at + length, rest) + bytes(length))
    assert fields(viso_view, image, "rock") == [("/second", "name")]


@pytest.mark.viso_guest("linux-cloud", "grub")
def test_one_shifted_extent(recipe: Opened, viso_view: Views) -> None:
    at, _ = record_of(recipe, b"SECOND.;1")
    (sector,) = struct.unpack("<I", recipe.image.read(at + 2, 4))
    image = broken(recipe, at + 2, struct.pack("<I", sector + 1))
    assert fields(viso_view, image, "rock") == [("/second", "content")]


def test_one_wrong_checksum_of_udf(recipe: Opened, viso_view: Views) -> None:
    """The tag checksum (ECMA-167 3/7.2.3) of the ICB behind the root's, which is the first file's."""
    at = start_of(recipe, "UDF file entries") + 2048
    (checksum,) = recipe.image.read(at + 4, 1)
    image = broken(recipe, at + 4, bytes([checksum ^ 1]))
    with pytest.raises(RefusedError, match="could not read all of the medium"):
        viso_view(image, "udf")
    assert fields(viso_view, recipe, "udf") == []


@pytest.mark.full
@pytest.mark.viso_guest("linux-s390x")
@pytest.mark.viso_firmware("bios")
def test_one_wrong_big_endian_field(viso_guest: GuestBuild, viso: Recipes, viso_view: Views) -> None:
    """The boot catalog says too little of the boot image's size, so that the firmware asks the directory record."""
    good = viso(
        f"-R --volume-id=BROKEN /boot.img={viso_guest.kernel.parent}/boot.img",
        "--eltorito-boot=/boot.img --no-emulation-boot --boot-load-size=4 --boot-load-seg=0",
    )
    assert fields(viso_view, good, "rock") == []
    at, _ = record_of(good, b"BOOT.IMG;1")
    little, big = struct.unpack("<I", good.image.read(at + 2, 4)), struct.unpack(">I", good.image.read(at + 6, 4))
    assert little == big
    with pytest.raises(GuestError, match="ISO boot image size could not be verified"):
        viso_view(broken(good, at + 6, struct.pack(">I", big[0] + 1)), "rock")
