"""The handshake's core: every state before every message, each fed whole, byte by byte, and with trailing data."""

from __future__ import annotations

import struct

import pytest

from qemu_viso.nbd.constants import Mode
from qemu_viso.nbd.handshake import Ended, Export, Handshake, Selected, StartTls, Tls
from tests.nbd.wire import OPT, REP, info_data, meta_data, name, option, split_replies

STEM = Export("stem", 4096, "a disc")
EXPORTS = {"stem": STEM, "other": Export("other", 8192, ""), "": STEM}

BOTH, FIXED_ONLY = struct.pack(">I", 3), struct.pack(">I", 1)
STATES: dict[str, tuple[Tls, bytes, bool]] = {
    # TLS mode, what the client has sent so far, whether TLS has been started
    "plain": (Tls.NOTLS, BOTH, False),
    "structured": (Tls.NOTLS, BOTH + option(OPT["structured"]), False),
    "extended": (Tls.NOTLS, BOTH + option(OPT["extended"]), False),
    "unfixed": (Tls.NOTLS, struct.pack(">I", 2), False),
    "forced": (Tls.FORCEDTLS, BOTH, False),
    "allowed": (Tls.ALLOWED, BOTH + option(OPT["structured"]), False),
    "secured": (Tls.FORCEDTLS, BOTH + option(OPT["starttls"]), True),
}
MESSAGES = {
    "export_name": option(OPT["export_name"], b"stem"),
    "export_name, default": option(OPT["export_name"]),
    "export_name, unknown": option(OPT["export_name"], b"nothing"),
    "abort": option(OPT["abort"]),
    "abort, data": option(OPT["abort"], b"why not"),
    "list": option(OPT["list"]),
    "list, data": option(OPT["list"], b"x"),
    "peek": option(OPT["peek"]),
    "unknown": option(77, b"some data"),
    "starttls": option(OPT["starttls"]),
    "starttls, data": option(OPT["starttls"], b"x"),
    "info": option(OPT["info"], info_data("stem", 3)),
    "info, unknown": option(OPT["info"], info_data("nothing")),
    "info, short": option(OPT["info"], info_data("stem", 3)[:-1]),
    "info, long": option(OPT["info"], info_data("stem", 3) + b"x"),
    "info, not UTF-8": option(OPT["info"], struct.pack(">I", 2) + b"\xff\xfe" + bytes(2)),
    "info, NUL": option(OPT["info"], info_data("st\0em")),
    "info, repeated": option(OPT["info"], info_data("stem", 3, 3)),
    "go": option(OPT["go"], info_data("stem")),
    "go, everything": option(OPT["go"], info_data("", 0, 1, 2, 3, 99)),
    "go, unknown": option(OPT["go"], info_data("nothing", 3)),
    "structured": option(OPT["structured"]),
    "structured, data": option(OPT["structured"], b"x"),
    "extended": option(OPT["extended"]),
    "extended, data": option(OPT["extended"], b"x"),
    "list_meta": option(OPT["list_meta"], meta_data("stem")),
    "list_meta, wildcard": option(OPT["list_meta"], meta_data("stem", "base:", "x-y:z")),
    "list_meta, bad query": option(OPT["list_meta"], meta_data("stem", "colonless")),
    "list_meta, overrun": option(OPT["list_meta"], name("stem") + struct.pack(">I", 0xFFFFFFFF)),
    "set_meta": option(OPT["set_meta"], meta_data("stem", "qemu-viso:origin", "base:allocation")),
    "set_meta, wildcard": option(OPT["set_meta"], meta_data("stem", "base:")),
    "set_meta, none": option(OPT["set_meta"], meta_data("stem")),
    "set_meta, unknown": option(OPT["set_meta"], meta_data("nothing", "base:allocation")),
    "bad magic": option(OPT["list"], magic=b"IHAVEOPX"),
    "giant": option(OPT["info"], bytes(70_000)),
    "giant name": option(OPT["export_name"], bytes(70_000)),
    "too giant": b"IHAVEOPT" + struct.pack(">II", OPT["info"], 0xFFFFFFFF),
}
S, E, T = "SELECTED", "ENDED", "STARTTLS"
TLS = "TLS_REQD"
INV = "INVALID"
INFO2 = "INFO INFO ACK"
META2 = "META_CONTEXT META_CONTEXT ACK"
#                           plain, structured, extended, unfixed, forced, allowed, secured
EXPECTED = {
    "export_name": (S, S, E, S, E, S, S),
    "export_name, default": (S, S, E, S, E, S, S),
    "export_name, unknown": (E, E, E, E, E, E, E),
    "abort": (f"ACK {E}", f"ACK {E}", f"ACK {E}", E, f"ACK {E}", f"ACK {E}", f"ACK {E}"),
    "abort, data": (f"ACK {E}", f"ACK {E}", f"ACK {E}", E, f"ACK {E}", f"ACK {E}", f"ACK {E}"),
    "list": ("SERVER SERVER ACK",) * 3 + (E, TLS) + ("SERVER SERVER ACK",) * 2,
    "list, data": (INV, INV, INV, E, TLS, INV, INV),
    "peek": ("UNSUP", "UNSUP", "UNSUP", E, TLS, "UNSUP", "UNSUP"),
    "unknown": ("UNSUP", "UNSUP", "UNSUP", E, TLS, "UNSUP", "UNSUP"),
    "starttls": ("POLICY", "POLICY", "POLICY", E, f"ACK {T}", f"ACK {T}", INV),
    "starttls, data": (INV, INV, INV, E, INV, INV, INV),
    "info": (INFO2, INFO2, INFO2, E, TLS, INFO2, INFO2),
    "info, unknown": ("UNKNOWN", "UNKNOWN", "UNKNOWN", E, TLS, "UNKNOWN", "UNKNOWN"),
    "info, short": (INV, INV, INV, E, TLS, INV, INV),
    "info, long": (INV, INV, INV, E, TLS, INV, INV),
    "info, not UTF-8": (INV, INV, INV, E, TLS, INV, INV),
    "info, NUL": (INV, INV, INV, E, TLS, INV, INV),
    "info, repeated": (INV, INV, INV, E, TLS, INV, INV),
    "go": (f"INFO ACK {S}",) * 3 + (E, TLS) + (f"INFO ACK {S}",) * 2,
    "go, everything": (f"INFO INFO INFO INFO ACK {S}",) * 3 + (E, TLS) + (f"INFO INFO INFO INFO ACK {S}",) * 2,
    "go, unknown": ("UNKNOWN", "UNKNOWN", "UNKNOWN", E, TLS, "UNKNOWN", "UNKNOWN"),
    "structured": ("ACK", "ACK", "EXT_HEADER_REQD", E, TLS, "ACK", "ACK"),
    "structured, data": (INV, INV, INV, E, TLS, INV, INV),
    "extended": ("ACK", "ACK", "ACK", E, TLS, "ACK", "ACK"),
    "extended, data": (INV, INV, INV, E, TLS, INV, INV),
    "list_meta": (INV, META2, META2, E, TLS, META2, INV),
    "list_meta, wildcard": (INV, "META_CONTEXT ACK", "META_CONTEXT ACK", E, TLS, "META_CONTEXT ACK", INV),
    "list_meta, bad query": (INV, INV, INV, E, TLS, INV, INV),
    "list_meta, overrun": (INV, INV, INV, E, TLS, INV, INV),
    "set_meta": (INV, META2, META2, E, TLS, META2, INV),
    "set_meta, wildcard": (INV, "ACK", "ACK", E, TLS, "ACK", INV),
    "set_meta, none": (INV, "ACK", "ACK", E, TLS, "ACK", INV),
    "set_meta, unknown": (INV, "UNKNOWN", "UNKNOWN", E, TLS, "UNKNOWN", INV),
    "bad magic": (E,) * 7,
    "giant": ("TOO_BIG", "TOO_BIG", "TOO_BIG", E, TLS, "TOO_BIG", "TOO_BIG"),
    "giant name": (E,) * 7,
    "too giant": (E,) * 7,
}
PAIRS = [
    pytest.param(state, message, EXPECTED[message][column], id=f"{state}-{message}")
    for message in MESSAGES
    for column, state in enumerate(STATES)
]


