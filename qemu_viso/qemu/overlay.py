"""A qcow2 file that takes what is written over a read-only image.

Its header names, in the place of a backing file, the image by its fingerprint: an overlay holds blocks that make sense
over the very same bytes only. Programs that know no `qemu-viso:` refuse to open it alone, instead of showing zeros
where the image should be; the storage daemon is told what lies below.
"""

from __future__ import annotations

import os
import struct

from qemu_viso.errors import AccessError, CannotCreateError, InputOutputError
from qemu_viso.qemu.process import Child

_MAGIC = b"QFI\xfb"
_HEADER = struct.Struct(">4sIQIIQ")
"""Magic, version, backing file's offset and size, cluster bits, virtual size ("The qcow2 header")."""
_LONGEST_NAME = 1023


async def prepare(path: str, size: int, fingerprint: str) -> bool:
    """Make the overlay, or see that the one which is there fits.

    Args:
        path: of the qcow2 file.
        size: of the image, in bytes.
        fingerprint: of the image.

    Returns:
        whether it was made.

    Raises:
        CannotCreateError: it cannot be made, or the file that is there is no overlay of this image.
        AccessError, InputOutputError: it cannot be read.
        MissingProgramError: qemu-img is not installed.
    """
    backing = f"qemu-viso:{fingerprint}"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        await _make(path, size, backing)
        return True
    except PermissionError:
        raise AccessError(f"the overlay '{path}' may not be read") from None
    except OSError as error:
        raise InputOutputError(f"the overlay '{path}' cannot be read: {error.strerror}") from None
    try:
        wrong = _compare(descriptor, size, backing)
    except OSError as error:
        wrong = f"it cannot be read: {error.strerror}"
    finally:
        os.close(descriptor)
    if wrong is not None:
        hint = "give the name of a file that is not there, for a new overlay"
        raise CannotCreateError(f"the overlay '{path}' does not fit: {wrong}", hint=hint)
    return False


async def _make(path: str, size: int, backing: str) -> None:
    # -u: the backing file is not opened, because it is none.
    argv = ["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", backing, "-F", "raw", "--", path, str(size)]
    async with Child(argv) as child:
        status = await child.wait()
    if status != 0:
        reason = child.output.removeprefix("qemu-img: ").removeprefix(f"{path}: ")
        raise CannotCreateError(f"the overlay '{path}' cannot be made: {reason}")


def _compare(descriptor: int, size: int, backing: str) -> str | None:
    """What is wrong with an overlay that is there."""
    header = os.pread(descriptor, _HEADER.size, 0)
    if len(header) < _HEADER.size or not header.startswith(_MAGIC):
        return "it is not a qcow2 file"
    _, _, offset, length, _, virtual = _HEADER.unpack(header)
    name = os.pread(descriptor, min(length, _LONGEST_NAME), offset) if offset else b""
    if not name.startswith(b"qemu-viso:"):
        return "it is a qcow2 file, but no overlay that was made here"
    if virtual != size:
        return f"it was made for an image of {virtual} bytes, and this one has {size}"
    if name != backing.encode():
        return "it was made over another image, or the recipe's sources have changed since"
    return None
