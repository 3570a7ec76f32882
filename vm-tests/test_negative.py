"""What a verification must notice: the guest looks at another image than the recipe promises."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from qemu_viso.pytest_plugin import Difference, Session

RECIPE = "--volume-id=NEGATIVE -R\n/=in"


def make(folder: Path) -> Path:
    (folder / "in" / "sub").mkdir(parents=True)
    for name, content in {"same": "same\n", "sub/byte": "x" * 5000, "missing": "gone\n", "mode": "m\n"}.items():
        (folder / "in" / name).write_text(content)
        (folder / "in" / name).chmod(0o644)
    return folder


@pytest.fixture(scope="module")
def differences(tmp_path_factory: pytest.TempPathFactory, viso_session: Session) -> dict[str, list[Difference]]:
    """One look, with one difference of each kind; by path."""
    promised = viso_session.open(make(tmp_path_factory.mktemp("promised")), RECIPE)
    folder = make(tmp_path_factory.mktemp("served"))
    content = bytearray((folder / "in" / "sub" / "byte").read_bytes())
    content[4321] ^= 1
    (folder / "in" / "sub" / "byte").write_bytes(content)
    (folder / "in" / "missing").unlink()
    (folder / "in" / "extra").write_text("one too many\n")
    (folder / "in" / "mode").chmod(0o755)
    served = viso_session.open(folder, RECIPE)
    seen = viso_session.view("linux-cloud", "scsi-cd", served, "rock").held_to(promised)
    with pytest.raises(AssertionError, match=r"/sub/byte +content +sha256"):
        seen.verify()
    report = seen.report
    found: dict[str, list[Difference]] = {}
    for difference in report.differences:
        if difference.field != "mtime":  # the two folders were not made in the same second, perhaps
            found.setdefault(difference.path, []).append(difference)
    assert "6 of 7" not in report.summary()
    return found


def test_one_byte_of_one_file(differences: dict[str, list[Difference]]) -> None:
    (difference,) = differences["/sub/byte"]
    assert difference.field == "content"
    assert difference.expected != difference.seen


def test_a_missing_file(differences: dict[str, list[Difference]]) -> None:
    (difference,) = differences["/missing"]
    assert (difference.field, difference.expected, difference.seen) == ("name", "a file", "absent")


def test_a_file_too_many(differences: dict[str, list[Difference]]) -> None:
    (difference,) = differences["/extra"]
    assert (difference.field, difference.expected, difference.seen) == ("name", "absent", "a file")


def test_another_mode(differences: dict[str, list[Difference]]) -> None:
    (difference,) = differences["/mode"]
    assert (difference.field, difference.expected, difference.seen) == ("mode", "0644", "0755")


def test_nothing_else(differences: dict[str, list[Difference]]) -> None:
    assert sorted(differences) == ["/extra", "/missing", "/mode", "/sub/byte"]
