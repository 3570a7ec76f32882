"""The machine against programs that behave badly: what a person is told, and that nothing is left behind."""

import asyncio
import contextlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from qemu_viso.errors import GuestError, MissingProgramError
from qemu_viso.qemu.deadline import Deadline
from qemu_viso.qemu.machine import Machine, MachineSpec
from qemu_viso.qemu.platforms import Platform
from qemu_viso.qemu.process import Child
from tests.qemu.fakes import child_pids, fake_spec, is_alive, open_descriptors
from tests.signals import hasten_sigkill

LONG = 60.0


async def start(spec: MachineSpec, seconds: float = LONG) -> None:
    async with Machine(spec, Deadline.after(seconds)):
        pass


def failure_of(spec: MachineSpec, seconds: float = LONG) -> str:
    """The sentence with which starting a machine ends."""
    before = open_descriptors()
    with pytest.raises(GuestError) as caught:
        asyncio.run(start(spec, seconds))
    assert open_descriptors() == before
    return str(caught.value)


def test_a_good_start_leaves_nothing_behind(tmp_path: Path) -> None:
    async def run() -> tuple[int, tuple[int, int, int], list[str]]:
        async with Machine(fake_spec(tmp_path, "greet(); serve()")) as machine:
            assert await machine.execute("query-status", Deadline.after(LONG)) == {}
            return machine.pid, machine.monitor.version, machine.monitor.transcript

    before = open_descriptors()
    pid, version, transcript = asyncio.run(run())
    assert version == (7, 2, 1)
    assert transcript == ['> {"execute": "query-status", "arguments": {}}', '< {"return": {}}']
    assert not is_alive(pid)
    assert open_descriptors() == before


def test_it_dies_at_once(tmp_path: Path) -> None:
    body = "print('qemu: -blockdev: Could not open: no such file', file=sys.stderr); sys.exit(1)"
    text = failure_of(fake_spec(tmp_path, body))
    assert text.startswith("qemu-system-fake exited with status 1\n")
    assert "-blockdev: Could not open: no such file" in text


def test_it_dies_after_the_greeting(tmp_path: Path) -> None:
    body = "greet(); qmp.recv(1000); console.sendall(b'last\\r\\nwords'); os.kill(os.getpid(), signal.SIGKILL)"
    text = failure_of(fake_spec(tmp_path, body))
    assert text.startswith("qemu-system-fake was ended by SIGKILL\n")
    assert "the last lines of the console:\n    last\n    words" in text


@pytest.mark.parametrize("body", ["signal.pause()", "greet(); signal.pause()", "qmp.send(b'{\"QMP\"'); signal.pause()"])
def test_it_hangs(tmp_path: Path, body: str) -> None:
    text = failure_of(fake_spec(tmp_path, body), 0.3)
    assert "waiting for QEMU to start" in text or "did not answer over QMP in time" in text


def test_it_speaks_nonsense(tmp_path: Path) -> None:
    text = failure_of(fake_spec(tmp_path, "qmp.send(b'hello?\\n'); signal.pause()"))
    assert "did not begin a QMP session" in text
    text = failure_of(fake_spec(tmp_path, "send({'QMP': {'version': {'qemu': {}}, 'capabilities': []}}); serve()"))
    assert "version that cannot be read" in text


def test_it_closes_the_monitor_and_lives_on(tmp_path: Path) -> None:
    text = failure_of(fake_spec(tmp_path, "qmp.close(); signal.pause()"))
    assert "did not begin a QMP session" in text


def test_it_is_too_old(tmp_path: Path) -> None:
    with pytest.raises(MissingProgramError, match=r"is QEMU 5\.2\.1, which is too old") as caught:
        asyncio.run(start(fake_spec(tmp_path, "greet(5); serve()")))
    assert caught.value.hint == "QEMU 6.2.0 or later is needed"


def test_it_is_missing() -> None:
    spec = MachineSpec(Platform("x", "qemu-system-x", "none", None, 16, "pci", "ttyS0"), "none")
    before = open_descriptors()
    with pytest.raises(MissingProgramError, match="'qemu-system-x' is not installed"):
        asyncio.run(start(spec))
    assert open_descriptors() == before


def test_it_is_no_program(tmp_path: Path) -> None:
    spec = fake_spec(tmp_path, "")
    Path(spec.platform.program).write_bytes(b"\x7fELF nothing")
    text = failure_of(spec)
    assert "exited with status 126" in text or "Exec format error" in text


