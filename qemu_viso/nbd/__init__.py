"""An image served over the NBD protocol."""

from qemu_viso.nbd.listen import Listener, listen_activated, listen_tcp, listen_unix, notify
from qemu_viso.nbd.server import Limits, Server
from qemu_viso.nbd.tls import server_context

__all__ = [
    "Limits",
    "Listener",
    "Server",
    "listen_activated",
    "listen_tcp",
    "listen_unix",
    "notify",
    "server_context",
]
