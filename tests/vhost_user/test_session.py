"""Every message in every state, whole, byte by byte and with trailing data: what follows, or that nothing does."""

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
    MessageError,
    Parser,
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
STATES = ("new", "agreed", "ready", "running", "disabled", "stopped", "recorded", "old")
"""new: just connected. agreed: features were. ready: memory, and a ring that only waits for its kick and its enabling.
running: the ring runs. disabled: it did, and was disabled. stopped: it did, and was taken back. recorded: it runs, with
a record of requests under way. old: it runs, and the front end knows nothing of protocol features."""

_AGREE: list[tuple[int, bytes | None]] = [(R.SET_PROTOCOL_FEATURES, None), (R.SET_FEATURES, None)]
_PREPARE = [(R.SET_MEM_TABLE, None), (R.SET_VRING_NUM, None), (R.SET_VRING_BASE, None), (R.SET_VRING_ADDR, None)]
_READY = _AGREE + _PREPARE
_RUN = [*_READY, (R.SET_VRING_KICK, None), (R.SET_VRING_ENABLE, None)]
WAYS: dict[str, list[tuple[int, bytes | None]]] = {
    "new": [],
    "agreed": _AGREE,
    "ready": _READY,
    "running": _RUN,
    "disabled": [*_RUN, (R.SET_VRING_ENABLE, VringState(0, 0).pack())],
    "stopped": [*_RUN, (R.GET_VRING_BASE, None)],
    "recorded": [*_READY, (R.SET_INFLIGHT_FD, None), *_RUN[-2:]],
    "old": [(R.SET_FEATURES, encode_u64(FEATURES)), *_PREPARE, (R.SET_VRING_KICK, None)],
}
"""The messages that lead to each state."""

RUNS = {"running", "recorded", "old"}
AGREED = set(STATES) - {"new", "old"}
AGAIN = "StopRing StartRing"


def expected(
    otherwise: str, *, new: str | None = None, old: str | None = None, runs: str | None = None, **states: str
) -> dict[str, str]:
    """The names of the actions in each state: of all, of those in which a ring runs, of single ones."""
    found = dict.fromkeys(STATES, otherwise)
    if runs is not None:
        found |= dict.fromkeys(RUNS, runs)
    own = {"new": new, "old": old} | states
    return found | {state: actions for state, actions in own.items() if actions is not None}


EVERYWHERE, NOTHING = expected("Reply"), expected("")
FEATURE = expected("Reply", new=NO, old=NO)
EXPECTED: dict[int, dict[str, str]] = {
    R.GET_FEATURES: EVERYWHERE,
    R.SET_FEATURES: NOTHING,
    R.SET_OWNER: NOTHING,
    R.RESET_OWNER: expected("", runs="StopRing"),
    R.SET_MEM_TABLE: expected("MapMemory", runs=f"MapMemory {AGAIN}"),
    R.SET_VRING_NUM: expected("", runs=NO),
    R.SET_VRING_ADDR: expected("", new=NO, agreed=NO, runs=NO),
    R.SET_VRING_BASE: expected("", runs=NO),
    R.GET_VRING_BASE: expected("ReplyBase", runs="StopRing ReplyBase"),
    R.SET_VRING_KICK: expected("", new=NO, agreed=NO, stopped="StartRing", runs=AGAIN),
    R.SET_VRING_CALL: expected("", runs=AGAIN),
    R.SET_VRING_ERR: expected("", runs=AGAIN),
    R.GET_PROTOCOL_FEATURES: EVERYWHERE,
    R.SET_PROTOCOL_FEATURES: NOTHING,
    R.GET_QUEUE_NUM: EVERYWHERE,
    R.SET_VRING_ENABLE: expected("", new=NO, old=NO, disabled="StartRing"),
    R.GET_CONFIG: FEATURE,
    R.GET_INFLIGHT_FD: expected("ShareInflight", new=NO, old=NO),
    R.SET_INFLIGHT_FD: expected("UseInflight", new=NO, old=NO, runs=f"UseInflight {AGAIN}"),
    R.RESET_DEVICE: expected("", new=NO, old=NO, runs="StopRing"),
    R.GET_MAX_MEM_SLOTS: FEATURE,
    R.ADD_MEM_REG: expected("MapMemory", new=NO, old=NO, runs=f"MapMemory {AGAIN}"),
    R.REM_MEM_REG: expected("MapMemory", new=NO, old=NO, agreed=NO, runs=f"MapMemory {AGAIN}"),
}
"""A request that is not here is refused in every state."""


