"""The vhost-user-blk device under QEMU and a Linux guest."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from qemu_viso.qemu import PLATFORMS, Frontend, MachineSpec, PathChardev
from tests.guests import scripted
from tests.vhost_user.guests import with_vhost_user
from tests.vhost_user.media import bootable, digest, lay, mixed, noise, serving, serving_without_slots, write_file
from tests.vhost_user.serve import large

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from qemu_viso.pytest_plugin import Exports, GuestBuild, Machines, Namespace, Recipes, Views

SUM = "$B sha256sum /dev/vda"
NAMESPACES: tuple[Namespace, ...] = ("rock", "joliet", "plain", "udf")
DROP = "echo 3 >/proc/sys/vm/drop_caches"


def console_of(start: Machines, spec: MachineSpec, pattern: bytes) -> bytes:
    """Boot, and what of the console matches, from the guest's first word on."""
    machine = start(spec)
    found = machine.wait_for_console(pattern)
    machine.wait_for_exit()
    return found


@contextmanager
def process(path: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A device with a large image in a process that can be killed."""
    argv = [sys.executable, "-m", "tests.vhost_user.serve", path, os.fspath(folder), "large"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as device:
        try:
            assert device.stdout is not None
            assert device.stdout.readline() == b"ready\n"
            yield device
        finally:
            device.kill()


@pytest.mark.full
@pytest.mark.parametrize(
    ("machine", "properties", "extra"),
    [
        ("q35", (), ()),
        ("pc", (), ()),
        ("q35", (("num-queues", "4"),), ("-smp", "4")),
        ("q35", (("event_idx", "off"), ("indirect_desc", "off")), ()),
        ("q35", (("queue-size", "16"),), ()),
        ("pc", (("disable-modern", "on"), ("disable-legacy", "off")), ()),
    ],
    ids=["q35", "pc", "four queues", "neither event index nor indirect", "short queue", "legacy driver"],
)
def test_the_guest_reads_the_whole_disk(
    viso_guest: GuestBuild,
    viso_machine: Machines,
    tmp_path: Path,
    machine: str,
    properties: tuple[tuple[str, str], ...],
    extra: tuple[str, ...],
) -> None:
    image = mixed(tmp_path)
    path = str(tmp_path / "v")
    script = f"""
        cd /sys/block/vda; echo facts $($B cat size ro serial) $($B ls mq | $B wc -l)
        for start in 0 200 400 600; do $B dd if=/dev/vda bs=512 skip=$start count=37 2>/dev/null >/dev/null & done; wait
        {DROP}; {SUM}; $B dd if=/dev/zero of=/dev/vda count=1 2>&1; echo over"""
    with serving(image, path):
        spec = with_vhost_user(scripted(viso_guest, tmp_path, script), path, machine, properties, *extra)
        said = console_of(viso_machine, spec, rb"facts[^$]*over")
    queues = 4 if extra else 1
    assert b"facts %d 1 medium %d\r" % (image.size // 512, queues) in said
    assert digest(image) + b"  /dev/vda" in said
    assert b"dd: error writing '/dev/vda': Operation not permitted" in said


@pytest.mark.full
def test_memory_comes_in_one_table_where_slots_are_not_offered(
    viso_guest: GuestBuild, viso_machine: Machines, tmp_path: Path
) -> None:
    image = mixed(tmp_path)
    path = str(tmp_path / "v")
    with serving_without_slots(image, path):
        spec = with_vhost_user(scripted(viso_guest, tmp_path, SUM), path)
        assert digest(image) in console_of(viso_machine, spec, rb"[0-9a-f]{64}  /dev/vda")


@pytest.mark.viso_bus("vhost-user-blk")
def test_a_guest_mounts_a_recipe(viso: Recipes, viso_export: Exports, viso_view: Views) -> None:
    files = {f"/all/file {number}": noise(str(number), 1000 * number) for number in range(30)}
    export = viso_export(viso("--udf", files=files), "vhost-user-blk", direct=True)
    for namespace in NAMESPACES:
        assert viso_view(export, namespace).verify().expected >= 30


def rounds(wanted: bytes, count: int) -> str:
    """A script that reads the whole disk again and again, and says in the end how often it was as wanted."""
    numbers = " ".join(map(str, range(1, count + 1)))
    return f"""
        good=0
        for round in {numbers}; do
            {DROP}; echo round $round
            [ "$($B sha256sum </dev/vda)" = "{wanted.decode()}  -" ] && good=$((good+1))
        done
        echo good $good of {count}"""


@pytest.mark.full
def test_the_device_is_killed_while_the_guest_reads(
    viso_guest: GuestBuild, viso_machine: Machines, tmp_path: Path
) -> None:
    """Three times; the guest notices nothing but a pause."""
    path = str(tmp_path / "v")
    kernel = scripted(viso_guest, tmp_path, rounds(digest(large(tmp_path)), 5))
    with ExitStack() as stack:
        device = stack.enter_context(process(path, tmp_path))
        machine = viso_machine(with_vhost_user(kernel, path))
        for number in (1, 2, 3):
            machine.wait_for_console(b"round %d" % number)
            device.kill()
            device.wait()
            device = stack.enter_context(process(path, tmp_path))
        machine.wait_for_console(b"good 5 of 5")
        machine.wait_for_exit()


@pytest.mark.full
def test_a_device_that_ends_in_order_and_comes_back(
    viso_guest: GuestBuild, viso_machine: Machines, tmp_path: Path
) -> None:
    path = str(tmp_path / "v")
    image = large(tmp_path)
    kernel = scripted(viso_guest, tmp_path, rounds(digest(image), 3))
    with serving(image, path):
        machine = viso_machine(with_vhost_user(kernel, path))
        machine.wait_for_console(b"round 2")
    with serving(image, path):
        machine.wait_for_console(b"good 3 of 3")
        machine.wait_for_exit()


@pytest.mark.full
def test_another_image_comes_back(viso_guest: GuestBuild, viso_machine: Machines, tmp_path: Path) -> None:
    """The guest's reads fail; it never gets bytes of the other image."""
    path = str(tmp_path / "v")
    one, other = lay(write_file(tmp_path, "one", 1 << 20)), lay(write_file(tmp_path, "two", 1 << 20))
    script = f"""
        {SUM}; echo first
        read answer </dev/ttyS0; {DROP}; $B sha256sum /dev/vda; echo over"""
    with serving(one, path):
        machine = viso_machine(with_vhost_user(scripted(viso_guest, tmp_path, script), path))
        machine.wait_for_console(digest(one) + rb"[^$]*first")
    with serving(other, path):
        machine.type(b"go\n")
        machine.wait_for_console(rb"sha256sum: can.t read '/dev/vda': Input/output error[^$]*over")
        machine.wait_for_exit()


@pytest.mark.full
def test_a_source_changes_under_the_guest(viso_guest: GuestBuild, viso_machine: Machines, tmp_path: Path) -> None:
    """Only what comes of that source fails."""
    path = str(tmp_path / "v")
    changing, staying = write_file(tmp_path, "changing", 1 << 20), write_file(tmp_path, "staying", 1 << 20)
    image = lay(changing, staying)
    script = """
        $B dd if=/dev/vda bs=64k count=1 2>/dev/null | $B sha256sum; echo first
        read answer </dev/ttyS0
        $B dd if=/dev/vda bs=64k skip=8 count=1 of=/dev/null 2>&1
        $B dd if=/dev/vda bs=64k skip=16 count=16 2>/dev/null | $B sha256sum; echo over"""
    with serving(image, path):
        spec = with_vhost_user(scripted(viso_guest, tmp_path, script), path)
        with closing(viso_machine(spec)) as machine:
            machine.wait_for_console(b"first")
            (tmp_path / "changing").write_bytes(bytes(1 << 20))
            machine.type(b"go\n")
            said = machine.wait_for_console(rb"dd: [^$]*over")
            machine.wait_for_exit()
    assert b"dd: /dev/vda: Input/output error" in said
    assert hashlib.sha256(noise("staying", 1 << 20)).hexdigest().encode() in said
    assert image.stale is not None


@pytest.mark.full
def test_the_machine_pauses_is_reset_and_grows_while_the_guest_reads(
    viso_guest: GuestBuild, viso_machine: Machines, tmp_path: Path
) -> None:
    """Rings are stopped and started, set up anew after a reset, and get new memory while requests are under way."""
    path = str(tmp_path / "v")
    image = large(tmp_path)
    kernel = scripted(viso_guest, tmp_path, rounds(digest(image), 4))
    spec = with_vhost_user(kernel, path, "q35", (), "-m", "256,slots=4,maxmem=2G")
    spec = replace(spec, reboot=True)
    with serving(image, path), closing(viso_machine(spec)) as machine:
        machine.wait_for_console(b"round 2")
        machine.execute("system_reset")
        machine.wait_for_console(b"round 1")
        machine.execute("stop")
        machine.execute("cont")
        machine.wait_for_console(b"round 2")
        for number in range(3):
            memory = {"qom-type": "memory-backend-memfd", "id": f"m{number}", "size": 128 << 20, "share": True}
            machine.execute("object-add", memory)
            machine.execute("device_add", {"driver": "pc-dimm", "id": f"d{number}", "memdev": f"m{number}"})
        machine.wait_for_console(b"good 4 of 4")
        machine.wait_for_exit()


@pytest.mark.full
def test_firmware_starts_from_the_disk(viso_machine: Machines, tmp_path: Path) -> None:
    """SeaBIOS has a driver of its own: shorter rings, no indirect tables, no event index, no interrupts.

    The boot sector lets it read sector 64, and writes that to the serial port.
    """
    text = b"a sentence from sector 64\r\n\0"
    code = bytes.fromhex(
        "31c0 8ed8"  # xor ax, ax; mov ds, ax
        "be 207c"  # mov si, packet
        "b442 cd13"  # mov ah, 0x42; int 0x13: extended read from the drive in dl
        "be 0080"  # mov si, 0x8000
        "ac 84c0 7406"  # next: lodsb; test al, al; jz end
        "ba f803 ee ebf5"  # mov dx, 0x3f8; out dx, al; jmp next
        "f4 ebfd"  # end: hlt; jmp end
    ).ljust(32, b"\0")
    packet = struct.pack("<BBHHHQ", 16, 0, 1, 0x8000, 0, 64)
    sector = (code + packet).ljust(510, b"\0") + b"\x55\xaa"
    image = bootable(sector, 64 * 512, text)
    path = str(tmp_path / "v")
    disk = (
        PathChardev("medium", path, reconnect=1),
        Frontend("vhost-user-blk-pci", (("chardev", "medium"), ("bootindex", "0"), ("queue-size", "1024"))),
    )
    spec = MachineSpec(PLATFORMS["amd64"], "pc", disk, agent=False)
    with serving(image, path), closing(viso_machine(spec)) as machine:
        machine.wait_for_console(b"a sentence from sector 64\r\n")
