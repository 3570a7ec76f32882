"""A guest behind `qemu-viso export`: bridge and device are killed while it reads, and it writes to an overlay."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.cli.test_export import exporting, rendered
from tests.cli.test_supervision import kill_bridge
from tests.guests import scripted
from tests.recipes import write_files, write_recipe
from tests.vhost_user.guests import with_vhost_user

if TYPE_CHECKING:
    from pathlib import Path

    from qemu_viso.pytest_plugin import GuestBuild, Machines

DROP = "echo 3 >/proc/sys/vm/drop_caches"
WAYS = pytest.mark.parametrize("way", [(), ("--direct",)], ids=["daemon", "direct"])


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    write_files(tmp_path, {"one": b"the first\n", "two": os.urandom(6 << 20)})
    return write_recipe(tmp_path, "--rock-ridge /one=one /two=two")


def rounds(digest: str, count: int) -> str:
    """A script that reads the whole disk again and again, and says in the end how often it was as wanted."""
    numbers = " ".join(map(str, range(1, count + 1)))
    return f"""
        good=0
        for round in {numbers}; do
            {DROP}; echo round $round
            [ "$($B dd if=/dev/vda bs=64k 2>/dev/null | $B sha256sum)" = "{digest}  -" ] && good=$((good+1))
        done
        echo good $good of {count}"""


@pytest.mark.parametrize("way", [pytest.param((), marks=pytest.mark.full), ("--direct",)], ids=["daemon", "direct"])
def test_killed_while_the_guest_reads(
    viso_guest: GuestBuild, viso_machine: Machines, recipe: str, tmp_path: Path, way: tuple[str, ...]
) -> None:
    """Three times; the guest notices nothing but a pause."""
    kernel = scripted(viso_guest, tmp_path, rounds(hashlib.sha256(rendered(recipe)).hexdigest(), 4))
    with exporting(recipe, "vhost-user-blk", *way) as (process, path):
        with closing(viso_machine(with_vhost_user(kernel, path))) as machine:
            for number in (1, 2, 3):
                machine.wait_for_console(b"round %d" % number)
                kill_bridge(process)
            machine.wait_for_console(b"good 4 of 4")
            machine.wait_for_exit()
        process.terminate()
        assert process.wait(120) == 0
        assert process.stderr is not None
        assert process.stderr.read().count("it is started again") == 3


@WAYS
@pytest.mark.full
def test_another_image_is_never_mixed_in(
    viso_guest: GuestBuild, viso_machine: Machines, recipe: str, tmp_path: Path, way: tuple[str, ...]
) -> None:
    """A source changes while there is no bridge: from then on the guest gets I/O errors, also of other files."""
    script = f"""
        $B dd if=/dev/vda bs=64k count=8 2>/dev/null | $B sha256sum; echo first
        read answer </dev/ttyS0; {DROP}
        $B dd if=/dev/vda bs=64k skip=90 count=1 of=/dev/null 2>&1
        $B dd if=/dev/vda bs=64k count=1 of=/dev/null 2>&1; echo over"""
    start = hashlib.sha256(rendered(recipe)[: 8 << 16]).hexdigest().encode()
    with exporting(recipe, "vhost-user-blk", *way) as (process, path):
        with closing(viso_machine(with_vhost_user(scripted(viso_guest, tmp_path, script), path))) as machine:
            machine.wait_for_console(start + rb"[^$]*first")
            (tmp_path / "one").write_bytes(b"another  \n")
            kill_bridge(process)
            machine.type(b"go\n")
            said = machine.wait_for_console(rb"dd: [^$]*over")
            machine.wait_for_exit()
        process.terminate()
    assert len(re.findall(rb"dd: /dev/vda: Input/output error", said)) == 2


@pytest.mark.full
def test_the_guest_writes_to_an_overlay(
    viso_guest: GuestBuild, viso_machine: Machines, recipe: str, tmp_path: Path
) -> None:
    """It reads back what it wrote, also the next guest does; the image itself stays as it was."""
    image = rendered(recipe)
    overlay = str(tmp_path / "overlay.qcow2")
    written = image[: 5 << 16] + b"\n" * (1 << 16) + image[6 << 16 :]
    digest = hashlib.sha256(written).hexdigest().encode()
    write = '$B tr "\\000" "\\n" </dev/zero | $B dd of=/dev/vda bs=64k seek=5 count=1 iflag=fullblock conv=fsync 2>&1'
    for script in (write, ":"):
        script = f"$B cat /sys/block/vda/ro; {script}; {DROP}; $B sha256sum /dev/vda; echo over"
        kernel = scripted(viso_guest, tmp_path, script)
        with exporting(recipe, "vhost-user-blk", "--writable-overlay", overlay) as (process, path):
            with closing(viso_machine(with_vhost_user(kernel, path))) as machine:
                said = machine.wait_for_console(rb"0\r\n[^$]*over")
                machine.wait_for_exit()
            process.terminate()
        assert digest in said, said
    assert rendered(recipe) == image
