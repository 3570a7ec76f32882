"""What tests that send signals rely on, wherever they were started from."""

from __future__ import annotations

import signal


def obey_ctrl_c() -> None:
    """Let SIGINT mean what it means at a terminal: a shell that starts something in the background ignores it for it.

    What is ignored stays so in every child.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
