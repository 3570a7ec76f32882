"""What a guest saw, held to the promise of another recipe than that of the medium; the guest is pretended."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import MissingInputError, UsageError
from qemu_viso.pytest_plugin import GuestBuild, Recipes, Seen, Session, Target, session
from tests.verify.seeing import honest

if TYPE_CHECKING:
    from qemu_viso.guest.definition import GuestDefinition
    from qemu_viso.opening import Opened

DEFINITIONS = Path(__file__).resolve().parent.parent.parent / "images" / "guests"


@pytest.fixture
def recipes(tmp_path: Path) -> Recipes:
    return Recipes(tmp_path)


def seen(served: Opened, what: Opened | Path) -> Seen:
    """A guest looked at the image of `served`; the test calls it `what`."""
    return Seen(honest(served.tree, "rock"), what, Target("linux-cloud", "scsi-cd"), lambda *_: b"", 1.0)


def differences(found: Seen) -> dict[str, str]:
    return {each.path: each.field for each in found.report.differences if each.field != "mtime"}


@pytest.mark.parametrize("as_file", [False, True], ids=["recipe", "image"])
def test_another_promise(recipes: Recipes, tmp_path: Path, as_file: bool) -> None:
    promised = recipes("--volume-id=A -R", files={"/same": "s", "/other": "1", "/missing": ""})
    served = recipes("--volume-id=A -R", files={"/more": b"x" * 5000, "/same": "s", "/other": "2"})
    (tmp_path / "image.iso").write_bytes(served.image.read(0, served.image.size))
    found = seen(served, tmp_path / "image.iso" if as_file else served).held_to(promised)
    assert differences(found) == {"/more": "name", "/other": "content", "/missing": "name"}
    assert found.report.recipe == promised.recipe.path
    with pytest.raises(AssertionError, match=r"/missing +name +a file"):
        found.verify()
    # It is told where the guest has read it, and not where the promised image has it.
    (wrong,) = (each for each in found.report.differences if each.path == "/other")
    assert wrong.place is not None
    assert served.image.read(wrong.place.start, wrong.place.size) == b"2"


def test_an_image_that_keeps_the_promise(recipes: Recipes, tmp_path: Path) -> None:
    recipe = recipes("--volume-id=A -R", files={"/x": "x"})
    path = tmp_path / "image.iso"
    path.write_bytes(recipe.image.read(0, recipe.image.size))
    with pytest.raises(UsageError, match="nothing says what a guest should see") as caught:
        seen(recipe, path).verify()
    assert "held_to" in (caught.value.hint or "")
    assert seen(recipe, path).held_to(recipe).verify().expected == 2


def test_a_promise_of_nothing(recipes: Recipes) -> None:
    served = recipes("--volume-id=A -R", files={"/x": "x"})
    with pytest.raises(UsageError, match="the image has no rock namespace"):
        seen(served, served).held_to(recipes("--volume-id=A --no-rock-ridge", files={"/x": "x"}))


def test_a_guest_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Built once, from the definition at a path."""
    built: list[GuestDefinition] = []

    def build(definition: GuestDefinition, **_: object) -> GuestBuild:
        built.append(definition)
        return GuestBuild(definition, tmp_path, tmp_path, ())

    monkeypatch.setattr(session, "build_guest", build)
    monkeypatch.setattr(session, "find_program", str)
    mine = tmp_path / "mine.toml"
    mine.write_bytes((DEFINITIONS / "linux-cloud.toml").read_bytes())
    (tmp_path / "agents").symlink_to(DEFINITIONS / "agents")
    guests = Session("auto")
    assert guests.guest(mine) is guests.guest(mine)
    assert [(each.name, each.source) for each in built] == [("mine", mine)]
    with pytest.raises(MissingInputError, match="there is no guest 'yours'"):
        guests.guest(tmp_path / "yours.toml")
