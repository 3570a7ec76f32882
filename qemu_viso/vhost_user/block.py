"""A read-only block device (VIRTIO 1.2, 5.2) whose sectors are an image's.

It answers one request at a time, from any number of threads. Bytes of host files go from the kernel straight into the
guest's memory; bytes that exist in memory are copied once.
"""

from __future__ import annotations

import logging
import os
from struct import Struct
from threading import Lock
from typing import TYPE_CHECKING

from qemu_viso.errors import InputOutputError, QemuVisoError, StaleSourceError
from qemu_viso.vhost_user.virtqueue import (
    F_EVENT_IDX,
    F_INDIRECT_DESC,
    F_RING_RESET,
    F_VERSION_1,
    MIN_CHAIN_LIMIT,
    RingError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qemu_viso.image import FilePiece, Image
    from qemu_viso.vhost_user.virtqueue import Chain

SECTOR = 512
"""Bytes: what addresses and capacity count (5.2.4), whatever the medium's own sectors are."""

F_SEG_MAX = 1 << 2
F_RO = 1 << 5
F_BLK_SIZE = 1 << 6
F_FLUSH = 1 << 9
F_MQ = 1 << 12
FEATURES = F_SEG_MAX | F_RO | F_BLK_SIZE | F_FLUSH | F_MQ | F_INDIRECT_DESC | F_EVENT_IDX | F_VERSION_1 | F_RING_RESET
"""Feature bits (5.2.3, 6)."""

T_IN, T_OUT, T_FLUSH, T_GET_ID = 0, 1, 4, 8
S_OK, S_IOERR, S_UNSUPP = 0, 1, 2
"""Request types and statuses (5.2.6)."""

SEGMENTS = MIN_CHAIN_LIMIT - 2
"""`seg_max`: data buffers of a request, which has two more for header and status."""

_ID_SIZE = 20
_REQUEST = Struct("<IIQ")  # type, reserved, sector
_IOV_MAX = 1024

_log = logging.getLogger(__name__)


def configuration(size: int, queues: int) -> bytes:
    """The device's configuration space (5.2.4) for `size` bytes and `queues` rings, as far as features fill it."""
    return b"".join(
        (
            (size // SECTOR).to_bytes(8, "little"),  # capacity
            bytes(4),  # size_max
            SEGMENTS.to_bytes(4, "little"),  # seg_max
            bytes(4),  # geometry
            SECTOR.to_bytes(4, "little"),  # blk_size
            bytes(8),  # topology
            bytes(2),  # writeback, unused0
            queues.to_bytes(2, "little"),  # num_queues
        )
    )


class BlockDevice:
    """Answers requests with the bytes of `image`.

    Attributes:
        refusal: why no read is answered, if none is.
    """

    def __init__(self, image: Image) -> None:
        self._image = image
        self.refusal: str | None = None
        self._id = image.name.encode()[:_ID_SIZE].decode(errors="ignore").encode().ljust(_ID_SIZE, b"\0")
        self._told: set[str] = set()
        self._told_lock = Lock()

    def answer(self, chain: Chain) -> int:
        """Carry out a request and write its status; how many bytes from its first writable one on are written.

        An answer that leaves a gap before the status ends there: the length must not cover it (2.7.8.2).

        Raises:
            RingError: it has no room for a status, or no header: there is no request to answer.
        """
        if chain.readable_length < _REQUEST.size or chain.writable_length < 1:
            raise RingError(
                f"a request has {chain.readable_length} bytes of header and {chain.writable_length} of answer"
            )
        header = chain.readable[0]
        if len(header) < _REQUEST.size:
            header = memoryview(b"".join(_take(chain.readable[::-1], _REQUEST.size)))
        kind, _, sector = _REQUEST.unpack_from(header)
        data, status = _split_status(chain.writable)
        length = chain.writable_length - 1
        filled = 0
        if kind == T_IN:
            verdict, filled = self._read(sector, length, data), length
        elif kind == T_GET_ID:
            verdict, filled = self._get_id(length, data), _ID_SIZE
        elif kind == T_FLUSH:
            verdict = S_OK  # nothing is ever written, so nothing is ever left to write
        else:  # T_OUT must fail on a read-only device (5.2.6.2); the other writes have not been offered
            verdict = S_IOERR if kind == T_OUT else S_UNSUPP
        status[0] = verdict
        if verdict != S_OK:
            filled = 0
        return filled + 1 if filled == length else filled

    def _read(self, sector: int, length: int, buffers: list[memoryview]) -> int:
        if length % SECTOR or sector * SECTOR + length > self._image.size:
            return S_IOERR
        if self.refusal is not None:
            self._tell(self.refusal)
            return S_IOERR
        try:
            read_into(self._image, sector * SECTOR, length, buffers)
        except StaleSourceError as error:
            self._image.mark_stale(error)
            self._tell(error.message)
        except (QemuVisoError, OSError) as error:
            self._tell(f"sectors from {sector} on cannot be read: {error}")
        except Exception:  # noqa: BLE001 - a bug of ours must not leave the guest waiting
            _log.exception("sectors from %d on cannot be read", sector)
        else:
            return S_OK
        return S_IOERR

    def _tell(self, sentence: str) -> None:
        """Log a sentence, once: a guest asks for a bad sector again and again."""
        with self._told_lock:
            if sentence in self._told:
                return
            self._told.add(sentence)
        _log.error("%s", sentence)

    def _get_id(self, length: int, buffers: list[memoryview]) -> int:
        """The medium's name; the buffer must have room for its 20 bytes (5.2.6.1)."""
        if length < _ID_SIZE:
            return S_UNSUPP
        _copy(memoryview(self._id), buffers)
        return S_OK


def _split_status(writable: list[memoryview]) -> tuple[list[memoryview], memoryview]:
    """Everything but the last byte, and the last byte, wherever a driver's buffers end (2.7.4.2)."""
    last = writable[-1]
    if len(last) == 1:
        return writable[:-1], last
    return [*writable[:-1], last[:-1]], last[-1:]


def _copy(source: memoryview, buffers: Sequence[memoryview]) -> None:
    """Copy as much of `source` as there is room for."""
    for buffer in buffers:
        part = source[: len(buffer)]
        buffer[: len(part)] = part
        source = source[len(part) :]


def read_into(image: Image, offset: int, length: int, buffers: list[memoryview]) -> None:
    """Fill `buffers`, `length` bytes in all, with the image's bytes from `offset` on.

    Raises:
        ValueError: the range is not inside the image.
        OSError, QemuVisoError: a source cannot be read, or is not what it was. The buffers are in no certain state.
    """
    pieces = image.pieces(offset, length)
    if len(pieces) == 1:
        _fill(pieces[0], buffers)
        return
    rest = buffers[::-1]
    for piece in pieces:
        _fill(piece, _take(rest, len(piece) if isinstance(piece, memoryview) else piece.length))


def _take(rest: list[memoryview], length: int) -> list[memoryview]:
    """Take `length` bytes of buffers from `rest`, where the next one is the last."""
    taken = []
    while length:
        buffer = rest.pop()
        if len(buffer) > length:
            rest.append(buffer[length:])
            buffer = buffer[:length]
        taken.append(buffer)
        length -= len(buffer)
    return taken


def _fill(piece: memoryview | FilePiece, buffers: list[memoryview]) -> None:
    if isinstance(piece, memoryview):
        _copy(piece, buffers)
        return
    handle, offset, length = piece
    while length:
        count = os.preadv(handle.descriptor, buffers if len(buffers) <= _IOV_MAX else buffers[:_IOV_MAX], offset)
        if count == length:
            break
        if not count:
            handle.verify()
            raise InputOutputError(f"the source '{handle.file.path}' ends {length} bytes too soon")
        rest = buffers[::-1]
        _take(rest, count)
        buffers = rest[::-1]
        offset += count
        length -= count
    handle.verify()
