"""Opening and rendering, side by side with other makers of images, in one run on one machine.

Each row is the median of some rounds; within a round all take turns, so that what else the machine does hits all of
them. Opening is `qemu-viso check`, interpreter start included; the peers write the same tree to a file. Whoever writes
begins without a target and with nothing else left to be written to the disk.

    python -m bench.images [--rounds N] [--only WORD] [--folder DIR]

The folder takes 14 GiB and 1.2 million files; one that is given is kept for the next time.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.table import header, machine, row, verdict

if TYPE_CHECKING:
    from collections.abc import Callable

MARKER = "--iprt-iso-maker-file-marker-bourne-sh 5f1c0ae0-1111-2222-3333-444455556666"
PYCDLIB = """
import os, sys, pycdlib
iso = pycdlib.PyCdlib()
iso.new(interchange_level=3, joliet=3, rock_ridge="1.12")
for d, folder in enumerate(sorted(os.listdir(sys.argv[1]))):
    iso.add_directory(f"/D{d:05}", rr_name=folder, joliet_path=f"/{folder}")
    for f, name in enumerate(sorted(os.listdir(os.path.join(sys.argv[1], folder)))):
        path = os.path.join(sys.argv[1], folder, name)
        iso.add_file(path, f"/D{d:05}/F{f:05}.;1", rr_name=name, joliet_path=f"/{folder}/{name}")
