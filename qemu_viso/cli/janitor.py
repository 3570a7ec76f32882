"""Who cleans up when we cannot: a shell that waits for our end, and does nothing if we end in order."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

# $1: over what file something may be mounted, or nothing. The others: files, and folders behind what is in them.
_SCRIPT = """
read -r _ && exit 0
mount=$1; shift
[ -z "$mount" ] || [ -e "$mount" ] || fusermount3 -u -z -- "$mount"
for path; do
    if [ -d "$path" ]; then rmdir -- "$path"; else rm -f -- "$path"; fi
done
"""


class Janitor:
    """Removes what a process that was killed leaves behind; between `with Janitor(...)` and its end.

    Args:
        paths: files and, behind them, the folders that they are in; the process removes them itself if it lives.
        mount: a file over which a FUSE file system may be left dead; None for none.

    Attributes:
        alive: a socket that keeps the janitor waiting as long as anybody has it open; for `dup`.
    """

    def __init__(self, paths: Sequence[str], mount: str | None = None) -> None:
        self.alive, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _SCRIPT, "sh", mount or "", *paths],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                # What ends us, a signal to our group or the terminal's end, must leave it be.
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # somebody has ended it
            self.alive.sendall(b"done\n")
        self.alive.close()
        self._process.wait()
