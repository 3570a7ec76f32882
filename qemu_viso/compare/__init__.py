"""How two images differ: by what they mean, and where in them."""

from qemu_viso.compare.diff import Comparison, compare
from qemu_viso.compare.model import Difference

__all__ = ["Comparison", "Difference", "compare"]