def enter(state: str, exports: dict[str, Export] | None = None) -> Handshake:
    tls, sent, secured = STATES[state]
    handshake = Handshake(EXPORTS if exports is None else exports, tls)
    handshake.receive(sent)
    assert handshake.take_output().startswith(b"NBDMAGICIHAVEOPT\0\x03")
    if secured:
        assert isinstance(handshake.outcome, StartTls)
        handshake.tls_started()
    assert handshake.outcome is None
    return handshake


def told(handshake: Handshake) -> str:
    """Reply types and outcome in one line."""
    outcome = handshake.outcome
    output = handshake.take_output()
    words = []
    if isinstance(outcome, Selected) and not output.startswith(struct.pack(">Q", 0x0003E889045565A9)):
        assert output[:8] == struct.pack(">Q", outcome.export.size)  # EXPORT_NAME has a reply of its own
    else:
        words = [REP[kind] for _, kind, _ in split_replies(output)]
    names = {Selected: S, Ended: E, StartTls: T}
    return " ".join([*words, *([names[type(outcome)]] if outcome is not None else [])])


@pytest.mark.parametrize(("state", "message", "expected"), PAIRS)
def test_every_state_and_message(state: str, message: str, expected: str) -> None:
    whole = enter(state)
    whole.receive(MESSAGES[message])
    assert told(whole) == expected

    slowly = enter(state)
    for byte in MESSAGES[message]:
        slowly.receive(bytes([byte]))
    assert told(slowly) == expected
    assert slowly.outcome == whole.outcome

    trailing = enter(state)
    trailing.receive(MESSAGES[message] + b"IHAVE")
    if T in expected:
        assert told(trailing) == expected.replace(T, E)
        assert trailing.outcome == Ended("data after STARTTLS")
    else:
        assert told(trailing) == expected
    if isinstance(trailing.outcome, Selected):
        assert trailing.outcome.rest == b"IHAVE"
        trailing.receive(b"more")
        assert trailing.outcome.rest == b"IHAVEmore"


