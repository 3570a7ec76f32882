"""The threaded shell: sockets, threads and limits around the two cores."""

from __future__ import annotations

import logging
import os
import select
import socket
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Lock, Thread, current_thread
from typing import TYPE_CHECKING, Self

from qemu_viso.errors import InternalError, QemuVisoError, UsageError, shown
from qemu_viso.nbd import uri
from qemu_viso.nbd.channel import (
    Channel,
    ChannelClosedError,
    ChannelTimeoutError,
    Deadline,
    PlainChannel,
    TlsChannel,
)
from qemu_viso.nbd.constants import MAX_STRING
from qemu_viso.nbd.contexts import Status
from qemu_viso.nbd.handshake import Ended, Export, Handshake, Selected, StartTls, Tls
from qemu_viso.nbd.session import Session
from qemu_viso.nbd.trace import ReadTrace, TracedParser

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from types import TracebackType

    from qemu_viso.image import Image
    from qemu_viso.nbd.listen import Listener
    from qemu_viso.nbd.workers import Workers

logger = logging.getLogger("qemu_viso.nbd")

CLOSE_GRACE = 2.0
"""Seconds that replies under way have to leave when the server closes."""
ACCEPT_PAUSE = 100
"""Milliseconds without new clients after the host had no descriptor for one."""
MAX_REPORTS = 1000
"""So many different failures of one generation's sources are logged."""
_RECEIVE = 1 << 12


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may cost.

    Attributes:
        connections: at once; further ones are closed as soon as they come.
        handshake: seconds from the connection to the transmission phase; None for no limit.
        idle: seconds that a client may neither send a request nor take its reply; None for no limit.
    """

    connections: int = 256
    handshake: float | None = 30.0
    idle: float | None = None


@dataclass(frozen=True, slots=True)
class _Exports:
    """One generation of images; a connection keeps the one that it began with.

    Attributes:
        reported: what has been told of their sources.
    """

    images: dict[str, Image]
    status: dict[str, Status]
    known: dict[str, Export]
    workers: Workers | None = None
    reported: set[str] = field(default_factory=set)


class Server:
    """Serves images over NBD from background threads, between `with Server(...)` and its end.

    Args:
        exports: images by export name. A server of one image shows it under the empty name too.
        listener: bound sockets; the server closes them.
        tls: a context from `tls.server_context`, with which every client must use TLS; None for a server without TLS.
        insecure: allow clients of other machines without TLS.
        limits: what a client may cost.
        workers: so many processes share the connections that have neither TLS nor a trace; all others are served by
            threads of this one.
        trace: writes down what clients read; None for none.

    Raises:
        UsageError: an address that other machines can reach, without TLS and without `insecure`; no export, or an
            export name that NBD does not allow.
    """

    def __init__(
        self,
        exports: Mapping[str, Image],
        listener: Listener,
        *,
        tls: ssl.SSLContext | None = None,
        insecure: bool = False,
        limits: Limits | None = None,
        workers: int = 0,
        trace: ReadTrace | None = None,
    ) -> None:
        if listener.exposed and tls is None and not insecure:
            raise UsageError(
                "other machines could read the images in clear text",
                hint="give a certificate, listen on loopback or a Unix socket, or insist with --insecure",
            )
        self.limits = limits or Limits()
        self._listener = listener
        self._address = listener.address
        self._tls = tls
        self._workers = workers
        self._trace = trace
        self._exports = _exports(exports)
        self._connections: dict[Thread, socket.socket] = {}
        self._lock = Lock()
        self._stopped = self._closed = -1  # eventfds: one wakes `serve_forever`, one the acceptor
        self._acceptor: Thread | None = None

    def __enter__(self) -> Self:
        self._exports = self._with_workers(self._exports)
        self._stopped = os.eventfd(0, os.EFD_CLOEXEC)
        self._closed = os.eventfd(0, os.EFD_CLOEXEC)
        self._acceptor = Thread(target=self._accept, name="nbd-accept", daemon=True)
        self._acceptor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def uri(self) -> str:
        """The URI of the default export, or of the first one where there is none."""
        known = self._exports.known
        return self.uri_of("" if "" in known else next(iter(known)))

    def uri_of(self, name: str) -> str:
        """The URI of one export."""
        return uri.build(self._address, name, tls=self._tls is not None)

    @property
    def connections(self) -> int:
        """How many clients there are now."""
        with self._lock:
            return len(self._connections)

    def replace(self, exports: Mapping[str, Image]) -> None:
        """Serve other images to whoever connects from now on; every client keeps the image that it has."""
        before, self._exports = self._exports, self._with_workers(_exports(exports))
        if before.workers is not None:
            before.workers.retire()

    def _with_workers(self, exports: _Exports) -> _Exports:
        if not self._workers or self._trace is not None:
            return exports
        from qemu_viso.nbd.workers import Workers

        return replace(exports, workers=Workers(exports.images, exports.status, self._workers))

    def stop(self) -> None:
        """Ask `serve_forever` to return. May be called from a signal handler and from any thread, also twice."""
        if self._stopped >= 0:
            os.eventfd_write(self._stopped, 1)

    def serve_forever(self) -> None:
        """Wait until `stop` is called; the clients are served by other threads all the time."""
        poll = select.poll()
        poll.register(self._stopped, select.POLLIN)
        poll.poll()

    def close(self) -> None:
        """Take no more clients, let the replies under way leave, end all threads and close all sockets."""
        if self._acceptor is None:
            return
        os.eventfd_write(self._closed, 1)
        self._acceptor.join()
        self._acceptor = None
        self._listener.close()
        self._end_connections()
        if self._exports.workers is not None:
            self._exports.workers.close()
        os.close(self._stopped)
        os.close(self._closed)
        self._stopped = self._closed = -1

    def _end_connections(self) -> None:
        grace = Deadline(CLOSE_GRACE)
        # First only our ears are closed: a thread that waits for requests ends, one that replies may finish.
        for how in (socket.SHUT_RD, socket.SHUT_RDWR):
            with self._lock:
                connections = dict(self._connections)
                for sock in connections.values():
                    _shut(sock, how)
            for thread in connections:
                try:
                    thread.join(grace.left() if how == socket.SHUT_RD else None)
                except ChannelTimeoutError:
                    break

    def _accept(self) -> None:
        # Unlike an epoll, a poll needs no descriptor of its own: it works when all are used up.
        poll, pause = select.poll(), select.poll()
        listening = {sock.fileno(): sock for sock in self._listener.sockets}
        for sock in listening.values():
            sock.setblocking(False)
            poll.register(sock, select.POLLIN)
        for each in (poll, pause):
            each.register(self._closed, select.POLLIN)
        told = False
        while True:
            ready = [descriptor for descriptor, _ in poll.poll()]
            if self._closed in ready:
                return
            for descriptor in ready:
                try:
                    accepted, _ = listening[descriptor].accept()
                except (BlockingIOError, ConnectionError):
                    continue  # the client has gone again
                except OSError as error:  # no descriptors or no memory: that takes a moment
                    if not told:
                        logger.warning("a connection cannot be accepted: %s", error.strerror)
                    told = True
                    pause.poll(ACCEPT_PAUSE)
                    continue
                told = False
                self._welcome(accepted)

    def _welcome(self, sock: socket.socket) -> None:
        thread = Thread(target=self._serve, args=(sock,), name="nbd-connection", daemon=True)
        with self._lock:
            full = len(self._connections) >= self.limits.connections
            if not full:
                self._connections[thread] = sock
        if full:
            logger.warning("a connection was refused: there are %d already", self.limits.connections)
            sock.close()
            return
        try:
            thread.start()
        except RuntimeError as error:
            logger.warning("a connection cannot be served: %s", error)
            self._leave(thread)

    def _leave(self, thread: Thread) -> None:
        with self._lock:  # nobody shuts a socket down whose number may belong to another one by now
            self._connections.pop(thread).close()

    def _serve(self, sock: socket.socket) -> None:
        """One connection, in a thread of its own."""
        try:
            ended = self._converse(sock)
            if ended is not None:
                logger.warning("a client was disconnected: %s", ended)
        except ChannelTimeoutError:
            logger.info("a client was disconnected: it took too long")
        except ChannelClosedError as error:
            logger.debug("a client went away: %s", error)
        except Exception:
            logger.exception("a connection failed")
        finally:
            self._leave(current_thread())

    def _converse(self, sock: socket.socket) -> str | None:
        channel: Channel = PlainChannel(sock)
        exports = self._exports
        report = partial(_report, exports.reported)
        deadline = Deadline(self.limits.handshake)
        handshake = Handshake(exports.known, Tls.NOTLS if self._tls is None else Tls.FORCEDTLS)
        buffer = memoryview(bytearray(_RECEIVE))
        while True:
            channel.limit(deadline.left())
            output = handshake.take_output()
            if output:
                channel.send([output])
            outcome = handshake.outcome
            if isinstance(outcome, Ended):
                return outcome.reason
            if isinstance(outcome, StartTls):
                channel = self._start_tls(sock, deadline)
                handshake.tls_started()
            elif isinstance(outcome, Selected):
                break
            count = channel.receive_into(buffer)
            if not count:
                return None
            handshake.receive(buffer[:count])
        if exports.workers is not None and isinstance(channel, PlainChannel):
            served = exports.workers.serve(sock, outcome, self.limits.idle, report)
            if served is not None:
                return served[0]
        channel.limit(self.limits.idle)
        name = outcome.export.name
        parser = None if self._trace is None else TracedParser(outcome.mode, self._trace, name)
        session = Session(channel, exports.images[name], exports.status[name], outcome, report, parser)
        wrong = session.run()
        channel.finish()
        return wrong

    def _start_tls(self, sock: socket.socket, deadline: Deadline) -> TlsChannel:
        if self._tls is None:
            raise InternalError("TLS was begun without a certificate")
        sock.settimeout(deadline.left())
        with self._lock:
            # From here on `sock` is an empty shell: its descriptor belongs to the wrapper.
            secured = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            self._connections[current_thread()] = secured
        try:
            secured.do_handshake()
        except TimeoutError:
            raise ChannelTimeoutError from None
        except OSError as error:
            raise ChannelClosedError(f"TLS failed: {getattr(error, 'reason', None) or error}") from None
        return TlsChannel(secured)


def _report(reported: set[str], error: Exception) -> None:
    """One line for each thing that goes wrong with a source, however many reads it fails."""
    sentence = error.message if isinstance(error, QemuVisoError) else str(error)
    if sentence not in reported and len(reported) < MAX_REPORTS:
        reported.add(sentence)
        logger.error("%s", sentence)


def _exports(exports: Mapping[str, Image]) -> _Exports:
    if not exports:
        raise UsageError("there is nothing to serve")
    images = dict(exports)
    for name in images:
        if not _is_string(name):
            raise UsageError(
                f"'{shown(name[:64])}' cannot be the name of an export",
                hint=f"it has to be UTF-8 without NUL, of at most {MAX_STRING:,} bytes",
            )
    known = {name: Export(name, image.size, f"{image.name}: an ISO image") for name, image in images.items()}
    if len(known) == 1:
        known[""] = next(iter(known.values()))
    return _Exports(images, {name: Status(image) for name, image in images.items()}, known)


def _is_string(text: str) -> bool:
    """Whether the protocol can carry it (section "Conventions")."""
    try:
        return "\0" not in text and len(text.encode()) <= MAX_STRING
    except UnicodeEncodeError:  # a file's name need not be UTF-8
        return False


def _shut(sock: socket.socket, how: int) -> None:
    with suppress(OSError):  # the client was faster
        socket.socket.shutdown(sock, how)  # not SSLSocket's own, which would go on in clear text
