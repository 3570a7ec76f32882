"""The thread that serves one ring."""

from __future__ import annotations

import logging
import os
import select
from threading import Thread
from typing import TYPE_CHECKING

from qemu_viso.vhost_user.virtqueue import RingError

if TYPE_CHECKING:
    from qemu_viso.vhost_user.block import BlockDevice
    from qemu_viso.vhost_user.descriptors import Event
    from qemu_viso.vhost_user.virtqueue import Virtqueue

_POLL_MILLISECONDS = 1
"""How often a ring is looked at for which the front end has no kick event [SET_VRING_KICK]."""

_PATIENCE_SECONDS = 0.5

_log = logging.getLogger(__name__)


class RingWorker:
    """Serves a ring from `start` to `stop`.

    Args:
        name: for the thread and the log.
        queue: the ring.
        device: who answers its requests.
        kick: says that there are requests; None if the ring is to be polled.
        call: to say that there are answers; None if the front end polls.
        error: to say that the ring is broken.

    Attributes:
        broken: whether the ring has turned out to be; nothing more is taken from it.
    """

    def __init__(
        self,
        name: str,
        queue: Virtqueue,
        device: BlockDevice,
        kick: Event | None,
        call: Event | None,
        error: Event | None,
    ) -> None:
        self._queue = queue
        self._device = device
        self._kick = kick
        self._call = call
        self._error = error
        self._stopping = False
        self.broken = False
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin with what is in the ring already; raises RuntimeError where the host has no thread for it."""
        self._thread.start()

    def discard(self) -> None:
        """Instead of `stop`, for a worker that could not start."""
        os.close(self._wake)
        del self._thread  # which refers to us: nobody may keep the front end's descriptors open

    def stop(self) -> int:
        """Finish the request under way and end the thread; the index of the available ring at which to go on."""
        self._stopping = True
        os.eventfd_write(self._wake, 1)
        cleared = False
        self._thread.join(_PATIENCE_SECONDS)
        while self._thread.is_alive():
            # A slow source, or a front end that gave us an event that blocks and never reads it.
            cleared = True
            for event in (self._call, self._error):
                if event is not None:
                    event.clear()
            self._thread.join(_PATIENCE_SECONDS)
        os.close(self._wake)
        if cleared and self._call is not None:
            self._call.signal()  # what was taken from it may have been meant for the driver
        return self._queue.next_available

    def _run(self) -> None:
        try:
            self._serve()
        except RingError as error:
            _log.error("%s is broken: %s", self._thread.name, str(error))
        except Exception:  # noqa: BLE001 - the front end must hear of it
            _log.exception("%s cannot be served", self._thread.name)
        else:
            return
        self.broken = True
        if self._error is not None:
            self._error.signal()

    def _serve(self) -> None:
        queue, kick, call, answer = self._queue, self._kick, self._call, self._device.answer
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        timeout: int | None = _POLL_MILLISECONDS
        if kick is not None:
            poll.register(kick, select.POLLIN)
            timeout = None
        if call is not None:
            call.signal()  # the last call may have gone to an event that nobody listens to any more
        queue.wake()
        while queue.resubmitted or not self._stopping:
            head = queue.pop()
            if head is None:
                if queue.sleep():
                    poll.poll(timeout)
                    if kick is not None:
                        kick.clear()
                queue.wake()
            elif queue.push(head, answer(queue.chain(head))) and call is not None:
                call.signal()
