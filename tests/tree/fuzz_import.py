"""A fuzz target for existing images: `--import-iso` and `--push-iso` of damaged ones.

    python -m tests.tree.fuzz_import --runs 1000000 [--seed N]     with the mutator below
    python -m tests.tree.fuzz_import --atheris [libFuzzer options] with atheris

An input's first byte chooses an image that somebody else wrote; edits to its sectors follow (see `damaged`). Whatever
becomes of it, only the documented errors may come of it, and not for long.
"""

from __future__ import annotations

import gzip
import struct
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from qemu_viso.errors import MissingInputError, QemuVisoError, RecipeError
from qemu_viso.layout import lay_out
from qemu_viso.tree.builder import build_tree
from qemu_viso.viso import parse_recipe
from tests.fuzzing import drive, lines_of_corpus
from tests.recipes import MARKER

if TYPE_CHECKING:
    import random

DATA = Path(__file__).parents[1] / "data"
CORPUS = Path(__file__).with_name("import_corpus.txt")
SECTOR = 2048
RECIPES = (
    "--import-iso i.iso",
    "--no-rock-ridge --udf --strict-attribs --import-iso i.iso",
    "--push-iso i.iso /x=/ /y=a/b --pop --import-iso-skip-eltorito i.iso",
    "--push-iso-no-rock i.iso /x=/ --pop",
    "--push-iso-no-rock-no-joliet i.iso /x=/ --pop",
)


@lru_cache(maxsize=1)
def images() -> list[tuple[bytes, list[int]]]:
    """Images to start from, each with the sectors that are not empty."""
    paths = [*sorted((DATA / "images").glob("*.iso.gz")), *sorted((DATA / "conformance" / "inputs").glob("*.iso.gz"))]
    found = []
    for path in paths:
        data = gzip.decompress(path.read_bytes())
        used = [at for at in range(len(data) // SECTOR) if any(data[at * SECTOR : (at + 1) * SECTOR])]
        found.append((data, used))
    return found


def damaged(data: bytes) -> tuple[bytes, str]:
    """The image and the recipe that an input means.

    Byte 0 chooses the image, byte 1 the recipe. Each edit is a number of a used sector, an offset in it (two bytes
    each), a length, and as many bytes; the length 0 cuts the image there, the length 255 copies there the sector whose
    number follows.
    """
    choices = images()
    whole, used = choices[data[0] % len(choices)]
    image = bytearray(whole)
    recipe = RECIPES[data[1] % len(RECIPES)]
    at = 2
    while at + 5 <= len(data):
        sector, offset, length = struct.unpack_from("<HHB", data, at)
        at += 5
        place = used[sector % len(used)] * SECTOR
        if length == 255:
            source = used[int.from_bytes(data[at : at + 2], "little") % len(used)] * SECTOR
            image[place : place + SECTOR] = image[source : source + SECTOR]
            at += 2
        elif length:
            place += offset % SECTOR
            piece = data[at : at + length]
            image[place : place + len(piece)] = piece
            at += length
        else:
            del image[place + offset % SECTOR :]
    return bytes(image), recipe


def one_input(data: bytes) -> None:
    """Try one input; any exception is a finding."""
    if len(data) < 2:
        return
    image, recipe = damaged(data)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        (Path(folder) / "i.iso").write_bytes(image)
        refusal = _refusal(f"{folder}/r.viso", f"{MARKER}\n{recipe}\n".encode())
    if refusal is not None:
        assert refusal.message
        assert "\n" not in refusal.message


def _refusal(path: str, text: bytes) -> QemuVisoError | None:
    """Open a recipe and read something of everything in its image; the documented error if there is one."""
    try:
        found = lay_out(build_tree(parse_recipe(text, path, lambda _: b""), environment={}))
        for start, stop, _ in found.regions.spans():
            found.read(start, min(stop - start, SECTOR))
    except (RecipeError, MissingInputError) as error:
        return error
    return None


NUMBERS = (0, 1, 2, 3, 4, 7, 8, 16, 33, 34, 127, 128, 254, 255, 256, 2047, 2048, 65535, 0x7FFFFFFF, 0xFFFFFFFF)


def mutate(chance: random.Random, pool: list[bytes]) -> bytes:
    """An input with a few edits, in the neighbourhood of one of the pool or of its own."""
    base = chance.choice(pool) if pool and chance.random() < 0.3 else bytes((chance.randrange(10), chance.randrange(5)))
    edits = []
    choices = images()
    whole, used = choices[base[0] % len(choices)]
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        number = chance.randrange(len(used))
        content = whole[used[number] * SECTOR : (used[number] + 1) * SECTOR]
        offset = chance.randrange(SECTOR)
        for _ in range(20):  # where there is something, rather than in the zeros behind it
            if content[offset]:
                break
            offset = chance.randrange(SECTOR)
        kind = chance.randrange(12)
        head = struct.pack("<HH", number, offset)
        if kind == 0:
            edits.append(head + b"\0")
        elif kind == 1:
            edits.append(head + b"\xff" + struct.pack("<H", chance.randrange(len(used))))
        elif kind < 5:
            piece = bytes((content[offset] ^ 1 << chance.randrange(8),))
            edits.append(head + b"\1" + piece)
        elif kind < 8:
            width = chance.choice((1, 2, 4, 8))
            value = chance.choice(NUMBERS) & (1 << 8 * width) - 1
            edits.append(head + bytes((width,)) + value.to_bytes(width, chance.choice(("little", "big"))))
        elif kind < 10:
            width = chance.choice((2, 4))
            value = chance.choice(used)
            edits.append(head + bytes((width,)) + value.to_bytes(width, "little"))
        else:
            size = chance.randrange(1, 24)
            source = chance.randrange(SECTOR - size)
            edits.append(head + bytes((size,)) + content[source : source + size])
    return base + b"".join(edits)


def pool() -> list[bytes]:
    """What has been worth keeping: a line of hexadecimal digits each."""
    return lines_of_corpus(CORPUS)


if __name__ == "__main__":
    known = pool()
    drive(one_input, lambda chance: mutate(chance, known), __doc__)
