"""What happens to requests under way when the device goes and comes back."""

from __future__ import annotations

import os
import random
import signal
import struct
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from qemu_viso.image import Image, RegionMap
from qemu_viso.vhost_user.messages import Request
from tests.vhost_user.frontend import PATIENCE, Driver, FrontEnd, Reply, blocking_read, state
from tests.vhost_user.media import lay, noise, serving, write_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INFLIGHT = struct.Struct("=QQHHI")


def get_inflight(front_end: FrontEnd, rings: int = 1, size: int = 64) -> Reply:
    """A new record; the descriptor is the caller's."""
    reply = front_end.ask(Request.GET_INFLIGHT_FD, INFLIGHT.pack(0, 0, rings, size, 0))
    assert len(reply.descriptors) == 1
    mmap_size, offset, *rest = INFLIGHT.unpack(reply.payload)
    assert (offset, rest) == (0, [rings, size, 0])
    assert os.fstat(reply.descriptors[0]).st_size == mmap_size
    return reply


def begin(front_end: FrontEnd) -> tuple[Driver, Reply]:
    front_end.negotiate()
    record = get_inflight(front_end)
    front_end.must(Request.SET_INFLIGHT_FD, record.payload, record.descriptors)
    front_end.share_memory()
    return front_end.add_ring(), record


def begin_again(front_end: FrontEnd, path: str, record: Reply, driver: Driver) -> None:
    """As QEMU does: the same record, and the used ring's index as base."""
    front_end.socket.close()
    front_end.connect(path)
    front_end.negotiate()
    front_end.must(Request.SET_INFLIGHT_FD, record.payload, record.descriptors)
    front_end.share_memory()
    published, driver.next_available = driver.next_available, driver.used_index
    driver.set_up()
    driver.next_available = published


