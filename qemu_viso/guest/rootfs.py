"""The root file system of a whole Debian, as a disk's image; root's rights are not needed.

mmdebstrap installs packages as an unprivileged user where it must, and tells owners and devices in an archive, from
which genext2fs makes the image without mounting it.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from qemu_viso.errors import InputOutputError
from qemu_viso.qemu.process import find_program

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BLOCK = 4096
# Bytes of the file system for each inode: fewer than a usual file has.
INODE_RATIO = 8192
SPARE_BYTES = 64 << 20


def write_root(suite: str, architecture: str, packages: Sequence[str], mirror: str, work: Path, target: Path) -> None:
    """Make the image of an ext2 file system with these packages and what they depend on.

    Args:
        suite: Debian's release.
        architecture: Debian's name; the host must be able to run its programs.
        packages: names.
        mirror: of Debian, an URL.
        work: a folder for what is needed on the way.
        target: path of the image.

    Raises:
        MissingProgramError: mmdebstrap or genext2fs are not installed.
        InputOutputError: they failed; with their last words.
    """
    find_program("genext2fs")  # before the minute that the other one takes
    archive = work / "root.tar"
    options = ["--variant=minbase", "--format=tar", f"--architectures={architecture}", "--include", ",".join(packages)]
    options += ["--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/locale/*"]
    _run(["mmdebstrap", *options, suite, str(archive), mirror])
    blocks = (archive.stat().st_size * 5 // 4 + SPARE_BYTES) // BLOCK
    size = ["-B", str(BLOCK), "-b", str(blocks), "-i", str(INODE_RATIO)]
    _run(["genext2fs", *size, "-a", str(archive), str(target)])
    archive.unlink()


def _run(argv: list[str]) -> None:
    argv = [find_program(argv[0]), *argv[1:]]
    # Whoever builds it, the permissions are the same.
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, umask=0o022, check=False)
    if done.returncode:
        said = done.stderr.decode("utf-8", "backslashreplace").strip().splitlines()[-6:]
        raise InputOutputError("\n    ".join([f"'{' '.join(argv)}' failed with status {done.returncode}:", *said]))
