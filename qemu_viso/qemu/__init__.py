"""QEMU processes: the storage daemon, machines, QMP.

`Machine` is an asynchronous context manager, `SyncMachine` the same without `await`; a `MachineSpec` says what they are
made of: a platform, and devices, each a value that adds arguments to QEMU's command line. All of them are imported when
they are first asked for: what other modules here do needs no asyncio.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qemu_viso.qemu.deadline import Deadline
    from qemu_viso.qemu.devices import (
        Accelerator,
        BlockNode,
        Device,
        DirectKernel,
        FileMedium,
        Flash,
        Frontend,
        NbdMedium,
        PathChardev,
        Screen,
    )
    from qemu_viso.qemu.machine import Machine, MachineSpec
    from qemu_viso.qemu.platforms import PLATFORMS, Platform
    from qemu_viso.qemu.sync import SyncMachine
else:
    _HOMES = {
        "deadline": ("Deadline",),
        "devices": (
            *("Accelerator", "BlockNode", "Device", "DirectKernel", "FileMedium", "Flash", "Frontend", "NbdMedium"),
            *("PathChardev", "Screen"),
        ),
        "machine": ("Machine", "MachineSpec"),
        "platforms": ("PLATFORMS", "Platform"),
        "sync": ("SyncMachine",),
    }

    def __getattr__(name: str) -> object:
        for home, names in _HOMES.items():
            if name in names:
                from importlib import import_module

                return getattr(import_module(f"{__name__}.{home}"), name)
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = [
    "PLATFORMS",
    "Accelerator",
    "BlockNode",
    "Deadline",
    "Device",
    "DirectKernel",
    "FileMedium",
    "Flash",
    "Frontend",
    "Machine",
    "MachineSpec",
    "NbdMedium",
    "PathChardev",
    "Platform",
    "Screen",
    "SyncMachine",
]
