"""Many connections at once for a long time: every byte compared with the rendered image, the server's memory watched.

Each of the connections asks for random ranges (512 bytes to 1 MiB, at any offset), for `base:allocation`, and for reads
ahead; it ends after a while, in order or in the midst of a reply, and the next one takes its place.

    python -m bench.soak [--seconds N] [--connections N] [--seed N] [--folder DIR]

It ends with status 1 if a byte was wrong, a connection failed, or the memory grew.
"""

from __future__ import annotations

import argparse
import mmap
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.nbd.wire import CACHE, DISC, READ, STATUS, Client

MARKER = "--iprt-iso-maker-file-marker-bourne-sh 5f1c0ae0-1111-2222-3333-444455556666"
ALLOCATION = "base:allocation"
MODES = ("simple", "structured", "extended")
PROCESSES = 2
"""Of clients: one alone would keep the server waiting."""
SMALLEST, LARGEST = 9, 20
"""Lengths of reads, as powers of two."""
GROWTH, SLACK = 1.05, 4.0
"""The last quarter may need so many times the memory of the second one, and so many MiB more."""


def write_sources(folder: Path) -> None:
    """Three large files, one of them with holes, and some thousand small ones."""
    chance = random.Random(7)
    (folder / "small").mkdir()
    for number in range(3000):
        (folder / "small" / f"file {number:05}").write_bytes(chance.randbytes(chance.randrange(1, 20_000)))
    for name in ("one", "two"):
        (folder / name).write_bytes(chance.randbytes(96 << 20))
    with (folder / "sparse").open("wb") as sparse:
        for _ in range(40):
            sparse.seek(chance.randrange(0, 64 << 20, 4096))
            sparse.write(chance.randbytes(chance.randrange(1, 100_000)))


class Connection:
    """One client after the other, until the time is over."""

    def __init__(self, path: str, image: memoryview, seed: int, end: float) -> None:
        self._path = path
        self._image = image
        self._chance = random.Random(seed)
        self._end = end
        self.done: Counter[str] = Counter()
        self.errors: list[str] = []

    def run(self) -> None:
        """What goes wrong is kept in `errors`."""
        try:
            while time.monotonic() < self._end:
                self._one()
        except Exception as error:  # noqa: BLE001 - whatever it is, the verdict needs it
            self.errors.append(f"{type(error).__name__}: {error}")

    def _one(self) -> None:
        mode = self._chance.choice(MODES)
        contexts = (ALLOCATION,) if mode != "simple" and self._chance.random() < 0.7 else ()
        with Client(self._path, mode, contexts=contexts, timeout=120) as client:
            self.done["connections"] += 1
            for _ in range(self._chance.randrange(1, 400)):
                if time.monotonic() > self._end:
                    return
                what = self._chance.random()
                if what < 0.85:
                    self._read(client)
                elif what < 0.95 and contexts:
                    self._status(client)
                else:
                    offset, length = self._range(LARGEST)
                    self._expect(not client.ask(CACHE, offset, length).error, "a read ahead failed")
            if self._chance.random() < 0.5:
                client.send(DISC)
            else:  # in the midst of the answers
                for _ in range(8):
                    client.send(READ, *self._range(LARGEST))

    def _range(self, largest: int) -> tuple[int, int]:
        length = int(2 ** self._chance.uniform(SMALLEST, largest))
        offset = self._chance.randrange(len(self._image) - length + 1)
        if self._chance.random() < 0.5:
            offset, length = offset & ~511, max(512, length & ~511)
        return offset, length

    def _read(self, client: Client) -> None:
        offset, length = self._range(LARGEST)
        data = client.read(offset, length)
        self._expect(data == self._image[offset : offset + length], f"{length} bytes at {offset} are wrong")
        self.done["reads"] += 1
        self.done["bytes"] += length

    def _status(self, client: Client) -> None:
        offset, length = self._range(LARGEST + 4)
        reply = client.ask(STATUS, offset, length)
        self._expect(not reply.error, "a block status failed")
        at = offset
        for size, flags in reply.status[client.context_ids[ALLOCATION]]:
            stop = min(at + size, offset + length)
            if flags:
                self._expect(not any(self._image[at:stop]), f"data at {at} was told to be a hole")
            at = stop
        self.done["queries"] += 1

    def _expect(self, good: bool, what: str) -> None:
        if not good:
            raise AssertionError(what)


