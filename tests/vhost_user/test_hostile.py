"""The device against a front end, or a guest behind it, that breaks every rule: it must neither fall nor hang."""

from __future__ import annotations

import array
import fcntl
import os
import random
import socket
import struct
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import pytest

from qemu_viso.vhost_user.messages import Request
from tests.vhost_user.frontend import (
    F_EVENT,
    F_INDIRECT,
    F_VERSION_1,
    GUEST_BASE,
    INDIRECT,
    MEMORY_SIZE,
    NEXT,
    USER_BASE,
    WRITE,
    Driver,
    FrontEnd,
    blocking_read,
    state,
    table,
)
from tests.vhost_user.media import serving

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from qemu_viso.image import Image

BUFFERS = GUEST_BASE + (4 << 10)  # behind a ring of 64: the tests' buffers, for ring 0
END = GUEST_BASE + MEMORY_SIZE


def _entries(driver: Driver, *entries: tuple[int, int, int, int]) -> None:
    for number, entry in enumerate(entries):
        driver.describe(number, *entry)
    driver.publish(0)


def _table(driver: Driver, *entries: tuple[int, int, int, int], length: int | None = None, flags: int = 0) -> None:
    for number, entry in enumerate(entries):
        driver.put(driver.buffers + 16 * number, "QIHH", *entry)
    driver.describe(0, GUEST_BASE + driver.buffers, 16 * len(entries) if length is None else length, INDIRECT | flags)
    driver.publish(0)


def _jump(driver: Driver, index: int) -> None:
    driver.put(driver.available + 2, "H", index)
    driver.kick()


HEADER = (BUFFERS, 16, NEXT, 1)
STATUS = (BUFFERS + 64, 1, WRITE, 0)

