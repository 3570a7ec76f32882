"""QMP over an inherited socket: commands with a deadline, events as they come, and a transcript."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import deque
from typing import TYPE_CHECKING

from qemu.qmp import ExecuteError, QMPClient, QMPError

from qemu_viso.errors import GuestError
from qemu_viso.qemu.attention import LostError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from qemu_viso.qemu.deadline import Deadline

TRANSCRIPT_LINES = 1000

# The library logs what it also raises, tracebacks and all; nothing of that is for the user's terminal.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL + 1)


class Monitor:
    """The QMP connection to one process.

    Args:
        name: who is at the other end, for sentences.
        on_event: called with each event's name and data, in order.
    """

    def __init__(self, name: str, on_event: Callable[[str, Mapping[str, object]], None] | None = None) -> None:
        self.name = name
        self.version: tuple[int, int, int] = (0, 0, 0)
        self._on_event = on_event
        self._client = QMPClient(name)
        self._events: asyncio.Task[None] | None = None
        self._transcript: deque[str] = deque(maxlen=TRANSCRIPT_LINES)

    @property
    def transcript(self) -> list[str]:
        """The last commands, replies and events, one JSON text each, marked `>`, `<` or `!`."""
        return list(self._transcript)

    async def connect(self, ours: socket.socket, deadline: Deadline) -> None:
        """Read the greeting and negotiate. The socket is the monitor's from here on.

        Raises:
            GuestError: what answers does not speak QMP, or nothing answers before the deadline.
        """
        try:
            async with deadline.timeout():
                await self._client.connect(ours)
        except TimeoutError:
            ours.close()
            raise GuestError(f"{self.name} did not answer over QMP in time") from None
        except (QMPError, OSError, EOFError) as error:
            ours.close()
            raise LostError(f"{self.name} did not begin a QMP session: {error}") from None
        except BaseException:
            ours.close()
            raise
        self.version = self._read_version()
        self._events = asyncio.create_task(self._pump())

    def _read_version(self) -> tuple[int, int, int]:
        assert self._client.greeting is not None
        version: object = self._client.greeting.QMP.version
        try:
            numbers = version["qemu"] if isinstance(version, dict) else {}
            return (int(numbers["major"]), int(numbers["minor"]), int(numbers["micro"]))
        except (KeyError, TypeError, ValueError):
            raise GuestError(f"{self.name} greets with a version that cannot be read: {version!r}") from None

    async def _pump(self) -> None:
        async for message in self._client.events:
            name, data = str(message["event"]), message.get("data") or {}
            self._transcript.append("! " + json.dumps(dict(message)))
            if self._on_event is not None and isinstance(data, dict):
                self._on_event(name, data)

    async def execute(self, command: str, deadline: Deadline, arguments: Mapping[str, object] | None = None) -> object:
        """Run a command.

        Returns:
            what QMP returns, decoded from JSON.

        Raises:
            GuestError: QEMU refuses it, is gone, or does not answer before the deadline.
        """
        given = dict(arguments or {})
        self._transcript.append("> " + json.dumps({"execute": command, "arguments": given}))
        try:
            async with deadline.timeout():
                reply = await self._client.execute(command, given)
        except TimeoutError:
            raise GuestError(f"{self.name} did not answer the QMP command '{command}' in time") from None
        except ExecuteError as error:
            self._transcript.append("< " + json.dumps({"error": str(error)}))
            raise GuestError(f"{self.name} refuses the QMP command '{command}': {error}") from None
        except (QMPError, OSError, EOFError) as error:
            raise LostError(f"{self.name} went away during the QMP command '{command}': {error}") from None
        self._transcript.append("< " + json.dumps({"return": reply}))
        return reply

    async def close(self) -> None:
        """End the session; safe when it never began and when the other end is gone."""
        if self._events is not None:
            self._events.cancel()
            await asyncio.gather(self._events, return_exceptions=True)
            self._events = None
        with contextlib.suppress(QMPError, OSError, EOFError):
            await self._client.disconnect()
