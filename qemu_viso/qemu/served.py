"""Images as the media of machines on this host: served over NBD, on a socket that nobody else knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qemu_viso.nbd import Server, listen_unix
from qemu_viso.nbd.uri import UnixAddress
from qemu_viso.qemu.devices import NbdMedium

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from qemu_viso.image import Image
    from qemu_viso.nbd.trace import ReadTrace


class ServedImages:
    """Images under names of theirs on one private socket, inside `with`.

    Args:
        images: by export.
        trace: writes down what is read; None for none.
    """

    def __init__(self, images: Mapping[str, Image], trace: ReadTrace | None = None) -> None:
        listener = listen_unix()
        assert isinstance(listener.address, UnixAddress)
        self._path = listener.address.path
        self._server = Server(images, listener, trace=trace)

    def medium_of(self, export: str) -> NbdMedium:
        """What a machine, or a storage daemon, opens."""
        return NbdMedium(self._path, export)

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.__exit__(kind, error, trace)


class ServedImage(ServedImages):
    """One image at a time on a private socket, inside `with`.

    Args:
        image: the first one.
        trace: writes down what is read; None for none.

    Attributes:
        medium: what a machine, or a storage daemon, opens: the default export.
    """

    def __init__(self, image: Image, trace: ReadTrace | None = None) -> None:
        super().__init__({image.name: image}, trace)
        self.medium = self.medium_of("")

    def replace(self, image: Image) -> NbdMedium:
        """Show another image to whoever opens the medium from now on; who has it open keeps the old image.

        Returns:
            the medium, for `Machine.change_medium`.
        """
        self._server.replace({image.name: image})
        return self.medium
