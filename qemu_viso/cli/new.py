"""`qemu-viso new`: a recipe made of words of the command line, which VirtualBox reads to the same result."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from qemu_viso.cli.common import add_json, print_json
from qemu_viso.frozen import replace

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence
    from uuid import UUID

    from qemu_viso.errors import QemuVisoError
    from qemu_viso.viso.recipe import Recipe, Step

QUOTINGS = ("bourne", "ms-crt")
_WITH_VALUE = ("-o", "--output", "--quoting")
_ALONE = ("-h", "--help", "--force", "--json")
_COMMAND_LINE = "the command line"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to write where; everything else is the recipe's."""
    from qemu_viso.viso.seeds import SEEDS, usage

    seeds = "; ".join(f"{name} {usage(name)}" for name in SEEDS)
    parser.usage = (
        "qemu-viso new -o X.viso [--quoting STYLE] [--force] [--json] [--seed KIND FILE...] "
        "[RECIPE OPTION | SOURCE | NAME=SOURCE]..."
    )
    parser.add_argument("-o", "--output", metavar="X.viso", required=True, help="the recipe to write")
    parser.add_argument(
        "--quoting", choices=QUOTINGS, default="bourne", help="how its words are quoted (default: %(default)s)"
    )
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    parser.add_argument(
        "--seed",
        nargs="+",
        metavar=("KIND", "FILE"),
        help=f"a medium that a program looks for by itself, made of these files: {seeds}",
    )
    add_json(parser)
    parser.add_argument(
        "words",
        nargs="*",
        metavar="WORD",
        help="options of the VISO language, in their order; sources are relative to where you are",
    )


def arrange(words: list[str]) -> list[str]:
    """The command's own options before a `--`, the recipe's words behind it.

    One more `--` among these stays: no word behind it is an option, of the command or of the recipe.
    """
    own: list[str] = []
    rest: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "--":
            rest += words[at - 1 :]
            break
        if word == "--seed":
            stop = next((i for i in range(at, len(words)) if words[i].startswith("-") or "=" in words[i]), len(words))
            own += [word, *words[at:stop]]
            at = stop
        elif word in _WITH_VALUE:
            own += words[at - 1 : at + 1]
            at += 1
        elif word in _ALONE or word.startswith(tuple(f"{name}=" for name in _WITH_VALUE if name.startswith("--"))):
            own.append(word)
        else:
            rest.append(word)
    return [*own, "--", *rest]


def run(arguments: argparse.Namespace) -> int:
    """Read the words as a recipe, try it, and write it."""
    from uuid import uuid4

    from qemu_viso.viso.recipe import Quoting
    from qemu_viso.viso.seeds import label_where_heard, seed_words
    from qemu_viso.viso.writer import write_recipe

    words = list(arguments.words)
    if arguments.seed is not None:
        options, files = seed_words(arguments.seed[0], arguments.seed[1:])
        words = [*options, *words, *files]
    output, uuid = arguments.output, uuid4()
    recipe = _read(words, output, uuid)
    if arguments.seed is not None:
        recipe = replace(recipe, steps=label_where_heard(recipe.steps))
    warnings = _try(recipe)
    text = write_recipe(recipe.steps, uuid, quoting=Quoting(arguments.quoting))
    warnings += _unportable(text, output)
    _write(text, output, force=arguments.force)
    for warning in warnings:
        print(f"qemu-viso: warning: {warning}", file=sys.stderr)
    if arguments.json:
        print_json(
            {
                "recipe": output,
                "uuid": str(uuid),
                "quoting": arguments.quoting,
                "steps": len(recipe.steps),
                "warnings": warnings,
            }
        )
    return 0


def _read(words: Sequence[str], output: str, uuid: UUID) -> Recipe:
    """The recipe that the words are, with sources as seen from the directory that it will lie in."""
    from qemu_viso.errors import MissingInputError, QemuVisoError
    from qemu_viso.viso import Quoting, parse_recipe
    from qemu_viso.viso.quote import quote
    from qemu_viso.viso.reading import beside
    from qemu_viso.viso.writer import MARKERS

    directory = os.path.dirname(output) or "."
    if not os.path.isdir(directory):
        raise MissingInputError(f"the directory '{directory}', in which the recipe is to lie, is not there")
    try:
        quoted = (quote(word, Quoting.BOURNE) for word in words)
        text = "\n".join((f"{MARKERS[Quoting.BOURNE]} {uuid}", *quoted))
        recipe = parse_recipe(text.encode(), _COMMAND_LINE, beside(""))
    except QemuVisoError as error:
        raise _without_place(error, _COMMAND_LINE) from None
    steps = tuple(_relocated(recipe.steps, os.path.realpath(directory)))
    return replace(recipe, path=output, steps=steps)


