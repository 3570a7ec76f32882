"""A descriptor for output that others read when they like to: whoever does not keeps only the guest waiting."""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BACKLOG = 1 << 20
"""Bytes that may wait to be written; with more, the source is asked to pause."""


class Output:
    """Writes by a thread of its own, because a terminal or a pipe may be shared with others who expect it to block.

    Args:
        descriptor: written to.
        pause: called when too much waits.
        resume: called when nothing waits any more.

    Attributes:
        failed: the error that ended the writing, as an exception.
    """

    def __init__(self, descriptor: int, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self._pause, self._resume = pause, resume
        self._loop = asyncio.get_running_loop()
        self.failed: asyncio.Future[None] = self._loop.create_future()
        self._waiting = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._queue: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        # A daemon: a write that never returns does not keep the process from ending.
        threading.Thread(target=self._run, daemon=True).start()

    def write(self, data: bytes) -> None:
        """Have it written, after what waits already."""
        self._waiting += len(data)
        self._idle.clear()
        if self._waiting > BACKLOG:
            self._pause()
        self._queue.put(data)

    async def flushed(self) -> None:
        """Wait until nothing waits to be written."""
        await self._idle.wait()

    def close(self) -> None:
        """Let the thread end when all is written."""
        self._queue.put(b"")
        if self.failed.done() and not self.failed.cancelled():
            self.failed.exception()  # asked for, or asyncio would complain that nobody did

    def _run(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended before the write
            while data := self._queue.get():
                try:
                    view = memoryview(data)
                    while view:
                        view = view[os.write(self._descriptor, view) :]
                except OSError as error:
                    self._loop.call_soon_threadsafe(self._fail, error)
                    return
                self._loop.call_soon_threadsafe(self._written, len(data))

    def _fail(self, error: OSError) -> None:
        if not self.failed.done():
            self.failed.set_exception(error)

    def _written(self, count: int) -> None:
        self._waiting -= count
        if not self._waiting:
            self._idle.set()
            self._resume()
