"""QEMU processes: the storage daemon, machines, QMP.

`Machine` is an asynchronous context manager, `SyncMachine` the same without `await`; a `MachineSpec` says what they are
made of. They are imported when they are first asked for: what other modules here do needs no asyncio.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qemu_viso.qemu.machine import Machine, MachineSpec
    from qemu_viso.qemu.sync import SyncMachine
else:
    _HOMES = {"Machine": "machine", "MachineSpec": "machine", "SyncMachine": "sync"}

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *_HOMES})


__all__ = ["Machine", "MachineSpec", "SyncMachine"]
