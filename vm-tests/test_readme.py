"""The tests that the README shows are what users copy: they run, by the same plugin."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

pytest_plugins = ["pytester"]

README = Path(__file__).resolve().parent.parent / "README.md"


def test_the_test_in_the_readme(pytester: pytest.Pytester) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(code.strip().splitlines()) <= 10
    pytester.makepyfile(code)
    result = pytester.runpytest_inprocess("-p", "qemu_viso.pytest_plugin", "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*test_the_guest_finds_its_seed[[]scsi-cd] PASSED*"])
    result.stdout.fnmatch_lines(["*test_the_guest_finds_its_seed[[]virtio-blk] PASSED*"])
