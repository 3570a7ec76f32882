"""What machine `boot` makes of its arguments."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from qemu_viso.cli import boot, follow, signals
from qemu_viso.errors import GuestError, UsageError
from qemu_viso.qemu import accelerators
from qemu_viso.qemu.accelerators import Verdict
from qemu_viso.qemu.devices import NbdMedium
from qemu_viso.qemu.served import ServedImage
from tests.recipes import opened

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from qemu_viso.qemu.machine import Machine


@pytest.mark.parametrize("sandbox", [True, False])
def test_the_machine_is_confined_where_qemu_can(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, *, sandbox: bool
) -> None:
    bad = Verdict("kvm", works=False, seconds=3.0, reason="too slow")

    async def verdicts() -> list[Verdict]:
        return [bad, Verdict("tcg", works=True, seconds=0.1, sandbox=sandbox)]

    monkeypatch.setattr(accelerators, "verdicts", verdicts)
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    parser = argparse.ArgumentParser()
    boot.add_arguments(parser)
    spec = asyncio.run(boot._spec(NbdMedium("/run/socket"), parser.parse_args(["x.viso"])))
    assert ("-sandbox" in spec.to_argv(3, 4, None)) == sandbox
    assert spec.failures is None
    assert caplog.messages == ["KVM is here but not used, guests run slower under TCG: too slow"]


def test_what_is_in_the_drive_is_told_by_who_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that failed may have left the drive empty; only a mistake in the recipe leaves all as it was."""
    lines: asyncio.Queue[str] = asyncio.Queue()
    monkeypatch.setattr(follow, "say", lines.put_nowait)
    first = opened(tmp_path, "/a=a", files={"a": b"first"})
    recipe = tmp_path / first.recipe.path

    class Stubborn:
        async def change_medium(self, *_: object) -> None:
            raise GuestError("QEMU refuses; the drive is empty")

    async def run() -> list[str]:
        with ServedImage(first.image) as served:
            task = asyncio.create_task(follow.follow(first, served, cast("Machine", Stubborn())))
            try:
                (tmp_path / "a").write_bytes(b"second and longer")
                told = [await asyncio.wait_for(lines.get(), 60)]
                recipe.write_text(recipe.read_text() + " /b=missing")
                return [*told, await asyncio.wait_for(lines.get(), 60)]
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    drive, mistake = asyncio.run(run())
    assert drive == "QEMU refuses; the drive is empty"
    assert mistake.endswith("missing' does not exist; the medium stays as it was")


@pytest.mark.parametrize(
    ("words", "options", "starts"),
    [
        ("", [], False),
        ("-G code", [], False),
        ("-G code", ["--bus", "virtio-blk"], True),
        ("", ["--", "-kernel", "vmlinuz"], True),
    ],
)
def test_what_is_refused_because_nothing_would_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, options: list[str], *, starts: bool
) -> None:
    def run(work: Coroutine[object, object, int]) -> int:
        work.close()
        return 0

    monkeypatch.setattr(signals, "run", run)
    recipe = opened(tmp_path, f"/a=a {words}", files={"a": b"a", "code": b"code"}).recipe.path
    parser = argparse.ArgumentParser()
    boot.add_arguments(parser)
    arguments = parser.parse_args([str(tmp_path / recipe), *options])
    if starts:
        assert boot.run(arguments) == 0
    else:
        with pytest.raises(UsageError, match="nothing that a machine could boot"):
            boot.run(arguments)
