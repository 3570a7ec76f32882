"""Hypothesis measures no times here: a busy machine is not a failure."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("qemu-viso", deadline=None)
settings.load_profile("qemu-viso")
