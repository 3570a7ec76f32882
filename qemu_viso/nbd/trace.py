"""What clients asked for, written down: for whoever must find out what a guest was doing.

The trace hangs on the parser of requests, of which a connection without a trace has the plain kind: off, it costs
nothing.
"""

from __future__ import annotations

import time
from collections import deque
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from qemu_viso.nbd.constants import Command
from qemu_viso.nbd.transmission import RequestParser, command

if TYPE_CHECKING:
    from qemu_viso.nbd.constants import Mode
    from qemu_viso.nbd.transmission import Request

MOST_READS = 100_000
"""So many are remembered, the last ones."""


class Read(NamedTuple):
    """A request to read: seconds since the trace began, the export, and bytes of it."""

    seconds: float
    export: str
    offset: int
    length: int


class ReadTrace:
    """The last reads of all connections that were given this trace.

    Attributes:
        reads: in the order in which they came.
        seen: how many there were, those that have been forgotten included.
    """

    def __init__(self) -> None:
        self.reads: deque[Read] = deque(maxlen=MOST_READS)
        self.seen = 0
        self._begin = time.monotonic()
        self._lock = Lock()

    def note(self, export: str, requests: list[Request]) -> None:
        """Requests have come; called from the threads of the connections."""
        now = time.monotonic() - self._begin
        reads = [Read(now, export, each[2], each[3]) for each in requests if command(each) == Command.READ]
        with self._lock:
            self.reads.extend(reads)
            self.seen += len(reads)

    def of(self, export: str) -> list[Read]:
        """The reads of one export."""
        with self._lock:
            return [each for each in self.reads if each.export == export]


class TracedParser(RequestParser):
    """A parser that shows what it has parsed to a trace."""

    def __init__(self, mode: Mode, trace: ReadTrace, export: str) -> None:
        super().__init__(mode)
        self._trace = trace
        self._export = export

    def receive(self, data: bytes | bytearray | memoryview) -> list[Request]:
        """The requests that are complete now."""
        requests = super().receive(data)
        self._trace.note(self._export, requests)
        return requests
