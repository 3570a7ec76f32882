"""What one front end has negotiated and set up, and what follows from its next message.

A `Session` does no I/O. `handle` takes a message and gives actions, to be carried out in order by who owns sockets,
memory and threads; then `acknowledge` or `refuse` gives the answer that the message still wants.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from qemu_viso.vhost_user.descriptors import Event
from qemu_viso.vhost_user.inflight import part_size, record_size
from qemu_viso.vhost_user.memory import check_regions
from qemu_viso.vhost_user.messages import (
    NO_DESCRIPTOR,
    PROTOCOL_FEATURES_BIT,
    REPLY,
    ConfigAccess,
    Inflight,
    MemoryRegion,
    ProtocolFeature,
    RefusedError,
    Request,
    VringAddress,
    VringState,
    encode,
    encode_u64,
)
from qemu_viso.vhost_user.virtqueue import MAX_QUEUE_SIZE, RingLayout

if TYPE_CHECKING:
    from collections.abc import Callable

    from qemu_viso.vhost_user.descriptors import Descriptor
    from qemu_viso.vhost_user.messages import Message

PROTOCOL_FEATURES = (
    ProtocolFeature.MQ
    | ProtocolFeature.REPLY_ACK
    | ProtocolFeature.CONFIG
    | ProtocolFeature.INFLIGHT_SHMFD
    | ProtocolFeature.RESET_DEVICE
    | ProtocolFeature.CONFIGURE_MEM_SLOTS
)
"""Those offered. Logging (LOG_SHMFD) is not, as nothing here keeps a log of dirty pages; STATUS is not, as a block
device learns nothing from it that the rings do not say."""

MAX_QUEUES = 256
"""Rings that messages can name: the index in SET_VRING_KICK has 8 bits. QEMU asks for one a CPU of the guest."""

MAX_MEMORY_SLOTS = 64
"""Regions that ADD_MEM_REG may add up to; each costs two open files."""

_ADDRESS_ALIGNMENTS = (("descriptor table", 16), ("available ring", 2), ("used ring", 4))
"""VIRTIO 1.2, 2.7."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Send this message."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ReplyBase:
    """Send the answer to GET_VRING_BASE, which `Session.base_reply` gives once the ring has stopped."""

    index: int


@dataclass(frozen=True, slots=True)
class ShareInflight:
    """Make a buffer of `size` bytes, all zeros, and send its descriptor with this message."""

    size: int
    data: bytes


@dataclass(frozen=True, slots=True)
class UseInflight:
    """Map the buffer in which rings that start from now on keep record of requests under way."""

    inflight: Inflight
    descriptor: Descriptor


@dataclass(frozen=True, slots=True)
class MapMemory:
    """Map these regions: they are the guest's memory for rings that start from now on, and `Session.regions`."""

    regions: tuple[tuple[MemoryRegion, Descriptor], ...]


@dataclass(frozen=True, slots=True)
class StartRing:
    """Begin to process a ring, set up as `Session.ring` says."""

    index: int


@dataclass(frozen=True, slots=True)
class StopRing:
    """Finish what is under way on a ring, stop, and tell `Session.ring_stopped` where.

    With `retire`, the front end has taken the ring back: nothing of it may stay in the record of requests under way.
    """

    index: int
    retire: bool = False


Action = Reply | ReplyBase | ShareInflight | UseInflight | MapMemory | StartRing | StopRing


@dataclass(frozen=True, slots=True)
class Ring:
    """All that the front end has said of one ring.

    Attributes:
        size: entries; 0 before SET_VRING_NUM.
        layout: where it lies; None before SET_VRING_ADDR.
        base: the index of the available ring at which to go on.
        kicked: whether SET_VRING_KICK has come, with or without an event.
        enabled: SET_VRING_ENABLE; without VHOST_USER_F_PROTOCOL_FEATURES, rings need not be enabled.
        running: whether it has been started and not stopped.
    """

    size: int = 0
    layout: RingLayout | None = None
    base: int = 0
    kick: Event | None = None
    call: Event | None = None
    error: Event | None = None
    kicked: bool = False
    enabled: bool = False
    running: bool = False


