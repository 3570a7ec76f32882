"""Images that are damaged in one place each, or of a kind that cannot be taken over: what is said about each.

`python -m tests.tree.damaged` writes `data/existing.txt` anew.
"""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

from qemu_viso.errors import QemuVisoError
from qemu_viso.ondisk.ecma119 import SECTOR
from qemu_viso.tree.existing.image import ExistingImage
from qemu_viso.tree.existing.listing import walk
from qemu_viso.tree.existing.medium import Medium
from qemu_viso.tree.origin import Clock, HostOrigin, WalkOptions
from tests.recipes import opened
from tests.tree.damaged_udf import UDF
from tests.tree.makers import both, handmade

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

Case = tuple[str, "Callable[[Path], object]"]
"""The recipe's line, and what makes `i.iso` for it in a folder."""

GOLDEN = Path(__file__).parent / "data" / "existing.txt"
IMPORT = "--import-iso i.iso"
FILE = (b"F.;1", 30, 100, 0)
DIRECTORY = (b"D", 21, SECTOR, 2)
VOLUME = 16


def made(*records: tuple[object, ...], rock: bool = False, line: str = IMPORT) -> Case:
    """An image with these records in its root."""
    return line, lambda folder: handmade(folder / "i.iso", {20: records, 21: []}, rock=rock)


def with_bytes(case: Case, *edits: tuple[int, bytes]) -> Case:
    """The same, with bytes put into it at certain places."""
    line, make = case

    def edited(folder: Path) -> None:
        make(folder)
        with open(folder / "i.iso", "r+b") as file:
            for at, data in edits:
                file.seek(at)
                file.write(data)

    return line, edited


def entry(kind: bytes, *fields: bytes) -> bytes:
    """A system use entry."""
    payload = b"".join(fields)
    return kind + bytes((4 + len(payload), 1)) + payload


def posix(mode: int) -> bytes:
    return entry(b"PX", both(mode), both(1), both(0), both(0))


def rock(*entries: bytes, mode: int = 0o100644, size: int = 100) -> tuple[object, ...]:
    return b"X.;1", 30, size, 0, posix(mode) + b"".join(entries)


def named(name: bytes) -> bytes:
    return entry(b"NM", b"\0", name)


