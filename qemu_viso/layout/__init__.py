"""A tree laid out as an image: sizes first, then places, then regions."""

from qemu_viso.layout.layout import lay_out

__all__ = ["lay_out"]
