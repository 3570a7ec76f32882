"""NBD side by side: this project against `nbdkit file` and `qemu-nbd`, in one run on one machine.

The peers serve the rendered image as a plain file, which lies in the page cache as the sources do. Each row is the
median of some rounds; within a round the servers take turns, so that what else the machine does hits all of them.

    python -m bench.nbd [--rounds N] [--only WORD] [--json FILE] [--folder DIR] [--workers N]

The folder takes 5 GiB and is kept for the next time; in /dev/shm nothing can push it out of memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.media import directories, files, rendered
from bench.table import header, machine, row, verdict
from qemu_viso.image import Image
from qemu_viso.nbd import Server, listen_unix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qemu_viso.image import RegionMap

BIG_FILE = 1 << 30
SMALL_FILES = 100_000
METADATA = 16 << 20
PEERS = ("nbdkit", "qemu-nbd")
SERVE = "--serve"


def _two_files(folder: Path) -> RegionMap:
    return files([(folder / "one", BIG_FILE), (folder / "two", BIG_FILE)], repeat=os.urandom(1 << 20))


def _small_files(folder: Path) -> RegionMap:
    """100,000 files of 100 to 8,000 bytes in 100 directories: 0.5 GiB."""
    return files(
        (folder / f"{number // 1000:03}" / f"{number % 1000:03}", 100 + number * 7919 % 7900)
        for number in range(SMALL_FILES)
    )


def _metadata(_folder: Path) -> RegionMap:
    return directories(METADATA)


IMAGES = {"two": _two_files, "small": _small_files, "metadata": _metadata}


def _image(kind: str, folder: Path) -> Image:
    return Image(IMAGES[kind](folder / kind), "bench")


@dataclass(frozen=True)
class Work:
    """One row of the table; `measure` takes a URI and gives seconds, or reads a second; `bars` are by peer."""

    title: str
    image: str
    unit: str
    measure: Callable[[str, Path], float]
    bars: dict[str, float]


def _nbdcopy(uri: str, _folder: Path) -> float:
    begin = time.perf_counter()
    subprocess.run(["nbdcopy", uri, "null:"], check=True, capture_output=True)
    return time.perf_counter() - begin


def _fio(mode: str, block: str, depth: int) -> Callable[[str, Path], float]:
    def measure(uri: str, folder: Path) -> float:
        done = subprocess.run(
            [
                "fio",
                "--name=nbd",
                "--ioengine=nbd",
                f"--uri={uri}",
                f"--rw={mode}",
                f"--bs={block}",
                f"--iodepth={depth}",
                "--time_based",
                "--runtime=2",
                "--randrepeat=1",
                "--readonly",
                "--output-format=json",
            ],
            check=True,
            capture_output=True,
            cwd=folder,
            text=True,
        )
        return float(json.loads(done.stdout[done.stdout.index("{") :])["jobs"][0]["read"]["iops"])

    return measure


WORKS = [
    Work("nbdcopy 2 GiB, two files", "two", "s", _nbdcopy, {"nbdkit": 1.4, "qemu-nbd": 2.0}),
    Work("nbdcopy 100,000 small files", "small", "s", _nbdcopy, {"nbdkit": 0.6}),
    Work("fio 128 KiB sequential, depth 8", "two", "/s", _fio("read", "128k", 8), {"nbdkit": 1.25}),
    Work("fio 4 KiB random, depth 32", "two", "/s", _fio("randread", "4k", 32), {"nbdkit": 1.2}),
    Work("fio 4 KiB random, depth 1", "two", "/s", _fio("randread", "4k", 1), {"nbdkit": 0.95}),
    Work("fio 4 KiB random, metadata, depth 32", "metadata", "/s", _fio("randread", "4k", 32), {"nbdkit": 1.0}),
    Work("fio 4 KiB random, metadata, depth 1", "metadata", "/s", _fio("randread", "4k", 1), {"nbdkit": 1.0}),
]


def _serve(kind: str, folder: Path, workers: int) -> None:
    """In a process of its own: serve an image until standard input ends."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    image = _image(kind, folder)
    with Server({"bench": image}, listen_unix(), workers=workers) as server:
        print(server.uri, flush=True)
        sys.stdin.read()


