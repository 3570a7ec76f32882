"""An image that cannot be had any more, in the place of the one that somebody reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from qemu_viso.errors import InputOutputError
from qemu_viso.image.image import Image
from qemu_viso.image.regions import Generated, RegionMap

if TYPE_CHECKING:
    from qemu_viso.errors import QemuVisoError


class LostImage(Image):
    """As large as the image was, and every read fails: no byte of another image is mixed with what was read before.

    Args:
        size: of the image that was, in bytes.
        name: its name.
        reason: why it is lost; what every read raises.
    """

    def __init__(self, size: int, name: str, reason: QemuVisoError) -> None:
        def fail() -> NoReturn:
            raise InputOutputError(reason.message)

        regions = RegionMap()
        regions.append(0, size, Generated(size, fail, "lost"))
        super().__init__(regions, name)

    def fingerprint(self) -> str:
        """That of no image."""
        return "0" * 64
