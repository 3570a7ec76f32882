"""What a machine is made of: small values, each with a pure `to_argv()`.

Two block layers meet here: a *node* is what QEMU reads from (`-blockdev`), a *device* is what the guest sees
(`-device`). A `Bus` says which device carries a medium, on which machine, and how the guest calls it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

AGENT_PORT = "org.qemu-viso.agent"
MEDIUM_NODE = "medium"
MEDIUM_DEVICE = "drive"
RECONNECT_MS = (9, 2)
"""The version of QEMU that brought `reconnect-ms`."""


class Device(Protocol):
    """Anything that adds arguments to QEMU's command line."""

    def to_argv(self) -> list[str]:
        """The arguments, from nothing but the value's own fields."""
        ...


def escape(value: str) -> str:
    """A value for QEMU's `key=value,…` syntax, where a comma is written twice."""
    return value.replace(",", ",,")


# Media: where the bytes come from.


@dataclass(frozen=True, slots=True)
class NbdMedium:
    """An NBD export on a Unix socket.

    Attributes:
        path: of the socket.
        export: its name; empty for the default export.
    """

    path: str
    export: str = ""


@dataclass(frozen=True, slots=True)
class FileMedium:
    """A raw image file."""

    path: str


@dataclass(frozen=True, slots=True)
class VhostUserMedium:
    """A vhost-user-blk back end that listens on a Unix socket.

    Attributes:
        path: of the socket.
        reconnect: seconds after which QEMU connects again to a back end that was lost; 0 for never.
    """

    path: str
    reconnect: int = 0


BlockMedium = NbdMedium | FileMedium
Medium = NbdMedium | FileMedium | VhostUserMedium


@dataclass(frozen=True, slots=True)
class BlockNode:
    """A read-only block node over a medium.

    Attributes:
        name: `node-name`, by which devices and QMP know it.
        medium: what it reads.
        reconnect: seconds for which a lost NBD server is awaited; 0 to fail at once.
    """

    name: str
    medium: BlockMedium
    reconnect: int = 0

    def options(self) -> dict[str, object]:
        """The node's options, as QMP's `blockdev-add` takes them."""
        options: dict[str, object] = {"node-name": self.name, "read-only": True}
        if isinstance(self.medium, FileMedium):
            # No locking: the medium is never written here, and may be open elsewhere.
            return options | {"driver": "file", "filename": self.medium.path, "locking": "off"}
        options |= {"driver": "nbd", "server": {"type": "unix", "path": self.medium.path}}
        if self.medium.export:
            options["export"] = self.medium.export
        if self.reconnect:
            options["reconnect-delay"] = self.reconnect
        return options

    def to_argv(self) -> list[str]:
        """`-blockdev` and its options as JSON, in which no character of a path needs care."""
        return ["-blockdev", json.dumps(self.options())]


@dataclass(frozen=True, slots=True)
class SnapshotNode:
    """A block node over a medium that can be written to: what is written is in a nameless file, gone with QEMU.

    Attributes:
        name: by which devices know it.
        medium: what it reads as long as nothing else was written.
    """

    name: str
    medium: BlockMedium

    def to_argv(self) -> list[str]:
        """`-drive`, which alone knows `snapshot=on`."""
        options = BlockNode(self.name, self.medium).options()
        del options["node-name"], options["read-only"]
        return ["-drive", ",".join([f"if=none,id={self.name},snapshot=on,driver=raw", *_flat("file", options)])]


def _flat(name: str, value: object) -> list[str]:
    """Nested options in QEMU's `key.key=value` spelling."""
    if isinstance(value, dict):
        return [part for key, below in value.items() for part in _flat(f"{name}.{key}", below)]
    return [f"{name}={escape(str(value))}"]


@dataclass(frozen=True, slots=True)
class Screen:
    """A VGA screen, for somebody who looks and for screenshots."""

    def to_argv(self) -> list[str]:
        """`-device VGA`."""
        return ["-device", "VGA"]


@dataclass(frozen=True, slots=True)
class OverlayNode:
    """A writable block node: a qcow2 file that holds what is written, over another node that is read.

    Attributes:
        name: `node-name`.
        path: of the qcow2 file. What its header names as its backing file does not count here.
        backing: the name of the node below.
    """

    name: str
    path: str
    backing: str

    def options(self) -> dict[str, object]:
        """The node's options, as QMP's `blockdev-add` takes them."""
        file = {"driver": "file", "filename": self.path}
        return {"node-name": self.name, "driver": "qcow2", "file": file, "backing": self.backing}

    def to_argv(self) -> list[str]:
        """`-blockdev` and its options."""
        return ["-blockdev", json.dumps(self.options())]


