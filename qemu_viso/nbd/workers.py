"""Connections served by processes of their own: two of them never wait for each other's turn in the interpreter.

An image does not change, so a process that is forked once it is there reads it as well as this one does. A connection
is handed over after the handshake. Its thread here stays and waits for the reports of its worker, and our copy of
the socket stays open: limits, messages and the orderly end are the same as for a connection that is served by a thread.
"""

from __future__ import annotations

import gc
import logging
import marshal
import os
import signal
import socket
import traceback
import warnings
from contextlib import contextmanager, suppress
from functools import partial
from threading import Lock, Thread
from typing import TYPE_CHECKING, NoReturn

from qemu_viso.errors import InputOutputError, QemuVisoError, StaleSourceError
from qemu_viso.nbd.channel import ChannelClosedError, ChannelTimeoutError, PlainChannel
from qemu_viso.nbd.constants import Mode
from qemu_viso.nbd.handshake import Export, Selected
from qemu_viso.nbd.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from qemu_viso.image import Image
    from qemu_viso.nbd.contexts import Status

logger = logging.getLogger("qemu_viso.nbd")

_MESSAGE = 1 << 17
"""Bytes of the longest message between the processes: a packet each, on sockets that keep packets apart."""
_TRACE = 1 << 14
_ERROR, _ENDED, _TIMEOUT, _CLOSED, _FAILED = range(5)
"""What a worker reports: an error of a source, or how a connection ended."""


class _Worker:
    """One process, seen from here."""

    def __init__(self, pid: int, control: socket.socket) -> None:
        self.pid = pid
        self.control = control
        self.busy = 0
        self.alive = True


class Workers:
    """Processes that serve the connections to one set of images.

    Args:
        images: by export name.
        status: their metadata contexts.
        count: so many processes; each takes any number of connections.
    """

    def __init__(self, images: Mapping[str, Image], status: Mapping[str, Status], count: int) -> None:
        self._images = images
        self._lock = Lock()
        self._workers: list[_Worker] = []
        self._retired = False
        try:
            for _ in range(count):
                self._workers.append(_fork(images, status))
        except OSError as error:
            logger.warning("only %d worker processes could be started: %s", len(self._workers), error.strerror)

    def serve(
        self, sock: socket.socket, selected: Selected, idle: float | None, report: Callable[[Exception], None]
    ) -> tuple[str | None] | None:
        """Have the worker with the fewest connections serve one, and wait for its end.

        Args:
            sock: a plain socket behind its handshake; the caller closes it afterwards.
            selected: what was negotiated.
            idle: see `Limits.idle`.
            report: takes every error that a source raises.

        Returns:
            What the client did wrong, if anything; None instead of the tuple where no worker can take it.

        Raises:
            ChannelClosedError, ChannelTimeoutError: as `Session.run`.
        """
        with self._chosen() as worker:
            if worker is None:
                return None
            try:
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            except OSError:  # no descriptor is left
                return None
            order = (selected.export.name, selected.mode.name, selected.contexts, selected.rest, idle)
            with ours:
                with theirs:
                    try:
                        socket.send_fds(worker.control, [marshal.dumps(order)], [sock.fileno(), theirs.fileno()])
                    except ConnectionError:
                        self._look_after(worker)
                        return None
                    except OSError:  # too many descriptors are on their way
                        return None
                return self._wait(worker, ours, self._images[selected.export.name], report)

    def _wait(
        self, worker: _Worker, reports: socket.socket, image: Image, report: Callable[[Exception], None]
    ) -> tuple[str | None] | None:
        while data := reports.recv(_MESSAGE):
            kind, text, hint, stale = marshal.loads(data)
            if kind == _ERROR:
                if stale:
                    image.mark_stale(StaleSourceError(text, hint=hint))
                report(StaleSourceError(text, hint=hint) if stale else InputOutputError(text, hint=hint))
                with suppress(OSError):
                    reports.send(b"noted")
            elif kind == _TIMEOUT:
                raise ChannelTimeoutError
            elif kind == _CLOSED:
                raise ChannelClosedError(text)
            elif kind == _FAILED:
                logger.error("a connection failed\n%s", text)
                return (None,)
            else:
                return (text or None,)
        self._look_after(worker)
        if worker.alive:
            return None
        raise ChannelClosedError("its worker process has ended")

    @contextmanager
    def _chosen(self) -> Iterator[_Worker | None]:
        with self._lock:
            worker = min((each for each in self._workers if each.alive), key=lambda each: each.busy, default=None)
            if worker is not None:
                worker.busy += 1
        try:
            yield worker
        finally:
            if worker is not None:
                with self._lock:
                    worker.busy -= 1
                self._end_if_unused()

    def _look_after(self, worker: _Worker) -> None:
        """A worker left a connection without a word: either it says that it could not take it, or it has ended."""
        with self._lock:
            if not worker.alive:
                return
            with suppress(ConnectionError):
                if worker.control.recv(_MESSAGE):
                    return
            worker.alive = False
            os.waitpid(worker.pid, 0)
        logger.warning("worker process %d has ended; its clients were disconnected", worker.pid)

    def retire(self) -> None:
        """No new connections will come: end once the last one has."""
        self._retired = True
        self._end_if_unused()

    def _end_if_unused(self) -> None:
        with self._lock:
            if not self._retired or any(worker.busy for worker in self._workers):
                return
        self.close()

    def close(self) -> None:
        """End all processes now; may be called twice."""
        with self._lock:
            workers = self._workers.copy()
            self._workers.clear()
            living = [worker for worker in workers if worker.alive]
            for worker in living:
                worker.alive = False
        for worker in workers:
            worker.control.close()
        for worker in living:
            os.kill(worker.pid, signal.SIGKILL)  # it has nothing to lose, and it may be waiting for a disk
            os.waitpid(worker.pid, 0)


