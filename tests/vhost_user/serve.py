"""A device in a process of its own, to be killed: `python -m tests.vhost_user.serve SOCKET FOLDER`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from qemu_viso.vhost_user import Device, Listener
from tests.vhost_user.media import mixed


def main() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    path, folder = sys.argv[1:]
    with Device(mixed(Path(folder), write=False), Listener.bind(path)) as device:
        print("ready", flush=True)
        device.serve_forever()


if __name__ == "__main__":
    main()
