"""The vhost-user protocol's messages as values: numbers, flags, payloads, sizes.

The text is QEMU's `docs/interop/vhost-user.rst`; section names in brackets are its own. All numbers are in the host's
byte order ("Message Specification"). Nothing here reads or writes: `Parser` takes bytes and descriptors as they come
and gives messages, each payload class goes both ways.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple, Self

from qemu_viso.errors import PeerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qemu_viso.vhost_user.descriptors import Descriptor

VERSION = 1
VERSION_MASK = 0b11
REPLY = 1 << 2
NEED_REPLY = 1 << 3
"""[Header]: the flags' fields; the version is in the two lowest bits."""

MAX_PAYLOAD = 4096
"""Bytes. The largest payload known is a configuration space of 256 bytes behind its 12-byte header, or a table of
eight regions, 264 bytes: what claims to be longer than a page is no message."""

MAX_DESCRIPTORS = 8
"""In one message: one for each region of a memory table [SET_MEM_TABLE]."""

MAX_REGIONS = 8
"""In one memory table [Memory regions description]."""

CONFIG_SPACE = 256
"""Bytes of configuration space that a message can reach."""

PROTOCOL_FEATURES_BIT = 1 << 30
"""VHOST_USER_F_PROTOCOL_FEATURES, in the virtio feature word."""

NO_DESCRIPTOR = 1 << 8
"""[SET_VRING_KICK, _CALL, _ERR]: no descriptor comes with this message; the low eight bits are the ring's index."""


class Request(IntEnum):
    """[Front-end message types]."""

    GET_FEATURES = 1
    SET_FEATURES = 2
    SET_OWNER = 3
    RESET_OWNER = 4
    SET_MEM_TABLE = 5
    SET_LOG_BASE = 6
    SET_LOG_FD = 7
    SET_VRING_NUM = 8
    SET_VRING_ADDR = 9
    SET_VRING_BASE = 10
    GET_VRING_BASE = 11
    SET_VRING_KICK = 12
    SET_VRING_CALL = 13
    SET_VRING_ERR = 14
    GET_PROTOCOL_FEATURES = 15
    SET_PROTOCOL_FEATURES = 16
    GET_QUEUE_NUM = 17
    SET_VRING_ENABLE = 18
    SEND_RARP = 19
    NET_SET_MTU = 20
    SET_BACKEND_REQ_FD = 21
    IOTLB_MSG = 22
    SET_VRING_ENDIAN = 23
    GET_CONFIG = 24
    SET_CONFIG = 25
    CREATE_CRYPTO_SESSION = 26
    CLOSE_CRYPTO_SESSION = 27
    POSTCOPY_ADVISE = 28
    POSTCOPY_LISTEN = 29
    POSTCOPY_END = 30
    GET_INFLIGHT_FD = 31
    SET_INFLIGHT_FD = 32
    GPU_SET_SOCKET = 33
    RESET_DEVICE = 34
    VRING_KICK = 35
    GET_MAX_MEM_SLOTS = 36
    ADD_MEM_REG = 37
    REM_MEM_REG = 38
    SET_STATUS = 39
    GET_STATUS = 40
    GET_SHARED_OBJECT = 41
    SET_DEVICE_STATE_FD = 42
    CHECK_DEVICE_STATE = 43


class ProtocolFeature(IntFlag):
    """[Protocol features]."""

    MQ = 1 << 0
    LOG_SHMFD = 1 << 1
    RARP = 1 << 2
    REPLY_ACK = 1 << 3
    MTU = 1 << 4
    BACKEND_REQ = 1 << 5
    CROSS_ENDIAN = 1 << 6
    CRYPTO_SESSION = 1 << 7
    PAGEFAULT = 1 << 8
    CONFIG = 1 << 9
    BACKEND_SEND_FD = 1 << 10
    HOST_NOTIFIER = 1 << 11
    INFLIGHT_SHMFD = 1 << 12
    RESET_DEVICE = 1 << 13
    INBAND_NOTIFICATIONS = 1 << 14
    CONFIGURE_MEM_SLOTS = 1 << 15
    STATUS = 1 << 16
    XEN_MMAP = 1 << 17
    SHARED_OBJECT = 1 << 18
    DEVICE_STATE = 1 << 19


class MessageError(PeerError):
    """Not a message: after it nobody knows where the next one begins, so the connection ends."""


class RefusedError(PeerError):
    """A message that is understood and not accepted; where the front end asked for an answer, it gets a failure."""