def test_it_ignores_sigterm(tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    hasten_sigkill(monkeypatch, 0.05)

    async def run() -> int:
        body = "signal.signal(signal.SIGTERM, signal.SIG_IGN); greet(); serve(); time.sleep(1000)"
        async with Machine(fake_spec(tmp_path, body)) as machine:
            return machine.pid

    assert not is_alive(asyncio.run(run()))
    assert caplog.messages == ["qemu-system-fake did not end when it was asked to, and was killed"]


async def ask(spec: MachineSpec, command: str, seconds: float = LONG) -> object:
    async with Machine(spec) as machine:
        return await machine.execute(command, Deadline.after(seconds))


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        ("{'error': {'class': 'GenericError', 'desc': 'No medium'}}", "refuses the QMP command 'eject': No medium"),
        ("None", "time ran out while running the QMP command 'eject'|did not answer the QMP command 'eject' in time"),
        ("{'what': 1}", "QMP command 'eject'"),
        ("sys.exit(7)", "exited with status 7"),
    ],
)
def test_commands_that_fail(tmp_path: Path, reply: str, sentence: str) -> None:
    body = f"greet(); serve(lambda name: {reply} if name == 'eject' else {{'return': {{}}}})"
    before = open_descriptors()
    with pytest.raises(GuestError, match=sentence):
        asyncio.run(ask(fake_spec(tmp_path, body), "eject", 0.5 if reply == "None" else LONG))
    assert open_descriptors() == before


GUEST = """
PANICKED = {"event": "GUEST_PANICKED", "data": {"action": "pause"}, "timestamp": {}}
RESET = {"event": "SHUTDOWN", "data": {"reason": "guest-reset"}, "timestamp": {}}
OFF = {"event": "SHUTDOWN", "data": {"reason": "guest-shutdown"}, "timestamp": {}}

def command(name):
    if name == "cont":
        send({"event": "RESUME", "timestamp": {"seconds": 1, "microseconds": 2}})
        GUEST_DOES
    return {"return": {}}
greet()
serve(command)
time.sleep(1000)
"""


@pytest.mark.parametrize(
    ("does", "sentence"),
    [
        ("console.sendall(b'Kernel panic - not syncing: no init\\r\\n')", "the guest failed: Kernel panic"),
        ("send(PANICKED)", "the guest's kernel panicked"),
        ("send(RESET); qmp.close(); sys.exit(0)", "the guest reset the machine"),
        ("send(OFF); qmp.close(); sys.exit(0)", "the guest shut the machine down"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "was ended by SIGSEGV"),
        ("[console.sendall(bytes(range(256)) * 64) for _ in range(200)]; sys.exit(3)", "exited with status 3"),
        ("console.close()", "time ran out while waiting for b'login: '"),
    ],
)  # fmt: skip
def test_guests_that_fail(tmp_path: Path, does: str, sentence: str) -> None:
    """What ends the hope of an answer ends the wait for it."""

    async def run() -> None:
        async with Machine(fake_spec(tmp_path, GUEST.replace("GUEST_DOES", does))) as machine:
            deadline = Deadline.after(0.3 if "time ran out" in sentence else LONG)
            waiting = asyncio.create_task(machine.wait_for_console(b"login: ", deadline))
            await asyncio.sleep(0)
            with contextlib.suppress(GuestError):
                await machine.release(Deadline.after(LONG))
            await waiting

    before = open_descriptors()
    with pytest.raises(GuestError, match=f"(?s){sentence}"):
        asyncio.run(run())
    assert open_descriptors() == before


def test_a_machine_that_a_person_watches(tmp_path: Path) -> None:
    """What looks like a failure is none: the machine still does what it is told."""
    body = GUEST.replace("GUEST_DOES", "console.sendall(b'Kernel panic - not syncing: no init\\r\\nboot: ')")

    async def run() -> object:
        async with Machine(replace(fake_spec(tmp_path, body), failures=None)) as machine:
            prompt = asyncio.create_task(machine.wait_for_console(b"boot: ", Deadline.after(LONG)))
            await asyncio.sleep(0)
            await machine.release(Deadline.after(LONG))
            await prompt
            return await machine.execute("query-status", Deadline.after(LONG))

    assert asyncio.run(run()) == {}


def test_half_a_line(tmp_path: Path) -> None:
    body = GUEST.replace("GUEST_DOES", "console.sendall(b'half a li')")

    async def run() -> None:
        async with Machine(fake_spec(tmp_path, body)) as machine:
            said = asyncio.create_task(machine.wait_for_console(b"half", Deadline.after(LONG)))
            await asyncio.sleep(0)
            await machine.release(Deadline.after(LONG))
            await said
            await machine.wait_for_console(b"half a line", Deadline.after(0.05))

    with pytest.raises(GuestError, match=r"time ran out(?s:.*)half a li$"):
        asyncio.run(run())


