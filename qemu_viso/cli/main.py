"""`qemu-viso`: arguments in, an exit status out. One module a command; nothing is imported before it is needed."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import signal
import sys
from typing import TYPE_CHECKING, Protocol, cast

from qemu_viso import __version__
from qemu_viso.cli.signals import end_by_unwinding
from qemu_viso.errors import ConfigurationError, InputOutputError, InternalError, QemuVisoError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

COMMANDS = {
    "boot": "boot a machine from a recipe's image, with its console here",
    "cat": "write a file out of an image to stdout",
    "check": "say whether a recipe can be opened, and what an image cannot hold",
    "delete": "delete a recipe, and the files of an unattended installation that it names",
    "diff": "say how two images differ, recipes or files, by structure",
    "doctor": "say what this host has, and what is missing",
    "explain": "say what bytes of an image are: the structure, the field and its value, or the file",
    "export": "show a recipe's image as a vhost-user-blk device, over NBD, or as a file (FUSE)",
    "info": "show an image's identifiers, namespaces, size and counts",
    "ls": "list what is in an image",
    "map": "list the regions of an image",
    "new": "write a recipe",
    "render": "write a recipe's image to a file",
    "serve": "serve recipes' images over NBD",
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
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True, prog=top.prog)
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
    return guard(lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> int:
    try:
        return load(arguments.command).run(arguments)
    except QemuVisoError as error:
        if getattr(arguments, "json", False):
            _print_error(error)
        raise


def guard(work: Callable[[], int]) -> int:
    """Do the work of a process; its exit status, with a sentence on standard error for whatever it raises."""
    end_by_unwinding()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show is no reason to stop
    try:
        _check_encoding()
        status = work()
        sys.stdout.flush()
        return status
    except QemuVisoError as error:
        print(f"qemu-viso: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        _forget_output()  # whoever read it has seen enough
        return 128 + signal.SIGPIPE
    except OSError as error:
        _forget_output()
        where = "" if error.filename is None else f"'{os.fsdecode(error.filename)}': "
        print(f"qemu-viso: {where}{error.strerror or error}", file=sys.stderr)
        return InputOutputError.status
    except Exception as error:  # noqa: BLE001 - the status of a traceback would be that of "differences found"
        import traceback

        _forget_output()
        at = traceback.extract_tb(error.__traceback__)[-1]
        print(
            f"qemu-viso: a bug of ours: {type(error).__name__}: {error} ({os.path.basename(at.filename)}:{at.lineno})\n"
            "  hint: please report it, with the command and the recipe",
            file=sys.stderr,
        )
        return InternalError.status


def _print_error(error: QemuVisoError) -> None:
    """An error as JSON, for those who asked for JSON; the sentence goes to stderr all the same."""
    from qemu_viso.cli.common import print_json

    place = error.place
    content: dict[str, object] = {"status": error.status, "message": error.message, "hint": error.hint}
    if place is not None:
        content |= {"file": place.file, "line": place.line, "column": place.column}
    print_json({"error": content})
    sys.stdout.flush()


def _forget_output() -> None:
    """What could not be written shall not be flushed once more when the interpreter ends."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _arranged(words: list[str], name: str | None) -> list[str]:
    """The words as argparse understands them, where a command has words that it would take for something else."""
    arrange: Callable[[list[str]], list[str]] | None = getattr(load(name), "arrange", None) if name else None
    if name is None or arrange is None:
        return words
    own = words.index(name) + 1
    return words[:own] + arrange(words[own:])


def _check_encoding() -> None:
    if sys.getfilesystemencoding() not in ("utf-8", "utf8"):
        raise ConfigurationError(
            f"file names are in {sys.getfilesystemencoding()} here, and recipes name files in UTF-8",
            hint="set PYTHONUTF8=1, or use a UTF-8 locale",
        )
