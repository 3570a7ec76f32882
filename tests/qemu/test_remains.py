"""What is left of machines that fail."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import GuestError, MissingProgramError
from qemu_viso.qemu.deadline import Deadline
from qemu_viso.qemu.machine import Machine, MachineSpec
from qemu_viso.qemu.platforms import Platform
from qemu_viso.qemu.remains import remains_of
from tests.qemu.fakes import fake_spec

if TYPE_CHECKING:
    from pathlib import Path

DRAWS = """
greet()
while data := qmp.recv(65536):
    for line in data.split(b"\\n"):
        if line.strip():
            request = json.loads(line)
            if request["execute"] == "cont":
                console.sendall(b"hello\\n")
            if request["execute"] == "screendump":
                open(request["arguments"]["filename"], "wb").write(b"a picture")
            send({"return": {}} | ({"id": request["id"]} if "id" in request else {}))
"""


def test_a_machine_that_runs(tmp_path: Path) -> None:
    async def run() -> None:
        async with Machine(fake_spec(tmp_path, DRAWS)) as machine:
            heard = asyncio.create_task(machine.wait_for_console(b"hello\\s", Deadline.after(30)))
            await asyncio.sleep(0)  # it listens before there is anything to hear
            await machine.release(Deadline.after(30))
            await heard
            remains = await remains_of(machine)
            assert remains.screenshot == b"a picture"
            assert remains.console == b"hello\n"
            assert remains.commands == (machine.argv,)
            assert any("screendump" in line for line in remains.transcript)

    asyncio.run(run())


def test_a_guest_that_has_panicked_can_be_looked_at(tmp_path: Path) -> None:
    panic = "send({'event': 'GUEST_PANICKED', 'data': {}, 'timestamp': {}})"
    body = DRAWS.replace('console.sendall(b"hello\\n")', panic)

    async def run() -> None:
        async with Machine(fake_spec(tmp_path, body)) as machine:
            with suppress(GuestError):
                await machine.release(Deadline.after(30))
            with pytest.raises(GuestError, match="the guest's kernel panicked"):
                await machine.wait_for_console(b"never", Deadline.after(30))
            await machine.screenshot(str(tmp_path / "screen.png"), Deadline.after(30))

    asyncio.run(run())
    assert (tmp_path / "screen.png").read_bytes() == b"a picture"


def test_a_machine_that_has_ended(tmp_path: Path) -> None:
    async def run() -> None:
        body = (
            "print('oh no', flush=True); greet(); serve(lambda name: os._exit(3) if name == 'cont' else {'return': {}})"
        )
        machine = Machine(fake_spec(tmp_path, body))
        async with machine:
            with pytest.raises(GuestError, match="exited with status 3"):
                await machine.release(Deadline.after(30))
        remains = await remains_of(machine)
        assert remains.said == (("qemu-system-fake", "oh no"),)
        assert remains.screenshot is None

    asyncio.run(run())


def test_a_machine_that_never_began() -> None:
    async def run() -> None:
        machine = Machine(MachineSpec(Platform("x", "qemu-system-nowhere", "none", None, 16, "pci", "ttyS0"), "none"))
        with pytest.raises(MissingProgramError):
            await machine.__aenter__()
        remains = await remains_of(machine)
        assert (remains.commands, remains.transcript, remains.console) == ((), (), b"")

    asyncio.run(run())
