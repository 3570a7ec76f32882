import struct

import pytest

from qemu_viso.errors import ConfigurationError
from qemu_viso.guest.ipl import INITRD_ADDRESS, boot_image

KERNEL = bytes(0x10008) + b"S390EP" + bytes(0x1000)


def test_kernel_command_line_and_ram_disk() -> None:
    image = boot_image(KERNEL, b"cpio", "console=ttysclp0")
    address, length = struct.unpack_from(">QQ", image, 0x10408)
    assert image[address : address + length] == b"cpio"
    assert image[0x10480:0x10492] == b"console=ttysclp0\0\0"
    assert image[:0x10408] == KERNEL[:0x10408]


@pytest.mark.parametrize(
    ("kernel", "line"),
    [(bytes(0x20000), ""), (KERNEL, "x" * 900), (KERNEL.ljust(INITRD_ADDRESS + 1), "")],
)
def test_what_cannot_be_started(kernel: bytes, line: str) -> None:
    with pytest.raises(ConfigurationError, match="s390x"):
        boot_image(kernel, b"", line)