@dataclass(frozen=True, slots=True)
class Frontend:
    """`-device` with a driver and its properties."""

    driver: str
    properties: tuple[tuple[str, str], ...] = ()

    def to_argv(self) -> list[str]:
        """`-device DRIVER,KEY=VALUE…`."""
        return ["-device", ",".join([self.driver, *(f"{key}={escape(value)}" for key, value in self.properties)])]


@dataclass(frozen=True, slots=True)
class SocketChardev:
    """A character device on a connected socket that QEMU inherits.

    Attributes:
        name: its id.
        descriptor: the number of the inherited descriptor.
    """

    name: str
    descriptor: int

    def to_argv(self) -> list[str]:
        """`-chardev socket` with the descriptor."""
        return ["-chardev", f"socket,id={self.name},fd={self.descriptor}"]


@dataclass(frozen=True, slots=True)
class PathChardev:
    """A character device that connects to a listening Unix socket when QEMU starts.

    Attributes:
        name: its id.
        path: of the socket.
        reconnect: seconds after which it connects again when the connection was lost; 0 for never.
        milliseconds: whether QEMU is to be told so in milliseconds. It is since 9.2 (`RECONNECT_MS`); `reconnect`,
            in seconds, is deprecated from there on, and gone later.
    """

    name: str
    path: str
    reconnect: int = 0
    milliseconds: bool = False

    def to_argv(self) -> list[str]:
        """`-chardev socket` with the path."""
        again = ""
        if self.reconnect:
            again = f",reconnect-ms={1000 * self.reconnect}" if self.milliseconds else f",reconnect={self.reconnect}"
        return ["-chardev", f"socket,id={self.name},path={escape(self.path)}{again}"]


@dataclass(frozen=True, slots=True)
class SerialConsole:
    """The guest's first console on a character device.

    Attributes:
        chardev: the id of the character device.
        driver: the device that carries it; None for the serial port that the machine has anyway.
    """

    chardev: str
    driver: str | None = None

    def to_argv(self) -> list[str]:
        """`-serial`, or `-device` for machines without a serial port."""
        if self.driver is None:
            return ["-serial", f"chardev:{self.chardev}"]
        return ["-device", f"{self.driver},chardev={self.chardev}"]


@dataclass(frozen=True, slots=True)
class AgentPort:
    """A virtio-serial port for the guest's agent.

    Attributes:
        chardev: the id of the character device.
        transport: `pci`, or `ccw` on s390x.
    """

    chardev: str
    transport: str = "pci"

    def to_argv(self) -> list[str]:
        """The controller and its port."""
        port = f"virtserialport,bus=agents.0,chardev={self.chardev},name={AGENT_PORT}"
        return ["-device", f"virtio-serial-{self.transport},id=agents", "-device", port]


@dataclass(frozen=True, slots=True)
class QmpMonitor:
    """A QMP session on a character device."""

    chardev: str

    def to_argv(self) -> list[str]:
        """`-mon`."""
        return ["-mon", f"chardev={self.chardev},mode=control"]


@dataclass(frozen=True, slots=True)
class Pvpanic:
    """The device through which a panicking guest says so."""

    def to_argv(self) -> list[str]:
        """`-device pvpanic-pci`."""
        return ["-device", "pvpanic-pci"]


@dataclass(frozen=True, slots=True)
class Memory:
    """The machine's memory, in a memfd that vhost-user back ends can map.

    Attributes:
        mebibytes: its size.
    """

    mebibytes: int

    def to_argv(self) -> list[str]:
        """The back end; the machine names it with `memory-backend=ram`."""
        size = f"{self.mebibytes}M"
        return ["-object", f"memory-backend-memfd,id=ram,size={size},share=on", "-m", size]


@dataclass(frozen=True, slots=True)
class Accelerator:
    """What executes the guest's instructions: `tcg`, `kvm` and the like."""

    name: str = "tcg"

    def to_argv(self) -> list[str]:
        """`-accel`."""
        return ["-accel", self.name]


@dataclass(frozen=True, slots=True)
class DirectKernel:
    """A kernel that QEMU loads itself, without firmware or boot loader.

    Attributes:
        kernel: its path.
        initrd: path of the initial RAM disk; empty for none.
        arguments: the kernel's command line; empty for none.
    """

    kernel: str
    initrd: str = ""
    arguments: str = ""

    def to_argv(self) -> list[str]:
        """`-kernel`, `-initrd`, `-append`."""
        options = (("-kernel", self.kernel), ("-initrd", self.initrd), ("-append", self.arguments))
        return [word for option in options if option[1] for word in option]