BROKEN: dict[str, tuple[Callable[[Driver], None], str]] = {
    "a head outside the table": (lambda ring: ring.publish(64), "begins at descriptor 64 of 64"),
    "a head far outside": (lambda ring: ring.publish(65535), "begins at descriptor 65535 of 64"),
    "a successor outside the table": (lambda ring: _entries(ring, (BUFFERS, 16, NEXT, 64)), "number 64 of 64"),
    "a loop of one": (lambda ring: _entries(ring, (BUFFERS, 16, NEXT, 0)), "does not end after all 64"),
    "a loop of two": (
        lambda ring: _entries(ring, (BUFFERS, 16, NEXT, 1), (BUFFERS, 16, NEXT, 0)),
        "does not end after all 64",
    ),
    "a buffer below memory": (lambda ring: _entries(ring, (0, 16, NEXT, 1), STATUS), "address 0x0 is not in shared"),
    "a buffer behind memory": (lambda ring: _entries(ring, HEADER, (END, 1, WRITE, 0)), "is not in shared memory"),
    "a buffer that ends behind memory": (
        lambda ring: _entries(ring, HEADER, (END - 8, 9, WRITE, 0)),
        f"{END:#x} is not in shared memory",
    ),
    "a buffer that wraps around": (
        lambda ring: _entries(ring, HEADER, (2**64 - 8, 16, WRITE, 0)),
        "is not in shared memory",
    ),
    "an empty buffer": (lambda ring: _entries(ring, HEADER, (BUFFERS, 0, WRITE, 0)), "a descriptor has 0 bytes"),
    "a buffer of four gigabytes": (
        lambda ring: _entries(ring, HEADER, (BUFFERS, 2**32 - 1, WRITE, 0)),
        "4294967295 bytes, which",
    ),
    "much memory many times": (
        lambda ring: _table(ring, HEADER, *((GUEST_BASE, MEMORY_SIZE, WRITE | NEXT, n + 2) for n in range(65)), STATUS),
        "has 1090519057 bytes",
    ),
    "writable before readable": (
        lambda ring: _entries(ring, (BUFFERS, 16, WRITE | NEXT, 1), (BUFFERS, 16, NEXT, 2), STATUS),
        "a readable descriptor follows a writable one",
    ),
    "no header": (lambda ring: _entries(ring, STATUS), "0 bytes of header"),
    "half a header": (lambda ring: _entries(ring, (BUFFERS, 15, NEXT, 1), STATUS), "15 bytes of header"),
    "no status": (lambda ring: _entries(ring, (BUFFERS, 16, 0, 0)), "and 0 of answer"),
    "an empty indirect table": (lambda ring: _table(ring, length=0), "an indirect table has 0 bytes"),
    "an indirect table of odd length": (lambda ring: _table(ring, length=24), "an indirect table has 24 bytes"),
    "a huge indirect table": (lambda ring: _table(ring, length=16 * 129), "an indirect table has 2064 bytes"),
    "an indirect table of gigabytes": (lambda ring: _table(ring, length=2**32 - 16), "an indirect table has"),
    "an indirect table outside memory": (
        lambda ring: _entries(ring, (END, 32, INDIRECT, 0)),
        f"{END:#x} is not in shared memory",
    ),
    "an indirect table with a successor": (
        lambda ring: _table(ring, HEADER, STATUS, flags=NEXT),
        "an indirect descriptor has a successor",
    ),
    "an indirect table in an indirect table": (
        lambda ring: _table(ring, HEADER, (BUFFERS, 16, INDIRECT, 0)),
        "an indirect table is inside another one",
    ),
    "a loop in an indirect table": (
        lambda ring: _table(ring, (BUFFERS, 16, NEXT, 0), STATUS),
        "does not end after all 2 of an indirect table",
    ),
    "a successor outside an indirect table": (
        lambda ring: _table(ring, (BUFFERS, 16, NEXT, 2), STATUS),
        "number 2 of 2 in an indirect table",
    ),
    "more requests than the ring has room for": (
        lambda ring: _jump(ring, 65),
        "65 requests are available in a ring of 64",
    ),
    "an index that went back": (
        lambda ring: _jump(ring, 0xFFFF),
        "65535 requests are available",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_ring_stops_alone(path: str, image: Image, case: str, caplog: pytest.LogCaptureFixture) -> None:
    breaking, sentence = BROKEN[case]
    with FrontEnd(path) as front_end:
        driver = front_end.start()
        other = front_end.add_ring()
        assert driver.buffers + GUEST_BASE == BUFFERS
        before = front_end.memory[:]
        breaking(driver)
        blocking_read(driver.error_event)
        [record] = caplog.records
        assert sentence in record.getMessage()
        # Nothing of the request's buffers has been touched: guest memory differs only in what the driver wrote, and
        # in the fields by which the device speaks.
        assert driver.used_index == 0
        assert front_end.memory[driver.buffers + 2048 :][: 1 << 19] == before[driver.buffers + 2048 :][: 1 << 19]
        assert other.read(4, 512) == (0, 513, image.read(2048, 512))
        front_end.ask(Request.GET_VRING_BASE, state(0, 0))
        driver.memory[driver.start : driver.buffers] = bytes(driver.buffers - driver.start)
        driver.next_available = driver.seen = 0
        driver.set_up()
        assert driver.read(4, 512) == (0, 513, image.read(2048, 512))


def test_a_broken_ring_stays_broken_until_it_is_taken_back(path: str, image: Image) -> None:
    with FrontEnd(path) as front_end:
        driver = front_end.start()
        other = front_end.add_ring()
        _entries(driver, (BUFFERS, 0, 0, 0))
        blocking_read(driver.error_event)
        head, _, _ = driver.request(0, 4, [512], slot=1)
        driver.publish(head)
        front_end.must(Request.SET_VRING_CALL, u64(0), [driver.call_event])
        front_end.share_memory()
        assert other.read(4, 512) == (0, 513, image.read(2048, 512))
        assert front_end.ask(Request.GET_VRING_BASE, state(0, 0)).payload == state(0, 1)
        assert driver.used_index == 0
        driver.next_available = 1
        driver.put(driver.used + 2, "H", 1)
        driver.seen = 1
        driver.set_up()
        assert driver.wait() == [(head, 513)]


def test_a_ring_that_cannot_start_does_not_keep_the_others(path: str, image: Image) -> None:
    with FrontEnd(path) as front_end:
        driver = front_end.start()
        other = front_end.add_ring()
        # The first ring lies outside the second table, the second ring and both rings' buffers inside.
        size = MEMORY_SIZE - other.start
        left = table([(GUEST_BASE + other.start, size, USER_BASE + other.start, other.start)])
        assert front_end.do(Request.SET_MEM_TABLE, left, [front_end.file]) == 1
        assert other.read(4, 512) == (0, 513, image.read(2048, 512))
        front_end.share_memory()
        driver.set_up_again()
        assert driver.read(4, 512)[0] == 0


def test_indirect_tables_must_be_agreed_upon(path: str, caplog: pytest.LogCaptureFixture) -> None:
    with FrontEnd(path) as front_end:
        driver = front_end.start(features=F_VERSION_1)
        _table(driver, HEADER, STATUS)
        blocking_read(driver.error_event)
        assert "is indirect, which was not agreed upon" in caplog.text


def test_buffers_that_overlap_everything(path: str, image: Image) -> None:
    """The data may go over the header, the status, the ring: that is the guest's affair, within its own memory."""
    with FrontEnd(path) as front_end:
        driver = front_end.start()
        driver.put(driver.buffers, "IIQ", 0, 0, 0)
        _entries(driver, HEADER, (BUFFERS, 512, WRITE | NEXT, 2), (BUFFERS + 256, 512, WRITE | NEXT, 3), STATUS)
        assert driver.wait() == [(0, 1025)]
        other = front_end.add_ring()
        other.put(other.buffers, "IIQ", 0, 0, 0)
        other.describe(0, GUEST_BASE + other.buffers, 16, NEXT, 1)
        other.describe(1, GUEST_BASE + other.start, 4096, WRITE | NEXT, 2)
        other.describe(2, GUEST_BASE + other.used, 1, WRITE)
        other.publish(0)  # zeros over its own descriptors and indices; no answer can be expected
        assert driver.read(4, 512) == (0, 513, image.read(2048, 512))


def test_rings_over_one_another(path: str, image: Image) -> None:
    with FrontEnd(path) as front_end:
        driver = front_end.start()
        twin = Driver(front_end, 1, 64, F_VERSION_1 | F_EVENT | F_INDIRECT, 0)
        front_end.rings.append(twin)
        places = [USER_BASE + driver.descriptors, USER_BASE + driver.used, USER_BASE + driver.available, 0]
        front_end.must(Request.SET_VRING_NUM, state(1, 64))
        front_end.must(Request.SET_VRING_ADDR, struct.pack("=IIQQQQ", 1, 0, *places))
        front_end.must(Request.SET_VRING_KICK, struct.pack("=Q", 1), [twin.kick_event])
        front_end.must(Request.SET_VRING_ENABLE, state(1, 1))
        head, _, _ = driver.request(0, 0, [512])
        driver.publish(head)
        twin.kick()
        blocking_read(driver.call_event)
        front_end.ask(Request.GET_VRING_BASE, state(1, 0))
        front_end.ask(Request.GET_VRING_BASE, state(0, 0))


def test_random_guest_memory(path: str, caplog: pytest.LogCaptureFixture) -> None:
    """Rings made of noise: each start ends in a broken ring or in answers, never in a lost thread."""
    chance = random.Random(7)
    with FrontEnd(path) as front_end:
        driver = front_end.start(size=8)
        for _ in range(200):
            front_end.ask(Request.GET_VRING_BASE, state(0, 0))
            for number in range(8):
                address = GUEST_BASE + chance.choice([chance.randrange(1 << 16), chance.randrange(1 << 23), -5])
                length = chance.choice([0, 1, 15, 16, 32, 512, 4096, 1 << 20])
                driver.describe(number, address & 2**64 - 1, length, chance.randrange(8), chance.randrange(10))
                driver.put(driver.available + 4 + 2 * number, "H", chance.randrange(9))
            driver.put(driver.available + 2, "H", chance.randrange(10))
            driver.next_available = 0
            driver.put(driver.used + 2, "H", 0)
            driver.set_up()
        front_end.ask(Request.GET_VRING_BASE, state(0, 0))
    assert not [record for record in caplog.records if record.exc_info]


# Messages


def u64(value: int) -> bytes:
    return struct.pack("=Q", value)


REFUSED: dict[str, tuple[int, bytes, int]] = {
    "features not offered": (Request.SET_FEATURES, u64(1 << 26), 0),
    "protocol features not offered": (Request.SET_PROTOCOL_FEATURES, u64(1 << 1), 0),
    "a logging base": (Request.SET_LOG_BASE, struct.pack("=QQ", 4096, 0), 1),
    "a logging event": (Request.SET_LOG_FD, b"", 1),
    "an unknown request": (77, b"whatever", 0),
    "request zero": (0, b"", 0),
    "the highest request": (2**32 - 1, b"", 0),
    "status": (Request.SET_STATUS, u64(0), 0),
    "a table without descriptors": (Request.SET_MEM_TABLE, table([(GUEST_BASE, 4096, USER_BASE, 0)]), 0),
    "a table with too many descriptors": (Request.SET_MEM_TABLE, table([(GUEST_BASE, 4096, USER_BASE, 0)]), 2),
    "a table of nine regions": (Request.SET_MEM_TABLE, table([(n << 20, 4096, n << 20, 0) for n in range(9)]), 8),
    "a table shorter than it says": (Request.SET_MEM_TABLE, struct.pack("=II", 1, 0), 1),
    "a table longer than it says": (Request.SET_MEM_TABLE, table([(GUEST_BASE, 4096, USER_BASE, 0)]) + b"x", 1),
    "an empty region": (Request.SET_MEM_TABLE, table([(GUEST_BASE, 0, USER_BASE, 0)]), 1),
    "a region behind its file": (Request.SET_MEM_TABLE, table([(GUEST_BASE, MEMORY_SIZE, USER_BASE, 4096)]), 1),
    "a region far behind its file": (Request.SET_MEM_TABLE, table([(GUEST_BASE, 4096, USER_BASE, 2**63)]), 1),
    "a region larger than any file": (Request.SET_MEM_TABLE, table([(0, 2**63, 0, 0)]), 1),
    "a region that wraps around": (Request.SET_MEM_TABLE, table([(2**64 - 4096, 8192, USER_BASE, 0)]), 1),
    "guest addresses that overlap": (
        Request.SET_MEM_TABLE,
        table([(0x10000, 8192, 0x10000, 0), (0x11000, 8192, 0x20000, 0)]),
        2,
    ),
    "user addresses that overlap": (
        Request.SET_MEM_TABLE,
        table([(0x10000, 8192, 0x10000, 0), (0x20000, 8192, 0x11000, 0)]),
        2,
    ),
    "a region twice": (Request.ADD_MEM_REG, struct.pack("=QQQQQ", 0, GUEST_BASE, 4096, 0, 0), 1),
    "a region without a descriptor": (Request.ADD_MEM_REG, struct.pack("=QQQQQ", 0, 0, 4096, 0, 0), 0),
    "a region that is not there": (Request.REM_MEM_REG, struct.pack("=QQQQQ", 0, 0, 4096, 0, 0), 0),
    "a ring that is not there": (Request.SET_VRING_NUM, state(256, 64), 0),
    "the last ring that is not there": (Request.SET_VRING_ENABLE, state(2**32 - 1, 1), 0),
    "a ring without entries": (Request.SET_VRING_NUM, state(1, 0), 0),
    "a ring of three": (Request.SET_VRING_NUM, state(1, 3), 0),
    "a ring of 65536": (Request.SET_VRING_NUM, state(1, 65536), 0),
    "a size while the ring runs": (Request.SET_VRING_NUM, state(0, 64), 0),
    "a base while the ring runs": (Request.SET_VRING_BASE, state(0, 0), 0),
    "a base beyond 16 bits": (Request.SET_VRING_BASE, state(1, 65536), 0),
    "addresses before the size": (Request.SET_VRING_ADDR, struct.pack("=IIQQQQ", 1, 0, 0, 0, 0, 0), 0),
    "addresses to be logged": (Request.SET_VRING_ADDR, struct.pack("=IIQQQQ", 2, 1, 0, 0, 0, 0), 0),
    "descriptors out of line": (Request.SET_VRING_ADDR, struct.pack("=IIQQQQ", 2, 0, USER_BASE + 8, 0, 0, 0), 0),
    "an available ring out of line": (Request.SET_VRING_ADDR, struct.pack("=IIQQQQ", 2, 0, 0, 0, 1, 0), 0),
    "a used ring out of line": (Request.SET_VRING_ADDR, struct.pack("=IIQQQQ", 2, 0, 0, 2, 0, 0), 0),
    "a kick before the addresses": (Request.SET_VRING_KICK, u64(0x100 | 1), 0),
    "a kick that is a file": (Request.SET_VRING_KICK, u64(0), 1),
    "a kick without its event": (Request.SET_VRING_KICK, u64(0), 0),
    "a call without its event": (Request.SET_VRING_CALL, u64(0), 0),
    "a call that is a file": (Request.SET_VRING_CALL, u64(0), 1),
    "a call with flags unknown": (Request.SET_VRING_CALL, u64(0x300), 0),
    "a call with an event it does not announce": (Request.SET_VRING_CALL, u64(0x100), 1),
    "a ring half enabled": (Request.SET_VRING_ENABLE, state(0, 2), 0),
    "a record without a descriptor": (Request.SET_INFLIGHT_FD, struct.pack("=QQHHI", 4096, 0, 1, 64, 0), 0),
    "a record too small": (Request.SET_INFLIGHT_FD, struct.pack("=QQHHI", 1024, 0, 1, 64, 0), 1),
    "a record behind its file": (Request.SET_INFLIGHT_FD, struct.pack("=QQHHI", 4096, MEMORY_SIZE, 1, 64, 0), 1),
    "a record of no rings": (Request.SET_INFLIGHT_FD, struct.pack("=QQHHI", 4096, 0, 0, 64, 0), 1),
    "a payload too short": (Request.SET_FEATURES, bytes(7), 0),
    "a payload too long": (Request.SET_VRING_NUM, bytes(9), 0),
    "a payload where none belongs": (Request.SET_OWNER, bytes(1), 0),
    "a descriptor where none belongs": (Request.SET_VRING_ENABLE, state(0, 1), 1),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_message_changes_nothing(
    path: str, image: Image, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    request, payload, descriptors = REFUSED[case]
    with FrontEnd(path) as front_end:
        driver = front_end.start()
        front_end.must(Request.SET_VRING_NUM, state(2, 64))
        assert front_end.do(request, payload, [front_end.file] * descriptors) == 1
        assert len(caplog.records) == 1
        assert driver.read(4, 512) == (0, 513, image.read(2048, 512))


@pytest.mark.parametrize(
    ("request_", "payload"),
    [
        (Request.GET_FEATURES, b"x"),
        (Request.GET_VRING_BASE, state(256, 0)),
        (Request.GET_INFLIGHT_FD, struct.pack("=QQHHI", 0, 0, 257, 64, 0)),
        (Request.GET_INFLIGHT_FD, struct.pack("=QQHHI", 0, 0, 1, 0, 0)),
        (Request.GET_INFLIGHT_FD, bytes(21)),
    ],
)
def test_a_question_without_an_answer_ends_the_connection(path: str, request_: int, payload: bytes) -> None:
    with FrontEnd(path) as front_end:
        front_end.negotiate()
        front_end.send(request_, payload, ack=True)
        assert front_end.receive() is None


@pytest.mark.parametrize("case", ["SET_FEATURES", "unknown"])
def test_a_refusal_that_cannot_be_said_ends_the_connection(path: str, case: str) -> None:
    with FrontEnd(path) as front_end:
        if case == "unknown":
            front_end.send(99)
        else:
            front_end.send(Request.SET_FEATURES, u64(1 << 26), ack=True)  # before REPLY_ACK was agreed upon
        assert front_end.receive() is None
    with FrontEnd(path) as front_end:
        assert front_end.start().read(0, 512)[0] == 0


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        bytes(12),
        struct.pack("=III", 1, 2, 0),
        struct.pack("=III", 1, 1 | 4, 0),
        struct.pack("=III", 1, 1, 4097),
        struct.pack("=III", 1, 1, 2**32 - 1),
    ],
)
def test_garbage_ends_the_connection(path: str, data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with FrontEnd(path) as front_end:
        front_end.socket.sendall(data)
        assert front_end.receive() is None
    assert len(caplog.records) == 1


@pytest.mark.parametrize("length", range(1, 20))
def test_a_message_cut_off_ends_the_connection(path: str, length: int, caplog: pytest.LogCaptureFixture) -> None:
    with FrontEnd(path) as front_end:
        front_end.socket.sendall(struct.pack("=III", Request.SET_FEATURES, 1, 8) + bytes(8)[: length - 12])
        front_end.socket.shutdown(socket.SHUT_WR)
        assert front_end.receive() is None


def test_too_many_descriptors_end_the_connection(path: str, caplog: pytest.LogCaptureFixture) -> None:
    """253 is what the kernel lets pass; all of them are closed again, which the fixture sees to."""
    with FrontEnd(path) as front_end:
        rights = array.array("i", [front_end.file] * 253)
        front_end.socket.sendmsg(
            [struct.pack("=III", Request.SET_OWNER, 1, 0)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
        )
        assert front_end.receive() is None
    assert "more descriptors than can be taken (at most 8)" in caplog.text


def test_descriptors_with_half_a_message_are_closed(path: str) -> None:
    with FrontEnd(path) as front_end:
        rights = array.array("i", [front_end.file] * 4)
        for byte in struct.pack("=III", Request.SET_OWNER, 1, 0)[:2]:
            front_end.socket.sendmsg([bytes([byte])], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])


def test_hanging_up_at_any_time(path: str, image: Image) -> None:
    for steps in range(4):
        with FrontEnd(path) as front_end:
            if steps > 0:
                front_end.negotiate()
            if steps > 1:
                front_end.share_memory()
            if steps > 2:
                driver = front_end.add_ring()
                driver.publish(*(driver.request(0, 64, [512] * 5, slot=slot)[0] for slot in range(8)))
    with FrontEnd(path) as front_end:
        assert front_end.start().read(4, 512)[2] == image.read(2048, 512)


def test_memory_is_taken_away_from_a_running_ring(path: str, image: Image, caplog: pytest.LogCaptureFixture) -> None:
    with FrontEnd(path) as front_end:
        driver = front_end.start()
        elsewhere = table([(GUEST_BASE, MEMORY_SIZE, 0x1000, 0)])
        assert front_end.do(Request.SET_MEM_TABLE, elsewhere, [front_end.file]) == 1
        assert "are not in shared memory" in caplog.text
        front_end.share_memory()
        driver.set_up_again()
        assert driver.read(4, 512) == (0, 513, image.read(2048, 512))


@pytest.mark.parametrize("request_", [Request.SET_VRING_CALL, Request.SET_VRING_ERR])
def test_an_event_that_blocks_holds_nobody(path: str, clean: None, request_: Request) -> None:
    """An eventfd that is full and not O_NONBLOCK: writing to it waits until somebody reads it, and nobody does."""
    with FrontEnd(path) as front_end:
        driver = front_end.start()
        full = os.eventfd(0, os.EFD_CLOEXEC)
        os.eventfd_write(full, 2**64 - 2)
        try:
            front_end.must(request_, u64(0), [full])
            if request_ == Request.SET_VRING_CALL:
                driver.publish(driver.request(0, 0, [512])[0])
            else:
                driver.publish(64)
            assert front_end.ask(Request.GET_VRING_BASE, state(0, 0)).request == Request.GET_VRING_BASE
        finally:
            os.close(full)


def test_shared_events_keep_their_flags(path: str) -> None:
    """Both sides share one open file: QEMU hangs when its kick event becomes blocking."""
    with FrontEnd(path) as front_end:
        driver = front_end.start()
        driver.read(0, 512)
        for event in (driver.kick_event, driver.call_event, driver.error_event):
            assert fcntl.fcntl(event, fcntl.F_GETFL) & os.O_NONBLOCK


def test_a_front_end_that_never_reads_its_answers(tmp_path: Path, image: Image) -> None:
    path = str(tmp_path / "v")
    with ExitStack() as stack, serving(image, path):
        front_end = stack.enter_context(FrontEnd(path))
        front_end.socket.settimeout(1)
        question = struct.pack("=III", Request.GET_FEATURES, 1, 0) * 1000
        with suppress(TimeoutError):
            while True:
                front_end.socket.sendall(question)
