"""Machines with a vhost-user-blk device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qemu_viso.qemu import PLATFORMS, Frontend, MachineSpec, PathChardev

if TYPE_CHECKING:
    from qemu_viso.qemu import Device, DirectKernel


@dataclass(frozen=True, slots=True)
class Options:
    """Anything else of QEMU's command line."""

    arguments: tuple[str, ...]

    def to_argv(self) -> list[str]:
        return list(self.arguments)


def with_vhost_user(
    kernel: DirectKernel, path: str, machine: str = "q35", properties: tuple[tuple[str, str], ...] = (), *extra: str
) -> MachineSpec:
    """A machine whose disk is a vhost-user-blk device at `path`; QEMU reconnects when it is lost."""
    devices: tuple[Device, ...] = (
        kernel,
        PathChardev("medium", path, reconnect=1),
        Frontend("vhost-user-blk-pci", (("chardev", "medium"), *properties)),
        Options(extra),
    )
    return MachineSpec(PLATFORMS["amd64"], machine, devices, agent=False)
