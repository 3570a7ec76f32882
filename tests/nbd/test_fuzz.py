"""The fuzz target on its corpus, and on a few thousand mutations of it."""

from __future__ import annotations

import random

import pytest

from qemu_viso.image import Image
from qemu_viso.nbd.contexts import Status
from qemu_viso.nbd.transmission import Replies
from tests.nbd.fuzz_nbd import corpus, mutate, one_input
from tests.nbd.wire import FLUSH, READ, STATUS, TRIM, request

INPUTS = corpus()


@pytest.mark.parametrize("number", range(len(INPUTS)))
def test_corpus(number: int) -> None:
    one_input(INPUTS[number])


def test_mutations() -> None:
    chooser = random.Random(20_000)
    for _ in range(3000):
        one_input(mutate(chooser, INPUTS))


def other_error(*_: object, **__: object) -> tuple[int, str]:
    return 77, "no error of NBD"


def other_offset(self: Replies, cookie: int, offset: int) -> bytes:
    return success(self, cookie, offset + 1)


def other_cookie(self: Replies, cookie: int, offset: int) -> bytes:
    return success(self, cookie + 1, offset)


def longer(self: Status, context: int, offset: int, length: int, *, one: bool) -> list[tuple[int, int]]:
    return [(2 * size, flags) for size, flags in extents(self, context, offset, length, one=one)]


def all_data(self: Status, context: int, offset: int, length: int, *, one: bool) -> list[tuple[int, int]]:
    return [(size, flags ^ 3) for size, flags in extents(self, context, offset, length, one=one)]


def other_bytes(self: Image, offset: int, length: int) -> list[bytes | memoryview]:
    return gather(self, offset + 1, length)


success, extents, gather = Replies.success, Status.extents, Image.gather
WRONG = {
    # What is replaced, by what, and an input that meets it in each mode.
    "error": ("qemu_viso.nbd.session.refusal", other_error, TRIM, 0, 512, "simple structured extended"),
    "offset": ("qemu_viso.nbd.transmission.Replies.success", other_offset, FLUSH, 0, 0, "extended"),
    "cookie": ("qemu_viso.nbd.transmission.Replies.success", other_cookie, FLUSH, 0, 0, "simple structured extended"),
    "extents": ("qemu_viso.nbd.contexts.Status.extents", longer, STATUS, 0, 70_000, "structured extended"),
    "flags": ("qemu_viso.nbd.contexts.Status.extents", all_data, STATUS, 0, 70_000, "structured extended"),
    "data": ("qemu_viso.image.Image.gather", other_bytes, READ, 476_176, 12_000, "simple structured extended"),
}


@pytest.mark.parametrize("what", WRONG)
def test_the_target_notices_what_is_wrong(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    replaced, by, kind, offset, length, modes = WRONG[what]
    for who, mode in ((2, "simple"), (3, "structured"), (4, "extended")):
        data = bytes([who, 0, 0]) + request(kind, offset, length, extended=mode == "extended")
        one_input(data)
        with monkeypatch.context() as patch:
            patch.setattr(replaced, by)
            if mode in modes.split():
                with pytest.raises(AssertionError):
                    one_input(data)
            else:
                one_input(data)
