"""The programs that the project starts: where they are, how old they are, which package has them."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

ASK_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Program:
    """A program that may have to be there.

    Attributes:
        name: as it is started.
        package: the Debian package that has it.
        needed_for: what does not work without it.
        required: whether verification by the usual guest needs it.
    """

    name: str
    package: str
    needed_for: str
    required: bool


PROGRAMS = (
    Program("qemu-system-x86_64", "qemu-system-x86", "booting x86 guests", required=True),
    Program("qemu-storage-daemon", "qemu-system-common", "vhost-user-blk through QEMU's daemon", required=True),
    Program("setpriv", "util-linux", "processes that end with ours", required=True),
    Program("apt-get", "apt", "building guests", required=True),
    Program("dpkg-deb", "dpkg", "building guests", required=True),
    Program("qemu-system-aarch64", "qemu-system-arm", "the guest linux-arm64", required=False),
    Program("qemu-system-arm", "qemu-system-arm", "the guest linux-armhf", required=False),
    Program("qemu-system-ppc64", "qemu-system-ppc", "the guest linux-ppc64el", required=False),
    Program("qemu-system-riscv64", "qemu-system-misc", "the guest linux-riscv64", required=False),
    Program("qemu-system-s390x", "qemu-system-misc", "the guest linux-s390x", required=False),
    Program("grub-mkimage", "grub-common", "building the guest grub", required=False),
    Program("mformat", "mtools", "the guest uefi-shell", required=False),
    Program("mmdebstrap", "mmdebstrap", "building the guest debian-cloud-init", required=False),
    Program("newuidmap", "uidmap", "building the guest debian-cloud-init", required=False),
    Program("genext2fs", "genext2fs", "building the guest debian-cloud-init", required=False),
    Program("fusermount3", "fuse3", "exports through FUSE", required=False),
    Program("qemu-img", "qemu-utils", "writable overlays, tests", required=False),
    Program("nbdcopy", "libnbd-bin", "tests", required=False),
    Program("nbdsh", "python3-libnbd", "tests", required=False),
    Program("xorriso", "xorriso", "tests", required=False),
    Program("genisoimage", "genisoimage", "tests", required=False),
    Program("isoinfo", "genisoimage", "tests", required=False),
    Program("bsdtar", "libarchive-tools", "tests", required=False),
    Program("7z", "p7zip-full", "tests", required=False),
    Program("grub-fstest", "grub-common", "tests", required=False),
    Program("udfinfo", "udftools", "tests", required=False),
    Program("file", "file", "tests", required=False),
    Program("cpio", "cpio", "tests", required=False),
    Program("fdisk", "fdisk", "tests", required=False),
    Program("sgdisk", "gdisk", "tests", required=False),
    Program("objcopy", "binutils", "tests", required=False),
    Program("chromium", "chromium", "tests", required=False),
    Program("nbdkit", "nbdkit", "benchmarks", required=False),
    Program("fio", "fio", "benchmarks", required=False),
)


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of a program: its path and version, each None if there is none."""

    program: Program
    path: str | None
    version: str | None


def look_for(program: Program) -> Found:
    """Look a program up on PATH, and ask it for its version."""
    path = shutil.which(program.name)
    return Found(program, path, None if path is None else ask_version(path))


def ask_version(path: str) -> str | None:
    """What a program says is its version, as `9.2.1`; None if it does not say."""
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, errors="replace", timeout=ASK_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"\d+(?:\.\d+)+", done.stdout + done.stderr)
    return match.group() if match else None