@contextmanager
def process(path: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    argv = [sys.executable, "-m", "tests.vhost_user.serve", path, os.fspath(folder)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as device:
        try:
            assert device.stdout is not None
            assert device.stdout.readline() == b"ready\n"
            yield device
        finally:
            device.kill()


def test_a_device_that_is_killed_leaves_nothing_undone(clean: None, image: Image, tmp_path: Path) -> None:
    """Every request is answered, and with the right bytes, over several deaths at no particular time."""
    path = str(tmp_path / "killed")
    chance = random.Random(3)
    with process(path, tmp_path) as device:
        front_end = FrontEnd(path)
        driver, record = begin(front_end)
        device.send_signal(signal.SIGKILL)
    with front_end:
        for _ in range(6):
            requests = [driver.request(0, chance.randrange(700), [8192], slot=slot) for slot in range(8)]
            driver.publish(*(head for head, _, _ in requests))
            with process(path, tmp_path) as device:
                begin_again(front_end, path, record, driver)
                for _ in range(chance.randrange(4)):
                    sectors = [driver.get(at[0] - 4096 + 8, "Q") for _, [at], _ in requests]
                    assert sorted(driver.wait(8)) == sorted((head, 8193) for head, _, _ in requests)
                    for sector, (_, [(at, length)], status) in zip(sectors, requests, strict=True):
                        assert driver.memory[status] == 0
                        assert driver.memory[at : at + length] == image.read(sector * 512, length)
                    requests = [driver.request(0, chance.randrange(700), [8192], slot=slot) for slot in range(8)]
                    driver.publish(*(head for head, _, _ in requests))
                device.send_signal(signal.SIGKILL)
                device.wait(PATIENCE)
            # Those that were under way are seen by the next device; here they are awaited with it.
            with process(path, tmp_path) as device:
                begin_again(front_end, path, record, driver)
                driver.wait(8)
                device.send_signal(signal.SIGTERM)
    os.close(record.descriptors[0])


def test_requests_out_of_order_are_done_again(clean: None, image: Image, tmp_path: Path) -> None:
    """A record as another back end may leave it: of three taken, the second was answered first."""
    path = str(tmp_path / "v")
    with serving(image, path), FrontEnd(path) as front_end:
        driver, record = begin(front_end)
        front_end.ask(Request.GET_VRING_BASE, state(0, 0))
        heads = [driver.request(0, sector, [512], slot=slot)[0] for slot, sector in enumerate((64, 70, 80, 90))]
        driver.publish(*heads, kick=False)
        driver.put(driver.used + 4, "II", heads[1], 513)
        driver.put(driver.used + 2, "H", 1)
        driver.seen = 1
        region = memoryview(bytearray(os.pread(record.descriptors[0], 2048, 0)))
        struct.pack_into("=QHHHH", region, 0, 0, 1, 64, heads[1], 1)
        for number, head in enumerate((heads[0], heads[1], heads[2])):
            struct.pack_into("=B5xHQ", region, 16 + 16 * head, head != heads[1], 0, 100 - number)
        os.pwrite(record.descriptors[0], region, 0)
        begin_again(front_end, path, record, driver)
        # In the order of the counters, which is not that of the ring; then what had not been taken yet.
        assert driver.wait(3) == [(heads[2], 513), (heads[0], 513), (heads[3], 513)]
        assert front_end.ask(Request.GET_VRING_BASE, state(0, 0)).payload == state(0, 4)
    os.close(record.descriptors[0])


def test_a_reset_ring_has_no_record(clean: None, image: Image, tmp_path: Path) -> None:
    """A ring that was taken back may begin anew at 0, with the same record."""
    path = str(tmp_path / "v")
    with serving(image, path), FrontEnd(path) as front_end:
        driver, record = begin(front_end)
        for _ in range(3):
            assert driver.read(0, 512)[0] == 0
        front_end.ask(Request.GET_VRING_BASE, state(0, 0))
        driver.memory[driver.start : driver.buffers] = bytes(driver.buffers - driver.start)
        driver.next_available = driver.seen = 0
        driver.set_up()
        assert driver.read(1, 512) == (0, 513, image.read(512, 512))
    os.close(record.descriptors[0])


def test_the_same_image_goes_on(clean: None, tmp_path: Path) -> None:
    path = str(tmp_path / "v")
    file = write_file(tmp_path, "file", 8192)
    with left_alone(path, lay(2048, file)) as (front_end, driver, record), serving(lay(2048, file), path):
        begin_again(front_end, path, record, driver)
        assert driver.read(4, 512) == (0, 513, noise("file", 512))


def test_another_image_is_refused(clean: None, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The guest gets errors rather than a mixture; a new record, which comes with a reset, ends that."""
    path = str(tmp_path / "v")
    one, other = (lay(2048, write_file(tmp_path, name, 8192)) for name in ("one", "other"))
    with left_alone(path, one) as (front_end, driver, record), serving(other, path):
        begin_again(front_end, path, record, driver)
        assert driver.read(4, 512)[:2] == (1, 0)
        assert driver.read(0, 512)[:2] == (1, 0)
        assert [each.getMessage() for each in caplog.records] == [
            "the guest knows another image: its reads fail until it is reset"
        ]
        new = get_inflight(front_end)
        front_end.must(Request.SET_INFLIGHT_FD, new.payload, new.descriptors)
        os.close(new.descriptors[0])
        assert driver.read(4, 512) == (0, 513, noise("other", 512))


@contextmanager
def left_alone(path: str, image: Image) -> Iterator[tuple[FrontEnd, Driver, Reply]]:
    """A front end that has read from a device with `image`, which is gone."""
    with serving(image, path):
        front_end = FrontEnd(path)
        driver, record = begin(front_end)
        assert driver.read(0, 512)[0] == 0
    with front_end:
        yield front_end, driver, record
    os.close(record.descriptors[0])


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        ((0, 2, 64, 0, 0), "has version 2"),
        ((0, 1, 32, 0, 0), "and 32 descriptors"),
        ((0, 1, 64, 0, 60000), "requests behind the used ring"),
        ((0, 1, 64, 64, 65535), "names a descriptor 64"),
    ],
)
def test_a_record_of_nonsense_is_refused(
    clean: None, image: Image, tmp_path: Path, header: tuple[int, ...], sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = str(tmp_path / "v")
    with serving(image, path), FrontEnd(path) as front_end:
        driver, record = begin(front_end)
        driver.read(0, 512)
        os.pwrite(record.descriptors[0], struct.pack("=QHHHH", *header), 0)
        driver.put(driver.used + 2, "H", 0)
        assert front_end.do(Request.SET_VRING_CALL, struct.pack("=Q", 0), [driver.call_event]) == 1
        assert sentence in caplog.text
        driver.put(driver.used + 2, "H", 1)
        driver.set_up_again()  # takes the ring back, and the nonsense with it
        assert driver.read(4, 512)[0] == 0
    os.close(record.descriptors[0])


def test_a_record_for_smaller_rings_is_refused(clean: None, image: Image, tmp_path: Path) -> None:
    path = str(tmp_path / "v")
    with serving(image, path), FrontEnd(path) as front_end:
        driver, record = begin(front_end)
        large = Driver(front_end, 0, 128, 0, 0)
        front_end.rings.append(large)
        front_end.ask(Request.GET_VRING_BASE, state(0, 0))
        front_end.must(Request.SET_VRING_NUM, state(0, 128))
        front_end.must(Request.SET_VRING_ADDR, large.address())
        assert front_end.do(Request.SET_VRING_KICK, struct.pack("=Q", 0), [large.kick_event]) == 1
        driver.set_up_again()
        assert driver.read(4, 512)[0] == 0
        beyond = front_end.add_ring()  # the record has no part for it: it runs without
        assert beyond.read(4, 512)[0] == 0
    os.close(record.descriptors[0])


def test_a_driver_may_choose_a_smaller_ring(clean: None, image: Image, tmp_path: Path) -> None:
    """The record is made for the size that the device offers; heads beyond the ring's own are nonsense in it."""
    path = str(tmp_path / "v")
    with serving(image, path), FrontEnd(path) as front_end:
        front_end.negotiate()
        record = get_inflight(front_end, size=128)
        front_end.must(Request.SET_INFLIGHT_FD, record.payload, record.descriptors)
        front_end.share_memory()
        driver = front_end.add_ring(32)
        assert driver.read(4, 512) == (0, 513, image.read(2048, 512))
        os.pwrite(record.descriptors[0], struct.pack("=QHHHH", 0, 1, 128, 0, 1), 0)
        os.pwrite(record.descriptors[0], b"\1", 16 + 16 * 100)
        begin_again(front_end, path, record, driver)
        assert driver.read(5, 512) == (0, 513, image.read(5 * 512, 512))
    os.close(record.descriptors[0])


def test_a_new_start_comes_with_a_call(path: str) -> None:
    """The last device may have died between an answer and its call."""
    with FrontEnd(path) as front_end:
        driver = front_end.start()
        blocking_read(driver.call_event)


def test_an_empty_image_has_a_fingerprint(clean: None, tmp_path: Path) -> None:
    path = str(tmp_path / "v")
    regions = RegionMap()
    regions.append(0, 2048, None)
    with serving(Image(regions, "zeros"), path), FrontEnd(path) as front_end:
        driver, record = begin(front_end)
        assert driver.read(0, 2048) == (0, 2049, bytes(2048))
        seal = os.pread(record.descriptors[0], 64, os.fstat(record.descriptors[0]).st_size - 64)
        assert seal[:8] == b"qemuviso"
        assert any(seal[8:40])
    os.close(record.descriptors[0])
