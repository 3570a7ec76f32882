"""`qemu-viso`: arguments in, an exit status out. One module a command; nothing is imported before it is needed."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn, Protocol, cast

from qemu_viso import __version__
from qemu_viso.errors import ConfigurationError, QemuVisoError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

COMMANDS = {
    "boot": "boot a machine from a recipe's image, with its console here",
    "check": "say whether a recipe can be opened, and what an image cannot hold",
    "delete": "delete a recipe, and the files of an unattended installation that it names",
    "doctor": "say what this host has, and what is missing",
    "info": "open a recipe and show identifiers, namespaces, size and counts",
    "ls": "list what is in a recipe's image",
    "new": "write a recipe",
    "render": "write a recipe's image to a file",
    "serve": "serve a recipe's image over NBD",
    "verify": "boot a guest and compare what it sees with what the recipe promises",
}

DESCRIPTION = "Boot QEMU guests from VISO recipes, and prove that each guest sees what the recipe promises."
EPILOG = (
    "exit status: 0 fine, 1 differences found, 2 usage, 65 bad recipe, 66 missing input, 69 missing program, "
    "70 our bug, 73 cannot create, 74 input/output, 75 try again, 77 permission, 78 bad configuration"
)


class Command(Protocol):
    """What a module in this package offers."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Say what the command takes."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it; the exit status."""


def load(name: str) -> Command:
    """The module of a command."""
    return cast("Command", importlib.import_module(f"qemu_viso.cli.{name}"))


def parser(command: str | None = None) -> argparse.ArgumentParser:
    """The parser; only the arguments of `command` are filled in, of all commands if it is None."""
    top = argparse.ArgumentParser(prog="qemu-viso", description=DESCRIPTION, epilog=EPILOG)
    top.add_argument("--version", action="version", version=f"qemu-viso {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, help_text in COMMANDS.items():
        sub = commands.add_parser(name, help=help_text, description=f"{help_text[0].upper()}{help_text[1:]}.")
        if command in (None, name):
            load(name).add_arguments(sub)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status, as in the table of `qemu_viso.errors`."""
    words = list(sys.argv[1:] if argv is None else argv)
    name = next((word for word in words if word in COMMANDS), None)
    arguments = parser(name).parse_args(_arranged(words, name))
    signal.signal(signal.SIGTERM, _terminate)
    try:
        _check_encoding()
        status = load(arguments.command).run(arguments)
        sys.stdout.flush()
        return status
    except QemuVisoError as error:
        print(f"qemu-viso: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # Whoever read our output has seen enough; the interpreter must not try to flush again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def _arranged(words: list[str], name: str | None) -> list[str]:
    """The words as argparse understands them, where a command has words that it would take for something else."""
    arrange: Callable[[list[str]], list[str]] | None = getattr(load(name), "arrange", None) if name else None
    if name is None or arrange is None:
        return words
    own = words.index(name) + 1
    return words[:own] + arrange(words[own:])


def _terminate(number: int, _: FrameType | None) -> NoReturn:
    """TERM unwinds like an exception, so that every `finally` runs."""
    sys.exit(128 + number)


def _check_encoding() -> None:
    if sys.getfilesystemencoding() not in ("utf-8", "utf8"):
        raise ConfigurationError(
            f"file names are in {sys.getfilesystemencoding()} here, and recipes name files in UTF-8",
            hint="set PYTHONUTF8=1, or use a UTF-8 locale",
        )
