"""A fuzz target for the parser, the writer and the portability check.

    python -m tests.viso.fuzz_recipe --runs 1000000 [--seed N]        with the mutator below
    python -m tests.viso.fuzz_recipe --atheris [libFuzzer options]    with atheris

An input is a recipe, and after each `SEPARATOR` the text of a response file, which is called by its number.
"""

from __future__ import annotations

import random
from pathlib import Path

from qemu_viso.errors import AccessError, InputOutputError, MissingInputError, QemuVisoError, RecipeError
from qemu_viso.viso import parse_recipe
from qemu_viso.viso.marker import parse_head
from qemu_viso.viso.options import BY_SPELLING, MARKERS, Version
from qemu_viso.viso.portable import portability
from qemu_viso.viso.writer import same, write_recipe
from tests.fuzzing import drive
from tests.viso.recipes import BOURNE, MS_CRT, case_bytes, conformance_cases

SEPARATOR = b"\0@\0"
CORPUS = Path(__file__).parent / "data" / "corpus"
DOCUMENTED = (RecipeError, MissingInputError, AccessError, InputOutputError)


def one_input(data: bytes) -> None:
    """Parse an input: nothing but a documented error, with its place, may come out.

    What is parsed can be written and read again, and asked about each VirtualBox.
    """
    text, *responses = data.split(SEPARATOR)

    def load(name: str) -> bytes:
        match name:
            case "forbidden":
                raise PermissionError(13, "Permission denied")
            case "broken":
                raise OSError(5, "Input/output error")
            case "nul":
                raise ValueError("embedded null byte")
        try:
            return responses[int(name) % len(responses)]
        except (ValueError, ZeroDivisionError):
            raise FileNotFoundError(2, "No such file or directory") from None

    try:
        recipe = parse_recipe(text, "fuzz.viso", load)
    except DOCUMENTED as error:
        check_error(error)
        return
    parse_head(text, "fuzz.viso")
    again = parse_recipe(write_recipe(recipe.steps, recipe.uuid, quoting=recipe.quoting).encode(), "again.viso", load)
    assert len(again.steps) == len(recipe.steps)
    assert all(map(same, recipe.steps, again.steps))
    for version in Version:
        assert all(str(finding) for finding in portability(recipe, version))


def check_error(error: QemuVisoError) -> None:
    """An error names a place, and stays on its lines."""
    assert error.place is not None
    assert error.place.file
    assert error.place.line >= 1
    assert error.place.column >= 1
    assert error.message.isprintable(), error.message
    assert len(error.message) < 400, error.message
    assert error.hint is None or error.hint.isprintable()


# --- without atheris -----------------------------------------------------------------------------------------------

_VALUES = """
    iso iso+joliet joliet,udf iso,rr iso-rr trans udf hfs 0 1 2 3 4 010 0x7c0 65535 65536 99999999999999999999 0644 7777
    u+x:/a a+rx:/a 0755:/a g=u:/ 0:/a 0x10:/b x86 efi Mac 255 utf-8 *.o a /a a/b /a/ . .. / @ @0 @1 @2 @forbidden
    @broken @nul @none a=b /a=/b=c = =a a= /=. :remove: a=:remove: /a=:must-remove: :iprtvfs: -- - \\ ' " '' "" # ##
    :iprtvfs:file(stdfile,a)|vfs(isofs,norock)|x /. /x/..
"""
# A value that is right, for each kind of value in the table of options.
_RIGHT = {
    "[NAME=]FILE": "/a=b",
    "CHARSET": "utf-8",
    "FILE": "dir/file",
    "GLOB": "*.o",
    "ID:/PATH": "0x10:/a",
    "MODE": "0644",
    "MODE:/PATH": "u=rwX,go-w,g=u,+010:/a",
    "N": "1",
    "NAME[=NAME]": "/n",
    "PLATFORM": "efi",
    "SETUP": "iso",
    "TEXT": "T\u00e9xt",
    "/PATH": "x/y",
    "FROM": "/from",
    "TO": "/to",
}
RIGHT = [
    " ".join([spelling, *(_RIGHT[value] for value in option.values)]).encode()
    for spelling, option in BY_SPELLING.items()
    if spelling != "--pop"
] + [b"a", b"/a=b", b"/a=:remove:", b"'/a b=c'", b"@0", b"@1", b"--push-iso=a --pop", b'"C:\\x"', b"a\\\\b", b"=x"]
_BYTES = [
    b" ",
    b"\n",
    b"\t",
    b"\r",
    b"\v",
    b"\0",
    b"\xff",
    b"\xc3",
    b"\xe2\x80\x93",
    b"\xf0\x9f\x98\x80",
    b"=",
    b":",
    b"'",
]
_BYTES += [b'"', b"\\", b"#", b"@", b"-", b"\xef\xbb\xbf", b"\xc2\xa0", b"\xed\xa0\x80", SEPARATOR]
TOKENS = [word.encode() for word in (*_VALUES.split(), *BY_SPELLING, *MARKERS)] + _BYTES


def seeds() -> list[bytes]:
    """The conformance cases, and the files of the corpus."""
    cases = [case_bytes(case) for case in conformance_cases()]
    return cases + [path.read_bytes() for path in sorted(CORPUS.iterdir())]


def made_up(source: random.Random) -> bytes:
    """A recipe of words that mean something, in any order."""
    head = source.choice((BOURNE, MS_CRT)).encode()
    words = source.choices(RIGHT, k=source.randrange(1, 12))
    if source.random() < 0.4:
        words[source.randrange(len(words))] = source.choice(TOKENS)
    ends = source.choices((b" ", b"\n", b"\r\n\t"), k=len(words))
    if source.random() < 0.2:
        ends[source.randrange(len(words))] = source.choice(_BYTES)
    return head + b"".join(word + end for word, end in zip(words, ends, strict=True))


def mutated(data: bytes, source: random.Random) -> bytes:
    """Some small changes to an input."""
    changed = bytearray(data)
    for _ in range(source.randrange(1, 6)):
        at = source.randrange(len(changed) + 1)
        end = min(len(changed), at + source.randrange(1, 1 << source.randrange(1, 6)))
        match source.randrange(6):
            case 0:
                changed[at:at] = source.choice(TOKENS)
            case 1:
                changed[at:at] = b" " + source.choice(TOKENS) + b" "
            case 2:
                del changed[at:end]
            case 3:
                changed[at:end] = source.randbytes(end - at)
            case 4:
                changed[at:at] = changed[at:end] * source.randrange(1, 4)
            case _:
                changed[at:end] = source.choice(TOKENS)
    return bytes(changed)


def made(chance: random.Random, corpus: list[bytes]) -> bytes:
    """An input: made up, or a neighbour of one of the corpus."""
    return made_up(chance) if chance.random() < 0.4 else mutated(chance.choice(corpus), chance)


def inputs(runs: int, seed: int) -> list[bytes]:
    """`runs` inputs, the same for the same seed."""
    chance, corpus = random.Random(seed), seeds()
    return [made(chance, corpus) for _ in range(runs)]


if __name__ == "__main__":
    known = seeds()
    drive(one_input, lambda chance: made(chance, known), __doc__)
