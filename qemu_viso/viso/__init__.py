"""Reading and writing VISO recipes: text to `Recipe`, and back."""

from qemu_viso.viso.parse import parse_recipe
from qemu_viso.viso.reading import Probe, probe, read_recipe
from qemu_viso.viso.recipe import Quoting, Recipe

__all__ = ["Probe", "Quoting", "Recipe", "parse_recipe", "probe", "read_recipe"]
