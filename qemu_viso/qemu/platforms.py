"""What differs from one architecture to the next: QEMU's program, the machine, and the names of its devices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Platform:
    """An architecture, as QEMU emulates it.

    Attributes:
        name: Debian's name of the architecture.
        program: QEMU's program.
        machine: machine type with its options; None where the bus decides between x86's two.
        cpu: the CPU model; None for the machine's own.
        memory: MiB that a small Linux guest needs.
        transport: of virtio devices: `pci` or `ccw`.
        console: the guest kernel's `console=`.
        console_driver: the device that carries the console; None for the machine's serial port.
        pvpanic: whether the machine can carry the pvpanic device. The kernels of the guests on arm64, armhf and riscv64
            have no driver of it.
        screen: the device that firmware and kernel draw on without more ado; None where there is none.
        bios: whether QEMU gives the machine a firmware that starts from a medium: SeaBIOS, or what the architecture has
            in its place.
    """

    name: str
    program: str
    machine: str | None
    cpu: str | None
    memory: int
    transport: str
    console: str
    console_driver: str | None = None
    pvpanic: bool = True
    screen: str | None = None
    bios: bool = True


# A 32-bit kernel cannot claim the PCI windows that lie above 4 GiB.
_VIRT32 = "virt,highmem=off"
# A POWER9 without what TCG cannot do.
_PSERIES = "pseries,cap-htm=off,cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken"

PLATFORMS: Mapping[str, Platform] = {
    platform.name: platform
    for platform in (
        Platform("amd64", "qemu-system-x86_64", None, None, 256, "pci", "ttyS0", screen="VGA"),
        Platform("i386", "qemu-system-i386", None, None, 256, "pci", "ttyS0", screen="VGA"),
        Platform("arm64", "qemu-system-aarch64", "virt", "cortex-a57", 256, "pci", "ttyAMA0", bios=False),
        Platform("armhf", "qemu-system-arm", _VIRT32, "cortex-a15", 256, "pci", "ttyAMA0", bios=False),
        Platform("ppc64el", "qemu-system-ppc64", _PSERIES, "power9", 1024, "pci", "hvc0", pvpanic=False),
        Platform("riscv64", "qemu-system-riscv64", "virt", None, 256, "pci", "ttyS0", bios=False),
        Platform(
            "s390x", "qemu-system-s390x", "s390-ccw-virtio", None, 256, "ccw", "ttysclp0", "sclpconsole", pvpanic=False
        ),
    )
}
