"""A program that is controlled over QMP, QEMU or its storage daemon: started, watched, ended with its block."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, TypeVar

from qemu_viso.qemu.attention import Trouble
from qemu_viso.qemu.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping
    from types import TracebackType
    from typing import Self

    from qemu_viso.errors import GuestError
    from qemu_viso.qemu.monitor import Monitor
    from qemu_viso.qemu.process import Child

T = TypeVar("T")

START_SECONDS = 30.0


class Controlled:
    """The program, inside `async with`.

    Args:
        title: what it is called in sentences.
        start_by: by when it must answer; 30 seconds if not given.

    Attributes:
        monitor: the QMP session.
        child: the process.
    """

    monitor: Monitor
    child: Child

    def __init__(self, title: str, start_by: Deadline | None = None) -> None:
        self._title = title
        self._start_by = start_by

    async def __aenter__(self) -> Self:
        self._trouble = Trouble(self._complete)
        self._stack = AsyncExitStack()
        try:
            await self._start(self._start_by or Deadline.after(START_SECONDS))
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _start(self, deadline: Deadline) -> None:
        """Make the command line, then `_launch`; what goes onto `self._stack` ends with the program."""
        raise NotImplementedError

    async def _watch_exit(self) -> None:
        """Report the exit as trouble, in words."""
        raise NotImplementedError

    def _complete(self, sentence: str) -> GuestError:
        """A sentence with everything that is known of the circumstances."""
        raise NotImplementedError

    def _pair(self) -> tuple[socket.socket, socket.socket]:
        """A socket for us, and the other end of it to hand down."""
        ours, theirs = socket.socketpair()
        self._stack.callback(ours.close)
        self._stack.callback(theirs.close)
        return ours, theirs

    async def _launch(self, child: Child, monitor: Monitor, qmp: socket.socket, deadline: Deadline) -> None:
        """Start the program; it answers over QMP when all that its command line asks for is done.

        Raises:
            GuestError: it ended, or did not answer before the deadline.
        """
        self.monitor = monitor
        self._stack.push_async_callback(monitor.close)
        self.child = await self._stack.enter_async_context(child)
        self._watch = asyncio.create_task(self._watch_exit())
        self._stack.push_async_callback(self._stop_watching)
        await self.attend(monitor.connect(qmp, deadline), deadline, f"waiting for {self._title} to start")

    async def _stop_watching(self) -> None:
        self._watch.cancel()
        await asyncio.wait({self._watch})

    @property
    def started(self) -> bool:
        """Whether there is, or was, a process."""
        return hasattr(self, "child")

    async def attend(self, work: Awaitable[T], deadline: Deadline, doing: str) -> T:
        """Do something that needs the program alive.

        Args:
            work: what is awaited.
            deadline: when it is too late.
            doing: what it is about, as in 'time ran out while …'.

        Raises:
            GuestError: it ended or failed (a guest that panicked, reset or shut down is a machine's failure), or the
                deadline came; with its last words.
        """
        return await self._trouble.attend(work, deadline, doing)

    async def execute(self, command: str, deadline: Deadline, arguments: Mapping[str, object] | None = None) -> object:
        """Run a QMP command; see `Monitor.execute`."""
        work = self.monitor.execute(command, deadline, arguments)
        return await self.attend(work, deadline, f"running the QMP command '{command}'")
