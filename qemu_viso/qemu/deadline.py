"""A moment by which work must be done, handed down from the caller who knows how long is too long."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

GUEST_SECONDS = 60.0
"""How long a guest may take that the host's processor executes, where nobody says otherwise."""
EMULATION_FACTOR = 2.0
"""How many times as long one may take whose instructions QEMU translates."""


def stretch(accelerator: str) -> float:
    """The factor for times that were chosen for guests that the host's processor executes."""
    return EMULATION_FACTOR if accelerator == "tcg" else 1.0


def guest_seconds(accelerator: str, asked: float | None = None) -> float:
    """How long a guest may take: what somebody asked for, or else the default for what executes its instructions."""
    return GUEST_SECONDS * stretch(accelerator) if asked is None else asked


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
