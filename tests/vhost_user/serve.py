"""A device in a process of its own, to be killed: `python -m tests.vhost_user.serve SOCKET FOLDER [large]`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from qemu_viso.sockets import UnixListener
from qemu_viso.vhost_user import Device
from tests.vhost_user.media import host_file, lay, mixed, noise

if TYPE_CHECKING:
    from qemu_viso.image import Image


def large(folder: Path) -> Image:
    """32 MiB, of which a guest reads for a while."""
    path = folder / "large"
    if not path.exists():
        path.write_bytes(noise("large", 32 << 20))
    return lay(4096, host_file(path), 2048)


def main() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    path, folder, *kind = sys.argv[1:]
    image = large(Path(folder)) if kind else mixed(Path(folder), write=False)
    with Device(image, UnixListener.bind(path)) as device:
        print("ready", flush=True)
        device.serve_forever()


if __name__ == "__main__":
    main()