def components(count: int) -> bytes:
    """SL entries of so many components of ninety bytes, two in each."""
    component = b"\0" + bytes((90,)) + b"c" * 90
    return entry(b"SL", b"\1", component, component) * (count // 2)


def continued(sector: int, size: int, offset: int = 0) -> bytes:
    return entry(b"CE", both(sector), both(offset), both(size))


def interleaved(case: Case) -> Case:
    """The unit size of the root's third record is not zero."""
    return with_bytes(case, (20 * SECTOR + 34 * 2 + 26, b"\2"))


def boot(validation: bytes, *entries: bytes) -> Case:
    """An image with a boot catalog in sector 25."""
    record = b"\0CD001\1EL TORITO SPECIFICATION".ljust(71, b"\0") + struct.pack("<I", 25)
    catalog = validation + b"".join(entry.ljust(32, b"\0") for entry in entries)
    return with_bytes(made(FILE), (17 * SECTOR, record), (18 * SECTOR, b"\xffCD001\1"), (25 * SECTOR, catalog))


VALIDATION = b"\1".ljust(28, b"\0") + b"\xaa\x55\x55\xaa"

CHAIN = {20 + n: [(b"A", 21 + n, SECTOR, 2), (b"B", 21 + n, SECTOR, 2)] for n in range(40)}
DEEP = {20 + n: [(b"D", 21 + n, SECTOR, 2)] for n in range(300)}


def extents(folder: Path) -> None:
    """A file of 10,001 extents: a root of many sectors."""
    record = bytes((38, 0)) + both(30) + both(SECTOR) + bytes((120, 1, 1, 0, 0, 0, 0, 0x80, 0, 0)) + b"\1\0\0\1\4F.;1\0"
    sectors = 10_001 // 53 + 1
    handmade(folder / "i.iso", {20: []}, sectors=sectors + 40)
    with open(folder / "i.iso", "r+b") as file:
        file.seek(VOLUME * SECTOR + 156 + 2)
        file.write(both(20) + both((sectors + 1) * SECTOR))
        for sector in range(21, 21 + sectors):
            file.seek(sector * SECTOR)
            file.write(record * 53)


ISO: dict[str, Case] = {
    "nothing but zeros": (IMPORT, lambda folder: (folder / "i.iso").write_bytes(bytes(100_000))),
    "logical blocks of 4,096 bytes": with_bytes(made(FILE), (VOLUME * SECTOR + 128, b"\0\x10")),
    "an image cut short": made((b"F.;1", 300, 1 << 20, 0)),
    "a record of five bytes": with_bytes(made(FILE), (20 * SECTOR + 68, b"\5")),
    "a record that is too long for its sector": with_bytes(made(*[FILE] * 50), (20 * SECTOR + 68 + 49 * 38, b"\xff")),
    "a record whose name is too long for it": with_bytes(made(FILE), (20 * SECTOR + 68 + 32, b"\xc8")),
    "a directory of 4 GiB": made((b"D", 21, 0xFFFFFFFF, 2)),
    "directories that hold each other twice": (IMPORT, lambda folder: handmade(folder / "i.iso", CHAIN)),
    "a directory that holds itself": made((b"D", 20, SECTOR, 2)),
    "300 directories, one in the other": (IMPORT, lambda folder: handmade(folder / "i.iso", DEEP)),
    "a file of 10,001 extents": (IMPORT, extents),
    "an interleaved file": interleaved(made(FILE)),
    "two files of one name": made(FILE, FILE),
    "a sparse file of Rock Ridge": made(rock(entry(b"SF", both(0), both(0), b"\1")), rock=True),
    "a zisofs file": made(rock(entry(b"ZF", b"pz\4\x0f", both(100))), rock=True),
    "a FIFO": made(rock(named(b"pipe"), mode=0o010644, size=0), rock=True),
    "a name with a slash": made(rock(named(b"a/b")), rock=True),
    "a link without a target": made(rock(entry(b"SL", b"\0"), mode=0o120777, size=0), rock=True),
    "a link of 100 components": with_bytes(
        made(rock(continued(35, 189 * 40), mode=0o120777, size=0), rock=True),
        (35 * SECTOR, components(78) + continued(39, 189 * 20)),
        (39 * SECTOR, components(22)),
    ),
    "a continuation area that goes on in itself": with_bytes(
        made(rock(continued(35, 28)), rock=True), (35 * SECTOR, continued(35, 28))
    ),
    "a relocated directory that is not there": made(rock(entry(b"CL", both(30))), rock=True),
    "a boot catalog without validation entry": boot(bytes(32), b"\x88"),
    "a boot catalog with an unknown entry": boot(VALIDATION, b"\x88\0\0\0\0\0\1\0\x1e", b"\x77"),
    "a boot entry with an unknown emulation": boot(VALIDATION, b"\x88\7\0\0\0\0\1\0\x1e"),
    "an Apple partition map": with_bytes(made(FILE), (512, b"PM")),
}

PUSHED: dict[str, Case] = {
    "a path through a file": made(FILE, line="--push-iso i.iso /x=F./y"),
    "a path that is not there": made(FILE, DIRECTORY, line="--push-iso i.iso /x=D/nothing"),
    "a link as a source": made(
        rock(entry(b"SL", b"\0", b"\0\2to"), named(b"link"), mode=0o120777, size=0),
        rock=True,
        line="--push-iso i.iso /x=link",
    ),
    "a FIFO as a source": made(rock(named(b"pipe"), mode=0o010644, size=0), rock=True, line="--push-iso i.iso /x=pipe"),
    "a directory as an image": made(DIRECTORY, line="--push-iso i.iso --push-iso D"),
    "an image in an image in two pieces": made(
        (b"F.;1", 30, SECTOR, 0x80), (b"F.;1", 32, 100, 0), line="--push-iso i.iso --push-iso F."
    ),
}


def failing(number: int) -> AbstractContextManager[object]:
    """Reading fails, as with a broken disk; or there is nothing to read, with the number 0."""

    def pread(descriptor: int, size: int, offset: int) -> bytes:
        if number:
            raise OSError(number, "Input/output error")
        return b""

    return patch("qemu_viso.tree.existing.medium.os.pread", pread)


def said(case: Case) -> str:
    """What is said about an image: the error, or else the warnings."""
    line, make = case
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder)
        try:
            text = "\n".join(f"warning: {warning}" for warning in opened(folder, line).tree.warnings)
        except QemuVisoError as error:
            text = f"{error}\n  status: {error.status}"
    return text.replace(f"{name}/", "")


def said_of_a_comparison() -> str:
    """What is said where an image is walked for a comparison, which makes no tree."""
    with tempfile.TemporaryDirectory() as name:
        path = handmade(Path(name) / "i.iso", {20: [(b"D", 20, SECTOR, 2)]})
        system = ExistingImage(Medium(HostOrigin(name, WalkOptions(), Clock(None), []).file("i.iso"), "i.iso")).primary
        assert system is not None
        try:
            return f"{len(list(walk(system)))} paths of {path}"
        except QemuVisoError as error:
            return f"{error}\n  status: {error.status}"


def messages() -> Iterator[tuple[str, str]]:
    """A title and a message, each message once."""
    for title, case in {**ISO, **PUSHED, **UDF}.items():
        yield title, said(case)
    for title, number in (("an image on a broken disk", 5), ("an image that is shorter than it says", 0)):
        with failing(number):
            yield title, said(made(FILE))
    yield "a directory that holds itself, in a comparison", said_of_a_comparison()


def text() -> str:
    return "".join(f"## {title}\n{said}\n\n" for title, said in messages())


if __name__ == "__main__":
    GOLDEN.write_text(text(), encoding="utf-8")
