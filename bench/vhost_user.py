"""A guest's `dd` from the medium, side by side: through this project, and from the plain ISO as QEMU's own file.

One machine for each way boots once; then they take turns, so that what else the host does hits all of them, and the
guest itself measures. What is compared is the median of some rounds. The sources and the ISO lie in the page cache.

    python -m bench.vhost_user [--rounds N] [--only WORD] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.media import directories, files, rendered
from bench.table import header, machine, row, verdict
from qemu_viso.guest.build import build_guest
from qemu_viso.guest.definition import load_definition
from qemu_viso.image import Image
from qemu_viso.nbd import Server, listen_unix
from qemu_viso.qemu.deadline import Deadline
from qemu_viso.qemu.devices import BUSES, FileMedium, NbdMedium, VhostUserMedium
from qemu_viso.qemu.machine import Machine, MachineSpec
from qemu_viso.qemu.platforms import PLATFORMS
from qemu_viso.qemu.storage_daemon import StorageDaemon
from qemu_viso.sockets import UnixListener
from qemu_viso.vhost_user import Device
from tests.guests import scripted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qemu_viso.image import RegionMap
    from qemu_viso.qemu.devices import DirectKernel, Medium

BIG_FILE = 512 << 20
SMALL_FILES = 20_000
METADATA = 64 << 20
SECONDS = 600.0
BAR = 0.9
SERVE = "--serve"
FILE, DIRECT, DAEMON, NBD = "QEMU's own file", "direct", "daemon", "NBD"

SCRIPT = """
echo ready
while read how; do
    [ "$how" = quit ] && break
    echo 3 >/proc/sys/vm/drop_caches
    read begin rest </proc/uptime
    $B dd if=/dev/vda of=/dev/null $how 2>/dev/null || echo failed
    read end rest </proc/uptime
    echo took $begin $end over
