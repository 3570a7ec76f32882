"""Signals that end a command: they unwind it like an exception, so that every `finally` runs."""

from __future__ import annotations

import contextlib
import signal
import sys
from typing import TYPE_CHECKING, NoReturn, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from types import FrameType

    Handler = Callable[[int, FrameType | None], object]

T = TypeVar("T")

ENDING = (signal.SIGTERM, signal.SIGHUP)
"""Beside SIGINT, which Python turns into KeyboardInterrupt. A terminal that is closed sends HUP."""


def handle(handler: Handler) -> None:
    """Set the handler of the signals that end a command; one that the caller ignores (nohup) stays ignored."""
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def end_by_unwinding() -> None:
    """End the process by SystemExit, with 128 and the signal's number."""
    handle(_exit)


def _exit(number: int, _: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """What must not be torn in two: signals that come meanwhile take effect at the end."""
    came: list[int] = []
    handlers = {number: signal.getsignal(number) for number in (*ENDING, signal.SIGINT)}
    for number, handler in handlers.items():
        if callable(handler):
            signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if callable(handler):
                signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def run(work: Coroutine[object, object, T]) -> T:
    """`asyncio.run`, ended by signals as by Ctrl-C: the work is cancelled, cleans up, and then the process ends.

    An exception thrown into the midst of the event loop would leave it to chance which callback meets it.
    """
    import asyncio  # a third of the start of a command that needs no event loop

    ended_by: list[int] = []

    async def cancellable() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def cancel(number: int, _: FrameType | None) -> None:
            if not ended_by:
                task.cancel()
                loop.call_soon_threadsafe(lambda: None)  # wakes the loop, which may be waiting in a system call
            ended_by.append(number)

        handle(cancel)
        return await work

    try:
        return asyncio.run(cancellable())
    finally:
        end_by_unwinding()
        if ended_by:
            sys.exit(128 + ended_by[0])