def attack(path: str, iso: str, seed: int, connections: int, seconds: float) -> tuple[Counter[str], list[str]]:
    """So many connections at once, in this process; what they did, and what went wrong."""
    with open(iso, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        image = memoryview(mapped)
        end = time.monotonic() + seconds
        each = [Connection(path, image, seed + number, end) for number in range(connections)]
        threads = [threading.Thread(target=connection.run) for connection in each]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        done: Counter[str] = Counter()
        for connection in each:
            done += connection.done
        errors = [error for connection in each for error in connection.errors]
        image.release()
    return done, errors


@dataclass(frozen=True, slots=True)
class Sample:
    """The server and its children at one moment: resident MiB, open descriptors, threads."""

    memory: float
    descriptors: int
    threads: int


def sample(pid: int) -> Sample:
    """Look at a process and all below it."""
    memory, descriptors, threads, pids = 0.0, 0, 0, [pid]
    for each in pids:
        proc = Path(f"/proc/{each}")
        memory += int((proc / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
        descriptors += len(os.listdir(proc / "fd"))
        tasks = list((proc / "task").iterdir())
        threads += len(tasks)
        pids += [int(word) for task in tasks if task.exists() for word in (task / "children").read_text().split()]
    return Sample(memory, descriptors, threads)


def watch(pid: int, stop: threading.Event, interval: float) -> list[Sample]:
    """Samples until `stop` is set."""
    samples = []
    while not stop.wait(interval):
        samples.append(sample(pid))
    return samples


def verdict(samples: list[Sample], errors: list[str]) -> list[str]:
    """What is wrong, in sentences."""
    quarter = len(samples) // 4
    second, last = samples[quarter : 2 * quarter], samples[3 * quarter :]
    wrong = sorted(set(errors))
    if quarter:
        before, after = (statistics.median(each.memory for each in part) for part in (second, last))
        if after > before * GROWTH + SLACK:
            wrong.append(f"memory grew from {before:.1f} to {after:.1f} MiB")
    return wrong


def soak(folder: Path, arguments: argparse.Namespace) -> int:
    """Serve, attack, watch; the exit status."""
    sources, recipe, iso = folder / "sources", folder / "soak.viso", folder / "soak.iso"
    sources.mkdir()
    write_sources(sources)
    recipe.write_text(f"{MARKER}\n--rock-ridge /={sources}\n")
    command = (sys.executable, "-m", "qemu_viso")
    subprocess.run([*command, "render", str(recipe), "-o", str(iso)], check=True)
    socket = str(folder / "soak.sock")
    with ExitStack() as stack:
        serve = [*command, "serve", str(recipe), "--socket", socket]
        server = stack.enter_context(subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        stack.callback(server.terminate)
        assert server.stdout is not None
        assert server.stdout.readline()
        before = sample(server.pid)
        stop = threading.Event()
        samples: list[Sample] = []
        watcher = threading.Thread(
            target=lambda: samples.extend(watch(server.pid, stop, max(0.2, arguments.seconds / 600)))
        )
        watcher.start()
        done, errors = _attack_by_all(socket, str(iso), arguments)
        stop.set()
        watcher.join()
        server.terminate()
        _, said = server.communicate()
    if said or server.returncode:
        errors.append(f"the server ended with status {server.returncode} and said: {said.strip()}")
    wrong = verdict(samples, errors)
    _report(before, samples, done, arguments)
    for each in wrong:
        print(f"WRONG: {each}")
    return 1 if wrong else 0


def _attack_by_all(socket: str, iso: str, arguments: argparse.Namespace) -> tuple[Counter[str], list[str]]:
    shares = [arguments.connections // PROCESSES + (n < arguments.connections % PROCESSES) for n in range(PROCESSES)]
    done: Counter[str] = Counter()
    errors: list[str] = []
    with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn")) as pool:
        seeds = [arguments.seed * 1_000_000 + 1000 * number for number in range(PROCESSES)]
        futures = [
            pool.submit(attack, socket, iso, seed, share, arguments.seconds)
            for seed, share in zip(seeds, shares, strict=True)
        ]
        for future in futures:
            counted, failed = future.result()
            done += counted
            errors += failed
    return done, errors


def _report(before: Sample, samples: list[Sample], done: Counter[str], arguments: argparse.Namespace) -> None:
    print(
        f"{arguments.connections} connections at once for {arguments.seconds:g} s: {done['reads']} reads of "
        f"{done['bytes'] >> 20} MiB, {done['queries']} block status queries, {done['connections']} connections"
    )
    print("| | Memory, MiB | Descriptors | Threads |\n|---|---:|---:|---:|")
    rows = [("before", before)]
    if samples:
        rows += [(f"{100 * part // 8} %", samples[len(samples) * part // 8]) for part in range(1, 8)]
        rows.append(("end", samples[-1]))
    for name, at in rows:
        print(f"| {name} | {at.memory:.1f} | {at.descriptors} | {at.threads} |")


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where temporary files are made (500 MiB)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="qemu-viso-soak-", dir=arguments.folder) as folder:
        return soak(Path(folder), arguments)


if __name__ == "__main__":
    sys.exit(main())
