"""The vhost-user-blk device: sockets, threads and memory around the protocol.

A thread for each connection reads messages and carries out what the session says; a thread for each running ring
serves it. They share nothing: rings stand still whenever a message changes what they use.
"""

from __future__ import annotations

import array
import logging
import os
import select
import socket
import sys
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, Self

from qemu_viso.errors import ConfigurationError, InternalError, PeerError
from qemu_viso.vhost_user.block import FEATURES, BlockDevice, configuration
from qemu_viso.vhost_user.descriptors import Descriptor
from qemu_viso.vhost_user.inflight import InflightPart, clear_part, part_size, sealed_image
from qemu_viso.vhost_user.memory import AddressError, MemoryTable, map_shared
from qemu_viso.vhost_user.messages import MAX_DESCRIPTORS, MessageError, Parser, RefusedError
from qemu_viso.vhost_user.session import (
    MAX_QUEUES,
    MapMemory,
    Reply,
    ReplyBase,
    Session,
    ShareInflight,
    StartRing,
    StopRing,
    UseInflight,
)
from qemu_viso.vhost_user.virtqueue import Virtqueue
from qemu_viso.vhost_user.worker import RingWorker

if TYPE_CHECKING:
    from types import TracebackType

    from qemu_viso.image import Image
    from qemu_viso.sockets import UnixListener
    from qemu_viso.vhost_user.messages import Inflight, Message
    from qemu_viso.vhost_user.session import Action

_ANCILLARY = socket.CMSG_SPACE(MAX_DESCRIPTORS * array.array("i").itemsize)

_PAUSE_MILLISECONDS = 1000
"""Before the next connection is accepted when one could not be, for want of descriptors."""

# Log records outlive what they tell of: they get sentences, not exceptions, whose frames hold descriptors and memory.
_log = logging.getLogger(__name__)


