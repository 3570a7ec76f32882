"""A ring that a driver has broken: no message brings it back, until the front end takes it back."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from qemu_viso.vhost_user.messages import Request
from tests.vhost_user.frontend import F_EVENT, F_INDIRECT, F_PROTOCOL, F_VERSION_1, FrontEnd, blocking_read, state
from tests.vhost_user.test_hostile import BUFFERS
from tests.vhost_user.test_hostile import _entries as entries

if TYPE_CHECKING:
    from qemu_viso.image import Image

_ADDED = struct.pack("=QQQQQ", 0, 0x1000, 4096, 0x1000, 0)
MESSAGES: dict[str, tuple[int, bytes, str, int]] = {
    # A request, its payload, the attribute of front end or driver that comes with it, and its acknowledgement.
    "features": (Request.SET_FEATURES, struct.pack("=Q", F_VERSION_1 | F_INDIRECT | F_EVENT | F_PROTOCOL), "", 0),
    "owner": (Request.SET_OWNER, b"", "", 0),
    "a region more": (Request.ADD_MEM_REG, _ADDED, "file", 0),
    "a region less": (Request.REM_MEM_REG, _ADDED, "", 1),
    "a size": (Request.SET_VRING_NUM, state(0, 64), "", 1),
    "a base": (Request.SET_VRING_BASE, state(0, 0), "", 1),
    "a kick": (Request.SET_VRING_KICK, struct.pack("=Q", 0), "kick_event", 0),
    "no kick": (Request.SET_VRING_KICK, struct.pack("=Q", 0x100), "", 0),
    "a call": (Request.SET_VRING_CALL, struct.pack("=Q", 0), "call_event", 0),
    "an error": (Request.SET_VRING_ERR, struct.pack("=Q", 0), "error_event", 0),
    "enabling": (Request.SET_VRING_ENABLE, state(0, 1), "", 0),
    "disabling": (Request.SET_VRING_ENABLE, state(0, 0), "", 0),
    "a record": (Request.SET_INFLIGHT_FD, struct.pack("=QQHHI", 1 << 16, 8 << 20, 2, 64, 0), "file", 0),
    "an unknown one": (99, b"", "", 1),
}


@pytest.mark.parametrize("case", MESSAGES)
def test_no_message_brings_a_broken_ring_back(path: str, image: Image, case: str) -> None:
    request, payload, comes_with, verdict = MESSAGES[case]
    with FrontEnd(path) as front_end:
        driver = front_end.start()
        other = front_end.add_ring()
        entries(driver, (BUFFERS, 0, 0, 0))
        blocking_read(driver.error_event)
        head, _, _ = driver.request(0, 4, [512], slot=1)
        driver.publish(head)
        event = getattr(front_end if comes_with == "file" else driver, comes_with) if comes_with else None
        assert front_end.do(request, payload, [] if event is None else [event]) == verdict
        driver.kick()
        assert other.read(4, 512) == (0, 513, image.read(2048, 512))
        assert front_end.ask(Request.GET_VRING_BASE, state(0, 0)).payload in (state(0, 1), state(0, 0))
        assert driver.used_index == 0


@pytest.mark.parametrize("request_", [Request.RESET_OWNER, Request.RESET_DEVICE])
def test_a_broken_ring_begins_anew_after_a_reset(path: str, image: Image, request_: Request) -> None:
    with FrontEnd(path) as front_end:
        driver = front_end.start()
        entries(driver, (BUFFERS, 0, 0, 0))
        blocking_read(driver.error_event)
        front_end.must(request_)
        driver.memory[driver.start : driver.buffers] = bytes(driver.buffers - driver.start)
        driver.next_available = driver.seen = 0
        driver.set_up()
        assert driver.read(4, 512) == (0, 513, image.read(2048, 512))
