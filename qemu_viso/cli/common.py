"""What commands share: arguments, warnings, progress, JSON."""

from __future__ import annotations

import gc
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from qemu_viso.guest.view import Namespace
    from qemu_viso.image import Image
    from qemu_viso.opening import Opened
    from qemu_viso.verify.expected import Expected

SCHEMA = 1
OWN_DESCRIPTORS = 1024
"""Files that a server keeps open whoever is connected: recently read sources above all."""
DESCRIPTORS_PER_CONNECTION = 8
"""Its socket, the files that it has just read from, and the way to a worker."""
PREFERRED: tuple[Namespace, ...] = ("rock", "udf", "joliet", "plain")


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """The recipe that a command opens."""
    parser.add_argument("spec", metavar="SPEC", help="the recipe, a .viso file")


def add_image(parser: argparse.ArgumentParser) -> None:
    """The recipe or image that a command looks at."""
    parser.add_argument("spec", metavar="SPEC", help="a recipe, or an image in a file")


def add_json(parser: argparse.ArgumentParser) -> None:
    """JSON instead of text."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def set_up_logging() -> None:
    """Messages of the library on stderr, for the commands that run for long."""
    import logging

    logging.basicConfig(format="qemu-viso: %(message)s", level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("qemu_viso").setLevel(logging.INFO)


def allow_descriptors(connections: int) -> None:
    """Let the process open as many files as that many connections may need at once, as far as the host allows it.

    Many hosts begin a process with a low soft limit, for the sake of old programs that use `select`.
    """
    import resource

    wanted = OWN_DESCRIPTORS + connections * DESCRIPTORS_PER_CONNECTION
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def open_recipe(path: str, *, replaceable: bool = False) -> Opened:
    """Open a recipe, and print its warnings on stderr.

    Unless it is replaceable, it is open as long as the process lives, and the garbage collector need not look at it.
    """
    from qemu_viso.opening import open_viso

    opened = open_viso(path)
    if not replaceable:
        gc.freeze()
    for warning in opened.tree.warnings:
        print(f"qemu-viso: warning: {warning}", file=sys.stderr)
    return opened


def open_image(path: str) -> Image:
    """Open a recipe, with its warnings on stderr, or an image in a file."""
    from qemu_viso.opening import is_image, open_image_file

    return open_image_file(path) if is_image(path) else open_recipe(path).image


def print_json(content: dict[str, object]) -> None:
    """One JSON document on stdout; undecodable bytes in names become surrogate escapes of JSON."""
    import json

    print(json.dumps({"schema": SCHEMA, **content}, indent=1))


def add_namespace(parser: argparse.ArgumentParser) -> None:
    """Whose names are meant."""
    parser.add_argument(
        "--namespace",
        choices=PREFERRED,
        help="whose names are meant; by default the first of these that the image has",
    )


def choose_namespace(present: Sequence[Namespace], asked: Namespace | None) -> Namespace:
    """The namespace that was asked for, or the one that shows most."""
    return next(name for name in PREFERRED if name in present) if asked is None else asked


def open_view(path: str, asked: Namespace | None) -> tuple[Namespace, dict[str, Expected]]:
    """What a recipe's image or an image in a file shows in one namespace: the one asked for, or that shows most."""
    from qemu_viso.opening import host_file, is_image
    from qemu_viso.verify.existing import ExistingView
    from qemu_viso.verify.expected import expected_view, namespaces

    if is_image(path):
        existing = ExistingView(host_file(path))
        namespace = choose_namespace(existing.namespaces, asked)
        return namespace, existing.view(namespace)
    tree = open_recipe(path).tree
    namespace = choose_namespace(namespaces(tree), asked)
    return namespace, expected_view(tree, namespace)


class Progress:
    """A line on a terminal that says how far something is; silent where stderr is no terminal."""

    def __init__(self, what: str, total: int) -> None:
        self._what = what
        self._total = total
        self._shown_at = 0.0
        self._on = sys.stderr.isatty()

    def __call__(self, done: int) -> None:
        """`done` of the total, in bytes."""
        now = time.monotonic()
        if self._on and (now - self._shown_at > 0.1 or done == self._total):
            self._shown_at = now
            percent = 100 * done // self._total if self._total else 100
            print(f"\r{self._what}: {percent:3} % of {self._total >> 20} MiB", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Clear the line."""
        if self._on and self._shown_at:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
