"""The handshake's core: every message in every state, fed whole, byte by byte, and with trailing data.

What must come of a pair is worked out by `step`, a model of the protocol document that shares nothing with the core.
Afterwards, a probe (`PROBES`) shows that the core is in the state in which the model is.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

import pytest

from qemu_viso.nbd.constants import Mode
from qemu_viso.nbd.handshake import Ended, Export, Handshake, Selected, StartTls, Tls
from tests.nbd.wire import OPT, REP, info_data, meta_data, name, option, split_replies

STEM, OTHER = Export("stem", 4096, "a disc"), Export("other", 8192, "")
EXPORTS = {"stem": STEM, "other": OTHER, "": STEM}
BOTH = (1, 2)
"""The ids of base:allocation and qemu-viso:origin."""
SIMPLE, STRUCTURED, EXTENDED = range(3)
TOO_MUCH = 65_537


@dataclass(frozen=True)
class State:
    """What the document lets a server remember of a client."""

    phase: str = "options"
    fixed: bool = True
    zeroes: bool = False
    tls: str = "none"  # "none", "required", "up"
    mode: int = SIMPLE
    contexts: tuple[Export, tuple[int, ...]] | None = None


@dataclass(frozen=True)
class Message:
    """Bytes, and what they ask for.

    Attributes:
        answers: the words of the replies with simple, structured and extended replies, where nothing else forbids it.
        chooses: the export with which the transmission phase begins.
        sets: the contexts of which export it asks for.
        flags: those of a client that has not sent any yet.
        fatal: its header alone ends the session.
    """

    data: bytes
    answers: tuple[str, str, str] = ("", "", "")
    chooses: Export | None = None
    sets: tuple[Export, tuple[int, ...]] | None = None
    flags: int | None = None
    fatal: bool = False

    @property
    def option(self) -> int:
        return int.from_bytes(self.data[8:12], "big")


def same(kind: str, data: bytes, answer: str, chooses: Export | None = None) -> Message:
    return Message(option(OPT[kind], data), (answer,) * 3, chooses)


def meta(kind: str, data: bytes, answer: str, sets: tuple[Export, tuple[int, ...]] | None = None) -> Message:
    """Metadata contexts need structured replies."""
    return Message(option(OPT[kind], data), ("INVALID", answer, answer), None, sets)


def sessions_flags(flags: int) -> Message:
    return Message(struct.pack(">I", flags), flags=flags)


NAMED = "INFO INFO INFO INFO ACK"
META2 = "META_CONTEXT META_CONTEXT ACK"
MESSAGES = {
    **{f"flags {flags:#x}": sessions_flags(flags) for flags in (0, 1, 2, 3, 4, 7, 0x80000003, 0xFFFFFFFF)},
    "export_name": same("export_name", b"stem", "", STEM),
    "export_name, default": same("export_name", b"", "", STEM),
    "export_name, other": same("export_name", b"other", "", OTHER),
    "export_name, unknown": same("export_name", b"nothing", ""),
    "export_name, not UTF-8": same("export_name", b"st\xffem", ""),
    "export_name, long": same("export_name", b"x" * 4097, ""),
    "export_name, giant": Message(option(OPT["export_name"], bytes(TOO_MUCH)), fatal=True),
    "abort": same("abort", b"", "ACK"),
    "abort, data": same("abort", b"why not", "ACK"),
    "list": same("list", b"", "SERVER SERVER ACK"),
    "list, data": same("list", b"x", "INVALID"),
    "list, giant": same("list", bytes(TOO_MUCH), "TOO_BIG"),
    "peek": same("peek", b"", "UNSUP"),
    "unknown": Message(option(77, b"some data"), ("UNSUP",) * 3),
    "unknown, giant": Message(option(77, bytes(TOO_MUCH)), ("UNSUP",) * 3),
    "starttls": same("starttls", b"", "by the state of TLS"),
    "starttls, data": same("starttls", b"x", "INVALID"),
    "info": same("info", info_data("stem", 3), "INFO INFO ACK"),
    "info, everything": same("info", info_data("", 0, 1, 2, 3, 99), NAMED),
    "info, unknown": same("info", info_data("nothing"), "UNKNOWN"),
    "info, empty": same("info", b"", "INVALID"),
    "info, short": same("info", info_data("stem", 3)[:-1], "INVALID"),
    "info, trailing": same("info", info_data("stem", 3) + b"x", "INVALID"),
    "info, not UTF-8": same("info", struct.pack(">I", 2) + b"\xff\xfe" + bytes(2), "INVALID"),
    "info, NUL": same("info", info_data("st\0em"), "INVALID"),
    "info, long name": same("info", info_data("x" * 4097), "INVALID"),
    "info, repeated": same("info", info_data("stem", 3, 3), "INVALID"),
    "info, giant": same("info", bytes(TOO_MUCH), "TOO_BIG"),
    "info, too giant": Message(b"IHAVEOPT" + struct.pack(">II", OPT["info"], 0xFFFFFFFF), fatal=True),
    "go": same("go", info_data("stem"), "INFO ACK", STEM),
    "go, other": same("go", info_data("other", 3), "INFO INFO ACK", OTHER),
    "go, everything": same("go", info_data("", 0, 1, 2, 3, 99), NAMED, STEM),
    "go, unknown": same("go", info_data("nothing", 3), "UNKNOWN"),
    "go, short": same("go", info_data("stem", 3)[:-1], "INVALID"),
    "go, trailing": same("go", info_data("stem", 3) + b"x", "INVALID"),
    "go, not UTF-8": same("go", struct.pack(">I", 2) + b"\xff\xfe" + bytes(2), "INVALID"),
    "go, NUL": same("go", info_data("st\0em"), "INVALID"),
    "go, repeated": same("go", info_data("stem", 3, 3), "INVALID"),
    "structured": Message(option(OPT["structured"]), ("ACK", "ACK", "EXT_HEADER_REQD")),
    "structured, data": same("structured", b"x", "INVALID"),
    "structured, giant": same("structured", bytes(TOO_MUCH), "TOO_BIG"),
    "extended": same("extended", b"", "ACK"),
    "extended, data": same("extended", b"x", "INVALID"),
    "list_meta": meta("list_meta", meta_data("stem"), META2),
    "list_meta, wildcard": meta("list_meta", meta_data("stem", "base:", "x-y:z"), "META_CONTEXT ACK"),
    "list_meta, unknown": meta("list_meta", meta_data("nothing"), "UNKNOWN"),
    "list_meta, bad query": meta("list_meta", meta_data("stem", "colonless"), "INVALID"),
    "list_meta, overrun": meta("list_meta", name("stem") + struct.pack(">I", 0xFFFFFFFF), "INVALID"),
    "list_meta, short": meta("list_meta", meta_data("stem", "base:")[:-1], "INVALID"),
    "list_meta, trailing": meta("list_meta", meta_data("stem", "base:") + b"x", "INVALID"),
    "set_meta": meta("set_meta", meta_data("stem", "qemu-viso:origin", "base:allocation"), META2, (STEM, BOTH)),
    "set_meta, default": meta("set_meta", meta_data("", "base:allocation"), "META_CONTEXT ACK", (STEM, (1,))),
    "set_meta, other": meta("set_meta", meta_data("other", "qemu-viso:origin"), "META_CONTEXT ACK", (OTHER, (2,))),
    "set_meta, wildcard": meta("set_meta", meta_data("stem", "base:"), "ACK", (STEM, ())),
    "set_meta, none": meta("set_meta", meta_data("stem"), "ACK", (STEM, ())),
    "set_meta, unknown": meta("set_meta", meta_data("nothing", "base:allocation"), "UNKNOWN"),
    "set_meta, bad query": meta("set_meta", meta_data("stem", "base:allocation", ":"), "INVALID"),
    "set_meta, overrun": meta("set_meta", name("stem") + struct.pack(">I", 0xFFFFFFFF), "INVALID"),
    "set_meta, short": meta("set_meta", meta_data("stem", "base:allocation")[:-1], "INVALID"),
    "set_meta, trailing": meta("set_meta", meta_data("stem", "base:allocation") + b"x", "INVALID"),
    "set_meta, giant": same("set_meta", bytes(TOO_MUCH), "TOO_BIG"),
    "bad magic": Message(option(OPT["list"], magic=b"IHAVEOPX"), fatal=True),
}

PLAIN = ["flags 0x3"]
STATES: dict[str, tuple[Tls, list[str], State]] = {
    # TLS mode, the messages that lead there (TLS begins when the server agrees, except where it is waited for), state
    "before the flags": (Tls.NOTLS, [], State("flags")),
    "plain": (Tls.NOTLS, PLAIN, State()),
    "with zeroes": (Tls.NOTLS, ["flags 0x1"], State(zeroes=True)),
    "not fixed": (Tls.NOTLS, ["flags 0x2"], State(fixed=False)),
    "not fixed, with zeroes": (Tls.NOTLS, ["flags 0x0"], State(fixed=False, zeroes=True)),
    "structured": (Tls.NOTLS, [*PLAIN, "structured"], State(mode=STRUCTURED)),
    "extended": (Tls.NOTLS, [*PLAIN, "extended"], State(mode=EXTENDED)),
    "structured, contexts": (
        Tls.NOTLS,
        [*PLAIN, "structured", "set_meta"],
        State(mode=STRUCTURED, contexts=(STEM, BOTH)),
    ),
    "extended, contexts": (Tls.NOTLS, [*PLAIN, "extended", "set_meta"], State(mode=EXTENDED, contexts=(STEM, BOTH))),
    "TLS required": (Tls.FORCEDTLS, PLAIN, State(tls="required")),
    "TLS required, not fixed": (Tls.FORCEDTLS, ["flags 0x2"], State(tls="required", fixed=False)),
    "waiting for TLS": (Tls.FORCEDTLS, [*PLAIN, "starttls"], State("starttls", tls="required")),
    "secured": (Tls.FORCEDTLS, [*PLAIN, "starttls"], State(tls="up")),
    "secured, structured": (Tls.FORCEDTLS, [*PLAIN, "starttls", "structured"], State(tls="up", mode=STRUCTURED)),
    "secured, extended, contexts": (
        Tls.FORCEDTLS,
        [*PLAIN, "starttls", "extended", "set_meta"],
        State(tls="up", mode=EXTENDED, contexts=(STEM, BOTH)),
    ),
    "transmission": (Tls.NOTLS, [*PLAIN, "structured", "set_meta", "go"], State("transmission", mode=STRUCTURED)),
    "ended": (Tls.NOTLS, [*PLAIN, "abort"], State("ended")),
}


@dataclass(frozen=True)
class Result:
    """What a message leads to: reply words, where the client is then, and the export that it has chosen."""

    words: str
    state: State
    chosen: Export | None = None
    polite: bool = False


def step(state: State, message: Message) -> Result:
    """Sections "Newstyle negotiation", "TLS support" and "Option types"."""
    ended = Result("", replace(state, phase="ended"))
    if state.phase in ("ended", "transmission"):
        return Result("", state)
    if state.phase == "starttls":  # nobody may speak before TLS does
        return ended
    if state.phase == "flags":
        if message.flags is None or message.flags > 3:
            return ended
        flags = message.flags
        return Result("", replace(state, phase="options", fixed=bool(flags & 1), zeroes=not flags & 2))
    if message.flags is not None:  # flags where an option should begin: four bytes of a magic that is none
        return Result("", replace(state, phase="out of step"))
    if message.fatal or (not state.fixed and message.option != OPT["export_name"]):
        return ended
    if message.option == OPT["export_name"]:
        if message.chooses is None or state.mode == EXTENDED or state.tls == "required":
            return ended
        return Result("", replace(state, phase="transmission"), message.chooses)
    if state.tls == "required" and message.option not in (OPT["starttls"], OPT["abort"]):
        return Result("TLS_REQD", state)
    return granted(state, message)


def granted(state: State, message: Message) -> Result:
    """An option that may be asked for in this state."""
    words = message.answers[state.mode]
    fine = words.endswith("ACK")
    if message.option == OPT["abort"]:
        return Result(words, replace(state, phase="ended"), polite=True)
    if message.option == OPT["starttls"] and words != "INVALID":
        if state.tls == "required":
            return Result("ACK", replace(state, phase="starttls"))
        return Result("POLICY" if state.tls == "none" else "INVALID", state)
    if message.option == OPT["go"] and fine:
        return Result(words, replace(state, phase="transmission"), message.chooses)
    if message.option == OPT["structured"] and fine:
        state = replace(state, mode=STRUCTURED)
    elif message.option == OPT["extended"] and fine:
        state = replace(state, mode=EXTENDED)
    elif message.option == OPT["set_meta"]:  # it replaces all contexts, "including when this command fails"
        state = replace(state, contexts=message.sets if fine else None)
    return Result(words, state)


def active(state: State, export: Export) -> tuple[int, ...]:
    return state.contexts[1] if state.contexts is not None and state.contexts[0] == export else ()


def described(state: State, export: Export, *, asked: bool) -> bytes:
    """Size and transmission flags, as EXPORT_NAME and NBD_INFO_EXPORT give them; `asked` by INFO only."""
    flags = 0x1 | 0x2 | 0x4 | 0x100 | 0x400  # HAS_FLAGS, READ_ONLY, SEND_FLUSH, CAN_MULTI_CONN, SEND_CACHE
    if state.mode != SIMPLE:
        flags |= 0x80  # SEND_DF
    if state.mode == EXTENDED and (asked or active(state, export)):
        flags |= 0x1000  # BLOCK_STATUS_PAYLOAD
    return struct.pack(">QH", export.size, flags)


def enter(name_of_state: str) -> Handshake:
    tls, messages, state = STATES[name_of_state]
    handshake = Handshake(EXPORTS, tls)
    assert handshake.take_output() == b"NBDMAGICIHAVEOPT\0\x03"
    for each in messages:
        handshake.receive(MESSAGES[each].data)
        handshake.take_output()
        if isinstance(handshake.outcome, StartTls) and state.phase != "starttls":
            handshake.tls_started()
    return handshake


def hear(handshake: Handshake, chunks: list[bytes]) -> bytes:
    heard = b""
    for chunk in chunks:
        handshake.receive(chunk)
        heard += handshake.take_output()
    return heard


def check(handshake: Handshake, heard: bytes, before: State, message: Message, result: Result, rest: bytes) -> None:
    """Replies and outcome are those of the model."""
    export, outcome = result.chosen, handshake.outcome
    if message.option == OPT["export_name"] and export is not None:
        assert heard == described(before, export, asked=False) + bytes(124 * before.zeroes)
    else:
        replies = split_replies(heard)
        assert " ".join(REP[kind] for _, kind, _ in replies) == result.words
        assert {option for option, _, _ in replies} <= {message.option}
        told = [data[2:] for _, kind, data in replies if REP[kind] == "INFO" and data[:2] == b"\0\0"]
        asked = message.option == OPT["info"]
        target = export or STEM
        assert told == [described(before, target, asked=asked)] * (result.words[:4] == "INFO")
    if export is not None:
        assert outcome == Selected(export, Mode(before.mode), active(before, export), rest)
    elif result.state.phase == "starttls":
        assert outcome == StartTls()
    elif result.state.phase == "ended":
        assert isinstance(outcome, Ended)
        if before.phase != "ended":
            assert (outcome.reason is None) == result.polite
    elif result.state.phase != "transmission":
        assert outcome is None


def probe(state: State) -> str:
    """The message by which the state shows."""
    if state.phase == "flags":
        return "flags 0x3"
    if state.phase == "options" and state.tls == "required" and state.fixed:
        return "starttls"
    return "go" if state.fixed and not state.zeroes else "export_name"


def check_state(handshake: Handshake, state: State, begun: bytes = b"") -> None:
    """The core is where the model is, also when the next message has begun in the same packet."""
    if state.phase == "out of step":
        hear(handshake, [MESSAGES["list"].data[len(begun) :]])
        assert isinstance(handshake.outcome, Ended)
    elif state.phase in ("flags", "options"):
        message = MESSAGES[probe(state)]
        assert message.data.startswith(begun)
        check(handshake, hear(handshake, [message.data[len(begun) :]]), state, message, step(state, message), b"")


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize("state", STATES)
def test_every_state_and_message(state: str, message: str) -> None:
    before, sent = STATES[state][2], MESSAGES[message]
    result = step(before, sent)
    earlier = enter(state).outcome  # of a handshake that is over

    for chunks in ([sent.data], [bytes([byte]) for byte in sent.data]):
        handshake = enter(state)
        check(handshake, hear(handshake, chunks), before, sent, result, b"")
        if before.phase == "transmission":
            assert isinstance(earlier, Selected)
            assert handshake.outcome == replace(earlier, rest=sent.data)
        check_state(handshake, result.state)

    begun = b"IHAVE" if probe(result.state) != "flags 0x3" else b"\0\0"
    handshake = enter(state)
    heard = hear(handshake, [sent.data + begun])
    if result.state.phase == "starttls":
        assert split_replies(heard) == [(OPT["starttls"], 1, b"")]
        assert handshake.outcome == Ended("data after STARTTLS")
    elif before.phase == "transmission":
        assert isinstance(earlier, Selected)
        assert handshake.outcome == replace(earlier, rest=sent.data + begun)
    else:
        check(handshake, heard, before, sent, result, begun)
        check_state(handshake, result.state, begun)
        if isinstance(handshake.outcome, Selected) and result.chosen is not None:
            handshake.receive(b"more")
            assert handshake.outcome.rest == begun + b"more"
