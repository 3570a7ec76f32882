"""The form in which firmware on s390x starts a Linux from a CD: kernel, command line and RAM disk in one file.

The firmware loads the file to address 0 and starts it. The kernel finds its RAM disk and its command line through a
table at fixed addresses behind the mark `S390EP` (Linux, arch/s390/boot/head.S and arch/s390/include/asm/setup.h).
"""

from __future__ import annotations

import struct

from qemu_viso.errors import ConfigurationError

MARK, MARK_AT = b"S390EP", 0x10008
# Two big-endian 64-bit numbers: where the RAM disk begins, how long it is.
INITRD_AT = 0x10408
COMMAND_LINE_AT, COMMAND_LINE_SIZE = 0x10480, 896
# The decompressed kernel and its workspace end below.
INITRD_ADDRESS = 16 << 20


def boot_image(kernel: bytes, initrd: bytes, arguments: str) -> bytes:
    """One file from a kernel, its initial RAM disk and its command line.

    Raises:
        ConfigurationError: this is no kernel for s390x, or something is too long.
    """
    line = arguments.encode() + b"\0"
    if kernel[MARK_AT : MARK_AT + len(MARK)] != MARK:
        raise ConfigurationError("the kernel is not one that firmware on s390x can start: it lacks the mark S390EP")
    if len(line) > COMMAND_LINE_SIZE or len(kernel) > INITRD_ADDRESS:
        raise ConfigurationError("kernel or command line are too long for a boot image on s390x")
    image = bytearray(kernel.ljust(INITRD_ADDRESS, b"\0"))
    struct.pack_into(">QQ", image, INITRD_AT, INITRD_ADDRESS, len(initrd))
    image[COMMAND_LINE_AT : COMMAND_LINE_AT + COMMAND_LINE_SIZE] = line.ljust(COMMAND_LINE_SIZE, b"\0")
    return bytes(image) + initrd
