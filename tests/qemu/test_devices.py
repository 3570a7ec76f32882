import dataclasses
import json
from pathlib import Path

import pytest

from qemu_viso.qemu.console import FAILURES, NOT_FROM_THE_MEDIUM
from qemu_viso.qemu.devices import (
    BUSES,
    AgentPort,
    BlockNode,
    Bus,
    DirectKernel,
    FileMedium,
    Flash,
    Medium,
    NbdMedium,
    OverlayNode,
    PathChardev,
    Screen,
    SerialConsole,
    SnapshotNode,
    VhostUserMedium,
)
from qemu_viso.qemu.machine import MachineSpec, machine_for, spelled
from qemu_viso.qemu.platforms import PLATFORMS, Platform


def test_a_block_node_over_nbd() -> None:
    node = BlockNode("n", NbdMedium("/run/a,b.sock", "disk"), reconnect=5)
    option, value = node.to_argv()
    assert option == "-blockdev"
    assert json.loads(value) == {
        "driver": "nbd",
        "node-name": "n",
        "read-only": True,
        "server": {"type": "unix", "path": "/run/a,b.sock"},
        "export": "disk",
        "reconnect-delay": 5,
    }


def test_a_block_node_over_a_file() -> None:
    assert BlockNode("n", FileMedium("/a,b=c")).options() == {
        "driver": "file", "node-name": "n", "read-only": True, "filename": "/a,b=c", "locking": "off",
    }  # fmt: skip


def test_an_overlaid_node() -> None:
    assert SnapshotNode("n", NbdMedium("/a,b", "disk")).to_argv() == [
        "-drive",
        "if=none,id=n,snapshot=on,driver=raw,file.driver=nbd,file.server.type=unix,file.server.path=/a,,b,file.export=disk",
    ]
    node, drive = BUSES["virtio-blk"].devices(NbdMedium("/s"), overlay=True)
    assert node == SnapshotNode("medium", NbdMedium("/s"))
    assert drive.to_argv() == ["-device", "virtio-blk-pci,drive=medium,id=drive"]


def test_a_screen_gets_what_the_firmware_says() -> None:
    spec = machine_for(PLATFORMS["amd64"], BUSES["ide-cd"], NbdMedium("/s"), boot="bios")
    assert spec.failures == NOT_FROM_THE_MEDIUM
    assert any("graphics=off" in each for each in spec.to_argv(3, 4, 5))
    spec = machine_for(PLATFORMS["amd64"], BUSES["ide-cd"], NbdMedium("/s"), Screen(), boot="bios")
    assert not any("graphics=off" in each for each in spec.to_argv(3, 4, 5))


def test_a_machine_can_pause_at_its_end() -> None:
    spec = machine_for(PLATFORMS["amd64"], BUSES["ide-cd"], NbdMedium("/s"))
    assert spec.failures == FAILURES
    assert "panic=pause,reboot=shutdown" in spec.to_argv(3, 4, 5)
    spec = dataclasses.replace(spec, reboot=True, pause_at_end=True)
    assert "panic=pause,shutdown=pause" in spec.to_argv(3, 4, 5)


def test_a_default_export_has_no_name() -> None:
    assert "export" not in BlockNode("n", NbdMedium("/s")).options()


def flat(bus: Bus, medium: Medium, transport: str = "pci", boot: bool = False) -> list[str]:
    return [each for device in bus.devices(medium, transport=transport, boot=boot) for each in device.to_argv()[1:]][1:]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("scsi-cd", ["virtio-scsi-pci,id=scsi", "scsi-cd,bus=scsi.0,drive=medium,id=drive"]),
        ("ide-cd", ["ide-cd,bus=ide.0,drive=medium,id=drive"]),
        ("ahci-cd", ["ide-cd,bus=ide.0,drive=medium,id=drive"]),
        ("usb-cd", ["qemu-xhci,id=usb", "usb-bot,id=bot,bus=usb.0", "scsi-cd,bus=bot.0,lun=0,drive=medium,id=drive"]),
        ("usb-disk", ["qemu-xhci,id=usb", "usb-storage,bus=usb.0,drive=medium,id=drive"]),
        ("virtio-blk", ["virtio-blk-pci,drive=medium,id=drive"]),
    ],
)
def test_buses(name: str, expected: list[str]) -> None:
    assert flat(BUSES[name], NbdMedium("/s")) == expected


def test_vhost_user() -> None:
    devices = BUSES["vhost-user-blk"].devices(VhostUserMedium("/v,w"), boot=True)
    assert [device.to_argv() for device in devices] == [
        ["-chardev", "socket,id=medium,path=/v,,w"],
        ["-device", "vhost-user-blk-pci,chardev=medium,id=drive,bootindex=1"],
    ]
    devices = BUSES["vhost-user-blk"].devices(VhostUserMedium("/v", reconnect=1))
    assert devices[0].to_argv() == ["-chardev", "socket,id=medium,path=/v,reconnect=1"]
    newer = PathChardev("medium", "/v", reconnect=2, milliseconds=True)
    assert newer.to_argv() == ["-chardev", "socket,id=medium,path=/v,reconnect-ms=2000"]
    assert PathChardev("medium", "/v", milliseconds=True).to_argv() == ["-chardev", "socket,id=medium,path=/v"]