class Session:
    """The protocol's state for one connection.

    Args:
        device_features: the virtio features of the device.
        config: its configuration space; what lies behind reads as zeros.

    Attributes:
        features: the virtio features that the front end accepted, and VHOST_USER_F_PROTOCOL_FEATURES.
        protocol_features: those it accepted.
        regions: the guest's memory, as it was mapped last.
    """

    def __init__(self, device_features: int, config: bytes) -> None:
        self._device_features = device_features
        self._config = config
        self.features = 0
        self.protocol_features = ProtocolFeature(0)
        self._rings: dict[int, Ring] = {}
        self.regions: tuple[tuple[MemoryRegion, Descriptor], ...] = ()

    def handle(self, message: Message) -> list[Action]:
        """What to do about a message.

        Raises:
            RefusedError: nothing, for it is wrong, or of a feature that was not agreed upon; nothing has changed.
        """
        handler = _HANDLERS.get(message.request)
        if handler is None:
            raise RefusedError(f"{message.name} is not supported")
        return handler(self, message)

    def acknowledge(self, message: Message) -> bytes | None:
        """The answer to a message that worked and has no reply of its own; None if none is wanted [REPLY_ACK]."""
        if message.request in _ANSWERED or not self._wants_answer(message):
            return None
        return encode(message.request, encode_u64(0), REPLY)

    def refuse(self, message: Message) -> bytes | None:
        """The answer to a message that was refused, or None if there is no way to say so but to hang up."""
        if message.request == Request.GET_CONFIG and ProtocolFeature.CONFIG in self.protocol_features:
            return encode(message.request, b"", REPLY)
        if message.request in _ANSWERED or not self._wants_answer(message):
            return None
        return encode(message.request, encode_u64(1), REPLY)

    def _wants_answer(self, message: Message) -> bool:
        return message.needs_reply and ProtocolFeature.REPLY_ACK in self.protocol_features

    def ring(self, index: int) -> Ring:
        """A ring as it has been set up so far."""
        return self._rings.get(index) or Ring()

    def ring_stopped(self, index: int, base: int) -> None:
        """A ring was stopped, and goes on at `base` when it is started again."""
        if index in self._rings:
            self._update(index, base=base)

    def base_reply(self, index: int) -> bytes:
        """The answer to GET_VRING_BASE."""
        return encode(Request.GET_VRING_BASE, VringState(index, self.ring(index).base).pack(), REPLY)

    # Features

    def _get_features(self, message: Message) -> list[Action]:
        _expect_nothing(message)
        return [_reply_u64(message, self._device_features | PROTOCOL_FEATURES_BIT)]

    def _set_features(self, message: Message) -> list[Action]:
        message.expect_descriptors(0)
        features = message.u64()
        unknown = features & ~(self._device_features | PROTOCOL_FEATURES_BIT)
        if unknown:
            raise RefusedError(f"the features {unknown:#x} were not offered")
        self.features = features
        return []

    def _get_protocol_features(self, message: Message) -> list[Action]:
        _expect_nothing(message)
        return [_reply_u64(message, PROTOCOL_FEATURES)]

    def _set_protocol_features(self, message: Message) -> list[Action]:
        message.expect_descriptors(0)
        features = message.u64()
        if features & ~PROTOCOL_FEATURES:
            raise RefusedError(f"the protocol features {features & ~PROTOCOL_FEATURES:#x} were not offered")
        self.protocol_features = ProtocolFeature(features)
        return []

    def _need(self, message: Message, feature: ProtocolFeature) -> None:
        if feature not in self.protocol_features:
            raise RefusedError(f"{message.name} needs the protocol feature {feature.name}, which was not agreed upon")

    def _get_queue_num(self, message: Message) -> list[Action]:
        _expect_nothing(message)
        return [_reply_u64(message, MAX_QUEUES)]

    def _get_config(self, message: Message) -> list[Action]:
        self._need(message, ProtocolFeature.CONFIG)
        message.expect_descriptors(0)
        access = ConfigAccess.parse(message)
        data = self._config[access.offset : access.offset + access.size].ljust(access.size, b"\0")
        return [Reply(encode(message.request, access._replace(data=data).pack(), REPLY))]

    def _set_config(self, message: Message) -> list[Action]:
        self._need(message, ProtocolFeature.CONFIG)
        raise RefusedError("the configuration space is read-only")

    # The session as a whole

    def _set_owner(self, message: Message) -> list[Action]:
        _expect_nothing(message)
        return []

    def _reset_owner(self, message: Message) -> list[Action]:
        """Deprecated; the text lets a back end disable all rings."""
        _expect_nothing(message)
        actions = self._stop_all(retire=True)
        for index in self._rings:
            self._update(index, enabled=False)
        return actions

    def _reset_device(self, message: Message) -> list[Action]:
        self._need(message, ProtocolFeature.RESET_DEVICE)
        _expect_nothing(message)
        actions = self._stop_all(retire=True)
        self._rings = {}
        return actions

    # Memory

    def _set_mem_table(self, message: Message) -> list[Action]:
        regions = MemoryRegion.parse_table(message)
        message.expect_descriptors(len(regions))
        return self._map(tuple(zip(regions, message.descriptors, strict=True)))

    def _get_max_mem_slots(self, message: Message) -> list[Action]:
        self._need(message, ProtocolFeature.CONFIGURE_MEM_SLOTS)
        _expect_nothing(message)
        return [_reply_u64(message, MAX_MEMORY_SLOTS)]

    def _add_mem_reg(self, message: Message) -> list[Action]:
        self._need(message, ProtocolFeature.CONFIGURE_MEM_SLOTS)
        region = MemoryRegion.parse_single(message)
        if len(self.regions) >= MAX_MEMORY_SLOTS:
            raise RefusedError(f"there are {MAX_MEMORY_SLOTS} memory regions already")
        return self._map((*self.regions, (region, message.one_descriptor())))

    def _rem_mem_reg(self, message: Message) -> list[Action]:
        self._need(message, ProtocolFeature.CONFIGURE_MEM_SLOTS)
        wanted = MemoryRegion.parse_single(message)
        if message.descriptors:  # some front ends send one; it is closed unused
            message.expect_descriptors(1)
        left = tuple(pair for pair in self.regions if pair[0][:3] != wanted[:3])  # the offset does not count
        if len(left) == len(self.regions):
            raise RefusedError(f"there is no memory region at the guest address {wanted.guest_address:#x}")
        return self._map(left)

    def _map(self, regions: tuple[tuple[MemoryRegion, Descriptor], ...]) -> list[Action]:
        check_regions([region for region, _ in regions])
        return self._renew(MapMemory(regions))

    # Requests under way

    def _get_inflight_fd(self, message: Message) -> list[Action]:
        self._need(message, ProtocolFeature.INFLIGHT_SHMFD)
        message.expect_descriptors(0)
        wanted = _checked(Inflight.parse(message))
        size = record_size(wanted.num_queues, wanted.queue_size)
        answer = wanted._replace(mmap_size=size, mmap_offset=0).pack(len(message.payload))
        return [ShareInflight(size, encode(message.request, answer, REPLY))]

    def _set_inflight_fd(self, message: Message) -> list[Action]:
        self._need(message, ProtocolFeature.INFLIGHT_SHMFD)
        inflight = _checked(Inflight.parse(message))
        if inflight.mmap_size < inflight.num_queues * part_size(inflight.queue_size):
            raise RefusedError(f"a buffer of {inflight.mmap_size} bytes is too small for the record of {inflight}")
        return self._renew(UseInflight(inflight, message.one_descriptor()))

    # Rings

    def _set_vring_num(self, message: Message) -> list[Action]:
        index, size = self._state(message)
        self._expect_still(index, message)
        if not 0 < size <= MAX_QUEUE_SIZE or size & (size - 1):
            raise RefusedError(f"a ring cannot have {size} entries")
        self._update(index, size=size, layout=None)
        return []

    def _set_vring_addr(self, message: Message) -> list[Action]:
        message.expect_descriptors(0)
        address = VringAddress.parse(message)
        index = _index(address.ring)
        self._expect_still(index, message)
        if address.flags:
            raise RefusedError(f"ring {index} is to be logged, which was not offered")
        places = (address.descriptors, address.available, address.used)
        for (what, alignment), place in zip(_ADDRESS_ALIGNMENTS, places, strict=True):
            if place % alignment:
                raise RefusedError(f"the {what} of ring {index} is not aligned to {alignment} bytes")
        size = self.ring(index).size
        if not size:
            raise RefusedError(f"{message.name} comes before the size of ring {index}")
        self._update(index, layout=RingLayout(size, *places))
        return []

    def _set_vring_base(self, message: Message) -> list[Action]:
        index, base = self._state(message)
        self._expect_still(index, message)
        if base > 0xFFFF:
            raise RefusedError(f"ring {index} cannot go on at {base:#x}")
        self._update(index, base=base)
        return []

    def _get_vring_base(self, message: Message) -> list[Action]:
        index, _ = self._state(message)
        actions = self._stop(index, retire=True)
        self._update(index, kick=None, call=None, kicked=False)  # they come anew before the next start
        return [*actions, ReplyBase(index)]

    def _set_vring_kick(self, message: Message) -> list[Action]:
        index, event = self._event(message)
        ring = self.ring(index)
        if ring.layout is None:
            raise RefusedError(f"{message.name} comes before the addresses of ring {index}")
        actions = self._stop(index)
        self._update(index, kick=event, kicked=True)
        return [*actions, *self._start(index)]

    def _set_vring_call(self, message: Message) -> list[Action]:
        index, event = self._event(message)
        actions = self._stop(index)
        self._update(index, call=event)
        return [*actions, *self._start(index)]

    def _set_vring_err(self, message: Message) -> list[Action]:
        index, event = self._event(message)
        actions = self._stop(index)
        self._update(index, error=event)
        return [*actions, *self._start(index)]

    def _set_vring_enable(self, message: Message) -> list[Action]:
        if not self.features & PROTOCOL_FEATURES_BIT:
            raise RefusedError(f"{message.name} needs VHOST_USER_F_PROTOCOL_FEATURES, which was not agreed upon")
        index, enable = self._state(message)
        if enable > 1:
            raise RefusedError(f"a ring cannot be enabled with {enable}")
        actions = self._stop(index) if not enable else []
        self._update(index, enabled=bool(enable))
        return [*actions, *self._start(index)]

    def _state(self, message: Message) -> VringState:
        message.expect_descriptors(0)
        state = VringState.parse(message)
        _index(state.ring)
        return state

    def _event(self, message: Message) -> tuple[int, Event | None]:
        value = message.u64()
        if value & ~(NO_DESCRIPTOR | 0xFF):
            raise RefusedError(f"{message.name} has unknown flags in {value:#x}")
        if value & NO_DESCRIPTOR:
            message.expect_descriptors(0)
            return value & 0xFF, None
        return value & 0xFF, Event(message.one_descriptor())

    def _expect_still(self, index: int, message: Message) -> None:
        if self.ring(index).running:
            raise RefusedError(f"{message.name} comes while ring {index} is running")

    def _update(self, index: int, **changes: object) -> None:
        self._rings[index] = replace(self.ring(index), **changes)  # type: ignore[arg-type]

    def _start(self, index: int) -> list[Action]:
        """Start a ring if all it needs is there [Ring states]."""
        ring = self.ring(index)
        enabled = ring.enabled or not self.features & PROTOCOL_FEATURES_BIT
        if ring.running or not ring.kicked or not enabled or ring.layout is None:
            return []
        self._update(index, running=True)
        return [StartRing(index)]

    def _stop(self, index: int, *, retire: bool = False) -> list[Action]:
        if not self.ring(index).running:
            return []
        self._update(index, running=False)
        return [StopRing(index, retire)]

    def _stop_all(self, *, retire: bool = False) -> list[Action]:
        return [action for index in self._rings for action in self._stop(index, retire=retire)]

    def _renew(self, change: Action) -> list[Action]:
        """Change what rings are made of, if that works, and start those that run anew."""
        stops = self._stop_all()
        return [change, *stops, *(start for index in self._rings for start in self._start(index))]


