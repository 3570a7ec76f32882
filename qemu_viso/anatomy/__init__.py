"""What every byte of an image is: structures and their fields, the files' data, and what is unused."""

from qemu_viso.anatomy.explain import Anatomy, explain
from qemu_viso.anatomy.model import Explained

__all__ = ["Anatomy", "Explained", "explain"]
