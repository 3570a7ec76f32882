"""The firmware that an accelerator must run to be trusted; its source is `probe.S`."""

from __future__ import annotations

SIZE = 64 << 10

# QEMU's exit status for "everything worked", by way of isa-debug-exit.
GOOD_STATUS = 2 * 0x10 + 1

_CODE = bytes.fromhex(
    "fafc2e660f011628f10f20c06683c8010f22c066ea1bf0ffff080066b810008ed88ec08ed0be00f0ffffbf00800000b90004"
    "0000f3a5ea3d80000008000f01152e810000bf0010000031c0b900100000f3abc7050010000003200000c705002000000330"
    "0000c7050030000083000000c7050044000004811800c70504440000008e0000b8001000000f22d8b8200200000f22e0b980"
    "0000c00f320d000100000f300f20c083e0fb0d020000800f22c0eab78000001800bc007000000f011c2534810000b8674523"
    "0166480f6ec0660fd4c066480f7ec03dce8a4602751931dbcd4083fb017510b9002d3101ffc975fcb810000000eb05b81100"
    "000066ba0105eef4ebfdffc348cf0000000000000000ffff0000009bcf00ffff00000093cf00ffff0000009baf001f0008f1"
    "ffff1f00088100000f040040"
)
_RESET = bytes.fromhex("e90df0")


def firmware() -> bytes:
    """The whole ROM: the code in its last 4096 bytes, the jump to it where the processor begins."""
    last = bytearray(4096)
    last[: len(_CODE)] = _CODE
    last[0xFF0 : 0xFF0 + len(_RESET)] = _RESET
    return bytes(SIZE - len(last)) + bytes(last)
