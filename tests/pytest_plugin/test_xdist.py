"""Several workers: each has machines of its own, and a guest is built by one of them only."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.qemu.fakes import fake_program

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parent.parent.parent


def run(pytester: pytest.Pytester) -> pytest.RunResult:
    pytest.importorskip("xdist")
    return pytester.runpytest_subprocess("-p", "qemu_viso.pytest_plugin", "-n", "2")


@pytest.fixture(autouse=True)
def from_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.fspath(ROOT))


def test_a_guest_is_built_once(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """The builder is replaced by one that notes that it was called."""
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(pytester.path / "cache"))
    pytester.makeconftest("""
        import json, os, pathlib
        from qemu_viso.guest import build

        log = pathlib.Path(__file__).parent / "log"

        def told(line):
            with log.open("a") as file:
                file.write(line + "\\n")

        def instead(definition, cache, tell):
            told("built")
            folder = cache / "guests" / f"{definition.name}-{build.build_key(definition)}"
            folder.mkdir()
            for name in ("vmlinuz", "initrd.cpio"):
                (folder / name).write_text(name)
            (folder / "manifest.json").write_text(json.dumps({"packages": []}))

        build._build = instead
    """)
    pytester.makepyfile("""
        import pytest
        from conftest import told

        @pytest.mark.parametrize("number", range(6))
        def test_x(viso_guest, number, worker_id):
            assert viso_guest.kernel.read_text() == "vmlinuz"
            told(worker_id)
    """)
    run(pytester).assert_outcomes(passed=6)
    lines = (pytester.path / "log").read_text().split()
    assert lines.count("built") == 1
    assert {"gw0", "gw1"} <= set(lines)


def test_reports_come_from_workers(pytester: pytest.Pytester) -> None:
    program = fake_program(
        pytester.path,
        "def command(name):\n    console.sendall(b'hello')\n    return {'return': {}}\ngreet()\nserve(command)",
    )
    pytester.makepyfile(
        test_inner=f"""
        import pytest
        from qemu_viso.qemu.machine import MachineSpec
        from qemu_viso.qemu.platforms import Platform

        @pytest.mark.parametrize("number", range(4))
        def test_x(viso_machine, number):
            platform = Platform("fake", {program!r}, "none", None, 16, "pci", "ttyS0")
            viso_machine(MachineSpec(platform, "none", agent=False)).wait_for_console("hello")
            assert number != 2
    """
    )
    result = run(pytester)
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["*QEMU, qemu-system-fake: console*", "hello*", "*viso/test_inner.py.test_x-2"])
