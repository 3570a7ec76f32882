"""Changing a medium against a drive that does not do as it is told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from qemu_viso.errors import GuestError
from qemu_viso.qemu.deadline import Deadline
from qemu_viso.qemu.devices import NbdMedium
from qemu_viso.qemu.machine import Machine
from tests.qemu.fakes import fake_spec

if TYPE_CHECKING:
    from pathlib import Path

LONG = 60.0

# A drive as QEMU's qapi/block.json has it: its nodes, what is in it, and whether its tray is open. `guest` is called
# behind each command and may meddle; `refuses` says of a command whether it fails.
DRIVE = """
nodes, inside, is_open, told = {"first"}, "first", False, []

def guest(name):
    pass

def refuses(name):
    return False

GUEST

def error(text):
    return {"error": {"class": "GenericError", "desc": text}}

def run(name):
    global inside, is_open
    if name == "query-block":
        drive = {"qdev": "/machine/peripheral/drive", "tray_open": is_open, "device": ""}
        return {"return": [drive | ({"inserted": {"node-name": inside}} if inside else {})]}
    if name == "look":
        return {"return": {"nodes": sorted(nodes), "inside": inside, "open": is_open, "told": told}}
    if not name.startswith("blockdev-"):
        return {"return": {}}
    told.append(name)
    if refuses(name):
        return error("I will not")
    if name == "blockdev-add":
        nodes.add(arguments["node-name"])
    elif name == "blockdev-del":
        if arguments["node-name"] == inside:
            return error("Node is in use")
        if arguments["node-name"] not in nodes:
            return error("Failed to find node")
        nodes.remove(arguments["node-name"])
    elif name == "blockdev-open-tray":
        is_open = True
    elif name == "blockdev-close-tray":
        is_open = False
    elif not is_open:
        return error("Tray of device 'drive' is not open")
    elif name == "blockdev-remove-medium":
        inside = None
    elif name == "blockdev-insert-medium":
        if inside:
            return error("There already is a medium in device 'drive'")
        inside = arguments["node-name"]
    return {"return": {}}

def command(name):
    reply = run(name)
    guest(name)
    return reply

greet()
serve(command)
"""

# Linux closes the tray when somebody opens the device (`autoclose`), as often as TIMES says.
CLOSES = """
left = TIMES
def guest(name):
    global is_open, left
    if name == "BEHIND" and left:
        is_open, left = False, left - 1
"""


def change(tmp_path: Path, guest: str) -> tuple[str, dict[str, Any]]:
    """What a change of the medium told, if it failed, and how the drive is afterwards."""

    async def run() -> tuple[str, dict[str, Any]]:
        async with Machine(fake_spec(tmp_path, DRIVE.replace("GUEST", guest))) as machine:
            said = ""
            try:
                await machine.change_medium(NbdMedium("/run/second"), Deadline.after(LONG))
            except GuestError as error:
                said = str(error)
            found = await machine.execute("look", Deadline.after(LONG))
            assert isinstance(found, dict)
            return said, found

    said, found = asyncio.run(run())
    # Numbered by a counter that all machines share.
    found["nodes"] = [each if each == "first" else "new" for each in found["nodes"]]
    found["inside"] = found["inside"] if found["inside"] in ("first", None) else "new"
    return said, found


def test_the_medium_is_changed(tmp_path: Path) -> None:
    said, found = change(tmp_path, "")
    assert (said, found["nodes"], found["inside"], found["open"]) == ("", ["new"], "new", False)
    assert found["told"] == [
        "blockdev-add", "blockdev-open-tray", "blockdev-remove-medium", "blockdev-insert-medium",
        "blockdev-close-tray", "blockdev-del",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("behind", "times"), [("blockdev-open-tray", 1), ("blockdev-open-tray", 3), ("blockdev-remove-medium", 1)]
)
def test_a_guest_that_closes_the_tray_meanwhile(tmp_path: Path, behind: str, times: int) -> None:
    said, found = change(tmp_path, CLOSES.replace("TIMES", str(times)).replace("BEHIND", behind))
    assert (said, found["nodes"], found["inside"], found["open"]) == ("", ["new"], "new", False)


def test_a_guest_that_never_lets_the_tray_open(tmp_path: Path) -> None:
    said, found = change(tmp_path, CLOSES.replace("TIMES", "1000").replace("BEHIND", "blockdev-open-tray"))
    assert "'blockdev-remove-medium': Tray of device 'drive' is not open; the drive holds the old medium" in said
    assert (found["nodes"], found["inside"], found["open"]) == (["first"], "first", False)


@pytest.mark.parametrize("refused", ["blockdev-open-tray", "blockdev-remove-medium", "blockdev-insert-medium"])
def test_what_fails_half_way_is_undone(tmp_path: Path, refused: str) -> None:
    once = f"def refuses(name):\n    return name == {refused!r} and told.count(name) == 1"
    said, found = change(tmp_path, once)
    assert said.endswith(f"refuses the QMP command '{refused}': I will not; the drive holds the old medium")
    assert (found["nodes"], found["inside"], found["open"]) == (["first"], "first", False)


def test_an_undoing_whose_tray_is_closed_meanwhile(tmp_path: Path) -> None:
    once = "def refuses(name):\n    return name == 'blockdev-insert-medium' and told.count(name) == 1"
    closes = CLOSES.replace("TIMES", "2").replace(
        '"BEHIND" and', '"query-block" and "blockdev-insert-medium" in told and'
    )
    said, found = change(tmp_path, f"{once}\n{closes}")
    assert said.endswith("I will not; the drive holds the old medium")
    assert (found["nodes"], found["inside"], found["open"]) == (["first"], "first", False)


def test_a_drive_that_takes_nothing_any_more_is_empty(tmp_path: Path) -> None:
    said, found = change(tmp_path, "def refuses(name):\n    return name == 'blockdev-insert-medium'")
    assert said.endswith("'blockdev-insert-medium': I will not; the drive is empty")
    assert (found["nodes"], found["inside"], found["open"]) == (["first"], None, False)


@pytest.mark.parametrize("refused", ["blockdev-close-tray", "blockdev-del"])
def test_what_fails_behind_the_change_is_not_undone(tmp_path: Path, refused: str) -> None:
    said, found = change(tmp_path, f"def refuses(name):\n    return name == {refused!r}")
    assert said.endswith(f"'{refused}': I will not; the drive holds the new medium")
    assert found["inside"] == "new"


def test_a_medium_that_cannot_be_opened_moves_nothing(tmp_path: Path) -> None:
    said, found = change(tmp_path, "def refuses(name):\n    return name == 'blockdev-add'")
    assert said.endswith("'blockdev-add': I will not; the drive holds the old medium")
    assert (found["nodes"], found["inside"]) == (["first"], "first")
    assert "blockdev-open-tray" not in found["told"]


def test_of_a_machine_that_is_gone_nothing_is_claimed(tmp_path: Path) -> None:
    body = DRIVE.replace("GUEST", "def refuses(name):\n    name == 'blockdev-insert-medium' and sys.exit(3)")

    async def run() -> None:
        async with Machine(fake_spec(tmp_path, body)) as machine:
            await machine.change_medium(NbdMedium("/run/second"), Deadline.after(LONG))

    with pytest.raises(GuestError, match="exited with status 3") as caught:
        asyncio.run(run())
    assert "the drive" not in str(caught.value)