@contextmanager
def _ours(kind: str, folder: Path, workers: int) -> Iterator[str]:
    command = [sys.executable, "-m", "bench.nbd", SERVE, kind, "--folder", str(folder), "--workers", str(workers)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.communicate()


@contextmanager
def _peer(command: list[str], path: Path) -> Iterator[str]:
    """A server on a socket that is bound here and handed down, so that nobody waits for it to appear."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen(64)
        activate = ["bash", "-c", f'exec 3<&{listening.fileno()}; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"', "peer"]
        process = subprocess.Popen([*activate, *command], stdout=subprocess.DEVNULL, pass_fds=[listening.fileno()])
    with process:
        try:
            yield f"nbd+unix:///?socket={path}"
        finally:
            process.kill()


def _servers(kind: str, folder: Path, workers: int, sockets: Path, stack: ExitStack) -> dict[str, str]:
    iso = rendered(_image(kind, folder), folder / f"{kind}.iso")
    nbdkit, qemu = sockets / f"{kind}-nbdkit", sockets / f"{kind}-qemu"
    uris = {"qemu-viso": stack.enter_context(_ours(kind, folder, workers))}
    command = ["nbdkit", "--foreground", "--readonly", "file", str(iso)]
    uris["nbdkit"] = stack.enter_context(_peer(command, nbdkit))
    command = ["qemu-nbd", "-r", "-f", "raw", "-t", "-e", "64", "-x", "", str(iso)]
    uris["qemu-nbd"] = stack.enter_context(_peer(command, qemu))
    return uris


def _warm(folder: Path, kind: str) -> None:
    """Bring everything into the page cache: nobody's disk is measured."""
    buffer = bytearray(1 << 20)
    for path in [folder / f"{kind}.iso", *(folder / kind).rglob("*")]:
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass


def _run(work: Work, rounds: int, folder: Path, workers: int) -> dict[str, float]:
    results: dict[str, list[float]] = {}
    with ExitStack() as stack:
        sockets = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        uris = _servers(work.image, folder, workers, sockets, stack)
        for _ in range(rounds):
            _warm(folder, work.image)
            for name, uri in uris.items():
                results.setdefault(name, []).append(work.measure(uri, sockets))
    return {name: statistics.median(values) for name, values in results.items()}


def _ratio(unit: str, ours: float, peer: float) -> float:
    """How many times as fast as the peer."""
    return peer / ours if unit == "s" else ours / peer


def _row(work: Work, medians: dict[str, float]) -> dict[str, object]:
    """Print one row; what is to be known of it by machines."""
    ratios = {name: _ratio(work.unit, medians["qemu-viso"], medians[name]) for name in PEERS}
    passed = all(ratios[name] >= bar for name, bar in work.bars.items())
    figures = [f"{value:.2f} s" if work.unit == "s" else f"{value:,.0f} /s" for value in medians.values()]
    bars = ", ".join(f"≥ {bar} × {name}" for name, bar in work.bars.items())
    row(work.title, bars, *figures, *(f"{ratios[name]:.2f}" for name in PEERS), verdict(passed=passed))
    return {"work": work.title, "unit": work.unit, "medians": medians, "ratios": ratios, "passed": passed}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="only rows whose title contains this")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "qemu-viso-bench")
    parser.add_argument(
        "--workers",
        type=int,
        default=len(os.sched_getaffinity(0)),
        help="processes of our server (default: one a processor, %(default)s here; 0: threads only)",
    )
    parser.add_argument(SERVE, choices=IMAGES, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    """Print a table; 1 if a bar was missed."""
    arguments = _arguments()
    if arguments.serve:
        _serve(arguments.serve, arguments.folder, arguments.workers)
        return 0
    for program in ("nbdkit", "qemu-nbd", "nbdcopy", "fio"):
        if shutil.which(program) is None:
            raise SystemExit(f"{program} is not installed")
    arguments.folder.mkdir(exist_ok=True)
    machine(["nbdkit", "--version"], ["nbdcopy", "--version"], ["fio", "--version"])
    header("Work", "Bar", f"qemu-viso ({arguments.workers} workers)", *PEERS, *(f"× {name}" for name in PEERS), "")
    table = [
        _row(work, _run(work, arguments.rounds, arguments.folder, arguments.workers))
        for work in WORKS
        if arguments.only in work.title
    ]
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=2))
    return 0 if all(found["passed"] for found in table) else 1


if __name__ == "__main__":
    sys.exit(main())
