"""The machine for code that does not await: the same machine, on an event loop of its own in a thread.

The loop runs all the time, so that the console is read and events are heard while the caller does something else.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, TypeVar

from qemu_viso.qemu.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from types import TracebackType
    from typing import Self

    from qemu_viso.qemu.deadline import Deadline
    from qemu_viso.qemu.devices import BlockMedium
    from qemu_viso.qemu.machine import MachineSpec

T = TypeVar("T")


class LoopThread:
    """An event loop in a thread, inside `with`."""

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="qemu-viso-loop", daemon=True)
        self._thread.start()
        return self

    def run(self, work: Coroutine[object, object, T]) -> T:
        """Run a coroutine in the loop and wait for it; when the wait is interrupted, it is cancelled first."""
        running: list[asyncio.Task[object]] = []

        async def tracked() -> T:
            task = asyncio.current_task()
            assert task is not None
            running.append(task)
            return await work

        async def end() -> None:
            for task in running:
                task.cancel()
                await asyncio.wait({task})

        started = tracked()
        try:
            return asyncio.run_coroutine_threadsafe(started, self._loop).result()
        except BaseException:
            # Nothing goes on behind the back of whoever handles the interruption, which may have come before there
            # was a future to cancel.
            asyncio.run_coroutine_threadsafe(end(), self._loop).result()
            started.close()
            work.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            asyncio.run_coroutine_threadsafe(_settle(), self._loop).result()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


async def _settle() -> None:
    """Cancel whatever else runs in the loop, and wait until it has ended."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class SyncMachine:
    """A `Machine` inside `with`; its methods wait instead of being awaited.

    Args:
        spec: what it is made of.
        start_by: by when QEMU must answer; 30 seconds if not given.
        loop: where it lives, together with what else it depends on; a loop of its own if not given.
    """

    def __init__(self, spec: MachineSpec, start_by: Deadline | None = None, loop: LoopThread | None = None) -> None:
        self.machine = Machine(spec, start_by)
        self._loop = loop or LoopThread()
        self._owns_loop = loop is None

    def __enter__(self) -> Self:
        if self._owns_loop:
            self._loop.__enter__()
        try:
            self._loop.run(self.machine.__aenter__())
        except BaseException as error:
            if self._owns_loop:
                self._loop.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._loop.run(self.machine.__aexit__(kind, error, trace))
        finally:
            if self._owns_loop:
                self._loop.__exit__(kind, error, trace)

    def run(self, work: Coroutine[object, object, T]) -> T:
        """Wait for anything that uses `machine`, such as a conversation with its agent."""
        return self._loop.run(work)

    def release(self, deadline: Deadline) -> None:
        """See `Machine.release`."""
        self.run(self.machine.release(deadline))

    def execute(self, command: str, deadline: Deadline, arguments: Mapping[str, object] | None = None) -> object:
        """See `Machine.execute`."""
        return self.run(self.machine.execute(command, deadline, arguments))

    def wait_for_console(self, pattern: bytes, deadline: Deadline) -> bytes:
        """See `Machine.wait_for_console`."""
        return self.run(self.machine.wait_for_console(pattern, deadline))

    def wait_for_event(self, name: str, deadline: Deadline) -> Mapping[str, object]:
        """See `Machine.wait_for_event`."""
        return self.run(self.machine.wait_for_event(name, deadline))

    def wait_for_exit(self, deadline: Deadline) -> int:
        """See `Machine.wait_for_exit`."""
        return self.run(self.machine.wait_for_exit(deadline))

    def screenshot(self, path: str, deadline: Deadline) -> None:
        """See `Machine.screenshot`."""
        self.run(self.machine.screenshot(path, deadline))

    def change_medium(self, medium: BlockMedium, deadline: Deadline) -> None:
        """See `Machine.change_medium`."""
        self.run(self.machine.change_medium(medium, deadline))
