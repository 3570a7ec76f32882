"""The bridge's life as seen from `qemu-viso export`: started, and started again when it ends before its time.

The listening socket is ours. Whoever connects while there is no bridge waits in the socket's queue for the next one.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import sys
from collections import deque
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from qemu_viso.errors import GuestError
from qemu_viso.qemu.process import Child, describe_status

if TYPE_CHECKING:
    from types import TracebackType

MOST_ENDS = 10
WINDOW_SECONDS = 60.0
"""A bridge that ends more often in that time is given up."""

_log = logging.getLogger("qemu_viso.bridge")


class NotServedError(Exception):
    """The bridge could not begin, has said why on standard error, and ended with `status`."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True, slots=True)
class Served:
    """What the bridge serves: the image's size in bytes and its fingerprint."""

    size: int
    fingerprint: str


class Bridge:
    """The process that serves a recipe's image, inside `async with`.

    Args:
        spec: the recipe.
        kind: `nbd` or `vhost-user-blk`.
        listening: the socket on which it serves; it remains the caller's.

    Attributes:
        served: what the first one serves, and every later one must.
    """

    served: Served

    def __init__(self, spec: str, kind: str, listening: socket.socket) -> None:
        self._spec = spec
        self._kind = kind
        self._listening = listening
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            served = await self._start()
            if served is None:
                status = await self._child.wait()
                if status <= 0:
                    raise GuestError(f"the bridge {describe_status(status)}")
                raise NotServedError(status)
        except BaseException:
            await self._stack.aclose()
            raise
        self.served = served
        self._keeping = asyncio.create_task(self._keep())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._keeping.cancel()
        await asyncio.wait({self._keeping})
        await self._stack.aclose()

    async def given_up(self) -> GuestError:
        """Wait until it has ended too often; the last reason."""
        return await asyncio.shield(self._keeping)

    async def _keep(self) -> GuestError:
        """Start it again each time it ends."""
        loop = asyncio.get_running_loop()
        ends: deque[float] = deque()
        while True:
            how = describe_status(await self._child.wait())
            ends.append(loop.time())
            while ends[0] < loop.time() - WINDOW_SECONDS:
                ends.popleft()
            if len(ends) > MOST_ENDS:
                return GuestError(f"the bridge {how}, for the {len(ends)}th time in {WINDOW_SECONDS:g} s")
            _log.warning("the bridge %s; it is started again", how)
            await self._stack.aclose()
            await self._start("--size", str(self.served.size), "--fingerprint", self.served.fingerprint)

    async def _start(self, *known: str) -> Served | None:
        """Start a bridge and wait until it serves; None if it ended before."""
        ours, theirs = socket.socketpair()
        listening = self._listening.dup()
        descriptors = ("--listen", str(listening.fileno()), "--report", str(theirs.fileno()))
        words = ("-P", "-m", "qemu_viso.cli.bridge", "--type", self._kind, *descriptors, *known, "--", self._spec)
        # It finds the same modules as we, wherever they came from.
        path = os.pathsep.join(each or os.getcwd() for each in sys.path)
        child = Child(
            [sys.executable, *words], hand_down=[listening, theirs], environment={"PYTHONPATH": path}, talks=True
        )
        self._stack.callback(ours.close)
        self._child = await self._stack.enter_async_context(child)
        reader, writer = await asyncio.open_connection(sock=ours)
        self._stack.callback(writer.close)
        line = await reader.readline()
        return Served(**json.loads(line)) if line.endswith(b"\n") else None