iso.force_consistency()
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One timed command: seconds, and peak resident memory in MiB."""

    seconds: float
    memory: float


def run(*command: str) -> Run:
    """Run a command to its end.

    Raises:
        RuntimeError: it failed.
    """
    started = time.perf_counter()
    with open(os.devnull, "wb") as nothing:
        child = subprocess.Popen(command, stdout=nothing, stderr=subprocess.PIPE)
        error = child.stderr.read() if child.stderr is not None else b""
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{command[0]} ended with {child.returncode}: {error.decode()[-500:]}")
    return Run(time.perf_counter() - started, usage.ru_maxrss / 1024)


def check(recipe: Path) -> Run:
    """Open and lay out."""
    return run(sys.executable, "-m", "qemu_viso", "check", str(recipe))


def plant(folder: Path, directories: int, files: int) -> Path:
    """A tree of small files in directories, and a recipe beside it."""
    tree = folder / f"tree-{directories}x{files}"
    if not tree.exists():
        for outer in range(directories):
            directory = tree / f"dir{outer:05}"
            directory.mkdir(parents=True)
            for inner in range(files):
                (directory / f"file{inner:05}.txt").write_bytes(b"%d/%d\n" % (outer, inner))
    return write_recipe(folder, f"{tree.name}.viso", f"/={tree.name}")


def write_recipe(folder: Path, name: str, *lines: str) -> Path:
    """A recipe."""
    path = folder / name
    path.write_text("\n".join((MARKER, "--rock-ridge", *lines, "")))
    return path


def sparse(folder: Path, name: str, size: int) -> Path:
    """A recipe of one file of that size, without blocks on the disk."""
    with open(folder / name, "wb") as file:
        file.truncate(size)
    return write_recipe(folder, f"{name}.viso", f"/{name}={name}")


def rounds(count: int, runners: dict[str, Callable[[], Run]], *targets: Path) -> dict[str, Run]:
    """The medians of several runners that take turns, each time another one first.

    The targets are removed before each run, and what was written before is brought to the disk.
    """
    results: dict[str, list[Run]] = {name: [] for name in runners}
    names = list(runners)
    for number in range(count):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            if targets:
                for target in targets:
                    target.unlink(missing_ok=True)
                os.sync()
            results[name].append(runners[name]())
    return {
        name: Run(statistics.median(r.seconds for r in found), statistics.median(r.memory for r in found))
        for name, found in results.items()
    }


def told(work: str, bar: str, measured: str, *, passed: bool) -> None:
    """One line of the table."""
    row(work, bar, measured, verdict(passed=passed))


def opening(folder: Path, count: int) -> None:
    """100,000 files, against genisoimage and pycdlib; with UDF; 10,000 files."""
    recipe = plant(folder, 1000, 100)
    tree = recipe.with_suffix("")
    udf = write_recipe(folder, "udf.viso", "--udf", f"/={tree.name}")
    small = plant(folder, 100, 100)
    output = folder / "peer.iso"
    found = rounds(
        count,
        {
            "ours": lambda: check(recipe),
            "udf": lambda: check(udf),
            "genisoimage": lambda: run("genisoimage", "-quiet", "-R", "-J", "-o", str(output), str(tree)),
            "pycdlib": lambda: run(sys.executable, "-c", PYCDLIB, str(tree)),
            "small": lambda: check(small),
        },
        output,
    )
    output.unlink(missing_ok=True)
    ours, peer, library = found["ours"], found["genisoimage"], found["pycdlib"]
    ratio = ours.seconds / peer.seconds
    told("open 100,000 files", "≤ 0.30 × genisoimage", _ratio(ours, peer, ratio), passed=ratio <= 0.30)
    ratio = ours.seconds / library.seconds
    told("the same", "≤ 0.25 × pycdlib", _ratio(ours, library, ratio), passed=ratio <= 0.25)
    ratio = found["udf"].seconds / ours.seconds
    told("the same with UDF", "≤ 1.5 × without", _ratio(found["udf"], ours, ratio), passed=ratio <= 1.5)
    seconds = found["small"].seconds
    told("open 10,000 files", "≤ 0.5 s", f"{seconds:.2f} s", passed=seconds <= 0.5)
    told("peak memory, 100,000 files", "≤ 75 MiB", f"{ours.memory:.0f} MiB", passed=ours.memory <= 75)


def _ratio(ours: Run, peer: Run, ratio: float) -> str:
    return f"{ours.seconds:.2f} s / {peer.seconds:.2f} s = {ratio:.2f}"


def one_file(folder: Path, count: int) -> None:
    """A file of 1 KiB, 1 GiB, 1 TiB."""
    recipes = {name: sparse(folder, name, size) for name, size in (("KiB", 1024), ("GiB", 1 << 30), ("TiB", 1 << 40))}
    found = rounds(3 * count, {name: (lambda path=path: check(path)) for name, path in recipes.items()})  # type: ignore[misc]
    shown = ", ".join(f"{name} {each.seconds:.3f} s" for name, each in found.items())
    seconds = [each.seconds for each in found.values()]
    told(
        "open one file of 1 KiB, 1 GiB, 1 TiB",
        "equal, ≤ 0.15 s",
        shown,
        passed=max(seconds) <= min(0.15, 1.2 * min(seconds)),
    )


def installer(folder: Path, count: int) -> None:
    """An image of 5 GB by xorriso, with as many files as an installer has packages; one file is changed."""
    image = folder / "installer.iso"
    if not image.exists():
        tree = folder / "installer"
        for outer in range(500):
            directory = tree / f"pool{outer:03}"
            directory.mkdir(parents=True)
            for inner in range(8):
                with open(directory / f"package{inner}.deb", "wb") as file:
                    file.truncate(5 << 18)
        (tree / "boot.img").write_bytes(os.urandom(4096))
        options = ("-quiet", "-R", "-J", "-b", "boot.img", "-c", "boot.cat", "-no-emul-boot")
        run("xorriso", "-as", "mkisofs", *options, "-o", str(image), str(tree))
        shutil.rmtree(tree)
    (folder / "changed.deb").write_text("changed\n")
    changed = "/pool250/package4.deb"
    recipe = write_recipe(
        folder, "installer.viso", f"--import-iso={image.name}", f"{changed}=:must-remove:", f"{changed}=changed.deb"
    )
    seconds = rounds(count, {"ours": lambda: check(recipe)})["ours"].seconds
    size = image.stat().st_size
    told(f"open an image of {size / 1e9:.1f} GB, one file changed", "< 1 s", f"{seconds:.2f} s", passed=seconds < 1)


def million(folder: Path, count: int) -> None:
    """One million files, against a tenth of them."""
    hundred = plant(folder, 1000, 100)
    recipe = plant(folder, 10_000, 100)
    found = rounds(count, {"hundred": lambda: check(hundred), "million": lambda: check(recipe)})
    ratio = found["million"].seconds / found["hundred"].seconds
    measured = _ratio(found["million"], found["hundred"], ratio)
    told("open 1,000,000 files", "≤ 11 × 100,000", measured, passed=ratio <= 11)
    memory = found["million"].memory
    told("peak memory, 1,000,000 files", "≤ 600 MiB", f"{memory:.0f} MiB", passed=memory <= 600)


def rendering(folder: Path, count: int) -> None:
    """Small files against genisoimage and xorriso; large ones against cp."""
    recipe = plant(folder, 1000, 100)
    tree = recipe.with_suffix("")
    output = folder / "out.iso"
    ours = (sys.executable, "-m", "qemu_viso", "render", str(recipe), "-o", str(output))
    found = rounds(
        count,
        {
            "ours": lambda: run(*ours),
            "genisoimage": lambda: run("genisoimage", "-quiet", "-R", "-J", "-o", str(output), str(tree)),
            "xorriso": lambda: run("xorriso", "-as", "mkisofs", "-quiet", "-R", "-J", "-o", str(output), str(tree)),
        },
        output,
    )
    for peer in ("genisoimage", "xorriso"):
        ratio = found["ours"].seconds / found[peer].seconds
        told("render 100,000 files", f"< {peer}", _ratio(found["ours"], found[peer], ratio), passed=ratio < 1)
    _large(folder, count, output)
    output.unlink(missing_ok=True)


def _large(folder: Path, count: int, output: Path) -> None:
    block = os.urandom(1 << 20)
    for name in ("one", "two"):
        if not (folder / name).exists():
            with open(folder / name, "wb") as file:
                file.writelines(block for _ in range(1024))
    recipe = write_recipe(folder, "large.viso", "/one=one", "/two=two")
    ours = (sys.executable, "-m", "qemu_viso", "render", str(recipe), "-o", str(output))
    copy = ("cp", "--reflink=never", str(folder / "one"), str(folder / "two"), str(folder / "copies"))
    (folder / "copies").mkdir(exist_ok=True)
    targets = (output, folder / "copies" / "one", folder / "copies" / "two")
    found = rounds(count, {"ours": lambda: run(*ours), "cp": lambda: run(*copy)}, *targets)
    ratio = found["cp"].seconds / found["ours"].seconds
    measured = f"{found['ours'].seconds:.2f} s, cp {found['cp'].seconds:.2f} s: {ratio:.2f} × its speed"
    told("render 2 GiB in two files", "≥ 0.9 × cp", measured, passed=ratio >= 0.9)
    shutil.rmtree(folder / "copies")


def _keep_bytecode(folder: Path) -> None:
    """Let the runs find the package compiled, as one that is installed is."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
    for options in ((), ("--udf",)):
        check(write_recipe(folder, "first.viso", *options, "/first.viso=first.viso"))


WORK = {"open": opening, "one": one_file, "installer": installer, "million": million, "render": rendering}


def main() -> None:
    """Run what was asked for, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=WORK, action="append")
    parser.add_argument("--folder", type=Path, help="where trees are made and kept (default: a temporary one)")
    arguments = parser.parse_args()
    machine()
    header("Work", "Bar", "Measured", "")
    with tempfile.TemporaryDirectory(prefix="qemu-viso-bench-") as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        _keep_bytecode(folder)
        for name in arguments.only or WORK:
            WORK[name](folder, arguments.rounds)


if __name__ == "__main__":
    main()
