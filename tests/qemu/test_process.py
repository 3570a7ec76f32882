import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from qemu_viso.errors import MissingProgramError
from qemu_viso.qemu.process import Child, Tail, describe_status, find_program
from tests.qemu.fakes import fake_program, is_alive, open_descriptors

DEAF = "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"
ROOT = Path(__file__).resolve().parent.parent.parent


async def said(child: Child, end: str) -> None:
    """Wait until the output of a child ends so."""
    while not child.output.endswith(end):  # noqa: ASYNC110  # the output is no event, and needs none outside of tests
        await asyncio.sleep(0)


def test_a_child_that_ends_by_itself() -> None:
    async def run() -> tuple[int, str, int]:
        async with Child(["sh", "-c", "echo to stdout; echo to stderr >&2; exit 3"]) as child:
            return await child.wait(), child.output, child.pid

    before = open_descriptors()
    status, output, pid = asyncio.run(run())
    assert status == 3
    assert output == "to stdout\nto stderr"
    assert not is_alive(pid)
    assert open_descriptors() == before


def test_a_child_is_ended_with_its_block() -> None:
    async def run() -> tuple[int | None, bool, int]:
        async with Child(["sleep", "1000"]) as child:
            assert child.status is None
        return child.status, child.ignored_sigterm, child.pid

    status, ignored, pid = asyncio.run(run())
    assert status == -signal.SIGTERM
    assert not ignored
    assert not is_alive(pid)


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    program = fake_program(
        tmp_path, "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"
    )

    async def run() -> Child:
        async with Child([program], grace=0.05) as child:
            await said(child, "deaf")
        return child

    child = asyncio.run(run())
    assert child.ignored_sigterm
    assert child.status == -signal.SIGKILL
    assert not is_alive(child.pid)


@pytest.mark.parametrize("by_itself", [False, True])
def test_what_a_wrapper_has_started_ends_with_it(tmp_path: Path, by_itself: bool) -> None:
    """Whether the wrapper is ended or ends by itself."""
    os.mkfifo(tmp_path / "go")

    async def run() -> int:
        async with Child(["sh", "-c", f"sleep 1000 & echo $!; read x <{tmp_path}/go; exit 3"]) as child:
            while not child.output:  # noqa: ASYNC110
                await asyncio.sleep(0)
            descriptor = os.pidfd_open(int(child.output))
            if by_itself:
                (tmp_path / "go").write_text("go\n")  # the shell waits for it
                assert await child.wait() == 3
        return descriptor

    grandchild = asyncio.run(run())
    assert wait_readable(grandchild)
    os.close(grandchild)


def test_what_it_says_may_go_on_to_our_own_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    async def run() -> tuple[int, str]:
        argv = ["sh", "-c", "echo $WORD; echo loud >&2"]
        async with Child(argv, environment={"WORD": "out"}, talks=True) as child:
            return await child.wait(), child.output

    assert asyncio.run(run()) == (0, "")
    assert capfd.readouterr() == ("", "out\nloud\n")


def test_standard_input_is_empty() -> None:
    async def run() -> tuple[int, str]:
        async with Child(["cat"]) as child:
            return await child.wait(), child.output

    assert asyncio.run(run()) == (0, "")


def test_output_without_end_is_kept_in_part() -> None:
    async def run() -> str:
        async with Child(["sh", "-c", "yes | head -c 1000000; echo; echo last; exec sleep 1000"]) as child:
            await said(child, "last")
            return child.output

    assert len(asyncio.run(run())) <= 65536


def test_the_child_has_the_sockets_and_we_do_not() -> None:
    async def run() -> tuple[bytes, bytes]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        argv = [sys.executable, "-c", f"import os; os.write({theirs.fileno()}, b'here')"]
        with ours:
            async with Child(argv, hand_down=[theirs]) as child:
                assert theirs.fileno() == -1
                await child.wait()
                loop = asyncio.get_running_loop()
                return await loop.sock_recv(ours, 100), await loop.sock_recv(ours, 100)

    assert asyncio.run(run()) == (b"here", b"")


def test_a_missing_program_names_its_package() -> None:
    async def run() -> None:
        async with Child(["/nowhere/qemu-system-s390x"]):
            pass

    before = open_descriptors()
    with pytest.raises(MissingProgramError, match="'/nowhere/qemu-system-s390x' is not installed") as caught:
        asyncio.run(run())
    assert caught.value.hint == "on Debian: apt-get install qemu-system-misc"
    assert open_descriptors() == before
    with pytest.raises(MissingProgramError) as caught:
        find_program("no-such-program-anywhere")
    assert caught.value.hint is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("command", ["echo $$; exec sleep 1000", "sleep 1000 & echo $!; wait"])
@pytest.mark.parametrize("orphan", ["SIGKILL", "SIGTERM"])
def test_no_child_outlives_us(number: signal.Signals, command: str, orphan: str) -> None:
    """Ctrl-C ends the child in order; our own violent death ends it too, and what it has started, as a wrapper does."""
    script = (
        "import asyncio, signal\n"
        "from qemu_viso.qemu.process import Child\n"
        "async def main():\n"
        f"    async with Child(['sh', '-c', {command!r}], talks=True, orphan=signal.{orphan}) as child:\n"
        "        await child.wait()\n"
        "asyncio.run(main())\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert parent.stderr is not None
    pid = int(parent.stderr.readline())
    # By name rather than by number: the number may be taken again once the process is gone.
    pidfd = os.pidfd_open(pid)
    parent.send_signal(number)
    _, errors = parent.communicate(timeout=20)
    assert (b"KeyboardInterrupt" in errors) == (number == signal.SIGINT)
    assert wait_readable(pidfd)
    os.close(pidfd)


def wait_readable(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 20)[0])


def test_an_interrupted_stop_still_ends_the_child(tmp_path: Path) -> None:
    """A second Ctrl-C, while the first one is being obeyed."""
    program = fake_program(
        tmp_path, "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"
    )
    children: list[Child] = []

    async def hold() -> None:
        async with Child([program], grace=1000) as child:
            children.append(child)
            await child.wait()

    async def run() -> None:
        task = asyncio.create_task(hold())
        await asyncio.sleep(0)
        await said(children[0], "deaf")
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()

    asyncio.run(run())
    assert children[0].status == -signal.SIGKILL
    assert not is_alive(children[0].pid)


def test_statuses_in_words() -> None:
    assert describe_status(1) == "exited with status 1"
    assert describe_status(-9) == "was ended by SIGKILL"
    assert describe_status(-34) == "was ended by SIGRTMIN"
    assert describe_status(-35) == "was ended by signal 35"


def test_a_tail_forgets_its_beginning() -> None:
    tail = Tail(5)
    tail.add(b"abc")
    tail.add(b"def\xff")
    assert bytes(tail) == b"cdef\xff"
    assert tail.text == "cdef\\xff"
