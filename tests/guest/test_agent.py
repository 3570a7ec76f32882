"""Conversations with agents that misbehave, in machines that are only pretended."""

import asyncio
from pathlib import Path

import pytest

from qemu_viso.errors import GuestError, RefusedError
from qemu_viso.guest.agent import Agent
from qemu_viso.qemu.deadline import Deadline
from qemu_viso.qemu.machine import Machine
from tests.guest.test_wire import good
from tests.qemu.fakes import fake_spec, open_descriptors

LONG = 60.0

GUEST = """
import threading
def guest():
    agent.sendall(b"HELLO qemu-viso-agent 1 x86_64 6.1\\n")
    lines = agent.makefile("rb")
    for line in lines:
        BODY
threading.Thread(target=guest, daemon=True).start()
greet()
serve()
"""


def converse(folder: Path, body: str, seconds: float = LONG) -> GuestError:
    """The error with which asking for a view ends."""

    async def run() -> None:
        async with Machine(fake_spec(folder, GUEST.replace("BODY", body), agent=True)) as machine:
            agent = Agent(machine)
            await agent.greet(Deadline.after(LONG))
            await agent.view("sr0", "rock", Deadline.after(seconds), limit=1 << 20)

    before = open_descriptors()
    with pytest.raises(GuestError) as caught:
        asyncio.run(run())
    assert open_descriptors() == before
    return caught.value


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("agent.sendall(b'VIEW 1')", "time ran out while the guest reads sr0 as rock"),
        ("agent.sendall(b'VIEW 1\\\\nVOLUME 100\\\\nshort')", "time ran out while the guest reads sr0 as rock"),
        ("agent.shutdown(2)", "the connection was lost while the guest reads sr0 as rock"),
        ("os._exit(4)", "exited with status 4"),
        ("agent.sendall(b'VIEW 1\\\\nVOLUME 99999999999\\\\n')", "announces a volume description of 99999999999 bytes"),
        ("agent.sendall(b'x' * 100000)", "of more than 4096 bytes"),
        ("console.sendall(b'Kernel panic - not syncing: oh\\\\n')", "the guest failed: Kernel panic"),
        ("agent.sendall(b'FAIL 1 mount: sr0: I/O error\\\\n')", "cannot do what was asked: mount: sr0: I/O error"),
        (
            "console.sendall(b'qemu-viso: failed 1: tar: short read\\\\r\\\\n')",
            "broke off while it sent: tar: short read",
        ),
    ],
)
def test_agents_that_fail(tmp_path: Path, body: str, sentence: str) -> None:
    error = converse(tmp_path, body.replace("\\\\", "\\"), 0.4 if "time ran out" in sentence else LONG)
    assert sentence in error.message


def test_the_words_of_what_broke_off_are_told(tmp_path: Path) -> None:
    """Also where the answer is complete, and says only that something failed."""
    answer = good()
    answer.begin, answer.end = b"VIEW 1\n", b"END 1 %d 0 0 123\n" % len(answer.paths)
    (tmp_path / "answer").write_bytes(bytes(answer))
    body = (
        f"agent.sendall(open({str(tmp_path / 'answer')!r}, 'rb').read()); "
        "console.sendall(b'qemu-viso: failed 1: tar: out of memory\\r\\n')"
    )
    error = converse(tmp_path, body.replace("\\\\", "\\"), LONG)
    assert isinstance(error, RefusedError)
    assert error.message.endswith("tar ended with status 123: tar: out of memory")


def test_something_else_on_the_port(tmp_path: Path) -> None:
    async def run() -> None:
        async with Machine(
            fake_spec(tmp_path, "agent.sendall(b'login: \\n'); greet(); serve()", agent=True)
        ) as machine:
            await Agent(machine).greet(Deadline.after(LONG))

    with pytest.raises(GuestError, match="not the agent's greeting: 'login: '"):
        asyncio.run(run())


def test_a_refusal_is_not_the_end_and_a_broken_answer_is(tmp_path: Path) -> None:
    (tmp_path / "answer").write_bytes(bytes(good()).replace(b"VIEW 7\n", b"VIEW 2\n").replace(b"END 7", b"END 2"))
    body = (
        "agent.sendall({b'1': b'FAIL 1 no\\n', b'2': open(sys.argv[0] + '/../answer', 'rb').read(), "
        "b'3': b'READ 3 2\\nhiEND 3 0\\n'}.get(line.split()[1], b'nonsense\\n'))"
    ).replace("sys.argv[0] + '/../answer'", repr(str(tmp_path / "answer")))

    async def run() -> None:
        deadline = Deadline.after(LONG)
        async with Machine(fake_spec(tmp_path, GUEST.replace("BODY", body), agent=True)) as machine:
            agent = Agent(machine)
            assert await agent.greet(deadline) == "x86_64 6.1"
            with pytest.raises(RefusedError, match="no"):
                await agent.view("sr0", "rock", deadline)
            view = await agent.view("sr0", "rock", deadline, limit=1 << 20)
            assert len(view.entries) == 8
            assert await agent.read("sr0", "rock", "/hello", 0, 4, deadline) == b"hi"
            with pytest.raises(GuestError, match="should have sent 'VIEW'"):
                await agent.view("sr0", "rock", deadline)
            with pytest.raises(GuestError, match="cannot be asked any more: an earlier answer broke off"):
                await agent.view("sr0", "rock", deadline)

    asyncio.run(run())


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, 0), (0, (16 << 20) + 1)])
def test_pieces_that_cannot_be_asked_for(tmp_path: Path, offset: int, length: int) -> None:
    async def run() -> None:
        async with Machine(fake_spec(tmp_path, "greet(); serve()", agent=True)) as machine:
            await Agent(machine).read("sr0", "rock", "/x", offset, length, Deadline.after(LONG))

    with pytest.raises(ValueError, match=r"cannot be asked for"):
        asyncio.run(run())
