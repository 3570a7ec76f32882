"""The volume label, from what the guest read: ISO 9660 descriptors, or its UDF driver's message."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qemu_viso.errors import GuestError

if TYPE_CHECKING:
    from qemu_viso.guest.view import Namespace

SECTOR = 2048
# ECMA-119, 8.1: volume descriptor types.
PRIMARY, SUPPLEMENTARY, TERMINATOR = 1, 2, 255
# Joliet specification, "Escape sequences": UCS-2 levels 1 to 3.
JOLIET_ESCAPES = (b"%/@", b"%/C", b"%/E")


class LabelError(GuestError):
    """The guest read no descriptor of the namespace that it was asked for."""


_UDF_MESSAGE = re.compile(rb"UDF-fs: INFO Mounting volume '(.*)', timestamp ", re.DOTALL)


def read_label(description: bytes, namespace: Namespace) -> str:
    """The label as the namespace has it, without trailing blanks.

    Args:
        description: for UDF the kernel's message, otherwise the sectors from 16 on.
        namespace: as mounted.

    Raises:
        LabelError: there is no descriptor of that namespace.
    """
    if namespace == "udf":
        match = _UDF_MESSAGE.search(description)
        if match is None:
            raise LabelError("the guest's kernel did not say which UDF volume it mounted")
        return match[1].decode("utf-8", "surrogateescape")
    wanted = SUPPLEMENTARY if namespace == "joliet" else PRIMARY
    for at in range(0, len(description) - SECTOR + 1, SECTOR):
        descriptor = description[at : at + SECTOR]
        if descriptor[1:6] != b"CD001" or descriptor[0] == TERMINATOR:
            break
        if descriptor[0] != wanted or (wanted == SUPPLEMENTARY and descriptor[88:91] not in JOLIET_ESCAPES):
            continue
        # ECMA-119, 8.4.7: volume identifier, BP 41 to 72.
        field = descriptor[40:72]
        joliet = wanted == SUPPLEMENTARY
        text = field.decode("utf-16-be", "replace") if joliet else field.decode("utf-8", "surrogateescape")
        return text.rstrip(" \0")
    kind = "Joliet" if namespace == "joliet" else "primary"
    raise LabelError(f"the guest found no {kind} volume descriptor on the medium")
