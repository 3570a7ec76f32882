"""The names under which machines are known outside."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from qemu_viso import qemu

ROOT = Path(__file__).resolve().parent.parent.parent


def test_machines_are_imported_from_the_package() -> None:
    from qemu_viso.qemu import Machine, MachineSpec, SyncMachine, machine, sync

    assert (Machine, MachineSpec, SyncMachine) == (machine.Machine, machine.MachineSpec, sync.SyncMachine)
    assert set(qemu.__all__) <= set(dir(qemu))
    with pytest.raises(AttributeError, match=r"'qemu_viso\.qemu' has no attribute 'Maschine'"):
        getattr(qemu, "Maschine")  # noqa: B009 (mypy knows that it is not there)


def test_the_package_alone_loads_no_machine() -> None:
    """Its small modules are used by commands that start none."""
    code = "import sys, qemu_viso.qemu; print(*sys.modules); qemu_viso.qemu.Machine; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    before, after = (set(line.split()) for line in done.stdout.splitlines())
    assert not {"asyncio", "qemu_viso.qemu.machine"} & before
    assert {"asyncio", "qemu_viso.qemu.machine"} <= after
