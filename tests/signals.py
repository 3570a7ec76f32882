"""What tests that send signals rely on, wherever they were started from."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from qemu_viso.qemu.process import Child

if TYPE_CHECKING:
    import pytest


def obey_ctrl_c() -> None:
    """Let SIGINT mean what it means at a terminal: a shell that starts something in the background ignores it for it.

    What is ignored stays so in every child.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def hasten_sigkill(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let children that ignore SIGTERM be killed so soon; nobody waits for them by choice."""
    assert Child.__init__.__kwdefaults__ is not None
    monkeypatch.setitem(Child.__init__.__kwdefaults__, "grace", seconds)
