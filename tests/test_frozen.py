"""Values behave like frozen data classes, and cost an open no data class."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from qemu_viso.frozen import Frozen, field_names, replace
from tests.recipes import MARKER

if TYPE_CHECKING:
    from pathlib import Path


class Point(Frozen):
    """A base."""

    x: int
    y: int = 2


class Named(Point):
    """With a field more."""

    name: str = "here"


class Other(Frozen):
    """The same fields as Point."""

    x: int
    y: int = 2


@dataclass(frozen=True, slots=True)
class Reference:
    """What Point would be as a data class."""

    x: int
    y: int = 2


def test_fields_are_given_by_position_or_name_or_not_at_all() -> None:
    assert Point(1) == Point(1, 2) == Point(x=1, y=2) == Point(1, y=2)
    assert (Named(1).x, Named(1).y, Named(1).name) == (1, 2, "here")
    assert Named(1, 3, "there") == Named(1, name="there", y=3)
    assert field_names(Named) == field_names(Named(1)) == ("x", "y", "name")


@pytest.mark.parametrize(
    ("values", "named", "words"),
    [
        ((), {}, "needs x"),
        ((1, 2, 3), {}, "takes 2 values, and 3 are given"),
        ((1,), {"x": 1}, "gets 'x' twice"),
        ((1,), {"z": 1}, "has no 'z'"),
    ],
)
def test_wrong_arguments_are_refused(values: tuple[int, ...], named: dict[str, int], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        Point(*values, **named)
    with pytest.raises(TypeError):
        Reference(*values, **named)


def test_only_values_of_one_class_are_equal() -> None:
    assert Point(1) != Other(1)
    assert Point(1) != Named(1)
    assert Point(1) != Point(2)
    assert Point(1) != (1, 2)
    assert {Point(1): "a"}[Point(1, 2)] == "a"
    assert len({Point(1), Point(1, 2), Point(2)}) == 2


def test_a_value_never_changes() -> None:
    point = Point(1)
    with pytest.raises(AttributeError, match="'x' cannot be set"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError, match="'x' cannot be deleted"):
        del point.x
    with pytest.raises(AttributeError):
        point.z = 2
    assert not hasattr(point, "__dict__")
    assert replace(point, x=5) == Point(5)
    assert point == Point(1)
    with pytest.raises(TypeError, match="has no 'z'"):
        replace(point, z=2)


def test_a_value_is_shown_copied_and_matched_like_a_data_class() -> None:
    assert repr(Point(1)) == repr(Reference(1)).replace("Reference", "Point")
    assert pickle.loads(pickle.dumps(Named(1))) == copy.deepcopy(Named(1)) == Named(1)
    match Named(1, 3):
        case Named(x, y, name):
            assert (x, y, name) == (1, 3, "here")


def test_an_open_imports_little(tmp_path: Path) -> None:
    """Each of these costs every command as much as opening a small recipe."""
    (tmp_path / "file").write_text("text")
    recipe = tmp_path / "small.viso"
    recipe.write_text(f"{MARKER}\n--rock-ridge\n/file=file\n")
    program = (
        "import sys; from qemu_viso.cli.main import main; status = main(sys.argv[1:]); "
        "print(status, *sorted(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "check", str(recipe)], capture_output=True, text=True, check=True
    )
    status, *modules = done.stdout.splitlines()[-1].split()
    assert status == "0"
    heavy = {
        "asyncio",
        "dataclasses",
        "hashlib",
        "inspect",
        "logging",
        "socket",
        "ssl",
        "subprocess",
        "tempfile",
        "uuid",
    }
    ours = {
        f"qemu_viso.{name}"
        for name in (
            *("guest", "nbd", "qemu", "tree.existing", "layout.udf", "verify", "vhost_user"),
            *("tree.facts", "tree.portable", "tree.globs", "tree.patterns", "viso.portable"),
        )
    }
    assert "qemu_viso.layout.layout" in modules
    assert not (heavy | ours).intersection(modules)
