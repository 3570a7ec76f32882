"""Programs that behave like QEMU only as far as a test wants, and badly from there on."""

import gc
import os
import sys
from pathlib import Path

from qemu_viso.qemu.machine import MachineSpec
from qemu_viso.qemu.platforms import Platform

# What every fake shares: its inherited sockets by name, and a QMP session.
_COMMON = """
import json, os, re, signal, socket, sys, time

def inherited(name):
    for argument in sys.argv:
        match = re.fullmatch(rf"socket,id={name},fd=([0-9]+)", argument)
        if match:
            return socket.socket(fileno=int(match[1]))

qmp, console, agent = inherited("qmp"), inherited("console"), inherited("agent")

def send(message):
    qmp.sendall(json.dumps(message).encode() + b"\\r\\n")

def greet(major=7):
    send({"QMP": {"version": {"qemu": {"major": major, "minor": 2, "micro": 1}, "package": ""}, "capabilities": []}})

arguments = {}

def serve(on_command=lambda name: {"return": {}}):
    global arguments  # of the command that is being run
    text = ""
    while data := qmp.recv(65536):
        # Nothing but the syntax of JSON separates one command from the next.
        text += data.decode()
        while text:
            try:
                request, end = json.JSONDecoder().raw_decode(text)
            except ValueError:
                break
            text = text[end:].lstrip()
            arguments = request.get("arguments", {})
            reply = on_command(request["execute"])
            if reply is not None:
                send(reply | {"id": request["id"]} if "id" in request else reply)
"""


def fake_program(folder: Path, body: str, name: str = "qemu-system-fake") -> str:
    """An executable whose body has `greet`, `serve`, `send`, `qmp`, `console` and `agent`."""
    path = folder / name
    path.write_text(f"#!{sys.executable} -IS\n{_COMMON}\n{body}\n")
    path.chmod(0o755)
    return str(path)


def fake_spec(folder: Path, body: str, *, agent: bool = False) -> MachineSpec:
    """A machine whose QEMU is a fake."""
    platform = Platform("fake", fake_program(folder, body), "none", None, 16, "pci", "ttyS0")
    return MachineSpec(platform, "none", agent=agent)


def is_alive(pid: int) -> bool:
    """Whether a process is there and not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def child_pids() -> set[int]:
    """The children of this process, dead or alive."""
    folders = Path("/proc/self/task").iterdir()
    return {int(word) for folder in folders for word in (folder / "children").read_text().split()}


def open_descriptors() -> set[str]:
    """What this process has open, to be compared before and after; without garbage."""
    gc.collect()
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
        except FileNotFoundError:
            continue
    return found
