"""Every message of the package, from the recipe that provokes it.

`python -m tests.viso.messages` writes `data/messages.txt` anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import qemu_viso.viso
from qemu_viso.errors import QemuVisoError
from qemu_viso.viso import parse, parse_recipe, reading
from qemu_viso.viso import recipe as r
from qemu_viso.viso.quote import quote
from qemu_viso.viso.unattended import unattended_files
from qemu_viso.viso.writer import write_recipe
from tests.viso.recipes import BOURNE, UUID_TEXT
from tests.viso.strategies import NOWHERE

if TYPE_CHECKING:
    from collections.abc import Iterator

GOLDEN = Path(__file__).parent / "data" / "messages.txt"
PACKAGE = Path(qemu_viso.viso.__file__).parent
ERRORS = {"RecipeError", "MissingInputError", "AccessError", "InputOutputError", "BadValueError"}

# What follows the marker's line, in the order of the language's description.
BODIES = [
    "\0",
    "'/a=b'\n'/c d=e",
    f"/big={'x' * 5000}",
    f"--volume-id='{'x' * 300_000}'",
    "''",
    "/name=",
    "/a=/b=c",
    "--name-setup=iso,joliet /a=/b=/c=d",
    "..",
    ":iprtvfs:file(stdfile,a.img)|vfs(fat)|/x",
    ":iprtvfs:file(stdfile,a(b",
    ":iprtvfs:file(stdfile,a",
    ":iprtvfs:file(stdfile,a)",
    "-G :iprtvfs:file(stdfile,a)",
    "-",
    "-quite-unlike-anything",
    "--volum-id=X",
    "-publishr",
    "\u2013J",
    "\u2013volume-id=X",
    "\u2013J " * 102,
    "--joliet=1",
    "--volume-id",
    "--rename a",
    "--help",
    "--version",
    "--output=x.iso",
    "--dry-run",
    "-hide-list=x",
    "--macbin",
    "--iso-level=two",
    "--iso-level=4",
    "--joliet-ucs-level=4",
    "--boot-load-size=65536",
    "-volset-size 0",
    "--file-mode=0999",
    "--chmod=755",
    "--chmod=10755:/a",
    "--chmod=u+q:/a",
    f"--chmod={'+x,' * 64}+x:/a",
    "--chown=root:/a",
    "--chown=09:/a",
    "--chgrp=4294967296:/a",
    "--chgrp=5",
    "--eltorito-platform-id=arm",
    "-input-charset iso8859-1",
    "--import-iso=",
    "--eltorito-boot=",
    "-m ''",
    "--eltorito-add-image /boot.img=:remove:",
    "--rename a ''",
    "--boot-catalog /a=/b",
    "--boot-catalog /a/..",
    "--pop",
    "--name-setup=iso,,joliet",
    "--name-setup=iso,joliet,rr,rr,rr,rr,rr,rr,rr",
    "--name-setup=iso,joliet,iso",
    "--name-setup=rock-ridge,iso",
    "--name-setup=joliet-rr,joliet",
    "--name-setup=iso,hfs",
    "--name-setup=iso,jolliet",
    "@",
    "@nothing.rsp",
    "@forbidden.rsp",
    "@fifo.rsp",
    "@big.rsp",
    "@cycle.rsp",
    "@long.rsp " * 17,
    "x " * 300,
]

WHOLES = {
    "no marker": b"/a=b\n",
    "a byte order mark": b"\xef\xbb\xbf" + BOURNE.encode(),
    "no UUID": b"--iprt-iso-maker-file-marker",
    "a bad UUID": b"--iprt-iso-maker-file-marker='5f1c0ae0-1111-2222-3333-444455556666'",
    "a form feed": b"\f" + BOURNE.encode(),
    "Latin-1": BOURNE.encode() + b"/caf\xe9=b\n",
}

STEPS: dict[str, r.Step] = {
    "a name with '='": r.AddSource(NOWHERE, ("/a=b",), "c"),
    "a source ':remove:'": r.AddSource(NOWHERE, ("/a",), ":remove:"),
    "a padding of 7": r.SetPadding(NOWHERE, 7),
    "a name without '/'": r.AddSource(NOWHERE, ("a",), "b"),
    "two names": r.AddSource(NOWHERE, ("/a", "/b"), "c"),
}


def load(name: str) -> bytes:
    if name == "forbidden.rsp":
        raise PermissionError(13, "Permission denied")
    if name == "fifo.rsp":
        raise OSError(0, "it is not a regular file")
    files = {"big.rsp": b" " * (2 << 20), "cycle.rsp": b"@cycle.rsp", "long.rsp": b" " * ((2 << 20) - 1)}
    if name not in files:
        raise FileNotFoundError(2, "No such file or directory")
    return files[name]


def said_by(text: str | bytes) -> str:
    """What is said about a recipe: the error, or else its warnings."""
    data = text if isinstance(text, bytes) else (BOURNE + text).encode()
    try:
        return "\n".join(f"warning: {warning}" for warning in parse_recipe(data, "a.viso", load).warnings)
    except QemuVisoError as error:
        return f"{error}\n  status: {error.status}"


def messages() -> Iterator[tuple[str, str]]:
    """A title and a message, each message once."""
    limit, parse.MOST_WORDS = parse.MOST_WORDS, 200
    try:
        yield from ((title, said_by(data)) for title, data in WHOLES.items())
        for text in BODIES:
            title = text.replace("\n", "⏎").replace("\0", "␀")
            said = said_by(text).splitlines()
            yield title if len(title) < 90 else title[:89] + "…", "\n".join(said if len(said) < 9 else said[-1:])
    finally:
        parse.MOST_WORDS = limit
    yield from file_messages()
    for title, step in STEPS.items():
        yield f"writing {title}", of(lambda step=step: write_recipe([step], UUID(UUID_TEXT)))
    yield "writing a NUL", of(lambda: quote("a\0b", r.Quoting.BOURNE))
    yield "deleting what a text with a NUL names", of(lambda: unattended_files((BOURNE + "\0").encode(), "a.viso"))


def of(call: object) -> str:
    assert callable(call)
    try:
        call()
    except QemuVisoError as error:
        return f"{error}\n  status: {error.status}"
    return ""


def file_messages() -> Iterator[tuple[str, str]]:
    """What is said about recipes that cannot be read, wherever this runs, and by whomever."""

    def said(error: OSError | None) -> str:
        def read(path: str, most: int) -> tuple[bytes, int]:
            if error is not None:
                raise error
            return BOURNE.encode(), 33 << 20

        real, reading._contents = reading._contents, read
        try:
            return of(lambda: reading.read_recipe("a.viso"))
        finally:
            reading._contents = real

    yield "a recipe that is not there", said(FileNotFoundError(2, "No such file or directory"))
    yield "a recipe that is forbidden", said(PermissionError(13, "Permission denied"))
    yield "a recipe that is a directory", said(OSError(0, "it is not a regular file"))
    yield "a recipe that is too large", said(None)


def text() -> str:
    return "".join(f"## {title}\n{said}\n\n" for title, said in messages())


if __name__ == "__main__":
    GOLDEN.write_text(text())