def _fork(images: Mapping[str, Image], status: Mapping[str, Status]) -> _Worker:
    control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        try:
            with warnings.catch_warnings():
                # Python 3.12 warns when there are threads. What another thread may have locked at this moment is
                # not used by the child: the images are new, and messages leave through its socket.
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = os.fork()
        except OSError:
            control.close()
            raise
        if not pid:
            _be_worker(theirs, images, status)
    return _Worker(pid, control)


def _be_worker(control: socket.socket, images: Mapping[str, Image], status: Mapping[str, Status]) -> NoReturn:
    """The child's life."""
    try:
        gc.freeze()  # objects of the parent are not ours to destroy, and untouched pages stay shared
        # A terminal or a service manager tells us too, but the parent ends the connections, and then us.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for image in images.values():
            image.close_handles()
        for name in os.listdir("/proc/self/fd"):
            if int(name) > 2 and int(name) != control.fileno():
                with suppress(OSError):
                    os.close(int(name))
        while True:
            order, descriptors, _, _ = socket.recv_fds(control, _MESSAGE, 2, socket.MSG_CMSG_CLOEXEC)
            if not order:
                break  # the parent has closed its end, or has died
            opened = [socket.socket(fileno=descriptor) for descriptor in descriptors]
            try:
                sock, reports = opened  # fewer when there is no number free
                Thread(target=_serve, args=(images, status, sock, reports, order), daemon=True).start()
            except (ValueError, RuntimeError):
                control.send(b"not able to")
                for each in opened:
                    each.close()
    finally:
        os._exit(0)


def _serve(
    images: Mapping[str, Image],
    status: Mapping[str, Status],
    sock: socket.socket,
    reports: socket.socket,
    order: bytes,
) -> None:
    """One connection, in a thread of a worker."""
    name, mode, contexts, rest, idle = marshal.loads(order)
    selected = Selected(Export(name, images[name].size, ""), Mode[mode], contexts, rest)
    kind, text = _ENDED, ""
    with reports:
        with sock:
            try:
                channel = PlainChannel(sock)
                channel.limit(idle)
                session = Session(channel, images[name], status[name], selected, partial(_report, reports))
                text = session.run() or ""
            except ChannelTimeoutError:
                kind = _TIMEOUT
            except ChannelClosedError as error:
                kind, text = _CLOSED, str(error)
            except Exception:  # noqa: BLE001 - told where there is a log
                kind, text = _FAILED, traceback.format_exc()[-_TRACE:]
        _tell(reports, kind, text)


def _report(reports: socket.socket, error: Exception) -> None:
    stale = isinstance(error, StaleSourceError)
    if isinstance(error, QemuVisoError):
        _tell(reports, _ERROR, error.message, error.hint, stale=stale)
    else:
        _tell(reports, _ERROR, str(error))
    reports.recv(_MESSAGE)  # nobody hears of an error before the parent knows of it


def _tell(reports: socket.socket, kind: int, text: str, hint: str | None = None, *, stale: bool = False) -> None:
    with suppress(OSError):  # the parent is gone, and so are we in a moment
        reports.send(marshal.dumps((kind, text, hint, stale)))
