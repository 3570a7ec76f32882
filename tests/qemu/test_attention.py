"""Doing one thing while watching another."""

from __future__ import annotations

import asyncio
import gc

import pytest

from qemu_viso.errors import GuestError
from qemu_viso.qemu.attention import Trouble
from qemu_viso.qemu.deadline import Deadline


def test_work_that_fails_while_it_is_cancelled_is_no_complaint() -> None:
    complaints: list[object] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise GuestError("so was the work")

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        with pytest.raises(GuestError, match="time ran out while waiting"):
            await Trouble(GuestError).attend(work(), Deadline.after(0.01), "waiting")
        gc.collect()

    asyncio.run(run())
    assert complaints == []
