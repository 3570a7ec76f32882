"""Boot QEMU guests from VISO recipes, and prove that each guest sees what the recipe promises."""

__version__ = "0.1.0.dev0"
