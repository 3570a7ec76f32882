"""The sample recipes, seen by a guest."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from qemu_viso.pytest_plugin import Namespace, Recipes, Views

IMAGES = Path(__file__).resolve().parent.parent / "images"
ISO: tuple[Namespace, ...] = ("rock", "joliet", "plain")


def test_names_of_every_difficult_kind(viso: Recipes, viso_view: Views) -> None:
    names = viso(IMAGES / "names.viso")
    for namespace in ISO:
        assert viso_view(names, namespace).verify().expected >= 80


def test_names_that_linux_would_show_alike(viso: Recipes, viso_view: Views, tmp_path: Path) -> None:
    """And targets of links with every kind of slash, and a Rock Ridge name that is given apart."""
    begin = "a" * 250
    source = tmp_path / "in"
    source.mkdir()
    for name in (
        begin,
        f"{begin}bbbb.",
        f"{begin}cccc",
        f"{begin}ccccc",
        "b" * 255,
        *(f"{'ä' * 125}{n}.md" for n in "xyz"),
    ):
        (source / name).write_text(name[-3:])
    for number, target in enumerate(("a//b", "a/", "//x", "/", "./..//", "///", "a///b//", ".")):
        os.symlink(target, source / f"link{number}")
    recipe = viso(f"--udf -R /={source}", "--name-setup=iso,rr,joliet", f"/I.TXT=/given=/j.txt={source}/{begin}")

    for namespace in (*ISO, "udf"):
        assert viso_view(recipe, namespace).verify().expected >= 10


@pytest.mark.viso_firmware("bios")
def test_isolinux_boots_by_itself(viso: Recipes, viso_view: Views) -> None:
    isolinux = viso(IMAGES / "isolinux.viso")
    # El Torito 2.0, 2.0: the boot record volume descriptor lies in sector 17.
    assert isolinux.image.read(17 * 2048, 39) == b"\0CD001\1EL TORITO SPECIFICATION".ljust(39, b"\0")
    assert viso_view(isolinux, "rock").verify().expected >= 15
    assert viso_view(isolinux, "joliet").verify().expected >= 15
