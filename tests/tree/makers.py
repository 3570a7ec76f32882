"""Existing images, made by programs that are not ours."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.judges.compare import difference, view_of
from tests.judges.reader.image import Image, inspect

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from qemu_viso.opening import Opened
    from tests.judges.compare import View
    from tests.judges.reader.model import Volume

ENVIRONMENT = {**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
DEEP = "/".join(f"level{depth}" for depth in range(1, 13))
LONG = "long name " + "n" * 230 + " end"
TIME = 1_500_000_000


def genisoimage(image: Path, *arguments: str | Path) -> Path:
    """An image by genisoimage."""
    return _run(image, "genisoimage", "-quiet", "-input-charset", "utf-8", "-o", str(image), *map(str, arguments))


def xorrisofs(image: Path, *arguments: str | Path) -> Path:
    """An image by xorriso, called as mkisofs is."""
    return _run(image, "xorriso", "-as", "mkisofs", "-quiet", "-o", str(image), *map(str, arguments))


def _run(image: Path, *words: str) -> Path:
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed")
    done = subprocess.run(words, capture_output=True, env=ENVIRONMENT, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return image


def difficult_tree(folder: Path) -> Path:
    """Names, links, depths and modes of every kind that Rock Ridge can tell."""
    files = {
        "readme.txt": b"readme\n",
        "empty": b"",
        f"{DEEP}/deep file": b"deep\n",
        f"{DEEP}/deeper/deepest": b"deepest\n",
        LONG: b"long\n",
        "übergrößen/日本語 😀.txt": b"names\n",
        "dir/exe": b"#!/bin/sh\n",
        "dir/sub/big": bytes(range(256)) * 400,
        "MiXeD CaSe.TaR.gz": b"case\n",
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o640)
    os.chown(folder / "dir/exe", 1234, 5678)  # which takes the set-user-ID bit away
    (folder / "dir/exe").chmod(0o4751)
    (folder / "nothing in it").mkdir()
    (folder / "dir/sub").chmod(0o1770)
    links = {
        "link": "readme.txt",
        "dir/up": "../readme.txt",
        "absolute": "/etc/passwd",
        "here": "./dir/sub/.",
        "root": "/",
        "long link": "/".join(("component " * 9).strip() for _ in range(2)),
    }
    for name, target in links.items():
        (folder / name).symlink_to(target)
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (TIME, TIME), follow_symlinks=False)
    os.utime(folder / "readme.txt", (TIME + 12345, TIME + 12345))
    return folder


def both(value: int) -> bytes:
    """A number in both byte orders."""
    return struct.pack("<I", value) + struct.pack(">I", value)


def record(identifier: bytes, extent: int, length: int, flags: int, use: bytes = b"") -> bytes:
    """A directory record."""
    name = bytes((len(identifier),)) + identifier + bytes(~len(identifier) & 1)
    size = 32 + len(name) + len(use) + len(use) % 2
    head = struct.pack("<BB", size, 0) + both(extent) + both(length) + bytes((120, 1, 1, 0, 0, 0, 0, flags, 0, 0))
    return (head + b"\1\0\0\1" + name + use).ljust(size, b"\0")


def handmade(
    path: Path, directories: Mapping[int, Sequence[tuple[Any, ...]]], *, sectors: int = 400, rock: bool = False
) -> Path:
    """An image as no writer makes it: the records of each directory by its sector; the root's is 20."""
    sp = b"SP\7\1\xbe\xef\0" if rock else b""
    root = record(b"\0", 20, 2048, 2)
    descriptor = b"\1CD001\1\0" + b" " * 32 + b"HANDMADE".ljust(32) + bytes(8) + both(sectors) + bytes(32)
    descriptor += b"\1\0\0\1" * 2 + b"\0\x08\x08\0" + both(10) + bytes(16) + root
    with open(path, "wb") as file:
        file.truncate(sectors * 2048)
        for sector, data in ((16, descriptor), (17, b"\xffCD001\1")):
            file.seek(sector * 2048)
            file.write(data)
        for sector, records in directories.items():
            own = record(b"\0", sector, 2048, 2, sp if sector == 20 else b"")
            file.seek(sector * 2048)
            file.write(own + record(b"\1", 20, 2048, 2) + b"".join(record(*fields) for fields in records))
    return path


def seen(opened: Opened) -> Image:
    """The image as the strict reader sees it."""
    return inspect(opened.image.read, opened.image.size)


def view(volume: Volume | None) -> View:
    assert volume is not None
    return view_of(volume)


def assert_same(was: Volume | None, now: Volume | None, *, ignore: tuple[str, ...] = ()) -> None:
    """One namespace is the same in two images, but for the root's own attributes, which are not imported."""
    before, after = view(was), view(now)
    del before["/"], after["/"]
    said = difference(before, after, ("the old image", "the new image"), ignore=ignore)
    assert not said, "\n".join(said)
