import asyncio
import os
import pty
import termios
from pathlib import Path

import pytest

from qemu_viso.errors import GuestError
from qemu_viso.qemu.deadline import Deadline
from qemu_viso.qemu.machine import Machine
from qemu_viso.qemu.terminal import attach
from tests.qemu.fakes import fake_spec

# A guest that answers what is typed in capitals, and ends when it reads "exit".
ECHO = """
import threading
def guest():
    console.sendall(b"login: ")
    while data := console.recv(100):
        console.sendall(data.upper())
        if b"exit" in data:
            os._exit(3)
        if b"panic" in data:
            send({"event": "GUEST_PANICKED", "data": {"action": "pause"}, "timestamp": {}})
threading.Thread(target=guest, daemon=True).start()
greet()
serve()
"""


def session(folder: Path, typed: bytes, *, terminal: bool) -> tuple[int | None, bytes]:
    """What attaching returns, and what was on the screen."""
    screen_out, screen_in = os.pipe()
    keys_in, keys_out = pty.openpty() if terminal else os.pipe()[::-1]

    async def run() -> int | None:
        async with Machine(fake_spec(folder, ECHO)) as machine:
            if not machine.console.received:
                await machine.wait_for_console(b"login: ", Deadline.after(60))
            os.write(keys_in, typed)
            return await attach(machine, keys=keys_out, screen=screen_in)

    before = termios.tcgetattr(keys_out) if terminal else None
    try:
        status = asyncio.run(run())
        if terminal:
            assert termios.tcgetattr(keys_out) == before
        os.close(screen_in)
        with os.fdopen(screen_out, "rb", closefd=False) as screen:
            return status, screen.read()
    finally:
        for descriptor in (screen_out, keys_in, keys_out):
            os.close(descriptor)


@pytest.mark.parametrize("terminal", [True, False])
def test_the_guest_ends_the_session(tmp_path: Path, terminal: bool) -> None:
    status, screen = session(tmp_path, b"exit", terminal=terminal)
    assert status == 3
    assert screen == b"login: EXIT"


@pytest.mark.parametrize("terminal", [True, False])
def test_the_person_leaves(tmp_path: Path, terminal: bool) -> None:
    status, screen = session(tmp_path, b"\x1dexit", terminal=terminal)
    assert status is None
    assert screen == b"login: "


def test_a_panic(tmp_path: Path) -> None:
    with pytest.raises(GuestError, match="the guest's kernel panicked"):
        session(tmp_path, b"panic", terminal=False)


def test_keys_from_nowhere(tmp_path: Path) -> None:
    async def run(keys: int, screen: int) -> int | None:
        async with Machine(fake_spec(tmp_path, "console.sendall(b'hi'); greet(); serve(); sys.exit(0)")) as machine:
            attached = asyncio.create_task(attach(machine, keys=keys, screen=screen))
            await asyncio.sleep(0)
            await machine.monitor.close()
            return await attached

    with open("/dev/null", "rb") as keys, (tmp_path / "screen").open("wb", 0) as screen:
        assert asyncio.run(run(keys.fileno(), screen.fileno())) == 0
    assert (tmp_path / "screen").read_bytes() == b"hi"


FLOOD = ECHO.replace('console.sendall(b"login: ")', 'console.sendall(b"login: " + bytes(200_000))')


def test_the_person_leaves_though_nobody_reads(tmp_path: Path) -> None:
    screen_out, screen_in = os.pipe()
    keys_out, keys_in = os.pipe()

    async def run() -> int | None:
        async with Machine(fake_spec(tmp_path, FLOOD)) as machine:
            attached = asyncio.create_task(attach(machine, keys=keys_out, screen=screen_in))
            while machine.console.received < 200_000:  # noqa: ASYNC110 - the console tells nobody
                await asyncio.sleep(0.01)
            os.write(keys_in, b"\x1d")
            return await asyncio.wait_for(attached, 30)

    try:
        assert asyncio.run(run()) is None
    finally:
        for descriptor in (screen_out, keys_in, keys_out, screen_in):
            os.close(descriptor)


def test_the_reader_has_gone(tmp_path: Path) -> None:
    screen_out, screen_in = os.pipe()
    os.close(screen_out)

    async def run(keys: int) -> None:
        async with Machine(fake_spec(tmp_path, FLOOD)) as machine:
            await attach(machine, keys=keys, screen=screen_in)

    with open("/dev/null", "rb") as keys, pytest.raises(BrokenPipeError):
        asyncio.run(run(keys.fileno()))
    os.close(screen_in)
