"""What GRUB says, understood; and GRUB itself, made by its own tool."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import ConfigurationError, GuestError
from qemu_viso.guest.definition import load_definition
from qemu_viso.guest.grub import GrubAnswer
from qemu_viso.guest.grub_image import write_grub
from tests.guest.test_definition import GRUB

if TYPE_CHECKING:
    from pathlib import Path

    from qemu_viso.guest.definition import GuestDefinition

HASH = "0123456789abcdef" * 4
ANSWER = f"""LABEL Größe
DIRECTORY (hd0)/
DIRECTORY (hd0)/sub
FILE (hd0)/a (copy)
{HASH}  (hd0)/a (copy)
FILE (hd0)/unreadable
error: attempt to read or write outside of disk `hd0'.
FILE (hd0)/sub/line?end
{HASH}  (hd0)/sub/line
end
FILE (hd0)/last
END
"""


def answer(text: str) -> GrubAnswer:
    found = GrubAnswer("rock")
    for line in text.encode().splitlines():
        assert not found.complete
        found.add(line)
    return found


def test_an_answer() -> None:
    found = answer(ANSWER)
    assert found.complete
    view = found.view()
    assert (view.namespace, view.label, view.reader) == ("rock", "Größe", "grub")
    assert sorted(view.facts) == ["content"]
    assert {path: (entry.kind, entry.sha256) for path, entry in view.entries.items()} == {
        "/": ("directory", None),
        "/sub": ("directory", None),
        "/a (copy)": ("file", HASH),
        "/unreadable": ("file", None),
        "/sub/line?end": ("file", HASH),
        "/last": ("file", None),
    }


def test_half_an_answer_is_not_complete() -> None:
    assert not answer(ANSWER.removesuffix("END\n")).complete


@pytest.mark.parametrize("text", ["END\n", "error: unknown filesystem.\nLABEL \nEND\n"])
def test_a_file_system_that_it_does_not_know(text: str) -> None:
    with pytest.raises(GuestError, match=r"does not find the namespace rock on the medium(: unknown|$)"):
        answer(text).view()


def test_a_name_told_twice() -> None:
    with pytest.raises(GuestError, match=r"told of '/a\?b' twice"):
        answer("LABEL X\nDIRECTORY (hd0)/\nFILE (hd0)/a?b\nFILE (hd0)/a?b\n")


@pytest.fixture
def definition(tmp_path: Path) -> GuestDefinition:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "agent.sh").write_text("echo\n")
    (tmp_path / "g.toml").write_text(GRUB)
    return load_definition("g", tmp_path)


def test_a_module_that_the_package_lacks(definition: GuestDefinition, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="have no GRUB module 'udf'"):
        write_grub(definition, tmp_path / "root", tmp_path, tmp_path / "grub")


@pytest.mark.skipif(shutil.which("grub-mkimage") is None, reason="grub-mkimage is not installed")
def test_what_its_tool_refuses_is_told(definition: GuestDefinition, tmp_path: Path) -> None:
    modules = tmp_path / "root/usr/lib/grub/i386-pc"
    modules.mkdir(parents=True)
    (modules / "udf.mod").touch()
    with pytest.raises(ConfigurationError, match="grub-mkimage cannot make the guest 'g': "):
        write_grub(definition, tmp_path / "root", tmp_path, tmp_path / "grub")
    assert not (tmp_path / "grub").exists()
