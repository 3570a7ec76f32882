"""An image as the medium of a machine on this host: served over NBD, on a socket that nobody else knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qemu_viso.nbd import Server, listen_unix
from qemu_viso.nbd.uri import UnixAddress
from qemu_viso.qemu.devices import NbdMedium

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from qemu_viso.image import Image
    from qemu_viso.nbd.trace import ReadTrace


class ServedImage:
    """One image at a time on a private socket, inside `with`.

    Args:
        image: the first one.
        trace: writes down what is read; None for none.

    Attributes:
        medium: what a machine, or a storage daemon, opens.
    """

    def __init__(self, image: Image, trace: ReadTrace | None = None) -> None:
        listener = listen_unix()
        assert isinstance(listener.address, UnixAddress)
        self.medium = NbdMedium(listener.address.path)
        self._server = Server({image.name: image}, listener, trace=trace)

    def replace(self, image: Image) -> NbdMedium:
        """Show another image to whoever opens the medium from now on; who has it open keeps the old image.

        Returns:
            the medium, for `Machine.change_medium`.
        """
        self._server.replace({image.name: image})
        return self.medium

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.__exit__(kind, error, trace)