class Device:
    """A vhost-user-blk device that serves `image` to every front end that connects.

    Entering it as a context manager begins to accept connections; leaving it ends them all, closes the listener and
    removes its path. Any number of front ends may be connected at once: the image is read-only.

    Args:
        image: what to serve.
        listener: a socket that listens already; the device closes it.

    Raises:
        ConfigurationError: the host is big-endian, and cannot share rings with guests that are not.
    """

    def __init__(self, image: Image, listener: UnixListener) -> None:
        if sys.byteorder != "little":
            raise ConfigurationError(
                "a vhost-user-blk device needs a little-endian host", hint="serve the image over NBD instead"
            )
        self.image = image
        self.config = configuration(image.size, MAX_QUEUES)
        self._listener = listener
        self._stop = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._connections: list[Connection] = []  # of the accepting thread, until that has ended
        self._accepting = Thread(target=self._accept, name="vhost-user-blk listener", daemon=True)

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        self._accepting.join()
        for connection in self._connections:
            connection.end()
        self._listener.close()
        stop, self._stop = self._stop, -1
        os.close(stop)

    def serve_forever(self) -> None:
        """Wait until `stop` is called."""
        poll = select.poll()
        poll.register(self._stop, select.POLLIN)
        poll.poll()

    def stop(self) -> None:
        """End `serve_forever`, and accept no more connections; for signal handlers and other threads."""
        if self._stop >= 0:  # a signal may come when all is over
            os.eventfd_write(self._stop, 1)

    def _accept(self) -> None:
        poll = select.poll()
        poll.register(self._stop, select.POLLIN)
        poll.register(self._listener.socket, select.POLLIN)
        pause = select.poll()
        pause.register(self._stop, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if self._stop in ready:
                return
            try:
                sock, _ = self._listener.socket.accept()
            except OSError as error:
                _log.error("a connection cannot be accepted: %s", error.strerror)
                pause.poll(_PAUSE_MILLISECONDS)
                continue
            self._connections = [each for each in self._connections if each.lives]
            connection = Connection(self, sock)
            try:
                connection.start()
            except RuntimeError as error:
                _log.error("a connection cannot be served: %s", str(error))
                sock.close()
            else:
                self._connections.append(connection)


class Connection:
    """One front end: its socket, its memory, its rings."""

    def __init__(self, device: Device, sock: socket.socket) -> None:
        self._device = device
        self._socket = sock
        self._block = BlockDevice(device.image)
        self._session = Session(FEATURES, device.config)
        self._memory = MemoryTable()
        self._inflight: tuple[Inflight, memoryview] | None = None
        self._workers: dict[int, RingWorker] = {}
        self._broken: set[int] = set()
        self._thread = Thread(target=self._run, name="vhost-user-blk connection", daemon=True)

    @property
    def lives(self) -> bool:
        """Whether the front end may still say something."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to listen to the front end; raises RuntimeError where the host has no thread for it."""
        self._thread.start()

    def end(self) -> None:
        """Hang up, stop its rings, and wait until all that is done."""
        with suppress(OSError):  # it may have hung up first
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._converse()
        except PeerError as error:
            _log.error("the front end was hung up on: %s", str(error))
        except OSError as error:
            _log.error("the connection to the front end is lost: %s", error.strerror)
        except Exception:  # noqa: BLE001 - whatever it is, the others go on
            _log.exception("the front end was hung up on")
        finally:
            for index in list(self._workers):
                self._stop_ring(index)
            self._release()
            self._socket.close()

    def _release(self) -> None:
        """Let go of the guest's memory and of all descriptors."""
        self._session = Session(FEATURES, self._device.config)
        self._memory = MemoryTable()
        self._inflight = None

    def _converse(self) -> None:
        parser = Parser()
        while True:
            data, descriptors = _receive(self._socket, parser.wanted)
            if not data:
                parser.end()
                return
            for message in parser.feed(data, descriptors):
                self._answer(message)

    def _answer(self, message: Message) -> None:
        """Carry out a message.

        Raises:
            RefusedError: it cannot be, and there is no way to say so but to hang up.
        """
        try:
            self._carry_out(self._session.handle(message))
        except (RefusedError, AddressError) as error:
            answer = self._session.refuse(message)
            if answer is None:
                raise
            _log.warning("the front end's %s was refused: %s", message.name, str(error))
        else:
            answer = self._session.acknowledge(message)
        if answer is not None:
            self._socket.sendall(answer)

    def _carry_out(self, actions: list[Action]) -> None:
        """Perform actions in order; one ring that cannot be started does not keep the others from going on."""
        failure: str | None = None
        for action in actions:
            try:
                self._perform(action)
            except (RefusedError, AddressError) as error:
                if not isinstance(action, StartRing):
                    raise
                failure = str(error)
        if failure is not None:
            raise RefusedError(failure)

    def _perform(self, action: Action) -> None:
        match action:
            case Reply(data):
                self._socket.sendall(data)
            case ReplyBase(index):
                self._socket.sendall(self._session.base_reply(index))
            case MapMemory(regions):
                self._memory = MemoryTable.map(regions)
                self._session.regions = regions
            case StartRing(index):
                self._start_ring(index)
            case StopRing(index, retire):
                self._stop_ring(index)
                if retire:
                    self._retire(index)
            case ShareInflight(size, data):
                self._share(size, data)
            case UseInflight(inflight, descriptor):
                self._use_inflight(inflight, descriptor)

    def _share(self, size: int, data: bytes) -> None:
        buffer = os.memfd_create("qemu-viso inflight", os.MFD_CLOEXEC)
        try:
            os.ftruncate(buffer, size)
            socket.send_fds(self._socket, [data], [buffer])
        finally:
            os.close(buffer)

    def _use_inflight(self, inflight: Inflight, descriptor: Descriptor) -> None:
        view = map_shared(descriptor, inflight.mmap_offset, inflight.mmap_size)
        self._inflight = inflight, view
        fingerprint = bytes.fromhex(self._device.image.fingerprint())
        known = sealed_image(view, inflight.num_queues, inflight.queue_size, fingerprint)
        self._block.refusal = None if known else "the guest knows another image: its reads fail until it is reset"

    def _start_ring(self, index: int) -> None:
        if index in self._broken:
            return
        ring = self._session.ring(index)
        if ring.layout is None:
            raise InternalError(f"ring {index} was to be started before it was set up")
        queue = Virtqueue(self._memory, ring.layout, self._session.features, ring.base, self._part(index))
        worker = RingWorker(f"vhost-user-blk ring {index}", queue, self._block, ring.kick, ring.call, ring.error)
        try:
            worker.start()
        except RuntimeError as error:
            worker.discard()
            raise RefusedError(f"ring {index} cannot be served: {error}") from None
        self._workers[index] = worker

    def _stop_ring(self, index: int) -> None:
        worker = self._workers.pop(index, None)
        if worker is not None:
            self._session.ring_stopped(index, worker.stop())
            if worker.broken:
                self._broken.add(index)

    def _retire(self, index: int) -> None:
        """The front end has taken a ring back: whatever it was, it may begin anew."""
        self._broken.discard(index)
        if self._inflight is not None and index < self._inflight[0].num_queues:
            clear_part(self._inflight[1], index, self._inflight[0].queue_size)

    def _part(self, index: int) -> InflightPart | None:
        """The part of a ring in the record of requests under way; None where there is none."""
        layout = self._session.ring(index).layout
        if self._inflight is None or layout is None:
            return None
        inflight, view = self._inflight
        if index >= inflight.num_queues:
            return None
        if layout.size > inflight.queue_size:
            raise RefusedError(
                f"ring {index} has {layout.size} entries, its record of requests under way only {inflight.queue_size}"
            )
        size = part_size(inflight.queue_size)
        return InflightPart(view[index * size : (index + 1) * size], inflight.queue_size, layout.size)


def _receive(sock: socket.socket, size: int) -> tuple[bytes, list[Descriptor]]:
    """At most `size` bytes and what came with them; no bytes at the end of the stream.

    Raises:
        MessageError: more descriptors came than a message may carry, or than this process may open.
    """
    data, ancillary, flags, _ = sock.recvmsg(size, _ANCILLARY, socket.MSG_CMSG_CLOEXEC)
    descriptors = []
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers = array.array("i")
            numbers.frombytes(content[: len(content) - len(content) % numbers.itemsize])
            descriptors += [Descriptor(number) for number in numbers]
    if flags & socket.MSG_CTRUNC:
        raise MessageError(f"a message with more descriptors than can be taken (at most {MAX_DESCRIPTORS})")
    return data, descriptors