@pytest.mark.parametrize("flags", [4, 0x80000000, 0xFFFFFFFF])
def test_unknown_client_flags_end_the_session(flags: int) -> None:
    handshake = Handshake(EXPORTS)
    handshake.receive(struct.pack(">I", flags))
    assert isinstance(handshake.outcome, Ended)


def test_after_the_end_nothing_is_heard() -> None:
    handshake = enter("plain")
    handshake.receive(option(OPT["abort"]))
    handshake.take_output()
    handshake.receive(option(OPT["list"]))
    assert handshake.take_output() == b""
    assert handshake.outcome == Ended(None)


@pytest.mark.parametrize(("client", "zeroes"), [(1, 124), (3, 0), (0, 124), (2, 0)])
def test_export_name_and_its_zeroes(client: int, zeroes: int) -> None:
    handshake = Handshake(EXPORTS)
    handshake.receive(struct.pack(">I", client) + option(OPT["export_name"], b"other"))
    flags = 0x1 | 0x2 | 0x4 | 0x100 | 0x400  # HAS_FLAGS, READ_ONLY, SEND_FLUSH, CAN_MULTI_CONN, SEND_CACHE
    assert handshake.take_output()[18:] == struct.pack(">QH", 8192, flags) + bytes(zeroes)
    assert handshake.outcome == Selected(EXPORTS["other"], Mode.SIMPLE, (), b"")


def test_info_and_go_describe_the_export() -> None:
    handshake = enter("structured")
    handshake.receive(option(OPT["go"], info_data("", 1, 2, 3)))
    replies = [data for _, _, data in split_replies(handshake.take_output())]
    flags = 0x1 | 0x2 | 0x4 | 0x80 | 0x100 | 0x400
    assert replies == [
        struct.pack(">HQH", 0, 4096, flags),
        b"\0\x01stem",
        b"\0\x02a disc",
        struct.pack(">HIII", 3, 1, 4096, 1 << 25),
        b"",
    ]


def test_list_leaves_the_default_export_out_and_describes_the_others() -> None:
    handshake = enter("plain")
    handshake.receive(option(OPT["list"]))
    replies = [data for _, _, data in split_replies(handshake.take_output())]
    assert replies == [name("stem") + b"a disc", name("other"), b""]


def select(handshake: Handshake, export: str) -> Selected:
    handshake.receive(option(OPT["go"], info_data(export)))
    assert isinstance(handshake.outcome, Selected)
    return handshake.outcome


def test_contexts_are_those_of_the_last_request_for_the_chosen_export() -> None:
    one = option(OPT["set_meta"], meta_data("stem", "base:allocation", "qemu-viso:origin", "qemu:dirty-bitmap:x"))
    handshake = enter("structured")
    handshake.receive(one)
    assert select(handshake, "stem").contexts == (1, 2)
    handshake = enter("structured")
    handshake.receive(one)
    assert select(handshake, "").contexts == (1, 2)  # the same export under its other name
    handshake = enter("structured")
    handshake.receive(one)
    assert select(handshake, "other").contexts == ()
    handshake = enter("structured")
    handshake.receive(one + option(OPT["set_meta"], meta_data("nothing", "base:allocation")))
    assert select(handshake, "stem").contexts == ()


def test_tls_forgets_what_was_negotiated_before() -> None:
    handshake = enter("allowed")
    handshake.receive(option(OPT["set_meta"], meta_data("stem", "base:allocation")) + option(OPT["starttls"]))
    handshake.tls_started()
    selected = select(handshake, "stem")
    assert (selected.mode, selected.contexts) == (Mode.SIMPLE, ())


@pytest.mark.parametrize(
    ("kind", "contexts", "advertised"), [("info", False, True), ("go", False, False), ("go", True, True)]
)
def test_status_payload_is_advertised_where_it_can_be_used(kind: str, contexts: bool, advertised: bool) -> None:
    handshake = enter("extended")
    if contexts:
        handshake.receive(option(OPT["set_meta"], meta_data("stem", "base:allocation")))
    handshake.take_output()
    handshake.receive(option(OPT[kind], info_data("stem")))
    (_, _, data), _ = split_replies(handshake.take_output())
    assert bool(struct.unpack(">HQH", data)[2] & 1 << 12) == advertised


def test_without_a_default_export_the_empty_name_is_unknown() -> None:
    handshake = enter("plain", {"a": Export("a", 1, ""), "b": Export("b", 1, "")})
    handshake.receive(option(OPT["go"], info_data("")))
    assert told(handshake) == "UNKNOWN"
