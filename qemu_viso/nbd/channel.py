"""The bytes' way to a client: a plain socket, on which a host file goes out without passing through us, or TLS."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

Buffer = bytes | bytearray | memoryview

_MSG_MORE = int(socket.MSG_MORE)  # a plain number: an IntFlag would be converted at every call
IOV_MAX = 1024
"""Linux's limit of buffers in one sendmsg."""
SEND_BUFFER = 1 << 20
"""Bytes on their way that a Unix socket takes before we wait for the client; the kernel may allow less."""
COPY_BYTES = 1 << 18
"""Read at once where a file is copied through us."""
POLL_NS = 150_000
"""Nanoseconds for which a client that asks again at once is looked out for."""

_GOODBYE = 1.0
"""Seconds that a client has for its own close_notify."""


class ChannelClosedError(Exception):
    """The client is gone."""


class ChannelTimeoutError(Exception):
    """The client neither sent nor took anything for as long as it may."""


class Channel(Protocol):
    """What a connection needs of its transport.

    Every call but `limit` may raise `ChannelClosedError` or `ChannelTimeoutError`, and nothing else.
    """

    def limit(self, seconds: float | None) -> None:
        """From now on no call waits longer than this for the client."""

    def receive_into(self, buffer: memoryview) -> int:
        """Wait for bytes; 0 at the end."""

    def receive_next(self, buffer: memoryview) -> int:
        """The same, after a reply to a client that asks for one thing at a time."""

    def send(self, buffers: Sequence[Buffer], *, more: bool = False) -> None:
        """Send all of it; `more` says that the rest of the message follows at once."""

    def send_file(self, descriptor: int, offset: int, length: int) -> int:
        """Send part of a file; fewer bytes than asked for when it ends before them or cannot be read."""

    def finish(self) -> None:
        """Say goodbye, if the transport has a way to say it; never fails."""


class PlainChannel:
    """A blocking stream socket.

    Its time limits are the kernel's (SO_RCVTIMEO): Python's own would cost a poll before every call.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(True)
        if sock.family == socket.AF_UNIX:
            # TCP finds its size by itself; here the default does not hold one reply to a usual long request.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        else:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._socket = sock
        self._descriptor = sock.fileno()
        watch = select.poll()
        watch.register(sock, select.POLLIN)
        self._poll = watch.poll
        self._may_poll = len(os.sched_getaffinity(0)) > 1
        self._quick = False
        self._recv_into = sock.recv_into
        self._sendmsg = sock.sendmsg

    def limit(self, seconds: float | None) -> None:
        """See `Channel`."""
        whole = 0 if seconds is None else max(seconds, 0.001)
        value = struct.pack("ll", int(whole), int(whole % 1 * 1_000_000))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)

    def receive_into(self, buffer: memoryview) -> int:
        """See `Channel`."""
        try:
            return self._recv_into(buffer)
        except BlockingIOError:
            raise ChannelTimeoutError from None
        except OSError as error:
            raise ChannelClosedError(error.strerror) from None

    def receive_next(self, buffer: memoryview) -> int:
        """See `Channel`.

        To be woken on a processor that has gone to sleep takes longer than a small reply, so a client that was quick
        the last time is looked out for awake, as QEMU's own event loops do it; one that takes its time is not.
        """
        poll, now = self._poll, time.monotonic_ns
        end = now() + POLL_NS
        if self._quick:
            while not poll(0):
                if now() > end:
                    self._quick = False
                    break
            return self.receive_into(buffer)
        count = self.receive_into(buffer)
        self._quick = self._may_poll and now() < end
        return count

    def send(self, buffers: Sequence[Buffer], *, more: bool = False) -> None:
        """See `Channel`."""
        flags = _MSG_MORE if more else 0
        if len(buffers) > IOV_MAX:
            for start in range(0, len(buffers), IOV_MAX):
                self.send(buffers[start : start + IOV_MAX], more=more or start + IOV_MAX < len(buffers))
            return
        try:
            sent = self._sendmsg(buffers, [], flags)
            # A signal or the time limit may cut a blocking send short.
            if sent != sum(map(len, buffers)):
                self._send_rest(buffers, sent, flags)
        except BlockingIOError:
            raise ChannelTimeoutError from None
        except OSError as error:
            raise ChannelClosedError(error.strerror) from None

    def _send_rest(self, buffers: Sequence[Buffer], sent: int, flags: int) -> None:
        for buffer in buffers:
            view = memoryview(buffer)
            if sent >= len(view):
                sent -= len(view)
                continue
            view = view[sent:]
            sent = 0
            while view:
                view = view[self._socket.send(view, flags) :]

    def send_file(self, descriptor: int, offset: int, length: int) -> int:
        """See `Channel`."""
        left = length
        try:
            while left:
                sent = os.sendfile(self._descriptor, descriptor, offset, left)
                if not sent:
                    break
                offset += sent
                left -= sent
        except BlockingIOError:
            raise ChannelTimeoutError from None
        except ConnectionError as error:
            raise ChannelClosedError(error.strerror) from None
        except OSError:  # the file's: it cannot be read, or not by sendfile
            left -= _copy(self, descriptor, offset, left)
        return length - left

    def finish(self) -> None:
        """See `Channel`: closing the socket says it all."""


class TlsChannel:
    """A TLS session, which copies: the price of encryption in user space."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self._socket = sock

    def limit(self, seconds: float | None) -> None:
        """See `Channel`."""
        self._socket.settimeout(None if seconds is None else max(seconds, 0.001))

    def receive_into(self, buffer: memoryview) -> int:
        """See `Channel`."""
        try:
            return self._socket.recv_into(buffer)
        except TimeoutError:
            raise ChannelTimeoutError from None
        except OSError as error:
            raise ChannelClosedError(error.strerror) from None

    receive_next = receive_into

    def send(self, buffers: Sequence[Buffer], *, more: bool = False) -> None:  # noqa: ARG002 - a record is a record
        """See `Channel`."""
        try:
            self._socket.sendall(b"".join(buffers))
        except TimeoutError:
            raise ChannelTimeoutError from None
        except OSError as error:
            raise ChannelClosedError(error.strerror) from None

    def send_file(self, descriptor: int, offset: int, length: int) -> int:
        """See `Channel`."""
        return _copy(self, descriptor, offset, length)

    def finish(self) -> None:
        """See `Channel`: the close_notify that section "Terminating the transmission phase" wants."""
        try:
            self._socket.settimeout(_GOODBYE)
            self._socket.unwrap()
        except (OSError, ValueError):
            pass  # the client has hung up already


def _copy(channel: Channel, descriptor: int, offset: int, length: int) -> int:
    """`Channel.send_file` by reading and sending."""
    left = length
    while left:
        try:
            data = os.pread(descriptor, min(left, COPY_BYTES), offset)
        except OSError:
            break
        if not data:
            break
        channel.send([data])
        offset += len(data)
        left -= len(data)
    return length - left


class Deadline:
    """A limit for several calls together, so that a client which sends a byte now and then does not escape it."""

    def __init__(self, seconds: float | None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds

    def left(self) -> float | None:
        """Seconds, None for no limit.

        Raises:
            ChannelTimeoutError: none are left.
        """
        if self._end is None:
            return None
        left = self._end - time.monotonic()
        if left <= 0:
            raise ChannelTimeoutError
        return left
