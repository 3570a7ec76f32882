"""`qemu-viso boot`: a machine for a person, started from the image, with its console on the terminal."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from qemu_viso.cli import signals
from qemu_viso.cli.common import add_recipe, open_recipe, set_up_logging

if TYPE_CHECKING:
    import argparse

    from qemu_viso.image import Image


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Recipe, bus, firmware, memory, and whatever QEMU is to be given besides."""
    add_recipe(parser)
    parser.add_argument("--bus", default="scsi-cd", help="how the medium is attached (default: %(default)s)")
    parser.add_argument("--firmware", choices=("bios", "uefi"), default="bios", help="(default: %(default)s)")
    parser.add_argument("--memory", type=int, default=512, metavar="MIB", help="(default: %(default)s)")
    parser.add_argument("qemu", nargs="*", metavar="QEMU OPTION", help="options for QEMU, behind a `--`")


def run(arguments: argparse.Namespace) -> int:
    """Open the recipe, serve it, start the machine, and stay until it ends or Ctrl-] is typed."""
    set_up_logging()
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
    return signals.run(_boot(opened.image, arguments))


async def _boot(image: Image, arguments: argparse.Namespace) -> int:
    from qemu_viso.errors import GuestError
    from qemu_viso.nbd import Server, listen_unix
    from qemu_viso.nbd.uri import UnixAddress
    from qemu_viso.qemu.accelerators import best, verdicts
    from qemu_viso.qemu.controlled import START_SECONDS
    from qemu_viso.qemu.deadline import Deadline
    from qemu_viso.qemu.devices import BUSES, Accelerator, NbdMedium
    from qemu_viso.qemu.firmware import find_uefi
    from qemu_viso.qemu.machine import Machine, MachineSpec
    from qemu_viso.qemu.platforms import PLATFORMS
    from qemu_viso.qemu.terminal import attach

    bus, platform = BUSES[arguments.bus], PLATFORMS["amd64"]
    firmware = () if arguments.firmware == "bios" else (find_uefi(platform),)
    accelerator = best(await verdicts(), platform).accelerator
    listener = listen_unix()
    assert isinstance(listener.address, UnixAddress)
    spec = MachineSpec(
        platform,
        bus.machine,
        (*firmware, *bus.devices(NbdMedium(listener.address.path), boot=True)),
        memory=arguments.memory,
        accelerator=Accelerator(accelerator),
        agent=False,
        reboot=True,
        extra=tuple(arguments.qemu),
    )
    with Server({image.name: image}, listener):
        async with Machine(spec) as machine:
            if sys.stdin.isatty():
                print("qemu-viso: Ctrl-] ends the machine", file=sys.stderr)
            session = asyncio.create_task(attach(machine))
            await machine.release(Deadline.after(START_SECONDS))
            status = await session
            return 0 if status in (0, None) else GuestError.status
