"""The transmission phase of one connection: requests in, an image's bytes out.

The requests of one `recv` are one batch. Small reads are collected and leave in one `sendmsg`, after one `fstat` of
each file that was read from; a long stretch of one file leaves through `sendfile`, between two of them. A reply to a
file's data that turns out not to be the file's any more is an error, never a mixture.
"""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from operator import sub
from typing import TYPE_CHECKING

from qemu_viso.errors import InputOutputError, QemuVisoError, StaleSourceError
from qemu_viso.image import FilePiece, Span
from qemu_viso.nbd.channel import IOV_MAX
from qemu_viso.nbd.chunks import chunks_of, piece_length
from qemu_viso.nbd.constants import (
    MAX_PAYLOAD,
    REPLY_FLAG_DONE,
    STRUCTURED_REPLY_MAGIC,
    Command,
    CommandFlag,
    Error,
    Mode,
    ReplyType,
)
from qemu_viso.nbd.transmission import (
    STRUCTURED_DATA,
    Replies,
    RequestParser,
    command,
    flags,
    read_head,
    refusal,
    status_payload,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from qemu_viso.image import Image, Piece
    from qemu_viso.nbd.channel import Buffer, Channel
    from qemu_viso.nbd.contexts import Status
    from qemu_viso.nbd.handshake import Selected
    from qemu_viso.nbd.transmission import Request
    from qemu_viso.sources.handles import Handle

RECEIVE_BYTES = 1 << 16
SEND_FILE_FROM = 1 << 15
"""Bytes of one file from which on `sendfile` is cheaper than a copy through us."""
ALONE_BYTES = 1 << 17
"""The longest reply to a lone request that is copied: what leaves with one call wakes its reader once."""
BATCH_BYTES = 1 << 15
"""So much is collected before it is sent: the client works on it while we read on."""
GATHER_BYTES = 1 << 21
"""The longest reply that is made in memory, where it comes from many small files."""
SPANS = 4
"""Places that a connection remembers; each may keep a file open beside the cache of handles."""
SIMPLE_HELD = 512
"""The end of a stretch that a simple reply holds back until the rest has proved good: it can only be cut short."""
CACHE_BYTES = 1 << 23
"""How far ahead one CACHE request reads at most."""


_DATA, _DONE, _OFFSET_DATA = STRUCTURED_REPLY_MAGIC, REPLY_FLAG_DONE, int(ReplyType.OFFSET_DATA)
_NOWHERE = Span(0, 0, 0, -1, None, None)
"""No read lies in it."""


class _BrokenReplyError(Exception):
    """A reply cannot be ended as the protocol wants it: only closing the connection tells the client."""


class Session:
    """Answers the requests of one connection.

    Args:
        channel: to the client.
        image: what it reads.
        status: the image's metadata contexts.
        selected: what was negotiated.
        report: takes every error that a source raises.
        parser: of the requests; one of its own if not given.
    """

    def __init__(
        self,
        channel: Channel,
        image: Image,
        status: Status,
        selected: Selected,
        report: Callable[[Exception], None],
        parser: RequestParser | None = None,
    ) -> None:
        self._parser = parser or RequestParser(selected.mode)
        self._channel = channel
        self._image = image
        self._status = status
        self._mode = selected.mode
        self._contexts = selected.contexts
        self._first = selected.rest
        self._report = report
        self._replies = Replies(selected.mode)
        self._pending: Iterator[Request] = iter(())
        self._disconnected = False
        self._batch: list[Request] = []  # the requests whose replies are in _out
        self._out: list[Buffer] = []
        self._out_bytes = 0
        self._owed = b""  # the last chunk of a reply whose data has been sent
        self._touched: dict[int, Handle | None] = {}  # by descriptor: what was read from and is not verified yet
        self._room = memoryview(bytearray(ALONE_BYTES))
        self._starts = image.regions.starts
        self._spans: dict[int, Span] = {}

    def run(self) -> str | None:
        """Serve until the client disconnects; returns what it did wrong, if anything."""
        parser = self._parser
        buffer = memoryview(bytearray(RECEIVE_BYTES))
        self._pending = iter(parser.receive(self._first))
        while True:
            try:
                return self._serve(parser, buffer)
            except _BrokenReplyError:
                return None
            except (QemuVisoError, OSError):  # which one, and of which file, comes out when it is done again
                self._again()

    def _serve(self, parser: RequestParser, buffer: memoryview) -> str | None:
        """The loop over packets and requests; a short read from one place goes the short way.

        An error of a source leaves it at any point: `_batch` has the requests that are not answered yet, `_pending`
        the ones that have not been looked at.
        """
        read, structured, chunked = read_head(self._mode), self._mode is Mode.STRUCTURED, self._mode is not Mode.SIMPLE
        batch, out, touched, find, pread = self._batch, self._out, self._touched, self._find, os.pread
        low, high, delta, descriptor, handle, view = _NOWHERE
        while True:
            for request in self._pending:
                head, cookie, offset, length, _ = request
                batch.append(request)
                if head == read and 0 < length < SEND_FILE_FROM:
                    if not low <= offset < high:
                        low, high, delta, descriptor, handle, view = find(offset) or _NOWHERE
                    if low <= offset and offset + length <= high:
                        if view is not None:
                            data: Buffer = view[offset - low : offset - low + length]
                        else:
                            touched[descriptor] = handle
                            data = pread(descriptor, length, offset - delta)
                            if len(data) != length:
                                raise InputOutputError("short")
                        if structured:
                            out.append(STRUCTURED_DATA.pack(_DATA, _DONE, _OFFSET_DATA, cookie, length + 8, offset))
                        else:
                            out.append(self._replies.data(cookie, offset, length, offset, done=True))
                        out.append(data)
                        self._out_bytes += length
                        if self._out_bytes >= BATCH_BYTES:
                            self._commit()
                        continue
                elif head == read and chunked and self._send_stretch(request):
                    continue
                self._other(request)
                if self._disconnected:
                    break
                if self._out_bytes >= BATCH_BYTES or len(out) >= IOV_MAX // 2:
                    self._commit()
            self._commit()
            if self._disconnected or parser.violation is not None:
                return None if self._disconnected else parser.violation
            requests = self._alternate(parser, buffer)
            if requests is None:
                return None
            self._pending = iter(requests)

    def _alternate(self, parser: RequestParser, buffer: memoryview) -> list[Request] | None:
        """Receive the next requests, None at the end.

        A client that waits for each reply is answered here, in a straight line of four system calls a request, for as
        long as it asks for little and from one place.
        """
        wait, receive, send = self._channel.receive_into, parser.receive, self._channel.send
        read, structured = read_head(self._mode), self._mode is Mode.STRUCTURED
        batch, find, preadv, room = self._batch, self._find, os.preadv, self._room
        low, high, delta, descriptor, handle, view = _NOWHERE
        while True:
            count = wait(buffer)
            if not count:
                return None
            requests = receive(buffer[:count])
            if len(requests) != 1 or parser.violation is not None:
                return requests
            head, cookie, offset, length, _ = requests[0]
            if head != read or not 0 < length <= ALONE_BYTES:
                return requests
            batch.append(requests[0])  # an error from here on is `_again`'s affair
            if not low <= offset < high:
                low, high, delta, descriptor, handle, view = find(offset) or _NOWHERE
            if not low <= offset <= high - length or (length >= SEND_FILE_FROM and view is not None):
                batch.clear()
                return requests
            if view is not None:
                data: Buffer = view[offset - low : offset - low + length]
            else:
                data = room[:length]
                if handle is None or preadv(descriptor, (data,), offset - delta) != length:
                    raise InputOutputError("short")
                handle.verify()
            if structured:
                send((STRUCTURED_DATA.pack(_DATA, _DONE, _OFFSET_DATA, cookie, length + 8, offset), data))
            else:
                send((self._replies.data(cookie, offset, length, offset, done=True), data))
            batch.clear()
            wait = self._channel.receive_next

    def _find(self, offset: int) -> Span | None:
        """`Image.span`, with the files of the last reads at hand."""
        if offset >= self._image.size:
            return None
        index = bisect_right(self._starts, offset)
        span = self._spans.get(index)
        if span is None or not span.start <= offset < span.stop:
            span = self._image.span(offset)
            if span is not None:
                if len(self._spans) >= SPANS:
                    self._spans.clear()
                self._spans[index] = span
        return span

    def _stretch(self, offset: int, length: int) -> Span | None:
        """The span that has all of a range; where other regions begin in the range no file is opened for nothing."""
        index = bisect_right(self._starts, offset)
        if index < len(self._starts) and self._starts[index] < offset + length:
            return None
        span = self._find(offset)
        return span if span is not None and offset + length <= span.stop else None

    def _commit(self) -> None:
        """Send what has been collected, once the files that it was read from have proved to be the same."""
        for handle in self._touched.values():
            if handle is not None:
                handle.verify()
        self._send()

    def _send(self, *, more: bool = False) -> None:
        if self._owed:
            self._out.insert(0, self._owed)
            self._owed = b""
        if self._out:
            self._channel.send(self._out, more=more)
        self._forget()

    def _forget(self) -> None:
        self._batch.clear()
        self._out.clear()
        self._out_bytes = 0
        self._touched.clear()

    def _again(self) -> None:
        """Something that was read for this batch is not to be trusted: read it once more, one request at a time."""
        requests = self._batch.copy()
        self._forget()
        self._spans.clear()
        for request in requests:
            if command(request) == Command.READ and request[3] and self._refused(request) is None:
                try:
                    data = self._image.read(request[2], request[3])
                    self._out += (self._head(request, done=True), data)
                except (QemuVisoError, OSError) as error:
                    self._fail(request, error)
            else:
                self._out += self._without_data(request)
            self._send()

    def _fail(self, request: Request, error: Exception) -> None:
        self._note(error)
        self._out.append(self._replies.error(request[1], request[2], Error.EIO, _sentence(error)))

    def _note(self, error: Exception) -> None:
        if isinstance(error, StaleSourceError):
            self._image.mark_stale(error)
        self._report(error)

    def _refused(self, request: Request) -> tuple[Error, str] | None:
        return refusal(request, self._image.size, contexts=bool(self._contexts))

    def _other(self, request: Request) -> None:
        """Whatever does not go the short way."""
        if command(request) == Command.DISC:
            self._disconnected = True
            self._pending = iter(())  # nothing may follow
            self._batch.pop()
            return
        if command(request) != Command.READ or self._refused(request) is not None or not request[3]:
            replies = self._without_data(request)
            self._out += replies
            self._out_bytes += sum(map(len, replies))  # a status may be long
            return
        _, _, offset, length, _ = request
        if length < SEND_FILE_FROM:
            self._gather(request)
            return
        span = self._stretch(offset, length)
        if span is not None and span.handle is not None:
            self._stream(request, [FilePiece(span.handle, offset - span.delta, length)])
            return
        if length <= GATHER_BYTES and not self._has_long_part(offset, length):
            self._gather(request)
        else:
            self._stream(request, self._image.pieces(offset, length))

    def _has_long_part(self, offset: int, length: int) -> bool:
        """Whether a region of the range is worth a `sendfile` or a hole."""
        stop = offset + length
        inner = self._starts[bisect_right(self._starts, offset) : bisect_left(self._starts, stop)]
        longest: int = max(map(sub, (*inner, stop), (offset, *inner)))
        return longest >= SEND_FILE_FROM

    def _gather(self, request: Request) -> None:
        """Collect a reply of small pieces."""
        data = self._image.gather(request[2], request[3])
        self._out.append(self._head(request, done=True))
        self._out += data
        self._out_bytes += request[3]

    def _head(self, request: Request, *, done: bool) -> bytes:
        _, cookie, offset, length, _ = request
        return self._replies.data(cookie, offset, length, offset, done=done)

    def _send_stretch(self, request: Request) -> bool:
        """Send a long stretch of one file, the usual long read, as `_stream` does; false if this is no such read."""
        _, cookie, offset, length, _ = request
        span = self._stretch(offset, length) if 0 < length <= MAX_PAYLOAD else None
        if span is None or span.handle is None:
            return False
        if self._out:
            self._commit()
        self._batch.clear()  # what fails from here on is told here
        handle, sent = span.handle, 0
        try:
            handle.verify()
        except (QemuVisoError, OSError) as error:
            self._fail(request, error)
            self._send()
            return True
        head = self._owed + self._replies.data(cookie, offset, length, offset, done=False)
        self._owed = b""
        self._channel.send((head,), more=True)
        try:
            sent = self._channel.send_file(span.descriptor, offset - span.delta, length)
            handle.verify()
            if sent != length:
                raise InputOutputError(f"the source '{handle.file.path}' cannot be read to its end")
        except (QemuVisoError, OSError) as error:
            self._spoil(request, error, offset, length - sent)
            return True
        self._owed = self._replies.success(cookie, offset)
        return True

    def _stream(self, request: Request, pieces: Sequence[Piece]) -> None:
        """Send a long reply piece by piece, with holes left out where the client lets us.

        What is known to be wrong before the first byte is an error reply; later, all that was promised is sent, and an
        error chunk tells from where on it is void. A simple reply has no such chunk: the connection is cut.
        """
        self._commit()  # from here on nothing but a failed `_commit` may reach `_answer`
        try:
            for piece in pieces:
                if isinstance(piece, FilePiece):
                    piece.handle.verify()
        except (QemuVisoError, OSError) as error:
            self._fail(request, error)
            self._send()
            return
        if self._mode is not Mode.SIMPLE and not flags(request) & CommandFlag.DF:
            parts = chunks_of(pieces)
        else:
            parts = [(False, list(pieces))]
        _, cookie, offset, _, _ = request
        at = offset
        for hole, part in parts:
            length = sum(map(piece_length, part))
            if hole:
                self._out.append(self._replies.hole(cookie, offset, length, at, done=False))
            else:
                self._out.append(self._replies.data(cookie, offset, length, at, done=False))
                if not self._send_part(request, part, at):
                    return
            at += length
        last = b"" if self._mode is Mode.SIMPLE else self._replies.success(cookie, offset)
        if self._out:
            self._out.append(last)
            self._send()
        else:
            self._owed = last

    def _send_part(self, request: Request, part: Sequence[Piece], at: int) -> bool:
        """The data of one chunk; false when it ended the reply with an error."""
        stop = at + sum(map(piece_length, part))
        sent = at  # what is before `at` is good, what is before `sent` has left
        try:
            for piece in part:
                if isinstance(piece, memoryview):
                    self._collect_piece(piece)
                elif piece.length < SEND_FILE_FROM:
                    self._collect_piece(self._image.read_piece(piece))
                else:
                    self._send(more=True)
                    last = SIMPLE_HELD if self._mode is Mode.SIMPLE else 0
                    handle, start, length = piece
                    sent += self._channel.send_file(handle.descriptor, start, length - last)
                    handle.verify()
                    if sent + last != at + length:
                        raise InputOutputError(f"the source '{handle.file.path}' cannot be read to its end")
                    if last:
                        self._collect_piece(self._image.read_piece(FilePiece(handle, start + length - last, last)))
                sent = at = at + piece_length(piece)
        except (QemuVisoError, OSError) as error:
            self._spoil(request, error, at, stop - sent)
            return False
        return True

    def _collect_piece(self, data: Buffer) -> None:
        if self._out_bytes >= BATCH_BYTES or len(self._out) >= IOV_MAX - 2:
            self._send(more=True)
        self._out.append(data)
        self._out_bytes += len(data)

    def _spoil(self, request: Request, error: Exception, at: int, left: int) -> None:
        """End a reply that has begun with zeros for the `left` bytes of its chunk; all of it from `at` on is void."""
        self._note(error)
        self._send(more=True)
        if self._mode is Mode.SIMPLE:
            raise _BrokenReplyError
        while left:
            zeros = bytes(min(left, BATCH_BYTES))
            self._channel.send([zeros], more=True)
            left -= len(zeros)
        _, cookie, offset, _, _ = request
        self._out.append(self._replies.error_at(cookie, offset, Error.EIO, _sentence(error), at))
        self._send()

    def _without_data(self, request: Request) -> list[bytes]:
        """The reply to anything but a read of at least one byte."""
        _, cookie, offset, length, _ = request
        refused = self._refused(request)
        if refused is not None:
            return [self._replies.error(cookie, offset, *refused)]
        if command(request) == Command.BLOCK_STATUS:
            return self._block_status(request)
        if command(request) == Command.CACHE:
            self._image.prefetch(offset, min(length, CACHE_BYTES))
        return [self._replies.success(cookie, offset)]

    def _block_status(self, request: Request) -> list[bytes]:
        _, cookie, offset, length, payload = request
        contexts = self._contexts
        if flags(request) & CommandFlag.PAYLOAD_LEN:
            asked = status_payload(payload)
            if asked is None or len(set(asked[1])) != len(asked[1]) or not set(asked[1]) <= set(contexts):
                return [self._replies.error(cookie, offset, Error.EINVAL, "the payload names unknown contexts")]
            length, contexts = asked
        if not length or not contexts or offset + length > self._image.size:
            message = f"{length} bytes at {offset} in {len(contexts)} contexts cannot be described"
            return [self._replies.error(cookie, offset, Error.EINVAL, message)]
        one = bool(flags(request) & CommandFlag.REQ_ONE)
        return [
            self._replies.status(
                cookie,
                offset,
                context,
                self._status.extents(context, offset, length, one=one),
                done=context == contexts[-1],
            )
            for context in contexts
        ]


def _sentence(error: Exception) -> str:
    if isinstance(error, QemuVisoError):
        return error.message
    return error.strerror or "input/output error" if isinstance(error, OSError) else str(error)
