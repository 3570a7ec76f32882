"""What a guest sees, from the question to the verdict: much data, and many names.

The guest `linux-cloud` has booted already; what is timed is what `qemu-viso verify` does then: the guest walks the
medium and sends everything through its port, the host hashes, works out what must be seen, and compares.

    python -m bench.guests [--rounds N] [--only WORD] [--entries N,N…] [--folder DIR]

`--entries` takes larger trees too, over which a guest is busy for many minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.images import plant, write_recipe
from bench.table import header, machine, row, verdict
from qemu_viso.guest.build import build_guest
from qemu_viso.guest.definition import load_definition
from qemu_viso.guest.run import booted
from qemu_viso.guest.wire import Feed, parse_view
from qemu_viso.opening import open_viso
from qemu_viso.qemu.deadline import Deadline
from qemu_viso.qemu.devices import BUSES
from qemu_viso.qemu.served import ServedImage
from qemu_viso.verify.contents import Sums, content_piece
from qemu_viso.verify.diff import compare
from qemu_viso.verify.expected import expected_view
from qemu_viso.verify.run import Looking, names_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qemu_viso.opening import Opened
    from qemu_viso.verify.expected import Expected

DATA = 500_000_000
DATA_SECONDS = 5.0
LINEAR = 11.0
"""How many times longer ten times the names may take."""
PER_DIRECTORY = 100
HOST_ENTRIES = (10_000, 100_000, 1_000_000)
LONG = 7200.0
AT_ONCE = 1 << 18
_TYPES = {"directory": 0o040000, "file": 0o100000}


def data(folder: Path, files: int) -> Path:
    """A recipe of 500 MB in so many files, in directories of a hundred."""
    tree = folder / f"data-{files}"
    for number in range(files):
        path = tree / f"{number // PER_DIRECTORY:03}" / f"{number:05}"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(DATA // files))
    return write_recipe(folder, f"{tree.name}.viso", f"/={tree.name}")


async def looked(recipe: Path, rounds: int) -> float:
    """Seconds from the question to the verdict, the median; the recipe's hashes are not known before.

    Raises:
        RuntimeError: the guest saw something else than was promised.
    """
    opened, bus = open_viso(str(recipe)), BUSES["scsi-cd"]
    build = build_guest(load_definition("linux-cloud"))
    found = []
    with ServedImage(opened.image) as served:
        async with booted(build, bus, served.medium, Deadline.after(LONG), ["rock"], names=names_of(opened)) as session:
            for _ in range(rounds):
                began = time.monotonic()
                looking = Looking(session, opened, build.definition.name, bus.name, Sums())
                report = await looking.report("rock", Deadline.after(LONG), began)
                if report.outcome != "passed":
                    raise RuntimeError(report.summary())
                found.append(report.seconds)
            await session.quit(Deadline.after(LONG))
    return statistics.median(found)


def much_data(folder: Path, rounds: int, _entries: tuple[int, ...]) -> None:
    """500 MB in a few files, and in many."""
    seconds = asyncio.run(looked(data(folder, 50), rounds))
    row("500 MB in 50 files", f"< {DATA_SECONDS:.0f} s", f"{seconds:.2f} s", verdict(passed=seconds < DATA_SECONDS))
    seconds = asyncio.run(looked(data(folder, 5000), rounds))
    row("500 MB in 5,000 files", "", f"{seconds:.2f} s", "")


def names_in_a_guest(folder: Path, rounds: int, entries: tuple[int, ...]) -> None:
    """Small files, ten times as many each time."""
    _told("seen by a guest", [(count, asyncio.run(looked(_tree(folder, count), rounds))) for count in entries])


def names_on_the_host(folder: Path, rounds: int, _entries: tuple[int, ...]) -> None:
    """The same without a guest: an agent's answer is read, and what it says compared."""
    found = []
    for count in HOST_ENTRIES:
        opened = open_viso(str(_tree(folder, count)))
        answer = b"".join(_answer(opened))
        found.append((count, statistics.median(_checked(opened, answer) for _ in range(rounds))))
    _told("checked by the host alone", found)


def _tree(folder: Path, entries: int) -> Path:
    return plant(folder, entries // PER_DIRECTORY, PER_DIRECTORY)


def _told(title: str, found: list[tuple[int, float]]) -> None:
    """A row for each number of names; from the second on, how much longer it took than a tenth of them."""
    previous = None
    for count, seconds in found:
        measured = f"{seconds:.2f} s, {seconds / count * 1e6:.0f} µs a name"
        if previous is None:
            row(f"{count:,} names, {title}", "", measured, "")
        else:
            ratio = seconds / previous[1]
            bar = LINEAR / 10 * count / previous[0]
            passed = verdict(passed=ratio <= bar)
            row(f"{count:,} names, {title}", f"≤ {bar:.0f} × {previous[0]:,}", f"{measured}: {ratio:.1f} ×", passed)
        previous = (count, seconds)


def _checked(opened: Opened, answer: bytes) -> float:
    """Seconds for one answer."""
    began = time.monotonic()
    feed = Feed()
    steps = parse_view(feed, 1, "rock", 1 << 30)
    view = None
    for offset in range(0, len(answer), AT_ONCE):
        feed.add(answer[offset : offset + AT_ONCE])
        try:
            next(steps)
        except StopIteration as end:
            view = end.value
    assert view is not None, "the answer is complete"
    count, differences = compare(opened.tree, view, Sums())
    assert count > 0, "there are entries"
    assert not differences, differences[:3]
    return time.monotonic() - began


def _answer(opened: Opened) -> Iterator[bytes]:
    """What an agent sends of a tree of directories and files: see images/guests/agents/linux.sh."""
    entries = expected_view(opened.tree, "rock")
    volume = opened.image.read(16 * 2048, 16 * 2048)
    yield b"VIEW 1\nVOLUME %d\n" % len(volume) + volume
    yield b"".join(f".{path.rstrip('/')}".encode() + b"\0" for path in entries) + b"\0"
    for each in entries.values():
        yield (
            f"{_TYPES[each.kind] | each.mode:x} {each.size or 0} {each.uid} {each.gid} 1 0 0 {each.mtime} -\n"
        ).encode()
    for path, each in entries.items():
        if each.kind == "file":
            yield _archived(path, each)
    yield b"END 1 %d 0 0 0\n" % len(entries)


def _archived(path: str, entry: Expected) -> bytes:
    member = tarfile.TarInfo(f".{path}")
    assert entry.content is not None, "files have content"
    member.size = entry.content.size
    data = content_piece(entry.content, 0, member.size)
    return member.tobuf(tarfile.GNU_FORMAT) + data + bytes(-member.size % 512)


WORK = {"data": much_data, "guest": names_in_a_guest, "host": names_on_the_host}


def main() -> int:
    """Run what was asked for, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=WORK, action="append")
    parser.add_argument("--entries", default="10000,100000", help="names in the trees that a guest sees")
    parser.add_argument("--folder", type=Path, help="where trees are made and kept (default: a temporary one)")
    arguments = parser.parse_args()
    entries = tuple(int(word) for word in arguments.entries.split(","))
    machine(["qemu-system-x86_64", "--version"])
    header("Work", "Bar", "Measured", "")
    with tempfile.TemporaryDirectory(prefix="qemu-viso-bench-") as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in arguments.only or WORK:
            WORK[name](folder, arguments.rounds, entries)
    return 0


if __name__ == "__main__":
    sys.exit(main())