HEADER = Struct("=III")
_U64 = Struct("=Q")
_STATE = Struct("=II")
_ADDRESS = Struct("=IIQQQQ")
_TABLE = Struct("=II")
_REGION = Struct("=QQQQ")
_SINGLE_REGION_PADDING = 8
_CONFIG = Struct("=III")
_INFLIGHT = Struct("=QQHH")
_INFLIGHT_SIZES = (_INFLIGHT.size, 24)  # C pads the structure to 24 bytes, and QEMU sends the padding


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the front end; `request` is a number that need not be known."""

    request: int
    flags: int
    payload: bytes
    descriptors: tuple[Descriptor, ...] = ()

    @property
    def needs_reply(self) -> bool:
        """The front end wants to hear whether it worked [VHOST_USER_PROTOCOL_F_REPLY_ACK]."""
        return bool(self.flags & NEED_REPLY)

    @property
    def name(self) -> str:
        """For people: the request's name, or its number."""
        try:
            return Request(self.request).name
        except ValueError:
            return f"request {self.request}"

    def u64(self) -> int:
        """[A single 64-bit integer]."""
        return self._fields(_U64)[0]

    def one_descriptor(self) -> Descriptor:
        """The only descriptor of a message that must have exactly one."""
        self.expect_descriptors(1)
        return self.descriptors[0]

    def expect_descriptors(self, count: int) -> None:
        """Raise `RefusedError` unless the message came with `count` descriptors."""
        if len(self.descriptors) != count:
            raise RefusedError(f"{self.name} came with {len(self.descriptors)} descriptors instead of {count}")

    def expect_size(self, *sizes: int) -> None:
        """Raise `RefusedError` unless the payload's length in bytes is one of `sizes`."""
        if len(self.payload) not in sizes:
            expected = " or ".join(map(str, sizes))
            raise RefusedError(f"{self.name} has a payload of {len(self.payload)} bytes instead of {expected}")

    def _fields(self, struct: Struct) -> tuple[int, ...]:
        self.expect_size(struct.size)
        return struct.unpack(self.payload)


def encode(request: int, payload: bytes = b"", flags: int = 0) -> bytes:
    """A whole message, header and payload; the version goes into the flags by itself."""
    return HEADER.pack(request, flags | VERSION, len(payload)) + payload


def encode_u64(value: int) -> bytes:
    """[A single 64-bit integer]."""
    return _U64.pack(value)


class VringState(NamedTuple):
    """[A vring state description]: a ring's index and a number whose meaning is the request's."""

    ring: int
    num: int

    @classmethod
    def parse(cls, message: Message) -> Self:
        """Raises `RefusedError` for a payload of another size."""
        message.expect_size(_STATE.size)
        return cls(*_STATE.unpack(message.payload))

    def pack(self) -> bytes:
        """The payload's 8 bytes."""
        return _STATE.pack(*self)


class VringAddress(NamedTuple):
    """[A vring address description]: where the parts of a ring lie, as addresses in the front end's own memory."""

    ring: int
    flags: int
    descriptors: int
    used: int
    available: int
    log: int

    @classmethod
    def parse(cls, message: Message) -> Self:
        """Raises `RefusedError` for a payload of another size."""
        message.expect_size(_ADDRESS.size)
        return cls(*_ADDRESS.unpack(message.payload))

    def pack(self) -> bytes:
        """The payload's 40 bytes."""
        return _ADDRESS.pack(*self)


class MemoryRegion(NamedTuple):
    """[Memory regions description]: a stretch of guest memory, `size` bytes at `mmap_offset` of its descriptor."""

    guest_address: int
    size: int
    user_address: int
    mmap_offset: int

    @classmethod
    def parse_table(cls, message: Message) -> list[Self]:
        """All regions of SET_MEM_TABLE; raises `RefusedError` for a payload that does not hold what it announces."""
        if len(message.payload) < _TABLE.size:
            raise RefusedError(f"{message.name} has a payload of only {len(message.payload)} bytes")
        count, _ = _TABLE.unpack_from(message.payload)
        if count > MAX_REGIONS:
            raise RefusedError(f"{message.name} announces {count} regions, more than {MAX_REGIONS}")
        message.expect_size(_TABLE.size + count * _REGION.size)
        return [cls(*fields) for fields in _REGION.iter_unpack(message.payload[_TABLE.size :])]

    @classmethod
    def parse_single(cls, message: Message) -> Self:
        """The region of ADD_MEM_REG and REM_MEM_REG [Single memory region description]."""
        message.expect_size(_SINGLE_REGION_PADDING + _REGION.size)
        return cls(*_REGION.unpack_from(message.payload, _SINGLE_REGION_PADDING))

    @staticmethod
    def pack_table(regions: Sequence[MemoryRegion]) -> bytes:
        """The payload of SET_MEM_TABLE."""
        return _TABLE.pack(len(regions), 0) + b"".join(_REGION.pack(*region) for region in regions)

    def pack_single(self) -> bytes:
        """The payload's 40 bytes."""
        return bytes(_SINGLE_REGION_PADDING) + _REGION.pack(*self)


