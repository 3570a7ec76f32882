"""Very many directories: what a path table cannot number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.recipes import opened

if TYPE_CHECKING:
    from pathlib import Path

    from _pytest.monkeypatch import MonkeyPatch

TOLD = (
    "{} directories are more than a path table can number; readers that rely on path tables will not find all of them"
)
# Beside the root: /a and /a/b in both hierarchies, /j in Joliet alone.
BOTH = "/a/b/f=f"
MORE_IN_JOLIET = f"{BOTH} --name-setup joliet /j/f=f"


@pytest.mark.parametrize(
    ("line", "most", "directories"),
    [
        (BOTH, 2, 3),
        (f"--udf {BOTH}", 2, 3),
        (f"--no-joliet {BOTH}", 2, 3),
        (MORE_IN_JOLIET, 2, 4),
        (MORE_IN_JOLIET, 3, 4),
        (BOTH, 3, 0),
    ],
)
def test_more_than_a_path_table_can_number_is_told_once(
    tmp_path: Path, monkeypatch: MonkeyPatch, line: str, most: int, directories: int
) -> None:
    """With a smaller limit, because 65,536 directories take their time."""
    monkeypatch.setattr("qemu_viso.layout.layout.MAX_PARENT", most)

    warnings = opened(tmp_path, line, files={"f": b""}).tree.warnings

    assert warnings == ([TOLD.format(directories)] if directories else [])
