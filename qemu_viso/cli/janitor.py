"""Who cleans up when we cannot: a shell that waits for our end, and does nothing if we end in order."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

# Standard input is ours: it ends with us. Standard output is read as well: it ends with the daemon, which got SIGTERM
# at our death, but may wait for an answer that nobody gives any more. As long as it is open, nobody else has the
# daemon's number.
# $1: over what file something may be mounted, or nothing. The others: files, and folders behind what is in them.
_SCRIPT = """
exec 2>/dev/null
daemon=
while read -r word; do
    [ "$word" = done ] && exit 0
    daemon=$word
done
if ! timeout 3 cat <&1 >/dev/null && [ -n "$daemon" ]; then
    kill -s KILL -- "-$daemon"
    cat <&1 >/dev/null
fi
mount=$1; shift
[ -z "$mount" ] || [ -e "$mount" ] || fusermount3 -u -z -- "$mount" >/dev/null
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
        alive: a socket for a daemon to have open as long as it lives.
    """

    def __init__(self, paths: Sequence[str], mount: str | None = None) -> None:
        self._ours, theirs = socket.socketpair()
        self.alive, watched = socket.socketpair()
        with theirs, watched:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _SCRIPT, "sh", mount or "", *paths],
                stdin=theirs.fileno(),
                stdout=watched.fileno(),
                stderr=subprocess.DEVNULL,
                # What ends us, a signal to our group or the terminal's end, must leave it be.
                start_new_session=True,
            )

    def watch(self, daemon: int) -> None:
        """End this process, which has `alive` open and leads a group, three seconds after us if it does not itself."""
        self._say(f"{daemon}\n")

    def _say(self, text: str) -> None:
        with contextlib.suppress(OSError):  # somebody has ended it
            self._ours.sendall(text.encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._say("done\n")
        self._ours.close()
        self.alive.close()
        self._process.wait()