done </dev/ttyS0
"""


def _big(folder: Path) -> RegionMap:
    return files([(folder / "big", BIG_FILE)])


def _small(folder: Path) -> RegionMap:
    """20,000 files of 100 to 8,000 bytes: 97 MiB."""
    return files((folder / f"{number:05}", 100 + number * 7919 % 7900) for number in range(SMALL_FILES))


def _metadata(_folder: Path) -> RegionMap:
    return directories(METADATA)


IMAGES = {"big": _big, "small": _small, "metadata": _metadata}


@dataclass(frozen=True)
class Work:
    """One row: what `dd` is told, and for which ways the bar counts."""

    title: str
    image: str
    options: str
    ways: tuple[str, ...]
    barred: tuple[str, ...]


ALL = (DIRECT, DAEMON, NBD)
WORKS = [
    Work("dd, 512 MiB in one file", "big", "bs=1M", ALL, ALL),
    Work("dd past the guest's page cache", "big", "bs=1M iflag=direct", ALL, (DIRECT,)),
    Work("dd of 64 MiB in blocks of 4 KiB, past it", "big", "bs=4k iflag=direct count=16384", ALL, ()),
    Work("dd, 64 MiB of directories", "metadata", "bs=1M", ALL, ()),
    Work("dd, 20,000 small files", "small", "bs=1M", ALL, ()),
]


def _image(kind: str, folder: Path) -> Image:
    return Image(IMAGES[kind](folder / kind), "bench")


def _serve(way: str, kind: str, folder: Path) -> None:
    """In a process of its own: serve an image until standard input ends."""
    image = _image(kind, folder)
    if way == NBD:
        with listen_unix() as nbd, Server({"": image}, nbd):
            print(getattr(nbd.address, "path", ""), flush=True)
            sys.stdin.read()
    else:
        with UnixListener.bind() as listener, Device(image, listener):
            print(listener.path, flush=True)
            sys.stdin.read()


@contextmanager
def _server(way: str, kind: str, folder: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "bench.vhost_user", SERVE, way, "--kind", kind, "--folder", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.communicate()


async def _medium(way: str, kind: str, folder: Path, stack: AsyncExitStack) -> Medium:
    if way == FILE:
        return FileMedium(str(rendered(_image(kind, folder), folder / f"{kind}.iso")))
    if way == DIRECT:
        return VhostUserMedium(stack.enter_context(_server(DIRECT, kind, folder)))
    nbd = NbdMedium(stack.enter_context(_server(NBD, kind, folder)))
    if way == NBD:
        return nbd
    return (await stack.enter_async_context(StorageDaemon(nbd, {"vhost-user"}))).vhost_user


async def _boot(medium: Medium, kernel: DirectKernel, deadline: Deadline, stack: AsyncExitStack) -> Machine:
    bus = BUSES["vhost-user-blk" if isinstance(medium, VhostUserMedium) else "virtio-blk"]
    spec = MachineSpec(PLATFORMS["amd64"], bus.machine, (kernel, *bus.devices(medium)), agent=False)
    machine = await stack.enter_async_context(Machine(spec))
    await machine.release(deadline)
    await machine.wait_for_console(b"ready", deadline)
    return machine


async def _measure(machine: Machine, options: str, deadline: Deadline) -> float:
    """Seconds."""
    answer = asyncio.create_task(machine.wait_for_console(rb"took [0-9. ]+ over|failed", deadline))
    await asyncio.sleep(0)  # the task waits before anything can be said
    await machine.console.write(options.encode() + b"\n")
    words = (await answer).split()
    if words[0] == b"failed":
        raise SystemExit(f"the guest's dd {options} failed")
    return float(words[2]) - float(words[1])


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


async def _run(works: list[Work], rounds: int, folder: Path) -> list[dict[str, float]]:
    """The medians of works over the same image, in seconds, by way."""
    deadline = Deadline.after(SECONDS)
    kernel = scripted(build_guest(load_definition("linux-cloud"), progress=_tell), folder, SCRIPT)
    kind = works[0].image
    results: list[dict[str, list[float]]] = [{} for _ in works]
    async with AsyncExitStack() as stack:
        machines = {}
        for way in (FILE, *ALL):
            medium = await _medium(way, kind, folder, stack)
            machines[way] = await _boot(medium, kernel, deadline, stack)
        for work, result in zip(works, results, strict=True):
            for number in range(rounds + 1):
                for way, machine in machines.items():
                    seconds = await _measure(machine, work.options, deadline)
                    if number:  # the first round is for the caches
                        result.setdefault(way, []).append(seconds)
        for machine in machines.values():
            await machine.console.write(b"quit\n")
            await machine.wait_for_exit(deadline)
    return [{way: statistics.median(values) for way, values in result.items()} for result in results]


def main() -> int:
    """Print a table; 1 if a bar was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="only rows whose title contains this")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "qemu-viso-bench-guest")
    parser.add_argument(SERVE, choices=(DIRECT, NBD), help=argparse.SUPPRESS)
    parser.add_argument("--kind", choices=IMAGES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        _serve(arguments.serve, arguments.kind, arguments.folder)
        return 0
    arguments.folder.mkdir(exist_ok=True)
    machine([PLATFORMS["amd64"].program, "--version"])
    header("Work", "Bar", FILE, *ALL, *(f"× {way}" for way in ALL), "")
    missed = 0
    table = []
    for kind in IMAGES:
        works = [work for work in WORKS if work.image == kind and arguments.only in work.title]
        if not works:
            continue
        for work, medians in zip(works, asyncio.run(_run(works, arguments.rounds, arguments.folder)), strict=True):
            ratios = {way: medians[FILE] / medians[way] for way in work.ways}
            passed = all(ratios[way] >= BAR for way in work.barred)
            missed += not passed
            bar = f"each ≥ {BAR}" if work.barred == ALL else f"{', '.join(work.barred)} ≥ {BAR}" if work.barred else ""
            figures = [f"{medians[way]:.2f} s" for way in (FILE, *ALL)]
            speed = [f"{ratios[way]:.2f}" for way in ALL]
            row(work.title, bar, *figures, *speed, verdict(passed=passed) if work.barred else "")
            table.append({"work": work.title, "seconds": medians, "ratios": ratios, "bar": BAR, "for": work.barred})
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=2))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
