"""What machine `boot` makes of its arguments."""

from __future__ import annotations

import argparse
import asyncio

import pytest

from qemu_viso.cli import boot
from qemu_viso.qemu import accelerators
from qemu_viso.qemu.accelerators import Verdict
from qemu_viso.qemu.devices import NbdMedium


@pytest.mark.parametrize("sandbox", [True, False])
def test_the_machine_is_confined_where_qemu_can(monkeypatch: pytest.MonkeyPatch, *, sandbox: bool) -> None:
    async def verdicts() -> list[Verdict]:
        return [Verdict("tcg", works=True, seconds=0.1, sandbox=sandbox)]

    monkeypatch.setattr(accelerators, "verdicts", verdicts)
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    parser = argparse.ArgumentParser()
    boot.add_arguments(parser)
    spec = asyncio.run(boot._spec(NbdMedium("/run/socket"), parser.parse_args(["x.viso"])))
    assert ("-sandbox" in spec.to_argv(3, 4, None)) == sandbox