@pytest.mark.parametrize(
    ("said", "option"),
    [
        ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)", "reconnect=1"),
        ("QEMU emulator version 9.1.3", "reconnect=1"),
        ("QEMU emulator version 9.2.0", "reconnect-ms=1000"),
        ("QEMU emulator version 10.0.2 (v10.0.2)", "reconnect-ms=1000"),
        ("something else", "reconnect=1"),
    ],
)
def test_reconnecting_is_spelled_for_the_qemu_that_is_here(tmp_path: Path, said: str, option: str) -> None:
    program = tmp_path / "qemu-system-fake"
    program.write_text(f"#!/bin/sh\necho '{said}'\n")
    program.chmod(0o755)
    platform = Platform("fake", str(program), "none", None, 16, "pci", "ttyS0")
    disk = BUSES["vhost-user-blk"].devices(VhostUserMedium("/v", reconnect=1))
    argv = spelled(MachineSpec(platform, "none", disk)).to_argv(3, 4, None)
    assert f"socket,id=medium,path=/v,{option}" in argv


def test_nobody_is_asked_where_nothing_reconnects() -> None:
    spec = MachineSpec(Platform("fake", "/nowhere/qemu", "none", None, 16, "pci", "ttyS0"), "none")
    assert spelled(spec) is spec


def test_an_overlay_lies_over_another_node() -> None:
    option, text = OverlayNode("overlay", "/a,b.qcow2", "medium").to_argv()
    assert option == "-blockdev"
    assert json.loads(text) == {
        "node-name": "overlay",
        "driver": "qcow2",
        "file": {"driver": "file", "filename": "/a,b.qcow2"},
        "backing": "medium",
    }


def test_s390x_has_its_own_transport() -> None:
    assert flat(BUSES["scsi-cd"], NbdMedium("/s"), "ccw")[0] == "virtio-scsi-ccw,id=scsi"
    assert AgentPort("agent", "ccw").to_argv()[1] == "virtio-serial-ccw,id=agents"


@pytest.mark.parametrize(("name", "medium"), [("scsi-cd", VhostUserMedium("/v")), ("vhost-user-blk", NbdMedium("/n"))])
def test_a_medium_that_the_bus_cannot_carry(name: str, medium: Medium) -> None:
    with pytest.raises(ValueError, match=f"the bus {name} cannot carry"):
        BUSES[name].devices(medium)


def test_buses_are_known_by_their_names() -> None:
    assert all(bus.name == name for name, bus in BUSES.items())
    assert all(platform.name == name for name, platform in PLATFORMS.items())


def test_the_whole_command_line_of_a_machine() -> None:
    kernel = DirectKernel("/k", "/i", "console=ttyS0")
    spec = machine_for(PLATFORMS["amd64"], BUSES["virtio-blk"], NbdMedium("/s"), kernel)
    argv = spec.to_argv(5, 6, 7)
    assert argv == spec.to_argv(5, 6, 7)
    text = " ".join(argv)
    for each in (
        "qemu-system-x86_64 -S -nodefaults -no-user-config -display none",
        "-machine q35,memory-backend=ram,graphics=off -accel tcg",
        "-sandbox on,",
        "-action panic=pause,reboot=shutdown",
        "-object memory-backend-memfd,id=ram,size=256M,share=on -m 256M",
        "-chardev socket,id=qmp,fd=5 -mon chardev=qmp,mode=control",
        "-chardev socket,id=console,fd=6 -serial chardev:console",
        "-chardev socket,id=agent,fd=7",
        "virtserialport,bus=agents.0,chardev=agent,name=org.qemu-viso.agent",
        "-device pvpanic-pci",
        "-kernel /k -initrd /i -append console=ttyS0",
        "-device virtio-blk-pci,drive=medium,id=drive",
    ):
        assert each in text


def test_what_a_person_may_change() -> None:
    spec = MachineSpec(
        PLATFORMS["ppc64el"], "pseries", sandbox=False, reboot=True, agent=False, display="gtk", extra=("-nic", "user")
    )
    argv = spec.to_argv(5, 6, None)
    assert argv[-2:] == ["-nic", "user"]
    assert "-sandbox" not in argv
    assert "reboot=shutdown" not in " ".join(argv)
    assert "-display gtk" in " ".join(argv)
    assert "agent" not in " ".join(argv)
    assert "pvpanic-pci" not in argv
    assert argv[argv.index("-cpu") + 1] == "power9"


def test_a_console_that_is_no_serial_port() -> None:
    assert SerialConsole("console", "sclpconsole").to_argv() == ["-device", "sclpconsole,chardev=console"]


def test_flash_keeps_its_template() -> None:
    code, variables = Flash("/code,1", "/vars").to_argv()[1::2]
    assert code == "if=pflash,unit=0,format=raw,read-only=on,file=/code,,1"
    assert variables == "if=pflash,unit=1,format=raw,snapshot=on,file=/vars"
