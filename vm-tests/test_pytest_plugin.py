"""The pytest plugin with guests that boot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import StaleSourceError

if TYPE_CHECKING:
    from pathlib import Path

    from qemu_viso.pytest_plugin.exports import Exports
    from qemu_viso.pytest_plugin.machines import Machines
    from qemu_viso.pytest_plugin.recipes import Recipes
    from qemu_viso.pytest_plugin.views import Views


@pytest.mark.viso_bus("scsi-cd", "virtio-blk")
def test_one_guest_looks_at_one_recipe_after_the_other(viso: Recipes, viso_view: Views) -> None:
    first = viso("--volume-id=FIRST -R", files={"/user-data": "#cloud-config\n"})
    second = viso("--volume-id=SECOND", files={"/x": b"12345"})
    seen = viso_view(first)
    assert (seen.label, seen.namespace, set(seen)) == ("FIRST", "rock", {"/", "/user-data"})
    assert viso_view(second, "plain").verify().expected == 2
    # The first one comes back into the drive.
    assert seen.read("/user-data") == b"#cloud-config\n"
    assert seen.verify().differences == ()


def test_a_medium_is_changed_under_a_machine(viso: Recipes, viso_machine: Machines, viso_export: Exports) -> None:
    machine = viso_machine(viso(files={"/one": b"1" * 5000}))
    one = machine.view()
    machine.change_medium(viso_export(viso(files={"/two": b"2" * 5000})))
    two = machine.view()
    assert [set(one), set(two)] == [{"/", "/one"}, {"/", "/two"}]
    assert machine.read("/two", two.namespace, 4998) == b"22"


@pytest.mark.viso_bus("vhost-user-blk")
@pytest.mark.parametrize("direct", [False, True])
def test_vhost_user(viso: Recipes, viso_view: Views, viso_export: Exports, direct: bool) -> None:
    export = viso_export(viso(files={"/x": b"12345"}), "vhost-user-blk", direct=direct)
    seen = viso_view(export)
    assert seen.read("/x") == b"12345"
    seen.verify()


def test_a_source_that_changes_is_the_reason(viso: Recipes, viso_view: Views, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(bytes(100_000))
    recipe = viso(files={"/x": tmp_path / "source"})
    viso_view(recipe, limit=0)
    (tmp_path / "source").write_bytes(bytes(200_000))
    with pytest.raises(StaleSourceError, match="source"):
        viso_view(recipe)