def test_the_end_of_another_process_is_trouble(tmp_path: Path) -> None:
    async def run() -> None:
        spec = fake_spec(tmp_path, "greet(); serve()")
        async with Child(["sh", "-c", "echo sorry; kill -KILL $$"]) as helper, Machine(spec) as machine:
            machine.watch(helper)
            await machine.wait_for_console(b"never", Deadline.after(LONG))

    with pytest.raises(GuestError, match=r"(?s)sh was ended by SIGKILL.*sorry"):
        asyncio.run(run())


def test_success_on_the_console_and_events(tmp_path: Path) -> None:
    body = GUEST.replace("GUEST_DOES", "console.sendall(b'Debian login: ')")

    async def run() -> tuple[bytes, object]:
        async with Machine(fake_spec(tmp_path, body)) as machine:
            deadline = Deadline.after(LONG)
            text = asyncio.create_task(machine.wait_for_console(rb"\w+ login: ", deadline))
            event = asyncio.create_task(machine.wait_for_event("RESUME", deadline))
            await asyncio.sleep(0)
            await machine.release(deadline)
            return await text, await event

    text, event = asyncio.run(run())
    assert text == b"Debian login: "
    assert event == {}


def test_a_serial_port_that_writes_while_we_do_not_read(tmp_path: Path) -> None:
    """It writes byte by byte, and a boot loader drops what it cannot get rid of at once."""
    burst, told = 500, tmp_path / "told"
    os.mkfifo(told)
    does = f"""
console.sendall(b'begin')
time.sleep(0.1)  # until the other side has stopped to read
console.setblocking(False)
sent = 0
try:
    while sent < {burst}:
        sent += console.send(b'x')
except BlockingIOError:
    pass
open({os.fspath(told)!r}, 'w').write(str(sent))
"""
    body = GUEST.replace("GUEST_DOES", does.replace("\n", "\n        "))

    async def run() -> int:
        async with Machine(fake_spec(tmp_path, body)) as machine:
            deadline = Deadline.after(LONG)
            begun = asyncio.create_task(machine.wait_for_console(b"begin", deadline))
            await asyncio.sleep(0)
            released = asyncio.create_task(machine.release(deadline))
            await begun
            sent = int(told.read_text())  # the whole of our loop waits
            await released
            return sent

    assert asyncio.run(run()) == burst


def test_an_exit_that_is_waited_for(tmp_path: Path) -> None:
    async def run() -> int:
        body = "greet(); serve(lambda name: sys.exit(5) if name == 'quit' else {'return': {}})"
        async with Machine(fake_spec(tmp_path, body)) as machine:
            with pytest.raises(GuestError, match="time ran out while waiting for the machine to end"):
                await machine.wait_for_exit(Deadline.after(0.05))
            with pytest.raises(GuestError):
                await machine.monitor.execute("quit", Deadline.after(LONG))
            return await machine.wait_for_exit(Deadline.after(LONG))

    assert asyncio.run(run()) == 5


@pytest.mark.parametrize("steps", range(0, 40, 3))
def test_cancellation_at_any_moment(tmp_path: Path, steps: int) -> None:
    """Ctrl-C in the middle of any await: asyncio turns it into a cancellation of the main task."""

    async def hold() -> None:
        async with Machine(fake_spec(tmp_path, "greet(); serve()", agent=True)) as machine:
            await machine.execute("query-status", Deadline.after(LONG))
            await machine.wait_for_console(b"never", Deadline.after(LONG))

    async def run() -> None:
        task = asyncio.create_task(hold())
        for _ in range(steps):
            await asyncio.sleep(0.002)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    before, children = open_descriptors(), child_pids()
    asyncio.run(run())
    assert open_descriptors() == before
    assert child_pids() == children


def test_the_agents_port_reaches_both_ends(tmp_path: Path) -> None:
    async def run() -> bytes:
        echo = "threading.Thread(target=lambda: agent.sendall(agent.recv(100).upper()), daemon=True).start()"
        body = f"import threading; {echo}; greet(); serve()"
        async with Machine(fake_spec(tmp_path, body, agent=True)) as machine:
            reader, writer = machine.agent
            writer.write(b"echo\n")
            return await machine.attend(reader.readline(), Deadline.after(LONG), "reading")

    assert asyncio.run(run()) == b"ECHO\n"