def _expect_nothing(message: Message) -> None:
    message.expect_descriptors(0)
    message.expect_size(0)


def _reply_u64(message: Message, value: int) -> Reply:
    return Reply(encode(message.request, encode_u64(value), REPLY))


def _index(index: int) -> int:
    if index >= MAX_QUEUES:
        raise RefusedError(f"there is no ring {index}")
    return index


def _checked(inflight: Inflight) -> Inflight:
    if not 0 < inflight.num_queues <= MAX_QUEUES or not 0 < inflight.queue_size <= MAX_QUEUE_SIZE:
        raise RefusedError(f"there cannot be {inflight.num_queues} rings of {inflight.queue_size} entries")
    return inflight


_ANSWERED = frozenset(
    {
        Request.GET_FEATURES,
        Request.GET_PROTOCOL_FEATURES,
        Request.GET_QUEUE_NUM,
        Request.GET_CONFIG,
        Request.GET_VRING_BASE,
        Request.GET_MAX_MEM_SLOTS,
        Request.GET_INFLIGHT_FD,
    }
)
"""Requests with a reply of their own."""

_HANDLERS: dict[int, Callable[[Session, Message], list[Action]]] = {
    Request.GET_FEATURES: Session._get_features,
    Request.SET_FEATURES: Session._set_features,
    Request.GET_PROTOCOL_FEATURES: Session._get_protocol_features,
    Request.SET_PROTOCOL_FEATURES: Session._set_protocol_features,
    Request.GET_QUEUE_NUM: Session._get_queue_num,
    Request.GET_CONFIG: Session._get_config,
    Request.SET_CONFIG: Session._set_config,
    Request.SET_OWNER: Session._set_owner,
    Request.RESET_OWNER: Session._reset_owner,
    Request.RESET_DEVICE: Session._reset_device,
    Request.SET_MEM_TABLE: Session._set_mem_table,
    Request.GET_MAX_MEM_SLOTS: Session._get_max_mem_slots,
    Request.ADD_MEM_REG: Session._add_mem_reg,
    Request.REM_MEM_REG: Session._rem_mem_reg,
    Request.GET_INFLIGHT_FD: Session._get_inflight_fd,
    Request.SET_INFLIGHT_FD: Session._set_inflight_fd,
    Request.SET_VRING_NUM: Session._set_vring_num,
    Request.SET_VRING_ADDR: Session._set_vring_addr,
    Request.SET_VRING_BASE: Session._set_vring_base,
    Request.GET_VRING_BASE: Session._get_vring_base,
    Request.SET_VRING_KICK: Session._set_vring_kick,
    Request.SET_VRING_CALL: Session._set_vring_call,
    Request.SET_VRING_ERR: Session._set_vring_err,
    Request.SET_VRING_ENABLE: Session._set_vring_enable,
}
