"""The fixture `viso_export`: an image, served while a test runs."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from qemu_viso.errors import QemuVisoError, UsageError
from qemu_viso.nbd import uri
from qemu_viso.nbd.trace import ReadTrace
from qemu_viso.opening import Opened
from qemu_viso.pytest_plugin.plainly import plainly
from qemu_viso.pytest_plugin.record import EndedDaemon
from qemu_viso.pytest_plugin.target import require_program
from qemu_viso.qemu.devices import FileMedium, NbdMedium, VhostUserMedium
from qemu_viso.qemu.remains import remains_without_machine
from qemu_viso.qemu.served import ServedImage
from qemu_viso.qemu.storage_daemon import PROGRAM as STORAGE_DAEMON
from qemu_viso.qemu.storage_daemon import StorageDaemon
from qemu_viso.sockets import UnixListener
from qemu_viso.vhost_user import Device

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

    from qemu_viso.pytest_plugin.session import Session
    from qemu_viso.qemu.devices import BlockMedium, Medium
    from qemu_viso.qemu.process import Child

__tracebackhide__ = True

Kind = Literal["nbd", "vhost-user-blk"]


@dataclass(frozen=True, slots=True)
class Export:
    """An image that is being served on a Unix socket.

    Attributes:
        what: the recipe, or the path of an image of another origin.
        kind: the protocol.
        path: of the socket.
        medium: the same, as machines take it.
        daemon: the qemu-storage-daemon that serves it; None where it is served from this process.
        trace: what was read over NBD; None where that is not the way.
    """

    what: Opened | Path
    kind: Kind
    path: str
    medium: Medium
    daemon: Child | None = None
    trace: ReadTrace | None = None

    @property
    def uri(self) -> str:
        """The NBD URI, as clients take it."""
        if self.kind != "nbd":
            raise UsageError(f"an export of the kind {self.kind} has no URI; it has a path")
        return uri.build(uri.UnixAddress(self.path))


Source = Opened | Path | Export


def origin(source: Source) -> Opened | Path:
    """The recipe or image behind what is looked at."""
    return source.what if isinstance(source, Export) else source


@contextmanager
def block_medium(what: Opened | Path) -> Iterator[tuple[BlockMedium, ReadTrace | None]]:
    """What QEMU's block layer can open, a recipe over NBD or a file as it is; and what is read of the recipe."""
    if isinstance(what, Path):
        yield FileMedium(str(what)), None
        return
    trace = ReadTrace()
    with ServedImage(what.image, trace) as served:
        yield served.medium, trace


@contextmanager
def exported(session: Session, what: Opened | Path, kind: Kind, *, direct: bool = False) -> Iterator[Export]:
    """Serve an image inside `with`; see `Exports`."""
    with ExitStack() as stack:
        if kind == "vhost-user-blk" and direct:
            if isinstance(what, Path):
                raise UsageError("only a recipe can be served as vhost-user-blk without a daemon")
            listener = stack.enter_context(UnixListener.bind())
            stack.enter_context(Device(what.image, listener))
            assert listener.path is not None
            yield Export(what, kind, listener.path, VhostUserMedium(listener.path))
            return
        medium, trace = stack.enter_context(block_medium(what))
        if kind == "nbd" and isinstance(medium, NbdMedium):
            yield Export(what, kind, medium.path, medium, None, trace)
            return
        require_program(STORAGE_DAEMON)
        daemon = StorageDaemon(medium, {"nbd" if kind == "nbd" else "vhost-user"})
        try:
            session.loop.run(daemon.__aenter__())
        except QemuVisoError:
            if daemon.started:
                session.record.used(EndedDaemon(STORAGE_DAEMON, what, trace, remains_without_machine([daemon.child])))
            raise
        stack.callback(lambda: session.loop.run(daemon.__aexit__(None, None, None)))
        served = daemon.nbd if kind == "nbd" else daemon.vhost_user
        yield Export(what, kind, served.path, served, daemon.child, trace)


class UntilTheEnd:
    """A fixture that starts things which last until the test ends."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


class Exports(UntilTheEnd):
    """What the fixture `viso_export` is: serves images until the test ends."""

    @plainly
    def __call__(self, what: Opened | Path, kind: Kind = "nbd", *, direct: bool = False) -> Export:
        """Serve an image on a Unix socket of its own.

        Args:
            what: a recipe, or the path of an image of another origin.
            kind: `nbd`, or `vhost-user-blk` through a qemu-storage-daemon.
            direct: vhost-user-blk from this process, without a daemon between.

        Raises:
            UsageError: an image of another origin is to be served as vhost-user-blk without a daemon.
            GuestError: the daemon failed, with its words.
        """
        export = self._stack.enter_context(exported(self._session, what, kind, direct=direct))
        # Guests that look at it are asked no more when it is gone.
        self._stack.callback(self._session.pool.forget, export)
        return export