def message(request: int, payload: bytes | None = None, events: int | None = None, flags: int = 1) -> Message:
    sample, number = SAMPLES.get(request, (b"", 0))
    count = number if events is None else events
    return Message(request, flags, sample if payload is None else payload, descriptors(count))


def descriptors(count: int) -> tuple[Descriptor, ...]:
    return tuple(Descriptor(os.eventfd(0)) for _ in range(count))


def session_in(state: str) -> Session:
    session = Session(FEATURES, b"config")
    for request, payload in WAYS[state]:
        for action in session.handle(message(request, payload)):
            if isinstance(action, MapMemory):
                session.regions = action.regions
    assert session.ring(0).running == (state in RUNS)
    return session


def snapshot(session: Session) -> object:
    return session.features, session.protocol_features, session.regions, dict(session._rings)


def heard(session: Session, chunks: list[tuple[bytes, int]]) -> list[tuple[str, bytes | None]]:
    """What follows from each message of a stream, and what answer it gets beside that; chunks with their events."""
    parser, said = Parser(), []
    for chunk, count in chunks:
        for each in parser.feed(chunk, descriptors(count)):
            try:
                actions = session.handle(each)
            except RefusedError:
                said.append((NO, session.refuse(each)))
            else:
                said.append((" ".join(type(action).__name__ for action in actions), session.acknowledge(each)))
    return said


def three_ways(data: bytes, events: int) -> list[list[tuple[bytes, int]]]:
    """Whole, byte by byte, and with the beginning of another message behind it, which ends in a chunk of its own.

    Events arrive with the first byte of theirs; the kernel ends a chunk behind bytes that have some.
    """
    behind, rest = ASKING[:5], ASKING[5:]
    trailing = [(data, events), (behind, 0)] if events else [(data + behind, 0)]
    bytewise = [(bytes([byte]), events * (at == 0)) for at, byte in enumerate(data)]
    return [[(data, events), (ASKING, 0)], [*bytewise, (ASKING, 0)], [*trailing, (rest, 0)]]


ASKING = struct.pack("=III", R.GET_QUEUE_NUM, 1, 0)
ASKED = ("Reply", None)


def answer(request: int, state: str, outcome: str) -> bytes | None:
    """What a message that wants to know gets told, in bytes [REPLY_ACK]; questions have answers of their own."""
    agreed = state in AGREED or (request == R.SET_PROTOCOL_FEATURES and outcome != NO)
    if request == R.GET_CONFIG and outcome == NO and agreed:
        return struct.pack("=III", request, 5, 0)  # "the back end replies with an empty payload"
    question = request in EXPECTED and R(request).name.startswith("GET_")
    return struct.pack("=IIIQ", request, 5, 8, outcome == NO) if agreed and not question else None


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("request_", [0, *R, 44, 2**32 - 1])
def test_every_message_in_every_state(request_: int, state: str) -> None:
    outcome = EXPECTED.get(request_, {}).get(state, NO)
    payload, events = SAMPLES.get(request_, (b"", 0))
    data = struct.pack("=III", request_, 9, len(payload)) + payload
    for chunks in three_ways(data, events):
        session = session_in(state)
        before = snapshot(session)
        assert heard(session, chunks) == [(outcome, answer(request_, state, outcome)), ASKED]
        if outcome == NO:
            assert snapshot(session) == before


def u64(value: int) -> bytes:
    return struct.pack("=Q", value)


def address(**changes: int) -> bytes:
    fields = {"ring": 0, "flags": 0, "descriptors": 0x1000, "used": 0x1800, "available": 0x1400, "log": 0} | changes
    return struct.pack("=IIQQQQ", *fields.values())


