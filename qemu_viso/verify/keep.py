"""The failure folder: everything that is known of a failure, in one place, and the line that repeats it."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from qemu_viso.anatomy import Anatomy
from qemu_viso.errors import CannotCreateError, QemuVisoError
from qemu_viso.image.explain import describe
from qemu_viso.verify.place import MOST_REGIONS
from qemu_viso.verify.report import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qemu_viso.image import Image
    from qemu_viso.nbd.trace import ReadTrace
    from qemu_viso.qemu.remains import Remains
    from qemu_viso.verify.report import Report

KEPT = 20
"""Folders that the default place holds; older ones are removed."""
MOST_TOUCHED = 4
"""Structures that are named for one read."""
REPEAT_FILE, SCREEN_FILE, CONSOLE_FILE = "repeat.sh", "screen.png", "console.txt"
_STAMP = "%Y%m%d-%H%M%S"


def default_place() -> Path:
    """`$XDG_STATE_HOME/qemu-viso/failures`, or the same below `~/.local/state`."""
    base = os.environ.get("XDG_STATE_HOME")
    # The XDG base directory specification: a relative path is to be ignored.
    folder = Path(base) if base and os.path.isabs(base) else Path.home() / ".local" / "state"
    return folder / "qemu-viso" / "failures"


@dataclass(frozen=True, slots=True)
class Failure:
    """What is known of a failure. What is None or empty has no file in the folder.

    Attributes:
        name: of what failed, a part of the folder's name.
        sentence: what went wrong, in as many lines as it takes.
        repeat: the line for a shell that does it once more.
        remains: of the machine.
        image: that the guest looked at.
        trace: what was read of it.
        export: the image's name in the trace.
        reports: what the verification found.
    """

    name: str
    sentence: str
    repeat: str = ""
    remains: Remains | None = None
    image: Image | None = None
    trace: ReadTrace | None = None
    export: str = ""
    reports: tuple[Report, ...] = ()


def keep_failure(failure: Failure, place: Path | None = None) -> Path:
    """Write the folder of a failure.

    Args:
        failure: what is known.
        place: the folder in which the new one is made; the default one, in which only the newest stay, if not given.

    Returns:
        the new folder.

    Raises:
        CannotCreateError: it cannot be written.
    """
    parent = place or default_place()
    try:
        folder = _new_folder(parent, failure.name)
        _write(folder, failure)
        if place is None:
            _forget_old(parent)
    except OSError as error:
        where = error.filename or parent
        raise CannotCreateError(f"the failure cannot be kept in '{where}': {error.strerror or error}") from None
    return folder


def _new_folder(parent: Path, name: str) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    stem = f"{datetime.now(UTC).strftime(_STAMP)}-{re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('-.')[:100]}"
    for number in range(1, 10_000):
        folder = parent / (stem if number == 1 else f"{stem}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise CannotCreateError(f"'{parent}' is full of failures of this second")


def _forget_old(parent: Path) -> None:
    ours = re.compile(r"\d{8}-\d{6}-.*")
    folders = sorted(path for path in parent.iterdir() if ours.fullmatch(path.name))
    for path in folders[:-KEPT]:
        shutil.rmtree(path, ignore_errors=True)


def _write(folder: Path, failure: Failure) -> None:
    text = failure.sentence.rstrip() + "\n"
    if failure.repeat:
        text += f"\nonce more:\n{failure.repeat}\n"
        (folder / REPEAT_FILE).write_text(f"#!/bin/sh\n{failure.repeat}\n", errors="surrogateescape")
        (folder / REPEAT_FILE).chmod(0o755)
    (folder / "failure.txt").write_text(text, errors="backslashreplace")
    if failure.reports:
        content = {"reports": [report.to_json() for report in failure.reports]}
        (folder / "reports.json").write_text(json.dumps(content, indent=1) + "\n")
    if failure.remains is not None:
        _write_remains(folder, failure.remains)
    if failure.image is not None:
        _write_lines(folder / "regions.txt", _regions(failure.image))
        if failure.trace is not None:
            _write_lines(folder / "reads.txt", _reads(failure.trace, failure.export, failure.image))


def _write_remains(folder: Path, remains: Remains) -> None:
    _write_lines(folder / "commands.txt", (shlex.join(argv) for argv in remains.commands))
    _write_lines(folder / "qmp.txt", remains.transcript)
    (folder / CONSOLE_FILE).write_bytes(remains.console)
    if remains.said:
        _write_lines(folder / "output.txt", (f"{name} said:\n{text}" for name, text in remains.said))
    if remains.screenshot is not None:
        (folder / SCREEN_FILE).write_bytes(remains.screenshot)


def _write_lines(path: Path, lines: Iterator[str] | tuple[str, ...]) -> None:
    with path.open("w", errors="backslashreplace") as file:
        file.writelines(f"{line}\n" for line in lines)


def _regions(image: Image) -> Iterator[str]:
    """As `qemu-viso map` prints them."""
    for start, stop, content in image.regions.spans():
        yield f"{start:>14} {stop - start:>14} {printable(describe(content))}"


def _reads(trace: ReadTrace, export: str, image: Image) -> Iterator[str]:
    """A line for each read: when, which bytes, and what they touched."""
    reads = trace.of(export)
    yield f"{'seconds':>10} {'offset':>14} {'bytes':>10}  what"
    if trace.seen > len(trace.reads):
        yield f"(the last {len(reads)}; there were {trace.seen} of all media)"
    touched = _regions_touched if len(image.regions) > MOST_REGIONS else _structures_touched(image)
    for seconds, _, offset, length in reads:
        if length <= 0 or offset + length > image.size:
            what = "not in the image"
        else:
            names = list(islice(touched(image, offset, offset + length), MOST_TOUCHED + 1))
            what = "; ".join(map(printable, names[:MOST_TOUCHED])) + ("; and more" if names[MOST_TOUCHED:] else "")
        yield f"{seconds:>10.3f} {offset:>14} {length:>10}  {what}"


def _structures_touched(image: Image) -> Callable[[Image, int, int], Iterator[str]]:
    """What tells the structures and files in a range, by their names in the image."""
    try:
        anatomy = Anatomy(image)
    except QemuVisoError:  # a source is gone: the image cannot be read any more, only named
        return _regions_touched

    def touched(_: Image, offset: int, stop: int) -> Iterator[str]:
        for *_place, claim in anatomy.claims(offset, stop):
            yield "unused" if claim is None else f"{claim.kind} {claim.subject}".strip()

    return touched


def _regions_touched(image: Image, offset: int, stop: int) -> Iterator[str]:
    for start, _, content in image.regions.spans(image.regions.index(offset)):
        if start >= stop:
            return
        yield describe(content)
