"""Doing one thing while watching that its ground does not give way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from qemu_viso.errors import GuestError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from qemu_viso.qemu.deadline import Deadline

T = TypeVar("T")

# How long the reason of a lost connection may take to arrive: the exit of the process behind it.
AFTERMATH = 1.0


class LostError(GuestError):
    """A connection was lost; the reason may be known a moment later."""


class Trouble:
    """The first thing that went wrong, as an error, for whoever waits.

    Args:
        complete: makes the error from a sentence; it adds what is known by then (standard error, console).
    """

    def __init__(self, complete: Callable[[str], GuestError]) -> None:
        self._complete = complete
        self._future: asyncio.Future[GuestError] = asyncio.get_running_loop().create_future()

    def report(self, sentence: str) -> None:
        """Something has gone wrong. Only the first report counts: the rest is what follows from it."""
        if not self._future.done():
            self._future.set_result(self._complete(sentence))

    @property
    def error(self) -> GuestError | None:
        """What went wrong, if anything did."""
        return self._future.result() if self._future.done() else None

    async def attend(self, work: Awaitable[T], deadline: Deadline, doing: str) -> T:
        """Do the work, unless trouble or the deadline comes first.

        Args:
            work: what is awaited; it is cancelled when it is not wanted any more.
            deadline: when it is too late.
            doing: what it is about, to complete 'in the time given, nothing came of …'.

        Raises:
            GuestError: the trouble, or the deadline with what is known.
        """
        task = asyncio.ensure_future(work)
        try:
            async with deadline.timeout():
                waited: list[asyncio.Future[T] | asyncio.Future[GuestError]] = [task, self._future]
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            raise self._complete(f"time ran out while {doing}") from None
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
                if not task.cancelled():
                    task.exception()  # asked for, or asyncio would complain that nobody did
        if task.cancelled():
            assert self.error is not None
            raise self.error
        failure = task.exception()
        if failure is None:
            return task.result()
        if isinstance(failure, EOFError | OSError | LostError) and await self._reason():
            assert self.error is not None
            raise self.error from None
        if isinstance(failure, EOFError | OSError):
            raise self._complete(f"the connection was lost while {doing}") from None
        if isinstance(failure, LostError):
            raise self._complete(failure.message) from None
        raise failure

    async def _reason(self) -> bool:
        # A lost connection is seldom the reason: it comes a moment before the exit of the process behind it.
        await asyncio.wait({self._future}, timeout=AFTERMATH)
        return self._future.done()


def evidence(sentence: str, said: Sequence[tuple[str, str]]) -> GuestError:
    """An error with what the parties last said.

    Args:
        sentence: what went wrong.
        said: (who, text) pairs; those without text are left out.
    """
    parts = [sentence]
    for who, text in said:
        if text:
            parts.append(f"  {who}:")
            parts.extend(f"    {line}" for line in text.splitlines())
    return GuestError("\n".join(parts))
