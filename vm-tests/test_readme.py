"""The tests that the README and the plugin's page show are what users copy: they run, by the same plugin."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parent.parent


def shown(document: str) -> str:
    """The tests that a document shows."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(encoding="utf-8"), re.DOTALL)
    return "\n\n".join(blocks)


def test_the_test_in_the_readme(pytester: pytest.Pytester) -> None:
    code = shown("README.md")
    assert len(code.strip().splitlines()) <= 10
    pytester.makepyfile(code)
    result = pytester.runpytest_inprocess("-p", "qemu_viso.pytest_plugin", "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*test_the_guest_finds_its_seed[[]scsi-cd] PASSED*"])
    result.stdout.fnmatch_lines(["*test_the_guest_finds_its_seed[[]virtio-blk] PASSED*"])


@pytest.mark.full
def test_the_tests_on_the_page_of_the_plugin(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(shown("docs/pytest.md"))
    pytester.runpytest_inprocess("-p", "qemu_viso.pytest_plugin").assert_outcomes(passed=2)
