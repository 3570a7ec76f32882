"""The device's side of a split virtqueue (VIRTIO 1.2, 2.7).

Everything in it is the guest's memory, which the guest can change at any time. So each descriptor is read once, and
only the copy is checked and used; each walk ends after as many steps as its table has entries; and no buffer is
touched before the whole chain has been found good.

The rings' fields are little-endian (2.7.1, for a driver that accepts VIRTIO_F_VERSION_1, and for any driver on a
little-endian guest). The indices are read and written in one piece through views of 16-bit words, which are in the
host's byte order: `device.py` refuses to run on a big-endian host.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from qemu_viso.errors import PeerError
from qemu_viso.vhost_user.memory import NOWHERE, AddressError

if TYPE_CHECKING:
    from qemu_viso.vhost_user.inflight import InflightPart
    from qemu_viso.vhost_user.memory import MemoryTable

F_INDIRECT_DESC = 1 << 28
F_EVENT_IDX = 1 << 29
F_VERSION_1 = 1 << 32
F_RING_RESET = 1 << 40
"""Feature bits (6)."""

MAX_QUEUE_SIZE = 32768
"""Entries (2.7)."""

MIN_CHAIN_LIMIT = 128
MAX_CHAIN_LIMIT = 1024
"""Descriptors in one chain. A driver must not make it longer than the queue (2.7.5.3.1), but Linux's does with short
queues and indirect tables, where it only respects `seg_max`: hence the lower bound. More than the upper one is no
driver's: it is what QEMU allows, and the number of buffers that one read can fill."""

MAX_CHAIN_BYTES = (1 << 30) + (1 << 16)
"""Bytes of buffers in one chain: UEFI's driver reads up to a gibibyte at once, to which header and status come."""

_DESCRIPTOR = Struct("<QIHH")
_USED_ELEMENT = Struct("<II")
_NEXT = 1
_WRITE = 2
_INDIRECT = 4
"""Descriptor flags (2.7.5)."""
_NO_INTERRUPT = 1
_NO_NOTIFY = 1
"""Ring flags (2.7.6, 2.7.8)."""


class RingError(PeerError):
    """A ring that breaks the rules; it is left alone until the front end sets it up again."""


@dataclass(frozen=True, slots=True)
class RingLayout:
    """Where a ring lies: its size in entries, and its parts' addresses in the front end's own memory."""

    size: int
    descriptors: int
    available: int
    used: int


class Chain(NamedTuple):
    """A request as a driver made it available: its buffers in order, none of them empty.

    `readable` and `writable` are the device's point of view; the lengths are in bytes.
    """

    head: int
    readable: list[memoryview]
    writable: list[memoryview]
    readable_length: int
    writable_length: int


