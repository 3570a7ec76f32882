"""The buffer in which requests under way outlive the back end [Inflight I/O tracking].

The front end keeps it while no back end runs, and hands it to the next one. There is a part for each ring, laid out as
the protocol text says (`QueueRegionSplit`, `DescStateSplit`) and as QEMU's own back ends do: parts begin at multiples
of 64 bytes. Behind them ours has a seal that says which image the guest knows: a back end that comes back with another
one must not answer with its bytes.
"""

from __future__ import annotations

from qemu_viso.vhost_user.messages import RefusedError

_ALIGNMENT = 64
_HEADER_SIZE = 16
_STATE_SIZE = 16
_LAYOUT_VERSION = 1
_SEAL_MARK = b"qemuviso"
_SEAL_SIZE = 64

# The header as 16-bit words: features (4 words), version, desc_num, last_batch_head, used_idx.
_VERSION, _DESC_NUM, _LAST_BATCH_HEAD, _USED_IDX = 4, 5, 6, 7
# A state: `inflight` in its first byte, `next` in its fourth word, `counter` in its second quad.
_NEXT_WORD = (_HEADER_SIZE + 6) // 2
_COUNTER_QUAD = (_HEADER_SIZE + 8) // 8


def part_size(queue_size: int) -> int:
    """Bytes from one ring's part to the next one's."""
    return -(-(_HEADER_SIZE + _STATE_SIZE * queue_size) // _ALIGNMENT) * _ALIGNMENT


def record_size(num_queues: int, queue_size: int) -> int:
    """Bytes of a whole buffer for that many rings, with the seal."""
    return num_queues * part_size(queue_size) + _SEAL_SIZE


def sealed_image(buffer: memoryview, num_queues: int, queue_size: int, fingerprint: bytes) -> bool:
    """Whether the guest knows the image of this fingerprint (32 bytes), or none yet, in which case it does now.

    A buffer that another back end made has no room for a seal, and nobody can tell.
    """
    start = num_queues * part_size(queue_size)
    seal = buffer[start : start + _SEAL_SIZE]
    if len(seal) < _SEAL_SIZE:
        return True
    mark, image = seal[: len(_SEAL_MARK)], seal[len(_SEAL_MARK) : len(_SEAL_MARK) + len(fingerprint)]
    if mark == bytes(len(mark)):
        image[:] = fingerprint
        mark[:] = _SEAL_MARK  # last: without it there is no seal
    return mark != _SEAL_MARK or image == fingerprint


def clear_part(buffer: memoryview, index: int, queue_size: int) -> None:
    """Forget a ring that was taken back with nothing under way: the next one at its place may begin anew."""
    size = part_size(queue_size)
    buffer[index * size : (index + 1) * size] = bytes(size)


class InflightPart:
    """One ring's part.

    Args:
        view: its bytes, at least `part_size(queue_size)`.
        queue_size: the size that the buffer was made for.
        ring_size: the ring's own, which a driver may have chosen smaller; as large if not given.

    Raises:
        RefusedError: it was made for another size, or in another layout.

    Attributes:
        known: whether something has been recorded yet.
    """

    __slots__ = ("_bytes", "_counter", "_quads", "_ring_size", "_words", "known")

    def __init__(self, view: memoryview, queue_size: int, ring_size: int | None = None) -> None:
        view = view[: part_size(queue_size)]
        self._bytes = view
        self._words = view.cast("H")
        self._quads = view.cast("Q")
        self._counter = 0
        self._ring_size = queue_size if ring_size is None else ring_size
        self.known = self._words[_VERSION] != 0
        if not self.known:
            self._words[_DESC_NUM] = queue_size
        elif self._words[_VERSION] != _LAYOUT_VERSION or self._words[_DESC_NUM] != queue_size:
            raise RefusedError(
                f"a buffer for requests under way has version {self._words[_VERSION]} and {self._words[_DESC_NUM]} "
                f"descriptors instead of version {_LAYOUT_VERSION} and {queue_size}"
            )

    def recover(self, used_index: int) -> list[int]:
        """What the last back end left under way: heads in the order in which it had taken them.

        Args:
            used_index: the `idx` of the used ring.

        Raises:
            RefusedError: the record contradicts the used ring.
        """
        words = self._words
        if not self.known:
            words[_USED_IDX] = used_index
            words[_VERSION] = _LAYOUT_VERSION
            self.known = True
            return []
        self._settle_last_batch((used_index - words[_USED_IDX]) & 0xFFFF)
        words[_USED_IDX] = used_index
        heads = [head for head in range(self._ring_size) if self._bytes[_HEADER_SIZE + _STATE_SIZE * head]]
        heads.sort(key=self._taken_as)
        self._counter = self._taken_as(heads[-1]) + 1 if heads else 0
        return heads

    def _settle_last_batch(self, count: int) -> None:
        """The last back end died between publishing `count` heads and recording that they are done."""
        if count > self._ring_size:
            raise RefusedError(f"a record of requests under way is {count} requests behind the used ring")
        head = self._words[_LAST_BATCH_HEAD]
        for _ in range(count):
            if head >= self._ring_size:
                raise RefusedError(f"a record of requests under way names a descriptor {head}")
            self._bytes[_HEADER_SIZE + _STATE_SIZE * head] = 0
            head = self._words[_NEXT_WORD + _STATE_SIZE // 2 * head]

    def _taken_as(self, head: int) -> int:
        return self._quads[_COUNTER_QUAD + _STATE_SIZE // 8 * head]

    def take(self, head: int) -> None:
        """A request has been taken from the available ring."""
        self._quads[_COUNTER_QUAD + _STATE_SIZE // 8 * head] = self._counter
        self._counter = (self._counter + 1) & 0xFFFF_FFFF_FFFF_FFFF
        self._bytes[_HEADER_SIZE + _STATE_SIZE * head] = 1

    def finish(self, head: int) -> None:
        """Its used element is written; the used ring's index is about to move."""
        words = self._words
        words[_NEXT_WORD + _STATE_SIZE // 2 * head] = words[_LAST_BATCH_HEAD]
        words[_LAST_BATCH_HEAD] = head

    def finished(self, head: int, used_index: int) -> None:
        """The used ring's index has moved to `used_index`."""
        self._bytes[_HEADER_SIZE + _STATE_SIZE * head] = 0
        self._words[_USED_IDX] = used_index
