"""`qemu-viso serve`: images over NBD, until a signal comes or a command has ended."""

from __future__ import annotations

import argparse
import contextlib
import os
import queue
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from qemu_viso.cli import signals
from qemu_viso.cli.common import allow_descriptors, open_recipe, set_up_logging

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Sequence

    from qemu_viso.image import Image
    from qemu_viso.nbd import Listener, Server

GRACE_SECONDS = 3.0
"""How long a command may take to end when it is told to."""
USUAL_CONNECTIONS = 4
"""So many connections does a client open that copies a whole image (nbdcopy's default)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Recipes, where to listen, who may connect, how it ends."""
    parser.add_argument(
        "specs", metavar="SPEC", nargs="+", help="a recipe; its name without .viso is the export's name"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--socket", metavar="PATH", help="the Unix socket to listen on (default: a private one)")
    where.add_argument(
        "--listen", metavar="HOST[:PORT]", help="listen on TCP instead; :PORT is loopback, port 0 any free one"
    )
    tls = parser.add_argument_group("TLS")
    tls.add_argument(
        "--tls-certificates", metavar="DIR", help="where server-cert.pem, server-key.pem and ca-cert.pem are"
    )
    tls.add_argument(
        "--tls-verify-peer", action="store_true", help="clients need a certificate that ca-cert.pem signed"
    )
    tls.add_argument("--insecure", action="store_true", help="let other machines read without TLS")
    limits = parser.add_argument_group("limits")
    limits.add_argument("--max-connections", type=_count, default=256, metavar="N", help="(default: %(default)s)")
    limits.add_argument(
        "--handshake-limit", type=_seconds, default=30.0, metavar="SECONDS", help="(default: %(default)s; 0: none)"
    )
    limits.add_argument(
        "--idle-limit",
        type=_seconds,
        metavar="SECONDS",
        help="end connections that are idle for so long (default: none)",
    )
    parser.add_argument(
        "--workers",
        type=_number,
        default=_usual_workers(),
        metavar="N",
        help="share the connections without TLS among N processes; 0: threads of one (default here: %(default)s)",
    )
    life = parser.add_argument_group("life and death")
    life.add_argument(
        "--run",
        metavar="COMMAND",
        help='run a shell command while serving, with the URI as "$uri" and the socket as "$socket"; end with it',
    )
    life.add_argument("--exit-with-parent", action="store_true", help="end when the process that started it ends")
    life.add_argument("--pid-file", metavar="PATH", help="holds the process id from when it is ready to the end")


def run(arguments: argparse.Namespace) -> int:
    """Print one URI line for each recipe when ready, then serve."""
    set_up_logging()
    from qemu_viso.errors import UsageError
    from qemu_viso.nbd import Limits, Server, notify

    if arguments.socket == "":
        raise UsageError("--socket needs a path", hint="leave it out for a private socket")
    names = _export_names(arguments.specs)
    tls = _tls(arguments)
    if arguments.exit_with_parent:
        _end_with_parent()
    allow_descriptors(arguments.max_connections)
    images = {name: open_recipe(spec, replaceable=True).image for name, spec in names.items()}
    listener = _listener(arguments)
    limits = Limits(arguments.max_connections, arguments.handshake_limit or None, arguments.idle_limit or None)
    with (
        listener,
        Server(
            images, listener, tls=tls, insecure=arguments.insecure, limits=limits, workers=arguments.workers
        ) as server,
        _pid_file(arguments.pid_file),
    ):
        if arguments.run is None:
            return _serve(server, names)
        notify("READY=1")
        return _run_command(arguments.run, server, _path(listener))


def _usual_workers() -> int:
    """One for each processor, and no more than clients open connections; one alone would gain nothing."""
    processors = len(os.sched_getaffinity(0))
    return min(processors, USUAL_CONNECTIONS) if processors > 1 else 0


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of at least 1")
    return int(text)


def _number(text: str) -> int:
    return 0 if text == "0" else _count(text)


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number < threading.TIMEOUT_MAX:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of seconds")
    return number


def _export_names(specs: Sequence[str]) -> dict[str, str]:
    """Each recipe under the name of its export."""
    from qemu_viso.errors import UsageError, shown

    names: dict[str, str] = {}
    for spec in specs:
        name = Path(spec).stem
        if name in names:
            raise UsageError(
                f"'{shown(names[name])}' and '{shown(spec)}' would both be the export '{shown(name)}'",
                hint="exports are named after the recipes' files: rename one, or serve it on another socket",
            )
        names[name] = spec
    return names


def _tls(arguments: argparse.Namespace) -> ssl.SSLContext | None:
    """The files have the names that libnbd and QEMU give them."""
    from qemu_viso.errors import UsageError

    folder = arguments.tls_certificates
    if folder is None:
        if arguments.tls_verify_peer:
            raise UsageError("--tls-verify-peer needs --tls-certificates")
        return None
    from qemu_viso.nbd import server_context

    authority, certificate, key = (
        os.path.join(folder, name) for name in ("ca-cert.pem", "server-cert.pem", "server-key.pem")
    )
    return server_context(certificate, key, authority if arguments.tls_verify_peer else None)


def _listener(arguments: argparse.Namespace) -> Listener:
    from qemu_viso.errors import UsageError
    from qemu_viso.nbd import listen_activated, listen_tcp, listen_unix

    activated = listen_activated()
    if activated is not None:
        if arguments.socket is not None or arguments.listen is not None:
            activated.close()
            raise UsageError("the service manager has bound a socket already; --socket and --listen cannot be given")
        return activated
    if arguments.listen is None:
        return listen_unix(arguments.socket)
    return listen_tcp(*_host_and_port(arguments.listen))


def _host_and_port(text: str) -> tuple[str | None, int]:
    """`HOST`, `HOST:PORT`, `:PORT`, `[ADDRESS]:PORT`; an IPv6 address alone needs no brackets."""
    from qemu_viso.errors import UsageError
    from qemu_viso.nbd.constants import DEFAULT_PORT

    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        colon, port = rest[:1], rest[1:]
        good = bool(host and bracket) and colon in ("", ":")
    elif text.count(":") > 1:
        host, colon, port, good = text, "", "", True
    else:
        host, colon, port = text.partition(":")
        good = bool(text)
    if colon:
        good = good and port.isascii() and port.isdecimal() and int(port) < 1 << 16
    if not good:
        raise UsageError(f"'{text}' is no address to listen on", hint="HOST, HOST:PORT, :PORT or [ADDRESS]:PORT")
    return host or None, int(port) if colon else DEFAULT_PORT


def _serve(server: Server, names: dict[str, str]) -> int:
    """Until a signal ends it; SIGHUP opens the recipes again."""
    from qemu_viso.nbd import notify

    # SimpleQueue.put is reentrant, and so may be called in signal handlers.
    came: queue.SimpleQueue[int] = queue.SimpleQueue()
    had_terminal = _has_terminal()
    signals.handle(lambda number, _: came.put(number))
    signal.signal(signal.SIGINT, lambda number, _: came.put(number))
    uris = [server.uri] if len(names) == 1 else [server.uri_of(name) for name in names]
    print("\n".join(uris), flush=True)
    notify("READY=1")
    # A terminal that is closed sends HUP too, and then nobody is left who could end us.
    while came.get() == signal.SIGHUP and not (had_terminal and not _has_terminal()):
        notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        _open_again(server, names)
        notify("READY=1")
    notify("STOPPING=1")
    return 0


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _open_again(server: Server, names: dict[str, str]) -> None:
    """All recipes or none: an error leaves the images as they are."""
    from qemu_viso.errors import QemuVisoError

    images: dict[str, Image] = {}
    for name, spec in names.items():
        try:
            images[name] = open_recipe(spec, replaceable=True).image
        except (QemuVisoError, OSError) as error:
            reason = error.sentence if isinstance(error, QemuVisoError) else str(error)
            print(f"qemu-viso: {reason}; the images stay as they were", file=sys.stderr, flush=True)
            return
    server.replace(images)


def _end_with_parent() -> None:
    """SIGTERM to ourselves when the parent ends; a pidfd, since PR_SET_PDEATHSIG speaks of the parent's thread only."""
    from qemu_viso.errors import ConfigurationError

    parent = os.getppid()
    try:
        descriptor = os.pidfd_open(parent)
    except OSError as error:
        raise ConfigurationError(
            f"the parent process cannot be watched: {error.strerror}", hint="leave --exit-with-parent out"
        ) from None

    def watch() -> None:
        select.select([descriptor], [], [])
        os.close(descriptor)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()
    if os.getppid() != parent:  # it ended before it could be watched, and its number may be another's by now
        signal.raise_signal(signal.SIGTERM)


@contextlib.contextmanager
def _pid_file(path: str | None) -> Iterator[None]:
    """The file appears whole, and goes with us."""
    if path is None:
        yield
        return
    made = False
    try:
        with signals.deferred():
            _write_whole(path, f"{os.getpid()}\n")
            made = True
        yield
    finally:
        if made:
            with contextlib.suppress(OSError):  # somebody has removed it already, which is what we wanted
                os.unlink(path)


def _write_whole(path: str, text: str) -> None:
    from qemu_viso.errors import CannotCreateError

    new = None
    try:
        with tempfile.NamedTemporaryFile("w", dir=os.path.dirname(os.path.abspath(path)), delete=False) as file:
            new = file.name
            file.write(text)
            os.fchmod(file.fileno(), 0o644)
        os.rename(new, path)
    except OSError as error:
        if new is not None:
            os.unlink(new)
        raise CannotCreateError(f"the pid file '{path}' cannot be made: {error.strerror}") from None


def _run_command(command: str, server: Server, socket_path: str) -> int:
    """The command's exit status; that of a command killed by a signal is 128 and its number, as in a shell."""
    environment = os.environ | {"uri": server.uri, "socket": socket_path}
    # A group of its own can be ended as a whole, but could not read from the terminal.
    group = None if sys.stdin is not None and sys.stdin.isatty() else 0
    child: subprocess.Popen[bytes] | None = None
    try:
        with signals.deferred():  # a child that is not known yet could not be ended
            child = subprocess.Popen(command, shell=True, env=environment, process_group=group)
        status = child.wait()
    except BaseException:
        if child is not None:
            with signals.deferred():
                _end(child, whole_group=group is not None)
        raise
    return status if status >= 0 else 128 - status


def _end(child: subprocess.Popen[bytes], *, whole_group: bool) -> None:
    """TERM, and KILL for what does not heed it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            if whole_group:
                os.killpg(child.pid, number)
            else:
                child.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(GRACE_SECONDS)
            return


def _path(listener: Listener) -> str:
    """The socket's path, for clients that take no URI."""
    from qemu_viso.nbd.uri import UnixAddress

    return listener.address.path if isinstance(listener.address, UnixAddress) else ""
