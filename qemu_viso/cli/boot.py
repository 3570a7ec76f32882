"""`qemu-viso boot`: a machine for a person, started from the image, with its console on the terminal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import termios
import tty
from typing import TYPE_CHECKING

from qemu_viso.cli.common import add_recipe, open_recipe

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from qemu_viso.image import Image
    from qemu_viso.qemu.machine import Machine, MachineSpec

ESCAPE = b"\x1d"
"""Ctrl-], as in telnet: ends the machine."""
FOR_EVER = 1e9
"""Seconds: longer than any machine runs."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Recipe, bus, memory, and whatever QEMU is to be given besides."""
    add_recipe(parser)
    parser.add_argument("--bus", default="scsi-cd", help="how the medium is attached (default: %(default)s)")
    parser.add_argument("--memory", type=int, default=512, metavar="MIB", help="(default: %(default)s)")
    parser.add_argument("qemu", nargs="*", metavar="QEMU OPTION", help="options for QEMU, behind a `--`")


def run(arguments: argparse.Namespace) -> int:
    """Open the recipe, serve it, start the machine, and stay until it ends or Ctrl-] is typed."""
    from qemu_viso.errors import UsageError
    from qemu_viso.qemu.devices import BUSES

    if arguments.bus not in BUSES or BUSES[arguments.bus].carries != "block":
        known = ", ".join(name for name, bus in BUSES.items() if bus.carries == "block")
        raise UsageError(f"there is no bus '{arguments.bus}' to boot from", hint=f"one of {known}")
    opened = open_recipe(arguments.spec)
    if opened.tree.boot is None:
        raise UsageError(
            f"{arguments.spec} has nothing that a machine could boot",
            hint="add a boot image to the recipe with --eltorito-boot; images/isolinux.viso shows how",
        )
    return asyncio.run(_boot(opened.image, arguments))


async def _boot(image: Image, arguments: argparse.Namespace) -> int:
    from qemu_viso.nbd import Server, listen_unix
    from qemu_viso.nbd.uri import UnixAddress
    from qemu_viso.qemu.devices import BUSES, NbdMedium
    from qemu_viso.qemu.machine import Machine, MachineSpec
    from qemu_viso.qemu.platforms import PLATFORMS

    bus, platform = BUSES[arguments.bus], PLATFORMS["amd64"]
    listener = listen_unix()
    assert isinstance(listener.address, UnixAddress)
    spec: MachineSpec = MachineSpec(
        platform,
        bus.machine,
        bus.devices(NbdMedium(listener.address.path), boot=True),
        memory=arguments.memory,
        agent=False,
        reboot=True,
        extra=tuple(arguments.qemu),
    )
    with Server({image.name: image}, listener):
        async with Machine(spec) as machine:
            with _terminal() as interactive:
                return await _attend(machine, interactive=interactive)


async def _attend(machine: Machine, *, interactive: bool) -> int:
    """Pass the console to and fro until the machine ends, its kernel panics, or the person has had enough."""
    from qemu_viso.errors import GuestError
    from qemu_viso.qemu.deadline import Deadline

    deadline = Deadline.after(FOR_EVER)
    machine.console.mirror(_print)
    enough = asyncio.Event()
    typed: asyncio.Queue[bytes] = asyncio.Queue()
    if interactive:
        print("qemu-viso: Ctrl-] ends the machine\r", file=sys.stderr)
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _read_keys, typed, enough)
    tasks = {
        "exit": asyncio.create_task(machine.wait_for_exit(deadline)),
        "panic": asyncio.create_task(machine.wait_for_event("GUEST_PANICKED", deadline)),
        "enough": asyncio.create_task(enough.wait()),
        "keys": asyncio.create_task(_type(machine, typed)),
    }
    try:
        await machine.release(deadline)
        await asyncio.wait(tasks.values(), return_when=asyncio.FIRST_COMPLETED)
        if tasks["exit"].done():
            return 0 if tasks["exit"].result() == 0 else GuestError.status
        if tasks["panic"].done():
            raise GuestError("the guest's kernel panicked")
        return 0
    finally:
        if interactive:
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        for task in tasks.values():
            task.cancel()
        await asyncio.wait(tasks.values())


def _print(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _read_keys(typed: asyncio.Queue[bytes], enough: asyncio.Event) -> None:
    data = os.read(sys.stdin.fileno(), 4096)
    if not data or ESCAPE in data:
        enough.set()
    typed.put_nowait(data)


async def _type(machine: Machine, typed: asyncio.Queue[bytes]) -> None:
    while True:
        await machine.console.write(await typed.get())


@contextlib.contextmanager
def _terminal() -> Iterator[bool]:
    """The terminal passes every key on, until the end; False where stdin is none."""
    if not sys.stdin.isatty():
        yield False
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin)
        yield True
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
