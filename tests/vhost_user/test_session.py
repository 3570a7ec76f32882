"""Every message in every state: what follows, or that nothing does."""

from __future__ import annotations

import os
import struct

import pytest

from qemu_viso.vhost_user.block import FEATURES
from qemu_viso.vhost_user.descriptors import Descriptor
from qemu_viso.vhost_user.messages import (
    PROTOCOL_FEATURES_BIT,
    MemoryRegion,
    Message,
    ProtocolFeature,
    RefusedError,
    Request,
    VringState,
    encode,
    encode_u64,
)
from qemu_viso.vhost_user.session import PROTOCOL_FEATURES, MapMemory, Reply, Session, StopRing

R = Request
REGION = MemoryRegion(0x1000, 4096, 0x1000, 0)
ADDRESS = struct.pack("=IIQQQQ", 0, 0, 0x1000, 0x1800, 0x1400, 0)
INFLIGHT = struct.pack("=QQHHI", 4096, 0, 1, 8, 0)
CONFIG = struct.pack("=III", 0, 4, 0) + bytes(4)

# A well-formed payload for each request, and how many events come with it.
SAMPLES: dict[int, tuple[bytes, int]] = {
    R.SET_FEATURES: (encode_u64(FEATURES | PROTOCOL_FEATURES_BIT), 0),
    R.SET_PROTOCOL_FEATURES: (encode_u64(PROTOCOL_FEATURES), 0),
    R.SET_MEM_TABLE: (MemoryRegion.pack_table([REGION]), 1),
    R.SET_LOG_BASE: (struct.pack("=QQ", 4096, 0), 1),
    R.SET_LOG_FD: (b"", 1),
    R.SET_VRING_NUM: (VringState(0, 8).pack(), 0),
    R.SET_VRING_ADDR: (ADDRESS, 0),
    R.SET_VRING_BASE: (VringState(0, 5).pack(), 0),
    R.GET_VRING_BASE: (VringState(0, 0).pack(), 0),
    R.SET_VRING_KICK: (encode_u64(0), 1),
    R.SET_VRING_CALL: (encode_u64(0), 1),
    R.SET_VRING_ERR: (encode_u64(0), 1),
    R.SET_VRING_ENABLE: (VringState(0, 1).pack(), 0),
    R.GET_CONFIG: (CONFIG, 0),
    R.SET_CONFIG: (CONFIG, 0),
    R.GET_INFLIGHT_FD: (INFLIGHT, 0),
    R.SET_INFLIGHT_FD: (INFLIGHT, 1),
    R.ADD_MEM_REG: (MemoryRegion(0x8000, 4096, 0x8000, 0).pack_single(), 1),
    R.REM_MEM_REG: (REGION.pack_single(), 0),
}

NO = "refused"
STATES = ("new", "negotiated", "ready", "running")
"""new: just connected. negotiated: features agreed upon. ready: memory, and a ring that only waits for its kick and
its enabling. running: the ring runs."""

EXPECTED: dict[int, tuple[str, str, str, str]] = {
    R.GET_FEATURES: ("Reply",) * 4,
    R.SET_FEATURES: ("",) * 4,
    R.SET_OWNER: ("",) * 4,
    R.RESET_OWNER: ("", "", "", "StopRing"),
    R.SET_MEM_TABLE: ("MapMemory", "MapMemory", "MapMemory", "MapMemory StopRing StartRing"),
    R.SET_VRING_NUM: ("", "", "", NO),
    R.SET_VRING_ADDR: (NO, NO, "", NO),
    R.SET_VRING_BASE: ("", "", "", NO),
    R.GET_VRING_BASE: ("ReplyBase", "ReplyBase", "ReplyBase", "StopRing ReplyBase"),
    R.SET_VRING_KICK: (NO, NO, "", "StopRing StartRing"),
    R.SET_VRING_CALL: ("", "", "", "StopRing StartRing"),
    R.SET_VRING_ERR: ("", "", "", "StopRing StartRing"),
    R.GET_PROTOCOL_FEATURES: ("Reply",) * 4,
    R.SET_PROTOCOL_FEATURES: ("",) * 4,
    R.GET_QUEUE_NUM: ("Reply",) * 4,
    R.SET_VRING_ENABLE: (NO, "", "", ""),
    R.GET_CONFIG: (NO, "Reply", "Reply", "Reply"),
    R.GET_INFLIGHT_FD: (NO, "ShareInflight", "ShareInflight", "ShareInflight"),
    R.SET_INFLIGHT_FD: (NO, "UseInflight", "UseInflight", "UseInflight StopRing StartRing"),
    R.RESET_DEVICE: (NO, "", "", "StopRing"),
    R.GET_MAX_MEM_SLOTS: (NO, "Reply", "Reply", "Reply"),
    R.ADD_MEM_REG: (NO, "MapMemory", "MapMemory", "MapMemory StopRing StartRing"),
    R.REM_MEM_REG: (NO, NO, "MapMemory", "MapMemory StopRing StartRing"),
}
"""The names of the actions, in order. A request that is not here is refused in every state."""


