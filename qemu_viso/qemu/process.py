"""Child processes as context managers: whatever happens, they end with their block.

A child dies with the thread that started it: PR_SET_PDEATHSIG, set by setpriv so that no Python code runs between fork
and exec; a shell then looks whether we are still there, for a death before that goes unsignalled. It is asked to end
by SIGTERM, and ended by SIGKILL when it does not listen; so is whatever it has started in its session, as a wrapper
script does. The kernel tells only our child of our death: a guard, which waits for the end of a pipe that we hold, ends
what else is in its group. Its exit is an event on a pidfd; nothing is polled.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

from qemu_viso.errors import GuestError, MissingProgramError

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Self

OUTPUT_LIMIT = 64 << 10
GRACE = 3.0

# Debian's package for each program that the project may start.
PACKAGES = {
    "apt-get": "apt",
    "apt-cache": "apt",
    "dpkg-deb": "dpkg",
    "fusermount3": "fuse3",
    "genext2fs": "genext2fs",
    "grub-mkimage": "grub-common",
    "mcopy": "mtools",
    "mformat": "mtools",
    "mmdebstrap": "mmdebstrap",
    "nbdkit": "nbdkit",
    "qemu-img": "qemu-utils",
    "qemu-storage-daemon": "qemu-system-common",
    "qemu-system-aarch64": "qemu-system-arm",
    "qemu-system-arm": "qemu-system-arm",
    "qemu-system-i386": "qemu-system-x86",
    "qemu-system-ppc64": "qemu-system-ppc",
    "qemu-system-riscv64": "qemu-system-misc",
    "qemu-system-s390x": "qemu-system-misc",
    "qemu-system-x86_64": "qemu-system-x86",
    "setpriv": "util-linux",
}


def find_program(program: str) -> str:
    """The path of a program.

    Raises:
        MissingProgramError: it is not installed; the hint names its package.
    """
    path = shutil.which(program)
    if path is None:
        package = PACKAGES.get(os.path.basename(program))
        hint = None if package is None else f"on Debian: apt-get install {package}"
        raise MissingProgramError(f"the program '{program}' is not installed", hint=hint)
    return path


class Tail:
    """The last bytes of a stream."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = bytearray()

    def add(self, data: bytes) -> None:
        """Append, and forget what is older than the limit."""
        self._data += data
        if len(self._data) > self._limit:
            del self._data[: -self._limit]

    def __bytes__(self) -> bytes:
        return bytes(self._data)

    @property
    def text(self) -> str:
        """As text for people: what is not UTF-8 is escaped."""
        return self._data.decode("utf-8", "backslashreplace").strip()


def describe_status(status: int) -> str:
    """What a return code says: 'exited with status 1', 'was ended by SIGKILL'."""
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"


