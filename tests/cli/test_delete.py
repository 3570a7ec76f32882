"""`qemu-viso delete`: what goes, and above all what stays."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import RecipeError
from qemu_viso.viso.unattended import unattended_files
from tests.cli.test_new import qemu_viso
from tests.recipes import MARKER, write_files, write_recipe

if TYPE_CHECKING:
    from pathlib import Path


def named(text: str, path: str = "/vm/a/x.viso") -> list[str]:
    return ["/".join(each) for each in unattended_files(f"{MARKER}\n{text}".encode(), path)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Unattended-1", ["Unattended-1"]),
        ("/n=Unattended-1 /m=k=Unattended-2", ["Unattended-1", "Unattended-2"]),
        ("--volume-id=Unattended-1", ["Unattended-1"]),  # options too, as VirtualBox has it
        ("--eltorito-boot Unattended-1", ["Unattended-1"]),
        ("/n=/vm/a/sub/Unattended-1", ["sub/Unattended-1"]),
        ("/n=/vm/a/../a/./Unattended-1", ["Unattended-1"]),
        ("/n='Unattended-a b'", ["Unattended-a b"]),
        ("/n=Unattended-1 /m=./Unattended-1", ["Unattended-1"]),
        ("/n=/vm/ab/Unattended-1", []),  # VirtualBox compares strings, and would delete this
        ("/n=../Unattended-1", []),
        ("/n=../../vm/ab/Unattended-1", []),
        ("/n=/vm/Unattended-1", []),
        ("/n=unattended-1", []),
        ("/n=my-Unattended-1", []),
        ("/n=Unattended-1/file", []),
        ("/n=-Unattended-1", []),
        ("/Unattended-1=:remove:", []),
    ],
)
def test_what_a_recipe_names(text: str, found: list[str]) -> None:
    assert named(text) == found


def test_the_quoting_is_the_recipes() -> None:
    text = MARKER.replace("bourne-sh", "ms-crt") + '\n"/n=Unattended-a b" /m=Unattended-it\'s'
    assert unattended_files(text.encode(), "/vm/x.viso") == (("Unattended-a b",), ("Unattended-it's",))


def test_a_recipe_by_its_bare_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert named("Unattended-1", "x.viso") == ["Unattended-1"]
    assert named(f"{tmp_path}/Unattended-1", "x.viso") == ["Unattended-1"]


def test_a_directory_that_is_reached_over_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for words in ("real", "link"):
        assert named(f"{tmp_path}/{words}/Unattended-1", f"{tmp_path}/link/x.viso") == ["Unattended-1"]


@pytest.mark.parametrize("bad", [b"\xff", b"\0"])
def test_a_damaged_recipe_deletes_nothing(bad: bytes) -> None:
    with pytest.raises(RecipeError, match="nothing in it is believed"):
        unattended_files(f"{MARKER}\nUnattended-1 ".encode() + bad, "/vm/x.viso")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A recipe with everything around it that could be deleted by mistake."""
    inside = ("Unattended-1", "sub/Unattended-2", "other", "Unattended-d/file", "Unattended-unnamed")
    write_files(tmp_path, {f"vm/{name}": b"x" for name in inside})
    write_files(tmp_path, {"vmx/Unattended-3": b"x", "out/Unattended-4": b"x", "out/target": b"x"})
    vm = tmp_path / "vm"
    (vm / "way-out").symlink_to("../out")
    (vm / "Unattended-link").symlink_to("../out/target")
    sources = (
        *("Unattended-1", str(vm / "sub" / "Unattended-2"), "other", "Unattended-d", "Unattended-gone"),
        *("../vmx/Unattended-3", str(tmp_path / "vmx" / "Unattended-3")),
        *("way-out/Unattended-4", "Unattended-link"),
    )
    write_recipe(vm, *(f"/{number}={source}" for number, source in enumerate(sources)))
    return tmp_path


def everything(place: Path) -> set[str]:
    return {
        os.path.relpath(os.path.join(folder, name), place)
        for folder, folders, files in os.walk(place)
        for name in folders + files
    }


@pytest.mark.parametrize("options", [(), ("--unattended",)])
def test_nothing_goes_without_yes(place: Path, options: tuple[str, ...]) -> None:
    before = everything(place)
    done = qemu_viso("delete", "TEST.viso", *options, cwd=place / "vm")
    assert done.returncode == 0
    shown = ["Unattended-1", "sub/Unattended-2", "Unattended-link"] if options else []
    assert done.stdout.splitlines() == [
        *(f"would delete {name}" for name in [*shown, "TEST.viso"]),
        "nothing is deleted without --yes",
    ]
    assert everything(place) == before


def test_what_goes_with_yes(place: Path) -> None:
    before = everything(place)
    done = qemu_viso("delete", place / "vm" / "TEST.viso", "--unattended", "--yes", "--json", cwd=place)
    assert (done.returncode, done.stderr) == (0, "")
    gone = before - everything(place)
    assert gone == {"vm/Unattended-1", "vm/sub/Unattended-2", "vm/Unattended-link", "vm/TEST.viso"}
    content = json.loads(done.stdout)
    assert content["deleted"] is True
    assert {os.path.relpath(path, place) for path in content["files"]} == gone


def test_only_the_recipe_goes_without_unattended(place: Path) -> None:
    before = everything(place)
    assert qemu_viso("delete", "TEST.viso", "--yes", cwd=place / "vm").returncode == 0
    assert before - everything(place) == {"vm/TEST.viso"}


def test_what_is_no_recipe_stays(place: Path) -> None:
    before = everything(place)
    for name, status in (("other", 65), ("missing", 66), ("sub", 74)):
        done = qemu_viso("delete", name, "--yes", cwd=place / "vm")
        assert (done.returncode, done.stdout) == (status, "")
        assert "Traceback" not in done.stderr
    assert everything(place) == before


def test_a_recipe_that_names_itself_is_deleted_once(tmp_path: Path) -> None:
    write_recipe(tmp_path, "/x=Unattended-x.viso", name="Unattended-x.viso")
    done = qemu_viso("delete", "Unattended-x.viso", "--unattended", "--yes", cwd=tmp_path)
    assert done.stdout == "deleted Unattended-x.viso\n"
    assert os.listdir(tmp_path) == []
