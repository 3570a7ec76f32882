"""Symbolic modes, judged by chmod(1)."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qemu_viso.viso.modes import parse_mode
from tests.viso.strategies import MODES, SYMBOLIC

if TYPE_CHECKING:
    from pathlib import Path


def apply(text: str, mode: int, *, directory: bool) -> int:
    for clause in parse_mode(text):
        mode = clause.apply(mode, directory=directory)
    return mode


@pytest.fixture(scope="module")
def chmod() -> str:
    path = shutil.which("chmod")
    if path is None:
        pytest.skip("chmod is not installed")
    return path


@given(text=SYMBOLIC, modes=st.tuples(MODES, MODES))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_symbolic_modes_are_those_of_chmod(chmod: str, tmp_path: Path, text: str, modes: tuple[int, int]) -> None:
    file, directory = tmp_path / "file", tmp_path / "directory"
    file.touch()
    directory.mkdir(exist_ok=True)
    # The owner can read and search, or chmod could not be run by anybody but root.
    modes = (modes[0] & 0o1777, modes[1] & 0o1777) if os.geteuid() else modes
    file.chmod(modes[0])
    directory.chmod(modes[1])

    # A mode that takes away less than it says, for the umask's sake, is done all the same, but ends with status 1.
    subprocess.run(
        [chmod, "--", text, file, directory], umask=0o022, check=False, capture_output=True, env={"LC_ALL": "C"}
    )

    assert oct(file.stat().st_mode & 0o7777) == oct(apply(text, modes[0], directory=False))
    assert oct(directory.stat().st_mode & 0o7777) == oct(apply(text, modes[1], directory=True))


def test_octal_modes_replace_all_bits() -> None:
    assert apply("0755", 0o7777, directory=True) == 0o755
    assert apply("7777", 0, directory=False) == 0o7777


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8",
        "10000",
        "u",
        "u+",
        "u+q",
        "+x,",
        ",",
        "755,u+x",
        "u+7",
        "+-7",
        "u=gr",
        "0x7",
        "+7-7",
        "+r7",
        "+r-7",
        "+7r",
        "-u+7",
        "u+r-7",
        "７",
    ],
)
def test_what_chmod_refuses(chmod: str, tmp_path: Path, text: str) -> None:
    judged = subprocess.run([chmod, "--", text, tmp_path], check=False, capture_output=True, env={"LC_ALL": "C"})

    if judged.returncode == 0:
        assert parse_mode(text)
    else:
        with pytest.raises(ValueError, match=r"^is "):
            parse_mode(text)
