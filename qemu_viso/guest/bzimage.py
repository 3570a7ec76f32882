"""The kernel inside of a self-extracting Linux for x86 (Documentation/arch/x86/boot.rst in Linux, "Real-mode header").

QEMU starts it by its PVH entry point. What an emulated processor needs seconds to extract is extracted here at once.
"""

from __future__ import annotations

import lzma
import struct

from qemu_viso.errors import ConfigurationError

MARK_AT, MARK = 0x202, b"HdrS"
SETUP_SECTORS_AT = 0x1F1
# payload_offset (from the end of the setup code) and payload_length, both in bytes; since version 2.08.
VERSION_AT, OLDEST = 0x206, 0x208
PAYLOAD_AT = 0x248
ELF = b"\x7fELF"


def extract_kernel(image: bytes) -> bytes:
    """The ELF image of the kernel.

    Raises:
        ConfigurationError: this is no such image, or it is compressed in a way that is not known here.
    """
    if image[MARK_AT : MARK_AT + 4] != MARK or struct.unpack_from("<H", image, VERSION_AT)[0] < OLDEST:
        raise ConfigurationError("the kernel is not one for x86 that extracts itself")
    offset, length = struct.unpack_from("<II", image, PAYLOAD_AT)
    # Zero stands for four, as ever.
    start = ((image[SETUP_SECTORS_AT] or 4) + 1) * 512 + offset
    payload = image[start : start + length]
    try:
        # Behind the compressed kernel lies its size in four bytes.
        kernel = lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(payload)
    except lzma.LZMAError:
        raise ConfigurationError("the kernel is not compressed with xz, and cannot be extracted") from None
    if not kernel.startswith(ELF):
        raise ConfigurationError("what the kernel extracts is not an ELF image")
    return kernel
