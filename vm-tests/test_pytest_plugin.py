"""The pytest plugin with guests that boot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import StaleSourceError
from qemu_viso.qemu import PLATFORMS

if TYPE_CHECKING:
    from pathlib import Path

    from qemu_viso.pytest_plugin import Exports, Machines, Recipes, Session, Views


pytest_plugins = ["pytester"]


def test_one_guest_looks_at_one_recipe_after_the_other(viso: Recipes, viso_view: Views, viso_session: Session) -> None:
    first = viso("--volume-id=FIRST -R", files={"/user-data": "#cloud-config\n"})
    second = viso("--volume-id=SECOND", files={"/x": b"12345"})
    seen = viso_view(first)
    assert (seen.label, seen.namespace, set(seen)) == ("FIRST", "rock", {"/", "/user-data"})
    assert viso_view(second, "plain").verify().expected == 2
    # The first one comes back into the drive.
    assert seen.read("/user-data") == b"#cloud-config\n"
    report = seen.verify()
    assert report.differences == ()
    assert report.accelerator == viso_session.accelerator(PLATFORMS["amd64"]).accelerator


@pytest.mark.full
def test_a_medium_is_changed_under_a_machine(viso: Recipes, viso_machine: Machines, viso_export: Exports) -> None:
    machine = viso_machine(viso(files={"/one": b"1" * 5000}))
    one = machine.view()
    machine.change_medium(viso_export(viso(files={"/two": b"2" * 5000})))
    two = machine.view()
    assert [set(one), set(two)] == [{"/", "/one"}, {"/", "/two"}]
    assert machine.read("/two", two.namespace, 4998) == b"22"


def test_a_source_that_changes_is_the_reason(viso: Recipes, viso_view: Views, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(bytes(100_000))
    recipe = viso(files={"/x": tmp_path / "source"})
    viso_view(recipe, limit=0)
    (tmp_path / "source").write_bytes(bytes(200_000))
    with pytest.raises(StaleSourceError, match="source"):
        viso_view(recipe)


FAILING = """
    import pytest

    pids = []

    def test_passes(viso, viso_view, viso_session):
        viso_view(viso(files={"/x": "x"}))
        pids.append(pid(viso_session))

    def test_fails(viso, viso_view, viso_session):
        recipe = viso("--volume-id=WRONG -R", files={"/x": "what was promised"})
        pids.append(pid(viso_session))
        seen = viso_view(recipe)
        assert seen.label == "RIGHT"

    def test_another_guest(viso, viso_view, viso_session):
        viso_view(viso(files={"/x": "x"}))
        pids.append(pid(viso_session))
        assert pids[0] == pids[1] != pids[2]

    def pid(session):
        (machine,) = session.pool.machines
        return machine.pid
"""


@pytest.mark.full
def test_a_guest_whose_test_failed_is_ended_and_leaves_a_folder(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_inner=FAILING)
    result = pytester.runpytest_inprocess("-p", "qemu_viso.pytest_plugin")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        ["E *WRONG*", "*QEMU, linux-cloud · scsi-cd: command line*", "*QEMU, linux-cloud · scsi-cd: console*"]
    )
    (folder,) = (pytester.path / ".pytest_cache" / "d" / "viso" / "test_inner.py.test_fails").glob("*-linux-cloud-*")
    assert "what was promised" not in (folder / "regions.txt").read_text()
    assert "recipe.1" in (folder / "regions.txt").read_text()
    assert "file /x" in (folder / "reads.txt").read_text()
    assert "< " in (folder / "qmp.txt").read_text()
    assert (folder / "screen.png").read_bytes().startswith(b"\x89PNG")
