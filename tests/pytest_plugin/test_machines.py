"""How long the plugin's machines are waited for."""

from __future__ import annotations

import pytest

from qemu_viso.pytest_plugin.machines import GuestMachine
from qemu_viso.pytest_plugin.session import Session
from qemu_viso.qemu.devices import Accelerator
from qemu_viso.qemu.machine import MachineSpec
from qemu_viso.qemu.platforms import PLATFORMS


@pytest.mark.parametrize(("accelerator", "default"), [("kvm", 60.0), ("tcg", 120.0)])
def test_a_wait_takes_as_long_as_the_accelerator_may_need(accelerator: str, default: float) -> None:
    spec = MachineSpec(PLATFORMS["amd64"], "pc", accelerator=Accelerator(accelerator))
    machine = GuestMachine(Session("auto"), spec, None)
    assert machine.seconds == default
    assert default - 1 < machine.deadline(None).remaining <= default
    assert machine.deadline(3.0).remaining <= 3
    assert GuestMachine(Session("auto"), spec, 5.0).seconds == 5
