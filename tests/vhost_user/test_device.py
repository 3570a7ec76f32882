"""The device against a front end that behaves, and what its driver may expect."""

from __future__ import annotations

import os
import random
import signal
import socket
import struct
import threading
from contextlib import ExitStack
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
    P_MQ,
    P_REPLY_ACK,
    P_SLOTS,
    USER_BASE,
    WRITE,
    Driver,
    FrontEnd,
    blocking_read,
    state,
    table,
    until,
)
from tests.vhost_user.media import host_file, lay, noise, serving

if TYPE_CHECKING:
    from pathlib import Path

    from qemu_viso.image import Image

OK, IOERR, UNSUPP = 0, 1, 2
EVERYTHING = F_VERSION_1 | F_INDIRECT | F_EVENT


@pytest.mark.parametrize("indirect", [False, True])
@pytest.mark.parametrize("features", [F_VERSION_1 | F_INDIRECT, EVERYTHING])
def test_every_byte_of_the_image_arrives(path: str, image: Image, features: int, indirect: bool) -> None:
    with FrontEnd(path) as front_end:
        driver = front_end.start(features=features)
        got = b""
        chance = random.Random(1)
        while len(got) < image.size:
            most = min(48, (image.size - len(got)) // 512)
            lengths = [512 * chance.randint(1, 8) for _ in range(chance.randint(1, 5))]
            if sum(lengths) > 512 * most:
                lengths = [512 * most]
            status, written, data = driver.read(len(got) // 512, *lengths, indirect=indirect)
            assert (status, written) == (OK, len(data) + 1)
            got += data
        assert got == image.read(0, image.size)


def test_buffers_of_any_length(path: str, image: Image) -> None:
    with FrontEnd(path) as front_end:
        driver = front_end.start()
        for lengths in ([1, 511], [3, 5, 504, 512], [1000, 24], [7] * 5 + [512 - 35]):
            status, written, data = driver.read(100, *lengths)
            assert (status, written) == (OK, sum(lengths) + 1)
            assert data == image.read(100 * 512, sum(lengths))


def test_the_parts_of_a_request_need_not_be_descriptors(path: str, image: Image) -> None:
    """VIRTIO 1.2, 2.7.4: the header may come in pieces, and the status share a buffer with the data."""
    with FrontEnd(path) as front_end:
        driver = front_end.start()
        at = driver.buffers
        driver.put(at, "IIQ", 0, 0, 70)
        driver.describe(0, GUEST_BASE + at, 4, NEXT, 3)
        driver.describe(3, GUEST_BASE + at + 4, 12, NEXT, 1)
        driver.describe(1, GUEST_BASE + at + 4096, 300, NEXT | WRITE, 5)
        driver.describe(5, GUEST_BASE + at + 8192, 213, WRITE)
        driver.publish(0)
        assert driver.wait() == [(0, 513)]
        got = driver.memory[at + 4096 : at + 4396] + driver.memory[at + 8192 : at + 8192 + 213]
        assert got == image.read(70 * 512, 512) + bytes([OK])


def test_descriptors_before_an_indirect_table(path: str, image: Image) -> None:
    """VIRTIO 1.2, 2.7.5.3.2: normal descriptors may be followed by an indirect one."""
    with FrontEnd(path) as front_end:
        driver = front_end.start()
        at = driver.buffers
        driver.put(at, "IIQ", 0, 0, 9)
        driver.describe(0, GUEST_BASE + at, 16, NEXT, 7)
        driver.describe(7, GUEST_BASE + at + 512, 32, INDIRECT)
        driver.put(at + 512, "QIHH", GUEST_BASE + at + 4096, 512, NEXT | WRITE, 1)
        driver.put(at + 528, "QIHH", GUEST_BASE + at + 32, 1, WRITE, 0)
        driver.publish(0)
        assert driver.wait() == [(0, 513)]
        assert driver.memory[at + 4096 : at + 4608] == image.read(9 * 512, 512)


def test_a_buffer_across_two_regions(path: str, image: Image) -> None:
    with FrontEnd(path) as front_end:
        driver = front_end.start()
        at, middle = driver.buffers, MEMORY_SIZE // 2
        driver.put(at, "IIQ", 0, 0, 64)
        driver.describe(0, GUEST_BASE + at, 16, NEXT, 1)
        driver.describe(1, GUEST_BASE + middle - 1000, 2048, NEXT | WRITE, 2)
        driver.describe(2, GUEST_BASE + at + 32, 1, WRITE)
        driver.publish(0)
        assert driver.wait() == [(0, 2049)]
        assert driver.memory[middle - 1000 : middle + 1048] == image.read(64 * 512, 2048)


def test_configuration_space(path: str, image: Image) -> None:
    with FrontEnd(path) as front_end:
        front_end.negotiate()
        reply = front_end.ask(Request.GET_CONFIG, struct.pack("=III", 0, 60, 0) + bytes(60))
        assert reply.payload[:12] == struct.pack("=III", 0, 60, 0)
        config = reply.payload[12:]
        assert int.from_bytes(config[0:8], "little") * 512 == image.size
        assert int.from_bytes(config[12:16], "little") == 126  # seg_max
        assert int.from_bytes(config[20:24], "little") == 512  # blk_size
        assert int.from_bytes(config[34:36], "little") == front_end.ask(Request.GET_QUEUE_NUM).number == 256
        part = front_end.ask(Request.GET_CONFIG, struct.pack("=III", 6, 250, 0) + bytes(250)).payload
        assert part[12:] == config[6:].ljust(250, b"\0")
        assert front_end.ask(Request.GET_CONFIG, struct.pack("=III", 100, 157, 0) + bytes(157)).payload == b""
        assert front_end.do(Request.SET_CONFIG, struct.pack("=III", 32, 1, 0) + b"\1") != 0


def test_flush_and_identity(path: str) -> None:
    with FrontEnd(path) as front_end:
        driver = front_end.start()
        assert driver.run(4, 0, []) == (OK, 1, b"")
        assert driver.run(8, 0, [20]) == (OK, 21, b"medium".ljust(20, b"\0"))
        assert driver.run(8, 0, [8, 12]) == (OK, 21, b"medium".ljust(20, b"\0"))
        assert driver.run(8, 0, [19])[:2] == (UNSUPP, 0)


@pytest.mark.parametrize(("lengths", "written"), [((20,), 21), ((7, 13), 21), ((64,), 20), ((20, 1), 20), ((21,), 20)])
def test_an_identity_is_no_longer_than_it_is(path: str, lengths: tuple[int, ...], written: int) -> None:
    """VIRTIO 1.2, 2.7.8.2: the used length covers what was written, up to the first byte that was not."""
    with FrontEnd(path) as front_end:
        driver = front_end.start()
        status, length, data = driver.run(8, 0, lengths)
        assert (status, length) == (OK, written)
        assert data == b"medium".ljust(sum(lengths), b"\0")


def test_a_thread_that_the_host_refuses_ends_one_connection(
    path: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def refuse(prefix: str) -> None:
        def starts(thread: threading.Thread) -> None:
            if thread.name.startswith(prefix):
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", starts)

    refuse("vhost-user-blk connection")
    with FrontEnd(path) as front_end:
        assert front_end.receive() is None
    refuse("vhost-user-blk ring")
    with FrontEnd(path) as front_end:
        front_end.negotiate()
        front_end.share_memory()
        driver = Driver(front_end, 0, 64, EVERYTHING, 0)
        front_end.rings.append(driver)
        with pytest.raises(AssertionError):
            driver.set_up()
        front_end.socket.shutdown(socket.SHUT_WR)
        assert front_end.receive() is None
    refuse("nobody")
    with FrontEnd(path) as front_end:
        assert front_end.start().read(0, 512)[0] == OK
    assert [record.getMessage() for record in caplog.records] == [
        "a connection cannot be served: can't start new thread",
        "the front end's SET_VRING_ENABLE was refused: ring 0 cannot be served: can't start new thread",
    ]


def test_a_long_name_is_cut_between_characters(tmp_path: Path) -> None:
    path = str(tmp_path / "v")
    with (
        serving(lay(2048, name="größer als zwanzig Bytes"[:17] + "ßß"), path),
        FrontEnd(path) as front_end,
    ):
        status, _, identity = front_end.start().run(8, 0, [20])
        assert (status, identity) == (OK, "größer als zwanzi".encode() + b"\0")


@pytest.mark.parametrize(("kind", "verdict"), [(1, IOERR), (11, UNSUPP), (13, UNSUPP), (14, UNSUPP), (99, UNSUPP)])
def test_nothing_can_be_written(path: str, image: Image, kind: int, verdict: int) -> None:
    with FrontEnd(path) as front_end:
        driver = front_end.start()
        at = driver.buffers
        driver.put(at, "IIQ", kind, 0, 0)
        driver.describe(0, GUEST_BASE + at, 16, NEXT, 1)
        driver.describe(1, GUEST_BASE + at + 4096, 512, NEXT, 2)
        driver.describe(2, GUEST_BASE + at + 32, 1, WRITE)
        driver.publish(0)
        assert driver.wait() == [(0, 1)]
        assert driver.memory[at + 32] == verdict
        assert driver.read(0, 512) == (OK, 513, image.read(0, 512))


def test_reads_outside_the_medium_fail(path: str, image: Image) -> None:
    last = image.size // 512
    with FrontEnd(path) as front_end:
        driver = front_end.start()
        assert driver.read(last - 1, 512)[0] == OK
        for sector, lengths in ((last, [512]), (last - 1, [1024]), (2**64 - 1, [512]), (2**55, [512]), (0, [513])):
            assert driver.read(sector, *lengths)[:2] == (IOERR, 0)
        assert driver.read(last - 1, 512)[2] == image.read(image.size - 512, 512)


def test_a_changed_source_is_an_error_and_one_line(
    clean: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "source"
    source.write_bytes(noise("old", 8192))
    image = lay(2048, host_file(source), 2048)
    path = str(tmp_path / "v")
    with serving(image, path), FrontEnd(path) as front_end:
        driver = front_end.start()
        assert driver.read(4, 4096)[2] == noise("old", 8192)[:4096]
        source.write_bytes(noise("new", 8192))
        for _ in range(3):
            assert driver.read(8, 512)[:2] == (IOERR, 0)
        assert image.stale is not None
        assert driver.read(0, 2048) == (OK, 2049, bytes(2048))
    assert [record.getMessage() for record in caplog.records] == [
        f"the source '{source}' has changed since the recipe was opened"
    ]


@pytest.mark.parametrize("what", ["removed", "shortened"])
def test_a_lost_source_is_an_error(clean: None, tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str) -> None:
    source = tmp_path / "source"
    source.write_bytes(noise("old", 8192))
    image = lay(2048, host_file(source), 2048)
    path = str(tmp_path / "v")
    with serving(image, path), FrontEnd(path) as front_end:
        driver = front_end.start()
        if what == "removed":
            source.unlink()
        else:
            assert driver.read(4, 512)[0] == OK
            os.truncate(source, 100)
        assert driver.read(4, 4096)[:2] == (IOERR, 0)
        assert driver.read(0, 512)[0] == OK
    assert len(caplog.records) == 1


def test_many_requests_at_once(path: str, image: Image) -> None:
    with FrontEnd(path) as front_end:
        driver = front_end.start(size=64)
        for round_ in range(20):
            requests = {}
            for slot in range(8):
                sector = (round_ * 8 + slot) * 3
                head, [(at, length)], status = driver.request(0, sector, [1536], slot=slot, indirect=bool(slot % 2))
                requests[head] = (sector, at, length, status)
            driver.publish(*requests)
            assert sorted(driver.wait(8)) == [(head, 1537) for head in sorted(requests)]
            for sector, at, length, status in requests.values():
                assert driver.memory[status] == OK
                assert driver.memory[at : at + length] == image.read(sector * 512, length)


def test_several_rings(path: str, image: Image) -> None:
    with FrontEnd(path) as front_end:
        first = front_end.start()
        second, third = front_end.add_ring(16), front_end.add_ring(32)
        for round_ in range(10):
            requests = [(ring, *ring.request(0, round_, [1024])) for ring in (first, second, third)]
            for ring, head, _, _ in requests:
                ring.publish(head)
            for ring, head, [(at, length)], _ in requests:
                assert ring.wait() == [(head, 1025)]
                assert ring.memory[at : at + length] == image.read(round_ * 512, 1024)


def test_several_front_ends(path: str, image: Image) -> None:
    with FrontEnd(path) as one, FrontEnd(path) as two:
        first, second = one.start(), two.start()
        for sector in (0, 100):
            assert first.read(sector, 512) == second.read(sector, 512) == (OK, 513, image.read(sector * 512, 512))
        one.socket.close()
        assert second.read(7, 512)[0] == OK


def test_no_calls_when_the_driver_wants_none(path: str) -> None:
    """VIRTIO 1.2, 2.7.6: flags 1 in the available ring; the used ring still moves."""
    with FrontEnd(path) as front_end:
        driver = front_end.start(features=F_VERSION_1)
        blocking_read(driver.call_event)  # the one that comes with every start
        driver.put(driver.available, "H", 1)
        head, _, _ = driver.request(0, 0, [512])
        driver.publish(head)
        until(lambda: driver.used_index == 1)
        assert front_end.ask(Request.GET_VRING_BASE, state(0, 0)).payload == state(0, 1)
        with pytest.raises(BlockingIOError):
            os.read(driver.call_event, 8)


def test_kicks_are_wanted_only_when_the_ring_is_empty(path: str) -> None:
    """VIRTIO 1.2, 2.7.10: the event index says up to where the device has looked."""
    with FrontEnd(path) as front_end:
        driver = front_end.start()
        for _ in range(3):
            driver.read(0, 512)
            until(lambda: driver.get(driver.used + 4 + 8 * driver.size, "H") == driver.next_available)


def test_a_ring_without_kicks_is_polled(path: str, image: Image) -> None:
    with FrontEnd(path) as front_end:
        driver = front_end.start()
        front_end.must(Request.SET_VRING_KICK, struct.pack("=Q", 0x100))
        head, [(at, length)], _ = driver.request(0, 3, [512])
        driver.publish(head, kick=False)
        driver.wait()
        assert driver.memory[at : at + length] == image.read(3 * 512, 512)


def test_a_ring_without_calls(path: str, image: Image) -> None:
    with FrontEnd(path) as front_end:
        driver = front_end.start()
        front_end.must(Request.SET_VRING_CALL, struct.pack("=Q", 0x100))
        head, [(at, length)], _ = driver.request(0, 3, [512])
        driver.publish(head)
        until(lambda: driver.used_index == 1)
        assert driver.memory[at : at + length] == image.read(3 * 512, 512)


def test_old_front_ends_need_not_enable_rings(path: str) -> None:
    """Without VHOST_USER_F_PROTOCOL_FEATURES a ring is enabled from the start, and there are no acknowledgements."""
    with FrontEnd(path) as front_end:
        front_end.send(Request.SET_OWNER)
        front_end.send(Request.SET_FEATURES, struct.pack("=Q", F_VERSION_1))
        front_end.send(Request.SET_MEM_TABLE, table([(GUEST_BASE, MEMORY_SIZE, USER_BASE, 0)]), [front_end.file])
        driver = Driver(front_end, 0, 64, F_VERSION_1, 0)
        front_end.rings.append(driver)
        front_end.send(Request.SET_VRING_NUM, state(0, 64))
        front_end.send(Request.SET_VRING_ADDR, driver.address())
        front_end.send(Request.SET_VRING_CALL, struct.pack("=Q", 0), [driver.call_event])
        front_end.send(Request.SET_VRING_KICK, struct.pack("=Q", 0), [driver.kick_event])
        assert driver.read(0, 512)[0] == OK


def test_a_disabled_ring_waits(path: str) -> None:
    with FrontEnd(path) as front_end:
        driver = front_end.start()
        driver.read(0, 512)
        front_end.must(Request.SET_VRING_ENABLE, state(0, 0))
        head, _, _ = driver.request(0, 0, [512])
        driver.publish(head)
        front_end.ask(Request.GET_FEATURES)
        assert driver.used_index == 1
        front_end.must(Request.SET_VRING_ENABLE, state(0, 1))
        assert driver.wait() == [(head, 513)]


def test_a_ring_is_taken_back_and_begins_anew(path: str, image: Image) -> None:
    """VIRTIO_F_RING_RESET: one ring starts over at 0 while the other goes on."""
    with FrontEnd(path) as front_end:
        first = front_end.start()
        second = front_end.add_ring()
        for _ in range(5):
            assert first.read(0, 512)[0] == OK
        assert front_end.ask(Request.GET_VRING_BASE, state(0, 0)).payload == state(0, 5)
        head, _, _ = first.request(0, 0, [512])
        first.publish(head)
        assert second.read(8, 512) == (OK, 513, image.read(8 * 512, 512))
        assert first.used_index == 5
        first.memory[first.start : first.buffers] = bytes(first.buffers - first.start)
        first.next_available = first.seen = 0
        first.set_up()
        assert first.read(1, 512) == (OK, 513, image.read(512, 512))
        assert second.read(1, 512)[0] == OK


def test_the_device_is_reset(path: str) -> None:
    with FrontEnd(path) as front_end:
        driver = front_end.start()
        driver.read(0, 512)
        front_end.must(Request.RESET_DEVICE)
        head, _, _ = driver.request(0, 0, [512])
        driver.publish(head)
        front_end.ask(Request.GET_FEATURES)
        assert driver.used_index == 1
        assert front_end.ask(Request.GET_VRING_BASE, state(0, 0)).payload == state(0, 0)
        driver.next_available = 1
        driver.set_up()
        assert driver.wait() == [(head, 513)]


def test_memory_changes_while_requests_are_under_way(path: str, image: Image) -> None:
    with FrontEnd(path) as front_end:
        driver = front_end.start()
        for round_ in range(30):
            requests = [driver.request(0, 8 * round_ + slot, [512], slot=slot) for slot in range(8)]
            driver.publish(*(head for head, _, _ in requests))
            front_end.share_memory()
            driver.wait(8)
            for slot, (_, [(at, length)], status) in enumerate(requests):
                assert driver.memory[status] == OK
                assert driver.memory[at : at + length] == image.read((8 * round_ + slot) * 512, 512)


def test_memory_in_slots(path: str, image: Image) -> None:
    with FrontEnd(path) as front_end:
        front_end.negotiate(protocol=P_MQ | P_REPLY_ACK | P_SLOTS)
        assert front_end.ask(Request.GET_MAX_MEM_SLOTS).number >= 8
        half = MEMORY_SIZE // 2
        lower = struct.pack("=QQQQQ", 0, GUEST_BASE, half, USER_BASE, 0)
        upper = struct.pack("=QQQQQ", 0, GUEST_BASE + half, half, USER_BASE + half, half)
        front_end.must(Request.ADD_MEM_REG, lower, [front_end.file])
        driver = front_end.add_ring()
        assert driver.read(5, 512) == (OK, 513, image.read(5 * 512, 512))
        assert front_end.do(Request.ADD_MEM_REG, lower, [front_end.file]) != 0
        front_end.must(Request.ADD_MEM_REG, upper, [front_end.file])
        assert driver.read(5, 512)[0] == OK
        front_end.must(Request.REM_MEM_REG, upper, [front_end.file])  # the descriptor is not needed, and not kept
        assert front_end.do(Request.REM_MEM_REG, upper) != 0
        assert driver.read(5, 512)[0] == OK


def test_indices_wrap_around(path: str) -> None:
    """They have 16 bits."""
    with FrontEnd(path) as front_end:
        front_end.negotiate()
        front_end.share_memory()
        driver = front_end.add_ring(base=0xFFF0)
        for _ in range(40):
            assert driver.read(0, 512)[0] == OK
        assert driver.used_index == 24


def test_it_ends_when_asked_by_a_signal(image: Image, tmp_path: Path) -> None:
    path = str(tmp_path / "v")
    with serving(image, path) as device:
        before = signal.signal(signal.SIGUSR1, lambda *_: device.stop())
        try:
            asking = threading.Thread(target=lambda: signal.pthread_kill(threading.main_thread().ident or 0, 10))
            asking.start()
            device.serve_forever()
            asking.join()
        finally:
            signal.signal(signal.SIGUSR1, before)
    assert not os.path.exists(path)


def test_it_ends_with_front_ends_connected(clean: None, image: Image, tmp_path: Path) -> None:
    path = str(tmp_path / "v")
    with ExitStack() as stack:
        with serving(image, path):
            front_end = stack.enter_context(FrontEnd(path))
            assert front_end.start().read(64, 512)[0] == OK
        assert front_end.receive() is None
