"""Listening sockets, bound before anybody is told of them, and the manners of a systemd service."""

from __future__ import annotations

import errno
import os
import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING, Self

from qemu_viso.errors import CannotCreateError, ConfigurationError, UsageError
from qemu_viso.nbd.constants import DEFAULT_PORT
from qemu_viso.nbd.uri import Address, TcpAddress, UnixAddress
from qemu_viso.sockets import BACKLOG, UnixListener

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

LISTEN_FDS_START = 3
"""sd_listen_fds(3): the first descriptor that a service manager hands down."""
PORT_TRIES = 16
"""So many free ports of the first address are tried until one is free at the others too."""


class Listener:
    """Listening sockets, of which a Unix socket takes its path with it when it is closed.

    Attributes:
        sockets: bound, listening and close-on-exec; a loopback name may have two.
        address: where clients find the first one.
    """

    def __init__(self, sockets: Sequence[socket.socket], address: Address, *, unix: UnixListener | None = None) -> None:
        self.sockets = list(sockets)
        self.address = address
        self._unix = unix

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def exposed(self) -> bool:
        """Whether other machines may reach it."""
        return any(
            sock.family != socket.AF_UNIX and not ip_address(sock.getsockname()[0].partition("%")[0]).is_loopback
            for sock in self.sockets
        )

    def close(self) -> None:
        """Close the sockets and remove their files; a second call does nothing."""
        for sock in self.sockets:
            sock.close()
        self.sockets = []
        if self._unix is not None:
            self._unix.close()


def listen_unix(path: str | None = None) -> Listener:
    """Listen on a Unix socket of mode 0600.

    Args:
        path: where; None for a folder of its own, of mode 0700, which `close` removes.

    Raises:
        TryAgainError: another program listens there.
        CannotCreateError: there is something else at `path`, or the socket cannot be made.
    """
    unix = UnixListener.bind(path, name="nbd.sock")
    return Listener([unix.socket], UnixAddress(unix.path or ""), unix=unix)


def listen_tcp(host: str | None = None, port: int = DEFAULT_PORT) -> Listener:
    """Listen on TCP, at all of a host's addresses.

    Args:
        host: a name or an address; None for loopback, IPv4 and IPv6 where there is any.
        port: 0 for any one that is free at all of them.

    Raises:
        CannotCreateError: none of the addresses is this machine's, or the port is taken or forbidden at one of them.
        UsageError: the host has no address.
    """
    hosts = ["127.0.0.1", "::1"] if host is None else [host]
    addresses = [address for name in hosts for address in _resolve(name)]
    tries = 1 if port else PORT_TRIES
    while True:
        tries -= 1
        try:
            sockets = _bind_all(addresses, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not tries:
                where = host or "localhost"
                raise CannotCreateError(f"port {port} of '{where}' cannot be listened on: {error.strerror}") from None
        else:
            return Listener(sockets, TcpAddress(_public_name(host, sockets[0]), int(sockets[0].getsockname()[1])))


def _bind_all(addresses: Sequence[tuple[socket.AddressFamily, str, int]], port: int) -> list[socket.socket]:
    """A socket for each address that this machine has, all of one port: a client takes whichever it finds first."""
    sockets: list[socket.socket] = []
    try:
        for family, address, scope in addresses:
            try:
                sockets.append(_bind(family, address, port, scope))
            except OSError as error:
                last = (family, address, scope) == addresses[-1]
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT) or (last and not sockets):
                    raise
            else:
                port = int(sockets[-1].getsockname()[1])
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _resolve(host: str) -> list[tuple[socket.AddressFamily, str, int]]:
    """Family, numeric address and scope id of each address of a host."""
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise UsageError(f"the host '{host}' has no address: {error.strerror}") from None
    addresses = [(entry[0], str(entry[4][0]), int(entry[4][3]) if len(entry[4]) == 4 else 0) for entry in found]
    return list(dict.fromkeys(addresses))  # the host's tables may name one twice


def _bind(family: socket.AddressFamily, address: str, port: int, scope: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((address, port, 0, scope))
        else:
            sock.bind((address, port))
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _public_name(host: str | None, sock: socket.socket) -> str:
    """What a client on this machine may put into a URI."""
    if host is None:
        return "localhost"
    if ip_address(str(sock.getsockname()[0]).partition("%")[0]).is_unspecified:
        return socket.gethostname()
    return host


def listen_activated() -> Listener | None:
    """The sockets that a service manager has bound for us, if LISTEN_FDS and LISTEN_PID say so; see sd_listen_fds(3).

    Both variables are removed, so that children do not believe in them.

    Raises:
        ConfigurationError: LISTEN_FDS is not a number, or a descriptor is not a listening Unix or TCP socket.
    """
    count, pid = os.environ.get("LISTEN_FDS"), os.environ.get("LISTEN_PID")
    if count is None or pid is None or pid != str(os.getpid()):
        return None
    for name in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    if not count.isdecimal() or int(count) == 0:
        raise ConfigurationError(f"LISTEN_FDS is '{count}', which is no number of sockets")
    sockets = [_adopt(LISTEN_FDS_START + number) for number in range(int(count))]
    first = sockets[0]
    if first.family == socket.AF_UNIX:
        return Listener(sockets, UnixAddress(os.fsdecode(first.getsockname())))
    host, port = first.getsockname()[:2]
    return Listener(sockets, TcpAddress(_public_name(host, first), port))


def _adopt(descriptor: int) -> socket.socket:
    try:
        os.set_inheritable(descriptor, False)
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise ConfigurationError(f"descriptor {descriptor} is not a socket: {error.strerror}") from None
    if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise ConfigurationError(f"descriptor {descriptor} is not a listening stream socket")
    if sock.family not in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6):
        raise ConfigurationError(f"descriptor {descriptor} is neither a Unix nor a TCP socket")
    return sock


def notify(state: str) -> bool:
    """Tell the service manager, as sd_notify(3) does: "READY=1", "RELOADING=1", "STOPPING=1", ...

    Returns:
        Whether there was one (NOTIFY_SOCKET) and it took the message; a failure is never an error.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):  # the abstract namespace
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.sendto(state.encode(), address)
        except OSError:
            return False
    return True
