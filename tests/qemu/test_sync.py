import asyncio
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from qemu_viso.errors import GuestError
from qemu_viso.qemu.deadline import Deadline
from qemu_viso.qemu.sync import LoopThread, SyncMachine
from tests.qemu.fakes import fake_program, fake_spec, is_alive, open_descriptors

ROOT = Path(__file__).resolve().parent.parent.parent
LONG = 60.0


def test_a_machine_without_await(tmp_path: Path) -> None:
    body = """
def command(name):
    if name == "cont":
        console.sendall(b"login: ")
        send({"return": {}, "id": "__qmp#00001"})
        sys.exit(4)
    return {"return": 3}
greet()
serve(command)
"""
    before, threads = open_descriptors(), threading.active_count()
    with SyncMachine(fake_spec(tmp_path, body)) as machine:
        pid = machine.machine.pid
        assert machine.execute("query-status", Deadline.after(LONG)) == 3
        with pytest.raises(GuestError, match="time ran out while waiting for b'login'"):
            machine.wait_for_console(b"login", Deadline.after(0.05))
        machine.release(Deadline.after(LONG))
        assert machine.wait_for_exit(Deadline.after(LONG)) == 4
        assert machine.machine.console.last_lines == ["login:"]
    assert not is_alive(pid)
    assert open_descriptors() == before
    assert threading.active_count() == threads


def test_a_machine_that_does_not_start(tmp_path: Path) -> None:
    before, threads = open_descriptors(), threading.active_count()
    with pytest.raises(GuestError, match="exited with status 9"), SyncMachine(fake_spec(tmp_path, "sys.exit(9)")):
        pass
    assert open_descriptors() == before
    assert threading.active_count() == threads


def test_machines_that_share_a_loop(tmp_path: Path) -> None:
    """What one of them does holds up nobody, and the loop goes on when one of them has failed or ended."""
    body = "greet(); serve()"
    before, threads = open_descriptors(), threading.active_count()
    with LoopThread() as loop:
        with SyncMachine(fake_spec(tmp_path, body), loop=loop) as first:
            with pytest.raises(GuestError, match="exited with status 9"):
                SyncMachine(fake_spec(tmp_path, "sys.exit(9)"), loop=loop).__enter__()
            with SyncMachine(fake_spec(tmp_path, body), loop=loop) as second:
                assert threading.active_count() == threads + 1
                first.execute("query-status", Deadline.after(LONG))
                pid = second.machine.pid
            assert not is_alive(pid)
            first.execute("query-status", Deadline.after(LONG))
        assert loop.run(asyncio.sleep(0, "still there")) == "still there"
    assert open_descriptors() == before
    assert threading.active_count() == threads


def test_ctrl_c_while_waiting(tmp_path: Path) -> None:
    program = fake_program(tmp_path, "print(os.getpid(), flush=True); greet(); serve()")
    script = f"""
from qemu_viso.qemu.console import Console
from qemu_viso.qemu.deadline import Deadline
from qemu_viso.qemu.machine import MachineSpec
from qemu_viso.qemu.platforms import Platform
from qemu_viso.qemu.sync import SyncMachine
with SyncMachine(MachineSpec(Platform("x", {program!r}, "none", None, 16, "pci", "ttyS0"), "none")) as machine:
    class Telling(Console):
        def wait_for(self, pattern):
            print(machine.machine.pid, flush=True)
            return super().wait_for(pattern)
    machine.machine.console.__class__ = Telling
    try:
        machine.wait_for_console(b"never", Deadline.after(1000))
    except KeyboardInterrupt:
        print(machine.execute("query-status", Deadline.after(60)), flush=True)
        raise
"""
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.send_signal(signal.SIGINT)
    output, errors = parent.communicate(timeout=30)
    assert output == b"{}\n", errors
    assert errors.endswith(b"KeyboardInterrupt\n")
    assert not is_alive(pid)