def _relocated(steps: Sequence[Step], directory: str) -> Iterator[Step]:
    """Paths of the host as seen from `directory`; while an image is pushed, sources are inside it, and stay."""
    from qemu_viso.viso import recipe as r

    pushed = 0
    for step in steps:
        if isinstance(step, r.SystemArea):
            # VirtualBox reads this file from the directory that it was started in, not from the recipe's.
            step = replace(step, source=_physical(step.source))
        elif isinstance(step, r.IsohybridMbr):
            step = replace(step, source=_seen_from(step.source, directory))
        elif isinstance(step, r.Sort):
            step = replace(step, path=_seen_from(step.path, directory))
        elif not pushed and isinstance(step, (r.AddSource, r.BootAddImage)):
            step = replace(step, source=_seen_from(step.source, directory))
        elif not pushed and isinstance(step, (r.ImportIso, r.PushIso)):
            step = replace(step, path=_seen_from(step.path, directory))
        pushed += isinstance(step, r.PushIso) - isinstance(step, r.PopIso)
        yield step


def _physical(path: str) -> str:
    """The absolute path without links on the way; the last component may be one, for it is what is meant."""
    bare = path.rstrip("/") or "/"
    folder, name = os.path.split(bare)
    if name in ("", ".", ".."):
        return os.path.realpath(bare)
    return os.path.join(os.path.realpath(folder or "."), name)


def _seen_from(path: str, directory: str) -> str:
    """A relative path where one can be written: to VirtualBox a backslash in it would be a separator."""
    absolute = _physical(path)
    relative = os.path.relpath(absolute, directory)
    if "\\" in relative:
        return absolute
    return f"./{relative}" if relative.startswith((":", "-", "@")) else relative


def _try(recipe: Recipe) -> list[str]:
    """Carry the recipe out before it is written, so that a mistake leaves no file; the warnings."""
    from qemu_viso.errors import QemuVisoError
    from qemu_viso.tree.builder import build_tree

    try:
        return list(build_tree(recipe).warnings)
    except QemuVisoError as error:
        raise _without_place(error, _COMMAND_LINE, recipe.path) from None


def _without_place(error: QemuVisoError, *files: str) -> QemuVisoError:
    """The same error without a line and column in a text that the user has not written."""
    if error.place is None or error.place.file not in files:
        return error
    return type(error)(error.message, hint=error.hint)


def _unportable(text: str, output: str) -> list[str]:
    """What the newest VirtualBox would make otherwise of what is written."""
    from qemu_viso.viso import parse_recipe
    from qemu_viso.viso.options import Version
    from qemu_viso.viso.portable import portability
    from qemu_viso.viso.reading import beside

    findings = portability(parse_recipe(text.encode(), output, beside(output)), Version.TRUNK)
    return [f"VirtualBox reads this otherwise: {finding}" for finding in findings]


def _write(text: str, output: str, *, force: bool) -> None:
    """Under a temporary name first: whoever sees the recipe sees all of it."""
    import tempfile

    from qemu_viso.errors import CannotCreateError

    if os.path.lexists(output) and not force:
        raise CannotCreateError(f"'{output}' is there already", hint="--force replaces it")
    temporary = None
    try:
        mask = os.umask(0)
        os.umask(mask)
        descriptor, temporary = tempfile.mkstemp(prefix=".", suffix=".viso.part", dir=os.path.dirname(output) or ".")
        with open(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fchmod(descriptor, 0o666 & ~mask)
        os.replace(temporary, output)
        temporary = None
    except OSError as error:
        raise CannotCreateError(f"'{output}' cannot be written: {error.strerror}") from None
    finally:
        if temporary is not None:
            os.unlink(temporary)