class Child:
    """A child process, alive inside `async with`.

    Standard input is /dev/null; standard output and standard error are one stream, whose end is kept.

    Args:
        argv: the program and its arguments. The program is looked up in PATH.
        hand_down: sockets that the child inherits under their descriptor numbers. They are closed here once the
            child has them, so that the child's death is their end.
        grace: seconds between SIGTERM and SIGKILL.
        orphan: what it gets when we die without ending it. SIGTERM is for a program that has something to undo.
        environment: what is set in its environment, beside ours.
        talks: what it writes goes to our own standard error, and is not kept.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        hand_down: Sequence[socket.socket] = (),
        grace: float = GRACE,
        orphan: signal.Signals = signal.SIGKILL,
        environment: Mapping[str, str] | None = None,
        talks: bool = False,
    ) -> None:
        self.argv = tuple(argv)
        self.name = os.path.basename(self.argv[0])
        self.ignored_sigterm = False
        self._hand_down = hand_down
        self._grace = grace
        self._orphan = orphan
        self._environment = environment or {}
        self._talks = talks
        self._output = Tail(OUTPUT_LIMIT)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        try:
            self._guard, self._process = self._spawn()
        finally:
            for each in self._hand_down:
                each.close()
        # Nothing is awaited from here to the end: once it runs, it is watched.
        self._pipe = self._process.stdout
        self._pidfd = os.pidfd_open(self._process.pid)
        self._exited: asyncio.Future[int] = loop.create_future()
        loop.add_reader(self._pidfd, self._on_exit)
        if self._pipe is not None:
            os.set_blocking(self._pipe.fileno(), False)
            loop.add_reader(self._pipe.fileno(), self._on_output)
        return self

    def _spawn(self) -> tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]:
        """The guard, and the child, which tells the guard its number before it becomes the program."""
        program, setpriv = find_program(self.argv[0]), find_program("setpriv")
        number = self._orphan.name.removeprefix("SIG")
        guarded = f'[ $PPID = {os.getpid()} ] && echo $$ >&0 && exec "$@" </dev/null'
        try:
            guard = subprocess.Popen(
                [f"{self.name}: guard", "-c", f'read -r group && ! read -r word && kill -s {number} -- "-$group"'],
                executable="/bin/sh",
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
            )
            try:
                child = subprocess.Popen(
                    [setpriv, "--pdeathsig", number, "--", "/bin/sh", "-c", guarded, "sh", program, *self.argv[1:]],
                    stdin=guard.stdin,
                    stdout=2 if self._talks else subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    bufsize=0,
                    pass_fds=[each.fileno() for each in self._hand_down],
                    # A Ctrl-C at the terminal is for us; the child is then ended in order.
                    start_new_session=True,
                    env=os.environ | {"LC_ALL": "C.UTF-8"} | dict(self._environment),
                )
            except BaseException:
                guard.kill()
                guard.communicate()
                raise
        except OSError as error:
            raise GuestError(f"{self.name} cannot be started: {error.strerror}") from None
        return guard, child

    @property
    def pid(self) -> int:
        """The process id; valid as long as the child has not been waited for."""
        return self._process.pid

    @property
    def output(self) -> str:
        """The last of what it wrote on standard error and standard output."""
        return self._output.text

    @property
    def status(self) -> int | None:
        """The return code, negative for a signal; None while it runs."""
        return self._process.returncode

    async def wait(self) -> int:
        """Wait until it has ended; the return code, negative for a signal."""
        return await asyncio.shield(self._exited)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and to whatever it has started in its session, if it is still there."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                # Its number is also its group's, and nobody else's as long as it has not been waited for.
                os.killpg(self._process.pid, number)

    async def stop(self) -> int:
        """End it: SIGTERM, and SIGKILL after the grace.

        Returns:
            its return code; `ignored_sigterm` tells whether it had to be killed.
        """
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(self._grace):
                return await self.wait()
        except TimeoutError:
            self.ignored_sigterm = True
            self.signal(signal.SIGKILL)
            return await self.wait()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.stop()
        finally:
            self._close()

    def _close(self) -> None:
        """Let go of everything, without waiting; reached with the child alive only when `stop` was interrupted."""
        if self._process.returncode is None:
            self.signal(signal.SIGKILL)
            poll = select.poll()
            poll.register(self._pidfd, select.POLLIN)
            # A killed process ends at once, unless the kernel itself holds it.
            poll.poll(1000)
            self._on_exit()
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        if self._pipe is not None:
            loop.remove_reader(self._pipe.fileno())
            self._pipe.close()

    def _on_exit(self) -> None:
        if os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return
        self.signal(signal.SIGKILL)  # what is left of its group; it is a zombie itself, and keeps the number
        self._guard.kill()
        self._guard.communicate()
        status = self._process.wait()
        asyncio.get_running_loop().remove_reader(self._pidfd)
        self._on_output()
        if not self._exited.done():
            self._exited.set_result(status)

    def _on_output(self) -> None:
        if self._pipe is None:
            return
        # Bounded, so that a child that never stops talking does not keep the loop from its other work.
        for _ in range(16):
            try:
                data = os.read(self._pipe.fileno(), 65536)
            except BlockingIOError:
                return
            if not data:
                asyncio.get_running_loop().remove_reader(self._pipe.fileno())
                return
            self._output.add(data)
