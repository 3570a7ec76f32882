"""A front end and a driver for the tests, well behaved until told otherwise.

Written from the protocol text and from VIRTIO 1.2; it shares no code with the device but the numbers of the requests.
"""

from __future__ import annotations

import array
import mmap
import os
import select
import socket
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from qemu_viso.vhost_user.messages import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PATIENCE = 20.0
GUEST_BASE = 0x1_0000_0000
USER_BASE = 0x7F00_0000_0000
MEMORY_SIZE = 16 << 20
NEXT, WRITE, INDIRECT = 1, 2, 4
F_INDIRECT = 1 << 28
F_EVENT = 1 << 29
F_PROTOCOL = 1 << 30
F_VERSION_1 = 1 << 32
P_MQ, P_REPLY_ACK, P_CONFIG, P_INFLIGHT, P_RESET, P_SLOTS = 1, 1 << 3, 1 << 9, 1 << 12, 1 << 13, 1 << 15


def blocking_read(event: int) -> None:
    """Wait for an event; fails when it does not come."""
    poll = select.poll()
    poll.register(event, select.POLLIN)
    assert poll.poll(PATIENCE * 1000), "the device does not answer"
    os.read(event, 8)


def until(condition: Callable[[], bool]) -> None:
    """Wait for something in shared memory, of which no event tells."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the device does not get there"
        os.sched_yield()


@dataclass(frozen=True, slots=True)
class Reply:
    request: int
    flags: int
    payload: bytes
    descriptors: list[int]

    @property
    def number(self) -> int:
        assert len(self.payload) == 8
        return int.from_bytes(self.payload, "little")


class FrontEnd:
    """A connection with guest memory of its own."""

    def __init__(self, path: str, size: int = MEMORY_SIZE) -> None:
        self.connect(path)
        self.size = size
        self.file = os.memfd_create("guest", os.MFD_CLOEXEC)
        os.ftruncate(self.file, size)
        self.memory = mmap.mmap(self.file, size)
        self.rings: list[Driver] = []

    def connect(self, path: str) -> None:
        """Connect, the first time or again."""
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
        for ring in self.rings:
            ring.close()
        self.memory.close()
        os.close(self.file)

    def send(
        self, request: int, payload: bytes = b"", descriptors: Sequence[int] = (), *, flags: int = 1, ack: bool = False
    ) -> None:
        header = struct.pack("=III", request, flags | (8 if ack else 0), len(payload))
        if descriptors:
            rights = array.array("i", descriptors)
            self.socket.sendmsg([header + payload], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        else:
            self.socket.sendall(header + payload)

    def receive(self) -> Reply | None:
        """The next reply; None when the device has hung up."""
        header, descriptors = b"", []
        while len(header) < 12:
            try:
                data, ancillary, _, _ = self.socket.recvmsg(12 - len(header), socket.CMSG_SPACE(32))
            except ConnectionResetError:  # it hung up with something of ours unread
                return None
            if not data:
                return None
            header += data
            for _, _, content in ancillary:
                descriptors += list(array.array("i", content))
        request, flags, size = struct.unpack("=III", header)
        payload = b""
        while len(payload) < size:
            payload += self.socket.recv(size - len(payload))
        return Reply(request, flags, payload, descriptors)

    def ask(self, request: int, payload: bytes = b"", descriptors: Sequence[int] = (), *, ack: bool = False) -> Reply:
        self.send(request, payload, descriptors, ack=ack)
        reply = self.receive()
        assert reply is not None, "the device hung up"
        assert reply.request == request
        assert reply.flags == 0b101
        return reply

    def do(self, request: int, payload: bytes = b"", descriptors: Sequence[int] = ()) -> int:
        """A request with REPLY_ACK; 0 if it worked."""
        return self.ask(request, payload, descriptors, ack=True).number

    def must(self, request: int, payload: bytes = b"", descriptors: Sequence[int] = ()) -> None:
        assert self.do(request, payload, descriptors) == 0

    def negotiate(
        self,
        features: int = F_VERSION_1 | F_INDIRECT | F_EVENT,
        protocol: int = P_MQ | P_REPLY_ACK | P_CONFIG | P_INFLIGHT | P_RESET | P_SLOTS,
    ) -> None:
        offered = self.ask(Request.GET_FEATURES).number
        assert features & ~offered == 0
        assert offered & F_PROTOCOL
        assert protocol & ~self.ask(Request.GET_PROTOCOL_FEATURES).number == 0
        self.send(Request.SET_PROTOCOL_FEATURES, struct.pack("=Q", protocol))
        self.send(Request.SET_OWNER)
        self.send(Request.SET_FEATURES, struct.pack("=Q", features | F_PROTOCOL))

    def share_memory(self) -> None:
        """All of it in two regions that touch one another, the second first."""
        half = self.size // 2
        regions = [(GUEST_BASE + half, half, USER_BASE + half, half), (GUEST_BASE, half, USER_BASE, 0)]
        self.must(Request.SET_MEM_TABLE, table(regions), [self.file, self.file])

    def start(self, size: int = 64, *, features: int = F_VERSION_1 | F_INDIRECT | F_EVENT) -> Driver:
        """Negotiate, share memory, set up a ring: the short way to a device that works."""
        self.negotiate(features)
        self.share_memory()
        return self.add_ring(size, features=features)

    def add_ring(self, size: int = 64, *, features: int = F_VERSION_1 | F_INDIRECT | F_EVENT, base: int = 0) -> Driver:
        driver = Driver(self, len(self.rings), size, features, base)
        self.rings.append(driver)
        driver.set_up()
        return driver


def table(regions: Sequence[tuple[int, int, int, int]]) -> bytes:
    return struct.pack("=II", len(regions), 0) + b"".join(struct.pack("=QQQQ", *region) for region in regions)


def state(index: int, number: int) -> bytes:
    return struct.pack("=II", index, number)


class Driver:
    """The driver's side of one ring, in the first megabyte for ring 0, the second for ring 1 and so on.

    Attributes:
        buffers: where this ring's megabyte has room for buffers.
    """

    def __init__(self, front_end: FrontEnd, index: int, size: int, features: int, base: int) -> None:
        self.front_end = front_end
        self.memory = front_end.memory
        self.index = index
        self.size = size
        self.event_index = bool(features & F_EVENT)
        self.start = index << 20
        self.descriptors = self.start
        self.available = self.descriptors + 16 * size
        self.used = -(-(self.available + 6 + 2 * size) // 4) * 4
        self.buffers = -(-(self.used + 6 + 8 * size) // 4096) * 4096
        self.next_available = base
        self.seen = base
        self.put(self.available + 2, "H", base)
        self.put(self.used + 2, "H", base)
        self.kick_event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.call_event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.error_event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def close(self) -> None:
        for event in (self.kick_event, self.call_event, self.error_event):
            os.close(event)

    def set_up(self) -> None:
        """The messages in QEMU's order."""
        send = self.front_end.must
        send(Request.SET_VRING_NUM, state(self.index, self.size))
        send(Request.SET_VRING_BASE, state(self.index, self.next_available))
        send(Request.SET_VRING_ADDR, self.address())
        send(Request.SET_VRING_ERR, struct.pack("=Q", self.index), [self.error_event])
        send(Request.SET_VRING_KICK, struct.pack("=Q", self.index), [self.kick_event])
        send(Request.SET_VRING_CALL, struct.pack("=Q", self.index), [self.call_event])
        send(Request.SET_VRING_ENABLE, state(self.index, 1))

    def set_up_again(self) -> None:
        """After the device has lost it: take it back first."""
        self.front_end.ask(Request.GET_VRING_BASE, state(self.index, 0))
        self.next_available = self.seen = self.used_index
        self.set_up()

    def address(self) -> bytes:
        places = (USER_BASE + self.descriptors, USER_BASE + self.used, USER_BASE + self.available)
        return struct.pack("=IIQQQQ", self.index, 0, *places, 0)

    def put(self, where: int, form: str, *values: int) -> None:
        struct.pack_into("<" + form, self.memory, where, *values)

    def get(self, where: int, form: str) -> int:
        value: int = struct.unpack_from("<" + form, self.memory, where)[0]
        return value

    def describe(self, number: int, address: int, length: int, flags: int = 0, following: int = 0) -> None:
        self.put(self.descriptors + 16 * number, "QIHH", address, length, flags, following)

    def publish(self, *heads: int, kick: bool = True) -> None:
        for head in heads:
            self.put(self.available + 4 + 2 * (self.next_available % self.size), "H", head)
            self.next_available = (self.next_available + 1) & 0xFFFF
        if self.event_index:  # wake me when all of them are done
            self.put(self.available + 4 + 2 * self.size, "H", (self.next_available - 1) & 0xFFFF)
        self.put(self.available + 2, "H", self.next_available)
        if kick:
            self.kick()

    def kick(self) -> None:
        os.eventfd_write(self.kick_event, 1)

    @property
    def used_index(self) -> int:
        return self.get(self.used + 2, "H")

    def wait(self, count: int = 1) -> list[tuple[int, int]]:
        """The next `count` used elements: head and written length."""
        while (self.used_index - self.seen) & 0xFFFF < count:
            blocking_read(self.call_event)
        elements = []
        for _ in range(count):
            where = self.used + 4 + 8 * (self.seen % self.size)
            elements.append((self.get(where, "I"), self.get(where + 4, "I")))
            self.seen = (self.seen + 1) & 0xFFFF
        return elements

    def request(
        self, kind: int, sector: int, lengths: Sequence[int], *, slot: int = 0, indirect: bool = False
    ) -> tuple[int, list[tuple[int, int]], int]:
        """Write a well-formed request; its head, its data buffers (offset in memory, length), its status's offset.

        `slot` keeps requests apart that are under way together; each has 64 KiB of buffers and 8 descriptors.
        """
        at = self.buffers + (slot << 16)
        self.put(at, "IIQ", kind, 0, sector)
        parts = [(at, 16, 0)]
        place = at + 4096
        data = []
        for length in lengths:
            data.append((place, length))
            parts.append((place, length, WRITE))
            place += length
        status = at + 32
        self.memory[status] = 0xAA
        parts.append((status, 1, WRITE))
        base = self.descriptors + 16 * 8 * slot
        first = 8 * slot
        if indirect:
            base, first = at + 1024, 0
            self.describe(8 * slot, GUEST_BASE + base, 16 * len(parts), INDIRECT)
        for number, (where, length, flags) in enumerate(parts):
            more = NEXT if number + 1 < len(parts) else 0
            self.put(
                base + 16 * number, "QIHH", GUEST_BASE + where, length, flags | more, (first + number + 1) * bool(more)
            )
        return 8 * slot, data, status

    def read(self, sector: int, *lengths: int, indirect: bool = False) -> tuple[int, int, bytes]:
        """One read from beginning to end; status, written length, data."""
        return self.run(0, sector, lengths, indirect=indirect)

    def run(self, kind: int, sector: int, lengths: Sequence[int], *, indirect: bool = False) -> tuple[int, int, bytes]:
        head, data, status = self.request(kind, sector, lengths, indirect=indirect)
        self.publish(head)
        [(used, written)] = self.wait()
        assert used == head
        return self.memory[status], written, b"".join(self.memory[at : at + length] for at, length in data)
