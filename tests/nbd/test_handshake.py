"""What the handshake's replies say of exports and contexts; `test_handshake_matrix` has its states and messages."""

from __future__ import annotations

import struct

from qemu_viso.nbd.handshake import Export, Handshake, Selected
from tests.nbd.wire import OPT, REP, info_data, meta_data, name, option, split_replies

STEM = Export("stem", 4096, "a disc")
EXPORTS = {"stem": STEM, "other": Export("other", 8192, ""), "": STEM}


def enter(*options: str, exports: dict[str, Export] = EXPORTS) -> Handshake:
    handshake = Handshake(exports)
    handshake.receive(struct.pack(">I", 3) + b"".join(option(OPT[each]) for each in options))
    handshake.take_output()
    return handshake


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
    handshake = enter()
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


def test_without_a_default_export_the_empty_name_is_unknown() -> None:
    handshake = enter(exports={"a": Export("a", 1, ""), "b": Export("b", 1, "")})
    handshake.receive(option(OPT["go"], info_data("")))
    assert [REP[kind] for _, kind, _ in split_replies(handshake.take_output())] == ["UNKNOWN"]
