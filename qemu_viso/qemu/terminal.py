"""A person at the guest's console: the terminal's keys go to the guest, the guest's output comes to the terminal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import sys
import termios
import tty
from typing import TYPE_CHECKING

from qemu_viso.errors import GuestError
from qemu_viso.qemu.output import Output

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qemu_viso.qemu.machine import Machine

# Ctrl-], as telnet and virsh have it.
ESCAPE = 0x1D
# For what was written before Ctrl-], if nobody reads it.
LAST_WORDS_SECONDS = 1.0


async def attach(machine: Machine, *, keys: int = 0, screen: int = 1) -> int | None:
    """Connect a terminal with the machine's console until one of them has had enough.

    Args:
        machine: its console; the machine is best released after this has begun.
        keys: descriptor from which keys are read. A terminal is set to raw mode meanwhile. What is neither a
            terminal nor a pipe or socket is not read.
        screen: descriptor to which the console is written.

    Returns:
        QEMU's return code if the machine ended by itself; None if the person pressed Ctrl-] to leave, or the machine
        was shut down and pauses at its end.

    Raises:
        GuestError: the guest's kernel panicked, and told so through pvpanic.
        BrokenPipeError: who read the console has gone.
    """
    loop = asyncio.get_running_loop()
    typed: asyncio.Queue[bytes] = asyncio.Queue()
    output = Output(screen, machine.console.pause, machine.console.resume)
    with _raw(keys), contextlib.closing(output), machine.console.mirrored(output.write):
        readable = _can_wait(keys)

        def on_keys() -> None:
            data = os.read(keys, 4096)
            if not data:
                loop.remove_reader(keys)
            typed.put_nowait(data)

        if readable:
            loop.add_reader(keys, on_keys)
        ended = asyncio.create_task(machine.wait())
        panicked = asyncio.create_task(machine.next_event("GUEST_PANICKED"))
        left = asyncio.create_task(_forward(machine, typed))
        tasks: list[asyncio.Task[object]] = [ended, panicked, left]
        if machine.spec.pause_at_end:
            tasks.append(asyncio.create_task(machine.next_event("SHUTDOWN")))
        try:
            waited: list[asyncio.Task[object] | asyncio.Future[None]] = [*tasks, output.failed]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            await _last_words(output, left)
            if panicked.done():
                raise GuestError("the guest's kernel panicked")
            return ended.result() if ended.done() else None
        finally:
            if readable:
                loop.remove_reader(keys)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _last_words(output: Output, left: asyncio.Task[None]) -> None:
    """Wait for what is still to be written: as long as it takes, unless the person wants to leave."""
    written = asyncio.create_task(output.flushed())
    try:
        await asyncio.wait({written, output.failed, left}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({written, output.failed}, timeout=LAST_WORDS_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    finally:
        written.cancel()
    if output.failed.done():
        output.failed.result()


async def _forward(machine: Machine, typed: asyncio.Queue[bytes]) -> None:
    """Type into the console until Ctrl-] is among the keys."""
    while True:
        data = await typed.get()
        keys, escape, _ = data.partition(bytes([ESCAPE]))
        with contextlib.suppress(ConnectionError):
            await machine.console.write(keys)
        if escape:
            return
        if not data:
            # The end of the input is not the end of the session: the output may still be wanted.
            await asyncio.get_running_loop().create_future()


def say(text: str) -> None:
    """A line of ours on stderr, which may be a terminal in raw mode."""
    print(f"qemu-viso: {text}", file=sys.stderr, end="\r\n" if sys.stderr.isatty() else "\n", flush=True)


def _can_wait(descriptor: int) -> bool:
    """Whether the descriptor tells when it can be read: regular files and /dev/null do not."""
    mode = os.fstat(descriptor).st_mode
    return os.isatty(descriptor) or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


@contextlib.contextmanager
def _raw(keys: int) -> Iterator[None]:
    """Raw mode for a terminal, and its old mode afterwards."""
    if not os.isatty(keys):
        yield
        return
    before = termios.tcgetattr(keys)
    tty.setraw(keys, termios.TCSANOW)
    try:
        yield
    finally:
        termios.tcsetattr(keys, termios.TCSADRAIN, before)
