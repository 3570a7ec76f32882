"""A moment by which work must be done, handed down from the caller who knows how long is too long."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on the monotonic clock.

    Attributes:
        at: seconds, as `time.monotonic()` counts them.
    """

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """The moment `seconds` from now."""
        return cls(time.monotonic() + seconds)

    @property
    def remaining(self) -> float:
        """Seconds that are left; never less than 0."""
        return max(0.0, self.at - time.monotonic())

    def earlier(self, seconds: float) -> Deadline:
        """This moment, or the one `seconds` from now if that comes first."""
        return min(self, Deadline.after(seconds), key=lambda deadline: deadline.at)

    def timeout(self) -> asyncio.Timeout:
        """An asynchronous context manager that raises `TimeoutError` when the moment has come."""
        return asyncio.timeout(self.remaining)