REGION_AT = struct.Struct("=QQQQ")
BAD: dict[str, tuple[int, bytes, int]] = {
    # Well-formed messages with values that are refused in every state.
    "features not offered": (R.SET_FEATURES, u64(1 << 26), 0),
    "protocol features not offered": (R.SET_PROTOCOL_FEATURES, u64(1 << 1), 0),
    "a table of nine": (R.SET_MEM_TABLE, struct.pack("=II", 9, 0) + bytes(9 * 32), 8),
    "an empty region": (R.SET_MEM_TABLE, struct.pack("=II", 1, 0) + REGION_AT.pack(0x1000, 0, 0x1000, 0), 1),
    "a region that wraps": (R.SET_MEM_TABLE, struct.pack("=II", 1, 0) + REGION_AT.pack(2**64 - 4096, 8192, 0, 0), 1),
    "regions that overlap": (
        R.SET_MEM_TABLE,
        struct.pack("=II", 2, 0) + REGION_AT.pack(0, 8192, 0, 0) + REGION_AT.pack(4096, 8192, 65536, 0),
        2,
    ),
    "a region that is not there": (R.REM_MEM_REG, bytes(8) + REGION_AT.pack(0x9000, 4096, 0x9000, 0), 0),
    "a ring that is not there": (R.SET_VRING_NUM, struct.pack("=II", 256, 8), 0),
    "a ring of none": (R.SET_VRING_NUM, struct.pack("=II", 0, 0), 0),
    "a ring of three": (R.SET_VRING_NUM, struct.pack("=II", 0, 3), 0),
    "a ring of 65536": (R.SET_VRING_NUM, struct.pack("=II", 0, 65536), 0),
    "a base of 65536": (R.SET_VRING_BASE, struct.pack("=II", 0, 65536), 0),
    "a base that is not there": (R.GET_VRING_BASE, struct.pack("=II", 256, 0), 0),
    "addresses to be logged": (R.SET_VRING_ADDR, address(flags=1), 0),
    "descriptors out of line": (R.SET_VRING_ADDR, address(descriptors=0x1008), 0),
    "an available ring out of line": (R.SET_VRING_ADDR, address(available=0x1401), 0),
    "a used ring out of line": (R.SET_VRING_ADDR, address(used=0x1802), 0),
    "a kick with unknown flags": (R.SET_VRING_KICK, u64(0x200), 1),
    "a kick without its event": (R.SET_VRING_KICK, u64(0), 0),
    "a call with an event it denies": (R.SET_VRING_CALL, u64(0x100), 1),
    "an error without its event": (R.SET_VRING_ERR, u64(0), 0),
    "a ring half enabled": (R.SET_VRING_ENABLE, struct.pack("=II", 0, 2), 0),
    "configuration behind its end": (R.GET_CONFIG, struct.pack("=III", 250, 7, 0) + bytes(7), 0),
    "a record of no rings": (R.GET_INFLIGHT_FD, struct.pack("=QQHHI", 0, 0, 0, 8, 0), 0),
    "a record of 257 rings": (R.SET_INFLIGHT_FD, struct.pack("=QQHHI", 1 << 20, 0, 257, 8, 0), 1),
    "a record too small": (R.SET_INFLIGHT_FD, struct.pack("=QQHHI", 64, 0, 1, 8, 0), 1),
}


def malformed() -> dict[str, tuple[int, bytes, int]]:
    """`BAD`, and every message with a byte or a descriptor too many or too few."""
    found = dict(BAD)
    for request in EXPECTED:
        payload, events = SAMPLES.get(request, (b"", 0))
        found[f"{R(request).name}, longer"] = (request, payload + b"\0", events)
        found[f"{R(request).name}, a descriptor more"] = (request, payload, events + 1 + (request == R.REM_MEM_REG))
        if payload:
            found[f"{R(request).name}, shorter"] = (request, payload[:-1], events)
        if events:
            found[f"{R(request).name}, a descriptor less"] = (request, payload, events - 1)
    return found


MALFORMED = malformed()


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("what", MALFORMED)
def test_malformed_messages_change_nothing_in_any_state(what: str, state: str) -> None:
    request, payload, events = MALFORMED[what]
    data = struct.pack("=III", request, 9, len(payload)) + payload
    for chunks in three_ways(data, events):
        session = session_in(state)
        before = snapshot(session)
        assert heard(session, chunks) == [(NO, answer(request, state, NO)), ASKED]
        assert snapshot(session) == before


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("flags", [0, 2, 5])
def test_what_is_no_message_changes_nothing_in_any_state(flags: int, state: str) -> None:
    """Another version, or a reply: the connection ends there."""
    for chunks in three_ways(struct.pack("=III", R.RESET_OWNER, flags, 0), 0):
        session = session_in(state)
        before = snapshot(session)
        with pytest.raises(MessageError):
            heard(session, chunks)
        assert snapshot(session) == before


def test_acknowledgements() -> None:
    session = session_in("new")
    asking = message(R.SET_OWNER, flags=9)
    assert session.acknowledge(asking) is None  # not agreed upon yet
    assert session.refuse(asking) is None
    session = session_in("agreed")
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
    session = session_in("agreed")
    for number in range(64):
        region = MemoryRegion(number << 20, 4096, number << 20, 0)
        [action] = session.handle(message(R.ADD_MEM_REG, region.pack_single()))
        assert isinstance(action, MapMemory)
        session.regions = action.regions
    with pytest.raises(RefusedError, match="there are 64 memory regions already"):
        session.handle(message(R.ADD_MEM_REG, MemoryRegion(1 << 40, 4096, 1 << 40, 0).pack_single()))
