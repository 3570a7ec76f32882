"""The guest's memory, as far as the front end shares it.

Every address that a guest or a front end names passes through `MemoryTable`, which gives views of mapped memory or
refuses. Views keep their mapping alive: a table can be replaced while a request still fills the memory of the old one.
"""

from __future__ import annotations

import mmap
import os
from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from qemu_viso.errors import PeerError
from qemu_viso.vhost_user.messages import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from qemu_viso.vhost_user.descriptors import Descriptor
    from qemu_viso.vhost_user.messages import MemoryRegion

_ADDRESS_SPACE = 1 << 64


class AddressError(PeerError):
    """An address that the memory table does not cover."""


def check_regions(regions: Sequence[MemoryRegion]) -> None:
    """Raise `RefusedError` for regions that are empty, leave the address space, or overlap."""
    for region in regions:
        if region.size == 0:
            raise RefusedError("a memory region is empty")
        for start in (region.guest_address, region.user_address, region.mmap_offset):
            if start + region.size > _ADDRESS_SPACE:
                raise RefusedError(f"a memory region of {region.size:#x} bytes at {start:#x} leaves the address space")
    for what, starts in (
        ("guest", sorted((region.guest_address, region.size) for region in regions)),
        ("user", sorted((region.user_address, region.size) for region in regions)),
    ):
        for (start, size), (following, _) in pairwise(starts):
            if start + size > following:
                raise RefusedError(f"two memory regions overlap at the {what} address {following:#x}")


def map_shared(descriptor: Descriptor, offset: int, size: int) -> memoryview:
    """Map `size` bytes at `offset` of a shared file; the mapping ends with the last view of it.

    Raises:
        RefusedError: the file is shorter, or cannot be mapped. (A file that is cut off later still kills whoever
            touches the lost pages: the front end owns its memory.)
    """
    try:
        status = os.fstat(descriptor.fileno())
        # A file of huge pages is mapped in whole huge pages; they are its block size.
        page = max(mmap.ALLOCATIONGRANULARITY, status.st_blksize)
        start = offset - offset % page
        stop = min(-(-(offset + size) // page) * page, max(status.st_size, offset + size))
        mapping = mmap.mmap(descriptor.fileno(), stop - start, offset=start)
    except (OSError, ValueError, OverflowError) as error:
        raise RefusedError(f"{size:#x} bytes at {offset:#x} of a shared file cannot be mapped: {error}") from None
    return memoryview(mapping)[offset - start : offset - start + size]


class MappedRegion(NamedTuple):
    """A region of guest memory that this process can read and write.

    Attributes:
        start: its first guest address.
        stop: the guest address behind it.
        view: its bytes.
    """

    start: int
    stop: int
    view: memoryview


NOWHERE = MappedRegion(0, 0, memoryview(b""))
"""A region that holds nothing."""


class MemoryTable:
    """All regions, found by guest address or by user address."""

    def __init__(self, regions: Iterable[tuple[MemoryRegion, memoryview]] = ()) -> None:
        """Take regions that `check_regions` has let pass, each with its bytes."""
        pairs = sorted(regions, key=lambda pair: pair[0].guest_address)
        self._starts = [region.guest_address for region, _ in pairs]
        self._regions = [
            MappedRegion(region.guest_address, region.guest_address + region.size, view) for region, view in pairs
        ]
        self._user = [(region.user_address, view) for region, view in pairs]

    @classmethod
    def map(cls, regions: Iterable[tuple[MemoryRegion, Descriptor]]) -> MemoryTable:
        """Map regions that `check_regions` has let pass; the errors of `map_shared`."""
        return cls((region, map_shared(file, region.mmap_offset, region.size)) for region, file in regions)

    def region(self, address: int) -> MappedRegion:
        """The region that holds a guest address; raises `AddressError`."""
        index = bisect_right(self._starts, address) - 1
        if index < 0 or address >= self._regions[index].stop:
            raise AddressError(f"the guest address {address:#x} is not in shared memory")
        return self._regions[index]

    def guest(self, address: int, length: int) -> list[memoryview]:
        """The `length` bytes at a guest address, in as many views as there are regions under them.

        Raises:
            AddressError: not all of them are in shared memory.
        """
        views = []
        while length > 0:
            region = self.region(address)
            inside = address - region.start
            view = region.view[inside : inside + length]
            views.append(view)
            address += len(view)
            length -= len(view)
        return views

    def user(self, address: int, length: int) -> memoryview:
        """The `length` bytes at a user address, which lie in one region as rings do; raises `AddressError`."""
        for start, view in self._user:
            inside = address - start
            if inside >= 0 and inside + length <= len(view):
                return view[inside : inside + length]
        raise AddressError(f"{length} bytes at the user address {address:#x} are not in shared memory")