class ConfigAccess(NamedTuple):
    """[Virtio device config space]: `size` bytes from `offset` on."""

    offset: int
    size: int
    flags: int
    data: bytes

    @classmethod
    def parse(cls, message: Message) -> Self:
        """Raises `RefusedError` unless the payload is as long as it says, and inside the configuration space."""
        if len(message.payload) < _CONFIG.size:
            raise RefusedError(f"{message.name} has a payload of only {len(message.payload)} bytes")
        offset, size, flags = _CONFIG.unpack_from(message.payload)
        if size > CONFIG_SPACE or offset > CONFIG_SPACE - size:
            raise RefusedError(f"{message.name} reaches for {size} bytes at {offset} of a configuration space")
        message.expect_size(_CONFIG.size + size)
        return cls(offset, size, flags, message.payload[_CONFIG.size :])

    def pack(self) -> bytes:
        """The payload: 12 bytes and the data."""
        return _CONFIG.pack(self.offset, self.size, self.flags) + self.data


class Inflight(NamedTuple):
    """[Inflight description]: the buffer that outlives the back end, for `num_queues` rings of `queue_size`."""

    mmap_size: int
    mmap_offset: int
    num_queues: int
    queue_size: int

    @classmethod
    def parse(cls, message: Message) -> Self:
        """Raises `RefusedError` for a payload of another size."""
        message.expect_size(*_INFLIGHT_SIZES)
        return cls(*_INFLIGHT.unpack_from(message.payload))

    def pack(self, size: int = _INFLIGHT_SIZES[-1]) -> bytes:
        """The payload, padded with zeros to `size` bytes: an answer is as long as its question."""
        return _INFLIGHT.pack(*self).ljust(size, b"\0")


class Parser:
    """Messages out of a stream.

    Descriptors travel beside the bytes. The kernel hands them over with the bytes they were sent with and never
    joins two messages that both carry some, so those that come with a chunk belong to the message that begins last
    in it, or to the one under way if none begins. Who reads exactly `wanted` bytes at a time need not think of it.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._descriptors: list[Descriptor] = []

    @property
    def wanted(self) -> int:
        """Bytes missing from the header, or, once it is there, from the message; more than 0."""
        missing = HEADER.size - len(self._buffer)
        if missing > 0:
            return missing
        return HEADER.size + self._payload_size() - len(self._buffer)

    def feed(self, data: bytes, descriptors: Sequence[Descriptor] = ()) -> Iterator[Message]:
        """The messages that `data` completes, in order; the caller takes them all before it feeds more.

        Raises:
            MessageError: a header of another protocol version or of an impossible size, a reply, or more descriptors
                than a message may carry. The messages before it have been given.
        """
        self._buffer += data
        while len(self._buffer) >= HEADER.size:
            end = HEADER.size + self._payload_size()
            if len(self._buffer) < end:
                break
            if len(self._buffer) == end:
                self._collect(descriptors)
                descriptors = ()
            yield self._cut(end)
        self._collect(descriptors)

    def end(self) -> None:
        """The stream is over; raises `MessageError` if that is in the middle of a message."""
        if self._buffer:
            raise MessageError(f"the connection ended {self.wanted} bytes before the end of a message")

    def _payload_size(self) -> int:
        request, flags, size = HEADER.unpack_from(self._buffer)
        if flags & VERSION_MASK != VERSION:
            raise MessageError(f"a message of protocol version {flags & VERSION_MASK} instead of {VERSION}")
        if flags & REPLY:
            raise MessageError(f"a reply to request {request}, which was never made")
        if size > MAX_PAYLOAD:
            raise MessageError(f"a message with a payload of {size} bytes, more than {MAX_PAYLOAD}")
        return int(size)

    def _cut(self, end: int) -> Message:
        request, flags, _ = HEADER.unpack_from(self._buffer)
        message = Message(request, flags, bytes(self._buffer[HEADER.size : end]), tuple(self._descriptors))
        del self._buffer[:end]
        self._descriptors = []
        return message

    def _collect(self, descriptors: Sequence[Descriptor]) -> None:
        self._descriptors += descriptors
        if len(self._descriptors) > MAX_DESCRIPTORS:
            raise MessageError(f"a message with {len(self._descriptors)} descriptors, more than {MAX_DESCRIPTORS}")
