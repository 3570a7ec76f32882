"""Addresses: what is shared is found, and nothing else."""

from __future__ import annotations

import mmap
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qemu_viso.vhost_user.descriptors import Descriptor
from qemu_viso.vhost_user.memory import AddressError, MemoryTable, check_regions, map_shared
from qemu_viso.vhost_user.messages import MemoryRegion, RefusedError
from tests.vhost_user.media import noise


@st.composite
def tables(draw: st.DrawFn) -> tuple[MemoryTable, dict[int, int]]:
    """Regions with gaps of 0 to 3 bytes between them, and every byte of them by guest address."""
    regions: list[tuple[MemoryRegion, memoryview]] = []
    model: dict[int, int] = {}
    start = draw(st.integers(0, 10))
    for number in range(draw(st.integers(0, 4))):
        data = bytearray(noise(str(number), draw(st.integers(1, 12))))
        regions.append((MemoryRegion(start, len(data), 1000 * number, 0), memoryview(data)))
        model |= dict(zip(range(start, start + len(data)), data, strict=True))
        start += len(data) + draw(st.integers(0, 3))
    draw(st.randoms()).shuffle(regions)
    return MemoryTable(regions), model


@given(tables(), st.integers(0, 60), st.integers(1, 20))
def test_guest_addresses(table: tuple[MemoryTable, dict[int, int]], address: int, length: int) -> None:
    memory, model = table
    wanted = [model.get(each) for each in range(address, address + length)]
    if None in wanted:
        with pytest.raises(AddressError, match="is not in shared memory"):
            memory.guest(address, length)
    else:
        assert list(b"".join(memory.guest(address, length))) == wanted


@given(tables(), st.integers(0, 4100), st.integers(1, 20))
def test_user_addresses_stay_in_one_region(
    table: tuple[MemoryTable, dict[int, int]], address: int, length: int
) -> None:
    memory, _ = table
    number, inside = divmod(address, 1000)
    view = next((view for start, view in memory._user if start == 1000 * number), None)
    if view is not None and inside + length <= len(view):
        assert memory.user(address, length) == view[inside : inside + length]
    else:
        with pytest.raises(AddressError):
            memory.user(address, length)


def memory_file(size: int) -> Descriptor:
    descriptor = Descriptor(os.memfd_create("test", os.MFD_CLOEXEC))
    os.ftruncate(descriptor.fileno(), size)
    return descriptor


def test_mappings_are_shared_and_begin_anywhere() -> None:
    file = memory_file(3 * 4096)
    view = map_shared(file, 5000, 100)
    assert len(view) == 100
    view[:5] = b"hello"
    assert os.pread(file.fileno(), 7, 4999) == b"\0hello\0"
    os.pwrite(file.fileno(), b"J", 5000)
    assert bytes(view[:5]) == b"Jello"


@pytest.mark.parametrize(("offset", "size"), [(0, 4097), (4096, 1), (4000, 97), (2**63, 1), (0, 2**62), (2**64 - 1, 1)])
def test_what_a_file_does_not_hold_is_not_mapped(offset: int, size: int) -> None:
    with pytest.raises(RefusedError, match="cannot be mapped"):
        map_shared(memory_file(4096), offset, size)


def test_what_is_no_file_is_not_mapped() -> None:
    with pytest.raises(RefusedError, match="cannot be mapped"):
        map_shared(Descriptor(os.eventfd(0)), 0, 4096)


def test_huge_pages_are_mapped_whole() -> None:
    """Where the kernel has none to give, the attempt ends in a sentence."""
    try:
        number = os.memfd_create("huge", os.MFD_CLOEXEC | os.MFD_HUGETLB)
    except OSError as error:
        pytest.skip(f"no huge pages: {error}")
    file = Descriptor(number)
    page = os.fstat(number).st_blksize
    os.ftruncate(number, 2 * page)
    try:
        view = map_shared(file, page + 4096, page - 4096)
    except RefusedError as error:
        pytest.skip(f"no huge pages: {error}")
    view[-1] = 1
    assert mmap.mmap(number, 2 * page)[2 * page - 1] == 1


def test_a_view_outlives_its_table() -> None:
    file = memory_file(4096)
    table = MemoryTable.map([(MemoryRegion(0, 4096, 0, 0), file)])
    [view] = table.guest(10, 5)
    del table
    view[:] = b"alive"
    assert os.pread(file.fileno(), 5, 10) == b"alive"


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 8), st.integers(0, 20)), max_size=4))
def test_regions_that_overlap_are_refused(fields: list[tuple[int, int, int]]) -> None:
    regions = [MemoryRegion(guest, size, user, 0) for guest, size, user in fields]
    guest = [set(range(each.guest_address, each.guest_address + each.size)) for each in regions]
    user = [set(range(each.user_address, each.user_address + each.size)) for each in regions]
    apart = all(len(set().union(*sets)) == sum(map(len, sets)) for sets in (guest, user))
    if apart and all(each.size for each in regions):
        check_regions(regions)
    else:
        with pytest.raises(RefusedError):
            check_regions(regions)


@pytest.mark.parametrize("field", ["guest_address", "user_address", "mmap_offset"])
def test_regions_end_with_the_address_space(field: str) -> None:
    region = MemoryRegion(0, 16, 0, 0)
    check_regions([region._replace(**{field: 2**64 - 16})])
    with pytest.raises(RefusedError, match="leaves the address space"):
        check_regions([region._replace(**{field: 2**64 - 15})])
