"""Kernels that extract themselves, made by hand."""

from __future__ import annotations

import lzma
import struct

import pytest

from qemu_viso.errors import ConfigurationError
from qemu_viso.guest.bzimage import extract_kernel

KERNEL = b"\x7fELF" + bytes(range(256)) * 40


def image(payload: bytes, sectors: int = 3, version: int = 0x20F) -> bytes:
    """Setup sectors, some code in front of the payload, and its size and more code behind it."""
    setup = bytearray(((sectors or 4) + 1) * 512)
    setup[0x1F1] = sectors
    struct.pack_into("<4sH", setup, 0x202, b"HdrS", version)
    struct.pack_into("<II", setup, 0x248, 100, len(payload))
    return bytes(setup) + b"c" * 100 + payload + b"more code"


def packed(kernel: bytes) -> bytes:
    return lzma.compress(kernel, check=lzma.CHECK_CRC32) + struct.pack("<I", len(kernel))


@pytest.mark.parametrize("sectors", [0, 3, 30])
def test_a_kernel_comes_out(sectors: int) -> None:
    assert extract_kernel(image(packed(KERNEL), sectors)) == KERNEL


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "not one for x86"),
        (bytes(5000), "not one for x86"),
        (image(packed(KERNEL), version=0x207), "not one for x86"),
        (image(b"\x1f\x8bgzip" * 9), "not compressed with xz"),
        (image(packed(b"something else")), "not an ELF image"),
    ],
)
def test_what_is_no_such_kernel(data: bytes, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        extract_kernel(data)