class Virtqueue:
    """A ring, seen from the device; for one thread at a time.

    Args:
        memory: what the addresses in it mean.
        layout: where it lies.
        features: those the driver accepted.
        next_available: the index of the available ring at which to go on.
        inflight: where to record what is under way, if anywhere.

    Raises:
        AddressError: it is not in shared memory.
        RefusedError: the record of requests under way contradicts it.

    Attributes:
        next_available: the index of the available ring that is taken next.
        resubmitted: heads that the last back end left under way; to be done before any others.
    """

    def __init__(
        self,
        memory: MemoryTable,
        layout: RingLayout,
        features: int,
        next_available: int,
        inflight: InflightPart | None = None,
    ) -> None:
        size = layout.size
        self._memory = memory
        self._size = size
        self._mask = size - 1
        self._indirect = bool(features & F_INDIRECT_DESC)
        self._event_index = bool(features & F_EVENT_IDX)
        event_bytes = 2 if self._event_index else 0
        self._descriptors = memory.user(layout.descriptors, _DESCRIPTOR.size * size)
        self._available = memory.user(layout.available, 4 + 2 * size + event_bytes).cast("H")
        self._used_bytes = memory.user(layout.used, 4 + _USED_ELEMENT.size * size + event_bytes)
        self._used = self._used_bytes.cast("H")
        self._used_event = 2 + size
        self._available_event = 2 + _USED_ELEMENT.size // 2 * size
        self._used_index = self._used[1]
        self._inflight = inflight
        self._region = NOWHERE  # where the last buffer lay
        self._chain_limit = min(max(size, MIN_CHAIN_LIMIT), MAX_CHAIN_LIMIT)
        self._fence_lock = Lock()
        self._fence_lock.acquire()
        self.next_available = next_available
        self.resubmitted: list[int] = []
        self._recover()

    def _recover(self) -> None:
        if self._inflight is None:
            return
        went_on = self._inflight.known
        self.resubmitted = self._inflight.recover(self._used_index)
        if went_on:  # whatever was taken and is not done is in the record
            self.next_available = (self._used_index + len(self.resubmitted)) & 0xFFFF

    def _fence(self) -> None:
        """Order all accesses to memory before it against all after it, as the driver's CPU sees them.

        Releasing and taking a lock does so: locked instructions on x86, a release followed by an acquire on ARM.
        """
        self._fence_lock.release()
        self._fence_lock.acquire()

    def pop(self) -> int | None:
        """The head of the next request, or None if there is none.

        Raises:
            RingError: the available ring holds what no driver puts there.
        """
        if self.resubmitted:
            return self.resubmitted.pop(0)
        waiting = (self._available[1] - self.next_available) & 0xFFFF
        if waiting == 0:
            return None
        if waiting > self._size:
            raise RingError(f"{waiting} requests are available in a ring of {self._size}")
        self._fence()  # the index first, then what it covers (2.7.13.3)
        head = self._available[2 + (self.next_available & self._mask)]
        if head >= self._size:
            raise RingError(f"a request begins at descriptor {head} of {self._size}")
        if self._inflight is not None:
            self._inflight.take(head)
        self.next_available = (self.next_available + 1) & 0xFFFF
        return head

    def sleep(self) -> bool:
        """Ask the driver to notify the device of the next request; True if none has come meanwhile (2.7.7, 2.7.10)."""
        if self._event_index:
            self._used[self._available_event] = self.next_available
        else:
            self._used[0] = 0
        self._fence()
        return self._available[1] == self.next_available

    def wake(self) -> None:
        """Tell the driver that notifications are not needed for now (2.7.10); an event index says so by staying."""
        if not self._event_index:
            self._used[0] = _NO_NOTIFY

    def push(self, head: int, written: int) -> bool:
        """Give a request back, `written` bytes of its buffers filled; True if the driver wants to know (2.7.8)."""
        before = self._used_index
        after = (before + 1) & 0xFFFF
        _USED_ELEMENT.pack_into(self._used_bytes, 4 + _USED_ELEMENT.size * (before & self._mask), head, written)
        if self._inflight is not None:
            self._inflight.finish(head)
        self._fence()  # the element and the data first, then the index that covers them
        self._used[1] = self._used_index = after
        self._fence()  # the index first, then a look at what the driver waits for (2.7.7.2)
        if self._inflight is not None:
            self._inflight.finished(head, after)
        if self._event_index:
            return self._available[self._used_event] == before
        return not self._available[0] & _NO_INTERRUPT

    def chain(self, head: int) -> Chain:
        """The buffers of the request that begins at descriptor `head`.

        Raises:
            RingError: it loops, is too long, leads out of its table or out of shared memory, has an empty buffer, or
                readable buffers behind writable ones.
        """
        entries = self._entries(head)
        if len(entries) > self._chain_limit:
            raise RingError(f"a request has {len(entries)} descriptors, more than {self._chain_limit}")
        readable: list[memoryview] = []
        writable: list[memoryview] = []
        buffers = readable
        start, stop, memory = self._region
        for address, length, flags, _ in entries:
            if flags & _WRITE:
                buffers = writable
            elif buffers is writable:
                raise RingError("a readable descriptor follows a writable one")
            if length and start <= address and address + length <= stop:
                buffers.append(memory[address - start : address - start + length])
            else:
                buffers += self._guest(address, length)
                start, stop, memory = self._region = self._memory.region(address)
        readable_length, writable_length = sum(map(len, readable)), sum(map(len, writable))
        if readable_length + writable_length > MAX_CHAIN_BYTES:
            raise RingError(f"a request has {readable_length + writable_length} bytes, more than {MAX_CHAIN_BYTES}")
        return Chain(head, readable, writable, readable_length, writable_length)

    def _entries(self, head: int) -> list[tuple[int, int, int, int]]:
        """Copies of the descriptors of a chain: some in the ring's own table, then perhaps an indirect table."""
        entries: list[tuple[int, int, int, int]] = []
        index = head
        for _ in range(self._size):
            entry = _DESCRIPTOR.unpack_from(self._descriptors, _DESCRIPTOR.size * index)
            address, length, flags, index = entry
            if flags & _INDIRECT:
                return entries + self._indirect_entries(address, length, flags)
            entries.append(entry)
            if not flags & _NEXT:
                return entries
            if index >= self._size:
                raise RingError(f"a descriptor is followed by number {index} of {self._size}")
        raise RingError(f"a chain of descriptors does not end after all {self._size} of them")

    def _indirect_entries(self, address: int, length: int, flags: int) -> list[tuple[int, int, int, int]]:
        """Copies of the descriptors in an indirect table, in the order of their chain (2.7.5.3)."""
        if not self._indirect:
            raise RingError("a descriptor is indirect, which was not agreed upon")
        if flags & _NEXT:
            raise RingError("an indirect descriptor has a successor")
        count, rest = divmod(length, _DESCRIPTOR.size)
        if rest or not 0 < count <= self._chain_limit:
            raise RingError(f"an indirect table has {length} bytes")
        table = list(_DESCRIPTOR.iter_unpack(b"".join(self._guest(address, length))))
        entries: list[tuple[int, int, int, int]] = []
        index = 0
        for _ in range(count):
            entry = table[index]
            entries.append(entry)
            flags = entry[2]
            if flags & _INDIRECT:
                raise RingError("an indirect table is inside another one")
            if not flags & _NEXT:
                return entries
            index = entry[3]
            if index >= count:
                raise RingError(f"a descriptor is followed by number {index} of {count} in an indirect table")
        raise RingError(f"a chain of descriptors does not end after all {count} of an indirect table")

    def _guest(self, address: int, length: int) -> list[memoryview]:
        if not 0 < length <= MAX_CHAIN_BYTES:
            raise RingError(f"a descriptor has {length} bytes, which is not between 1 and {MAX_CHAIN_BYTES}")
        try:
            return self._memory.guest(address, length)
        except AddressError as error:
            raise RingError(f"a descriptor leads out of shared memory: {error}") from None