def message(request: int, payload: bytes | None = None, events: int | None = None, flags: int = 1) -> Message:
    sample, number = SAMPLES.get(request, (b"", 0))
    count = number if events is None else events
    descriptors = tuple(Descriptor(os.eventfd(0)) for _ in range(count))
    return Message(request, flags, sample if payload is None else payload, descriptors)


def session_in(state: str) -> Session:
    session = Session(FEATURES, b"config")
    stages = {
        "negotiated": (R.SET_PROTOCOL_FEATURES, R.SET_FEATURES),
        "ready": (R.SET_MEM_TABLE, R.SET_VRING_NUM, R.SET_VRING_BASE, R.SET_VRING_ADDR),
        "running": (R.SET_VRING_KICK, R.SET_VRING_ENABLE),
    }
    for stage in STATES[1 : STATES.index(state) + 1]:
        for request in stages[stage]:
            for action in session.handle(message(request)):
                if isinstance(action, MapMemory):
                    session.regions = action.regions
    assert session.ring(0).running == (state == "running")
    return session


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("request_", [0, *R, 44, 2**32 - 1])
def test_every_message_in_every_state(request_: int, state: str) -> None:
    expected = EXPECTED.get(request_, (NO,) * 4)[STATES.index(state)]
    session = session_in(state)
    before = (session.features, session.protocol_features, session.regions, dict(session._rings))
    if expected == NO:
        with pytest.raises(RefusedError):
            session.handle(message(request_))
        assert before == (session.features, session.protocol_features, session.regions, session._rings)
    else:
        actions = session.handle(message(request_))
        assert " ".join(type(action).__name__ for action in actions) == expected


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("request_", R)
@pytest.mark.parametrize("what", ["longer", "shorter", "descriptors"])
def test_malformed_messages_are_refused(request_: Request, state: str, what: str) -> None:
    payload, events = SAMPLES.get(request_, (b"", 0))
    if what == "shorter" and not payload:
        return
    if what == "descriptors":
        bad = message(request_, events=events + 1 + (request_ == R.REM_MEM_REG))  # which may have one
    else:
        bad = message(request_, payload + b"\0" if what == "longer" else payload[:-1])
    session = session_in(state)
    with pytest.raises(RefusedError):
        session.handle(bad)


def test_acknowledgements() -> None:
    session = session_in("new")
    asking = message(R.SET_OWNER, flags=9)
    assert session.acknowledge(asking) is None  # not agreed upon yet
    assert session.refuse(asking) is None
    session = session_in("negotiated")
    assert session.acknowledge(message(R.SET_OWNER)) is None
    assert session.acknowledge(asking) == encode(R.SET_OWNER, encode_u64(0), 4)
    assert session.refuse(asking) == encode(R.SET_OWNER, encode_u64(1), 4)
    for request in EXPECTED:
        answered = request.name.startswith("GET_") if isinstance(request, Request) else False
        assert (session.acknowledge(message(request, flags=9)) is None) == answered
    assert session.refuse(message(R.GET_FEATURES, flags=9)) is None
    assert session.refuse(message(R.GET_CONFIG, flags=1)) == encode(R.GET_CONFIG, b"", 4)


def test_nothing_that_logs_is_offered() -> None:
    session = session_in("new")
    [reply] = session.handle(message(R.GET_FEATURES))
    assert isinstance(reply, Reply)
    features = int.from_bytes(reply.data[12:], "little")
    assert not features & 1 << 26
    assert features & 1 << 5  # read-only
    assert not PROTOCOL_FEATURES & ProtocolFeature.LOG_SHMFD


def test_a_ring_that_was_reset_is_forgotten() -> None:
    session = session_in("running")
    [stop] = session.handle(message(R.RESET_DEVICE))
    assert stop == StopRing(0, retire=True)
    session.ring_stopped(0, 77)
    assert session.ring(0).base == 0
    with pytest.raises(RefusedError):
        session.handle(message(R.SET_VRING_KICK))


def test_a_ring_that_was_stopped_goes_on_where_it_was() -> None:
    session = session_in("running")
    session.handle(message(R.SET_VRING_ENABLE, VringState(0, 0).pack()))
    session.ring_stopped(0, 77)
    assert session.ring(0).base == 77
    assert not session.ring(0).running
    session.handle(message(R.SET_VRING_ENABLE))
    assert session.ring(0).running
    session.handle(message(R.GET_VRING_BASE))
    session.ring_stopped(0, 80)
    assert session.base_reply(0) == encode(R.GET_VRING_BASE, VringState(0, 80).pack(), 4)
    assert session.ring(0).kick is None
    assert not session.ring(0).kicked


def test_memory_slots_run_out() -> None:
    session = session_in("negotiated")
    for number in range(64):
        region = MemoryRegion(number << 20, 4096, number << 20, 0)
        [action] = session.handle(message(R.ADD_MEM_REG, region.pack_single()))
        assert isinstance(action, MapMemory)
        session.regions = action.regions
    with pytest.raises(RefusedError, match="there are 64 memory regions already"):
        session.handle(message(R.ADD_MEM_REG, MemoryRegion(1 << 40, 4096, 1 << 40, 0).pack_single()))
