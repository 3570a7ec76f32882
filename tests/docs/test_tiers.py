"""The fast tier: what `make vm-test` boots, what `--guests fast` means, and what is installed for it, are one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from qemu_viso.guest.definition import guest_names, load_definition
from qemu_viso.qemu.process import PACKAGES
from qemu_viso.verify.plan import choose_guests

ROOT = Path(__file__).resolve().parent.parent.parent
USUAL = "linux-cloud"
"""The guest of tests that name none; the identifiers of these do not tell of it."""


def test_the_tests_boot_the_guests_of_the_fast_tier() -> None:
    # Plugins by name: where the package is installed, the project's own would be met twice.
    command = [sys.executable, "-m", "pytest", "-p", "pytest_timeout", "-p", "no:cacheprovider", "--collect-only", "-q"]
    environment = {name: value for name, value in os.environ.items() if name != "QEMU_VISO_FULL"}
    environment |= {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [*command, str(ROOT / "vm-tests")], cwd=ROOT, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tests = [line.partition("[")[2] for line in done.stdout.splitlines() if "::" in line]
    booted = {name for name in guest_names() if any(f"{name}-" in test or f"{name}]" in test for test in tests)}
    assert booted | {USUAL} == {guest.name for guest in choose_guests(["fast"])}


def test_its_programs_are_installed_for_it() -> None:
    lines = (ROOT / "scripts" / "debian-packages").read_text(encoding="utf-8").splitlines()
    purposes = dict(line.split() for line in lines if not line.startswith("#"))
    for guest in choose_guests(["fast"]):
        assert purposes[PACKAGES[guest.platform.program]] in ("demo", "test"), guest.name
    for name in guest_names():
        assert PACKAGES[load_definition(name).platform.program] in purposes, name