@dataclass(frozen=True, slots=True)
class Flash:
    """UEFI firmware in two flash chips: code, and variables that are forgotten at the end.

    Attributes:
        code: path of the code image.
        variables: path of the variable store's template; it is not written to.
    """

    code: str
    variables: str

    def to_argv(self) -> list[str]:
        """Two `-drive if=pflash`; `snapshot=on` keeps the template as it is."""
        return [
            "-drive", f"if=pflash,unit=0,format=raw,read-only=on,file={escape(self.code)}",
            "-drive", f"if=pflash,unit=1,format=raw,snapshot=on,file={escape(self.variables)}",
        ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bus:
    """A way in which a medium reaches the guest.

    Attributes:
        name: as people write it on the command line.
        title: in words.
        carries: `block` for a block node that QEMU reads itself, `vhost-user` for a back end in another process.
        machine: the x86 machine type on which the device exists and the small cloud kernel finds it.
        guest_device: the device's name below /dev in a Linux guest.
        removable: whether the medium can be changed while the guest runs.
        frontends: the devices for a virtio transport (`pci`, `ccw`); properties of the last one are completed with
            the drive.
    """

    name: str
    title: str
    carries: Literal["block", "vhost-user"]
    machine: str
    guest_device: str
    removable: bool
    frontends: Callable[[str], tuple[Frontend, ...]]

    def devices(
        self, medium: Medium, *, transport: str = "pci", boot: bool = False, overlay: bool = False
    ) -> tuple[Device, ...]:
        """The block layer and the devices for a medium.

        Args:
            medium: a `VhostUserMedium` exactly where the bus carries vhost-user.
            transport: of the machine's virtio devices.
            boot: whether the firmware starts from it.
            overlay: whether the guest may write, into a file that is gone with QEMU. A CD drive never writes.

        Raises:
            ValueError: medium and bus do not fit.
        """
        *controllers, drive = self.frontends(transport)
        # Not 0, which QEMU gives to a kernel that it loads itself (`-kernel`); no two devices may have the same.
        extra = (("id", MEDIUM_DEVICE), *((("bootindex", "1"),) if boot else ()))
        back_end: Device
        if isinstance(medium, VhostUserMedium):
            if self.carries != "vhost-user":
                raise ValueError(f"the bus {self.name} cannot carry {medium}")
            back_end = PathChardev(MEDIUM_NODE, medium.path, medium.reconnect)
            attached = Frontend(drive.driver, (*drive.properties, ("chardev", MEDIUM_NODE), *extra))
        else:
            if self.carries != "block":
                raise ValueError(f"the bus {self.name} cannot carry {medium}")
            back_end = SnapshotNode(MEDIUM_NODE, medium) if overlay else BlockNode(MEDIUM_NODE, medium)
            attached = Frontend(drive.driver, (*drive.properties, ("drive", MEDIUM_NODE), *extra))
        return (back_end, *controllers, attached)


def _scsi_cd(transport: str) -> tuple[Frontend, ...]:
    return (Frontend(f"virtio-scsi-{transport}", (("id", "scsi"),)), Frontend("scsi-cd", (("bus", "scsi.0"),)))


def _ide_cd(_transport: str) -> tuple[Frontend, ...]:
    return (Frontend("ide-cd", (("bus", "ide.0"),)),)


def _usb_cd(_transport: str) -> tuple[Frontend, ...]:
    return (
        Frontend("qemu-xhci", (("id", "usb"),)),
        Frontend("usb-bot", (("id", "bot"), ("bus", "usb.0"))),
        Frontend("scsi-cd", (("bus", "bot.0"), ("lun", "0"))),
    )


def _usb_disk(_transport: str) -> tuple[Frontend, ...]:
    return (Frontend("qemu-xhci", (("id", "usb"),)), Frontend("usb-storage", (("bus", "usb.0"),)))


def _virtio_blk(transport: str) -> tuple[Frontend, ...]:
    return (Frontend(f"virtio-blk-{transport}"),)


def _vhost_user_blk(transport: str) -> tuple[Frontend, ...]:
    return (Frontend(f"vhost-user-blk-{transport}"),)


BUSES: Mapping[str, Bus] = {
    bus.name: bus
    for bus in (
        Bus("scsi-cd", "CD drive on virtio-scsi", "block", "q35", "sr0", removable=True, frontends=_scsi_cd),
        Bus("ide-cd", "CD drive on IDE", "block", "pc", "sr0", removable=True, frontends=_ide_cd),
        Bus("ahci-cd", "CD drive on AHCI", "block", "q35", "sr0", removable=True, frontends=_ide_cd),
        Bus("usb-cd", "CD drive on USB", "block", "q35", "sr0", removable=True, frontends=_usb_cd),
        Bus("usb-disk", "disk on USB", "block", "q35", "sda", removable=False, frontends=_usb_disk),
        Bus("virtio-blk", "virtio disk", "block", "q35", "vda", removable=False, frontends=_virtio_blk),
        Bus(
            "vhost-user-blk",
            "virtio disk in another process",
            "vhost-user",
            "q35",
            "vda",
            removable=False,
            frontends=_vhost_user_blk,
        ),
    )
}
