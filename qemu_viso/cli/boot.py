"""`qemu-viso boot`: a machine for a person, started from the image, with its console on the terminal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from qemu_viso.cli import signals
from qemu_viso.cli.common import add_recipe, open_recipe, set_up_logging

if TYPE_CHECKING:
    import argparse

    from qemu_viso.opening import Opened
    from qemu_viso.qemu.devices import Medium
    from qemu_viso.qemu.machine import Machine, MachineSpec
    from qemu_viso.tree.tree import Tree

DISPLAYS = ("gtk", "sdl")
LOOK_SECONDS = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Recipe, bus, firmware, memory, what else a person wants, and whatever QEMU is to be given besides."""
    add_recipe(parser)
    parser.add_argument("--bus", default="scsi-cd", help="how the medium is attached (default: %(default)s)")
    parser.add_argument("--firmware", choices=("bios", "uefi"), default="bios", help="(default: %(default)s)")
    parser.add_argument("--memory", type=int, default=512, metavar="MIB", help="(default: %(default)s)")
    parser.add_argument(
        "--overlay", action="store_true", help="let the guest write to the disk; forgotten when the machine ends"
    )
    parser.add_argument(
        "--watch", action="store_true", help="when the recipe or a source changes, put the new image into the drive"
    )
    parser.add_argument("--screenshot", metavar="FILE.png", help="at the end, write what is on the screen")
    parser.add_argument("qemu", nargs="*", metavar="QEMU OPTION", help="options for QEMU, behind a `--`")


def run(arguments: argparse.Namespace) -> int:
    """Open the recipe, serve it, start the machine, and stay until it ends or Ctrl-] is typed."""
    set_up_logging()
    from qemu_viso.errors import UsageError
    from qemu_viso.qemu.devices import BUSES

    if arguments.bus not in BUSES or BUSES[arguments.bus].carries != "block":
        known = ", ".join(name for name, bus in BUSES.items() if bus.carries == "block")
        raise UsageError(f"there is no bus '{arguments.bus}' to boot from", hint=f"one of {known}")
    drive = BUSES[arguments.bus].removable
    if arguments.overlay and drive:
        raise UsageError("a CD drive cannot be written to", hint="give --overlay with --bus virtio-blk")
    if arguments.watch and not drive:
        raise UsageError("the medium of a disk cannot be changed", hint="give --watch with --bus scsi-cd")
    if arguments.screenshot is not None:
        arguments.screenshot = os.path.abspath(arguments.screenshot)
    opened = open_recipe(arguments.spec)
    if not arguments.qemu and not _starts(opened.tree, drive=drive):
        raise UsageError(
            f"{arguments.spec} has nothing that a machine could boot",
            hint="add a boot image to the recipe with --eltorito-boot; images/isolinux.viso shows how",
        )
    return signals.run(_boot(opened, arguments))


def _starts(tree: Tree, *, drive: bool) -> bool:
    """Whether firmware finds something to start; of disk boot code, only where the medium is a disk."""
    return tree.boot is not None or (not drive and tree.system_area is not None)


async def _boot(opened: Opened, arguments: argparse.Namespace) -> int:
    from qemu_viso.cli.follow import follow
    from qemu_viso.errors import GuestError
    from qemu_viso.qemu.controlled import START_SECONDS
    from qemu_viso.qemu.deadline import Deadline
    from qemu_viso.qemu.machine import Machine
    from qemu_viso.qemu.served import ServedImage
    from qemu_viso.qemu.terminal import attach

    with ServedImage(opened.image) as served:
        async with Machine(await _spec(served.medium, arguments)) as machine:
            if sys.stdin.isatty():
                print("qemu-viso: Ctrl-] ends the machine", file=sys.stderr)
            session = asyncio.create_task(attach(machine))
            tasks: list[asyncio.Task[object]] = [session]
            if arguments.watch:
                tasks.append(asyncio.create_task(follow(opened, served, machine)))
            try:
                await machine.release(Deadline.after(START_SECONDS))
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            except BaseException:
                with contextlib.suppress(GuestError):  # what ended the session is what is told
                    await _look(machine, arguments.screenshot)
                raise
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            status = session.result()
            await _look(machine, arguments.screenshot)
            return 0 if status in (0, None) else GuestError.status


async def _look(machine: Machine, path: str | None) -> None:
    from qemu_viso.qemu.deadline import Deadline

    if path is not None:
        await machine.screenshot(path, Deadline.after(LOOK_SECONDS))


async def _spec(medium: Medium, arguments: argparse.Namespace) -> MachineSpec:
    from qemu_viso.qemu.accelerators import best, verdicts, warn_of_rejection
    from qemu_viso.qemu.devices import BUSES, Accelerator, Screen
    from qemu_viso.qemu.firmware import find_uefi
    from qemu_viso.qemu.machine import MachineSpec
    from qemu_viso.qemu.platforms import PLATFORMS

    bus, platform = BUSES[arguments.bus], PLATFORMS["amd64"]
    display = _display(platform.program)
    firmware = () if arguments.firmware == "bios" else (find_uefi(platform),)
    found = await verdicts()
    warn_of_rejection(found)
    verdict = best(found, platform)
    screen = (Screen(),) if display != "none" or arguments.screenshot is not None else ()
    return MachineSpec(
        platform,
        bus.machine,
        (*firmware, *screen, *bus.devices(medium, boot=True, overlay=arguments.overlay)),
        memory=arguments.memory,
        accelerator=Accelerator(verdict.accelerator),
        agent=False,
        sandbox=verdict.sandbox,
        reboot=True,
        pause_at_end=arguments.screenshot is not None,
        display=display,
        failures=None,  # the person sees the console: after a failure there may be a prompt, a reboot, a mended medium
        extra=tuple(arguments.qemu),
    )


def _display(program: str) -> str:
    """A window, where there is a screen for one and QEMU has what it takes."""
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "none"
    from qemu_viso.qemu.process import find_program

    asked = subprocess.run([find_program(program), "-display", "help"], capture_output=True, text=True, check=False)
    return next((name for name in DISPLAYS if name in asked.stdout.split()), "none")
