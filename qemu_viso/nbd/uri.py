"""NBD URIs, as `doc/uri.md` of the protocol's repository describes them."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from qemu_viso.nbd.constants import DEFAULT_PORT


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A Unix socket's path."""

    path: str


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A host name or IP address, without brackets, and a port."""

    host: str
    port: int


Address = UnixAddress | TcpAddress


def build(address: Address, export: str = "", *, tls: bool = False) -> str:
    """The URI under which a client finds an export; the empty name is the default export."""
    scheme = "nbds" if tls else "nbd"
    # The path's first slash is not part of the name (section "NBD URI export name").
    path = "/" + quote(export, safe="")
    if isinstance(address, UnixAddress):
        return f"{scheme}+unix://{path}?socket={quote(address.path, safe='/')}"
    host = f"[{address.host}]" if ":" in address.host else address.host
    port = "" if address.port == DEFAULT_PORT else f":{address.port}"
    return f"{scheme}://{host}{port}{path}"
