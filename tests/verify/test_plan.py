"""Which guest looks at what."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import MissingInputError, UsageError
from qemu_viso.guest.definition import definitions_folder, guest_names, load_definition
from qemu_viso.verify.plan import check_buses, check_namespaces, choose_guests, plan
from tests.recipes import opened

if TYPE_CHECKING:
    from pathlib import Path

    from qemu_viso.opening import Opened


@pytest.fixture
def recipes(tmp_path: Path) -> list[Opened]:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    return [
        opened(tmp_path / "one", "/a=a", files={"a": b"a"}),
        opened(tmp_path / "two", "--udf --no-joliet -R /a=a", files={"a": b"a"}),
    ]


def test_guests_by_name_and_by_tier(tmp_path: Path) -> None:
    assert [guest.name for guest in choose_guests([])] == ["linux-cloud"]
    assert [guest.name for guest in choose_guests(["all"])] == guest_names()
    fast = [guest.name for guest in choose_guests(["fast"])]
    assert {"linux-cloud", "linux-arm64"} <= set(fast) < set(guest_names())
    both = choose_guests(["linux-s390x", "fast", "linux-s390x"])
    assert [guest.name for guest in both] == ["linux-s390x", *fast]
    with pytest.raises(MissingInputError, match="no guest 'windows'"):
        choose_guests(["windows"])


def test_a_tier_is_one_of_two(tmp_path: Path) -> None:
    shutil.copytree(definitions_folder(), tmp_path / "guests")
    text = (tmp_path / "guests" / "linux-cloud.toml").read_text()
    (tmp_path / "guests" / "linux-cloud.toml").write_text(text.replace('"fast"', '"quick"'))
    with pytest.raises(Exception, match="'tier' knows no 'quick'"):
        choose_guests(["fast"], tmp_path / "guests")


def test_words_that_name_nothing() -> None:
    check_buses(["scsi-cd", "all"])
    check_namespaces(["rock", "udf", "all"])
    with pytest.raises(UsageError, match="no bus 'floppy'"):
        check_buses(["scsi-cd", "floppy"])
    with pytest.raises(UsageError, match="no namespace 'hfs'"):
        check_namespaces(["hfs"])


def test_all_that_is_possible(recipes: list[Opened]) -> None:
    guest = load_definition("linux-cloud")
    boots, impossible = plan(recipes, [guest], ["all"], [])
    assert impossible == []
    assert [boot.bus for boot in boots] == list(guest.buses)
    for boot in boots:
        assert [look.opened for look in boot.looks] == recipes
        assert [look.namespaces for look in boot.looks] == [("rock", "joliet", "plain"), ("rock", "plain", "udf")]


def test_the_default_bus_is_one_that_the_guest_has(recipes: list[Opened]) -> None:
    s390x, cloud = load_definition("linux-s390x"), load_definition("linux-cloud")
    assert [boot.bus for boot in plan(recipes, [s390x, cloud], [], [])[0]] == ["scsi-cd", "scsi-cd"]


def test_what_cannot_be_is_told(recipes: list[Opened]) -> None:
    guest = load_definition("linux-cloud")
    boots, impossible = plan(recipes, [guest], ["usb-cd", "scsi-cd"], ["udf", "rock"])
    (boot,) = boots
    assert (boot.bus, [look.namespaces for look in boot.looks]) == ("scsi-cd", [("rock",), ("rock", "udf")])
    told = [(each.bus, each.namespace, each.reason.message) for each in impossible]
    drive = "the guest 'linux-cloud' cannot drive the bus 'usb-cd'"
    no_udf = "the image has no udf namespace, so no guest can see it"
    assert told == [
        ("usb-cd", "rock", drive),
        ("usb-cd", "udf", no_udf),
        ("usb-cd", "rock", drive),
        ("usb-cd", "udf", drive),
        ("scsi-cd", "udf", no_udf),
    ]


def test_the_firmware_shows_grub_no_tiny_disk(recipes: list[Opened]) -> None:
    grub = load_definition("grub")
    boots, impossible = plan(recipes[:1], [grub], ["all"], [])
    assert [boot.bus for boot in boots] == ["ahci-cd"]
    assert [(each.bus, each.reason.message) for each in impossible] == [
        ("virtio-blk", f"the firmware shows GRUB no disk of {recipes[0].image.size:,} bytes")
    ]
