"""What users are told when a recipe that can be read cannot be carried out: each message once, in a golden file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

import qemu_viso.layout
import qemu_viso.tree
from qemu_viso.errors import Place, QemuVisoError
from qemu_viso.opening import open_viso
from qemu_viso.tree.builder import build_tree, source_date_epoch
from qemu_viso.viso.recipe import AddSource, PopIso, Quoting, Recipe
from tests.messages import lines_met, unmet
from tests.recipes import write_files, write_recipe
from tests.tree.makers import handmade

if TYPE_CHECKING:
    from _pytest.monkeypatch import MonkeyPatch

    from qemu_viso.viso.recipe import Step

GOLDEN = "messages.txt"
FILES = {
    "a": b"a",
    "empty": b"",
    "d/b": b"b",
    "d/e/f": b"f",
    "weights": b"a heavy\n",
    "boot": bytes(3000),
    "code": b"x",
    "area": b"A" * 32768,
}
RECIPES = {
    "a source that is not there": "/x=nothing",
    "a comment": "# comment",
    "a link that leads nowhere": "/x=dangling",
    "a FIFO": "/x=pipe",
    "a FIFO where a file is needed": "/a=a -G pipe",
    "a directory where a file is needed": "/a=a -G d",
    "an empty system area": "/a=a -G empty",
    "a source below a file": "/x=a/b",
    "a source that is not there on the host": "/x=/no/such/file",
    "a source below links that lead to themselves": "/x=loop/again/b",
    "a source with a name that is too long": f"/x={'n' * 256}",
    "a name that is taken": "/x=a /x=d/b",
    "a name that differs by case": "/x=a /X=d/b",
    "a name below a file": "/x=a /x/y=a",
    "a directory over a file": "/b=a /=d",
    "directories without end": " ".join(f"/{top}{'/a' * 2000}=a" for top in range(66)),
    "a directory named '..'": "/a=a /x/..=d",
    "the name '/.' in an empty image": "/.=d",
    "a file named '.'": "/d=d /d/.=a",
    "a Rock Ridge name that is '..'": "--name-setup=iso,rr /A=/d/..=a",
    "the boot catalog removed": "-c /boot.cat /boot.CAT=:remove:",
    "the boot catalog as a directory": "/a=a -b /a -c /d/",
    "the boot catalog's name taken": "-c /boot.cat /boot.cat=a",
    "nothing to remove": "/a=a /x=:must-remove:",
    "the root to remove": "/a=a /=:remove:",
    "nothing to rename": "/a=a --rename /x /y",
    "nowhere to move to": "/a=a --rename /a /x/y",
    "a directory moved below itself": "/d=d --rename /d /d/e/d",
    "the root to rename": "/a=a --rename / /x",
    "a name that is taken by a rename": "/a=a /c=a --rename /a /c",
    "nothing in the image": "--volume-id=X",
    "attributes of nothing": "/a=a --chmod=0644:/x",
    "a boot image that is not there": "/a=a -b /boot",
    "two boot images for an entry": "/a=a -b /a -b /a",
    "a boot entry without image": "/a=a --no-emulation-boot",
    "a catalog without boot image": "/a=a -c /boot.cat",
    "a boot image that is a link": "/=links -b /link",
    "a boot image that is a directory": "--eltorito-add-image /d=d",
    "a name set-up from nothing": "--name-setup-from-import /a=a",
    "a weight that is no number": "/a=a -sort weights",
    "links that multiply": "-f chain/0",
    "a pattern that is longer than any path": f"/a=a -x {'[a' * 3000}",
    "an image to import that is not there": "--import-iso nothing.iso",
    "an image to import that is none": "--import-iso a",
    "an image to push that is none": "--push-iso boot",
    "links that lead in a circle": "-f /=circle",
    "links that lead nowhere, followed": "-f /=links",
    "a large file at a low level": "--iso-level 2 /x=large",
    "an image that is too large": "/x=huge /y=huge2",
    "boot code without ISOLINUX": "/a=a -isohybrid-mbr code",
    "boot code for something else": "/a=a /boot=boot -b /boot -no-emul-boot -isohybrid-mbr code",
    "a system area where the partition table lies": "/boot=boot -e /boot -G area -isohybrid-gpt-basdat",
    "a partition without content": "/e=empty -e /e -isohybrid-gpt-basdat",
    "a boot image in pieces that wants a table": "--import-iso pieces.iso -b /F. -boot-info-table",
    "links that lead to themselves, followed": "-f /=loop",
    "a fifth image pushed": "--push-iso itself.iso" + " --push-iso I.ISO" * 4,
    "two things with one Rock Ridge name": "--name-setup=iso,rr /A=/x=a /B=/x=a",
}
STEPS: dict[str, Step] = {
    "a pop that no parser has seen": PopIso(Place("TEST.viso", 1, 1)),
    "a source with a NUL": AddSource(Place("TEST.viso", 1, 1), ("/a",), "a\0b"),
}
MAKERS = {"RecipeError", "MissingInputError", "AccessError", "InputOutputError", "ConfigurationError"}


def plant(folder: Path) -> None:
    write_files(folder, FILES)
    os.symlink("nowhere", folder / "dangling")
    os.mkfifo(folder / "pipe")
    (folder / "links").mkdir()
    os.symlink("nowhere", folder / "links" / "link")
    (folder / "circle").mkdir()
    os.symlink(".", folder / "circle" / "again")
    (folder / "loop").mkdir()
    os.symlink("again", folder / "loop" / "again")
    for number in range(8):
        (folder / "chain" / f"{number}").mkdir(parents=True)
        for link in ("a", "b")[: 2 * (number < 7)]:
            os.symlink(f"../{number + 1}", folder / "chain" / f"{number}" / link)
    handmade(folder / "pieces.iso", {20: [(b"F.;1", 30, 2048, 0x80), (b"F.;1", 32, 100, 0)]})
    handmade(folder / "itself.iso", {20: [(b"I.ISO;1", 0, 400 * 2048, 0)]})
    for name, size in (("large", 5 << 30), ("huge", 8 << 40), ("huge2", 8 << 40)):
        with open(folder / name, "wb") as file:
            file.truncate(size)


def said(folder: Path, title: str) -> str:
    with pytest.raises(QemuVisoError) as caught:
        open_viso(write_recipe(folder, RECIPES[title]))
    assert caught.value.place is not None, title
    return f"## {title}\n{caught.value}\n  status: {caught.value.status}\n\n".replace(f"{folder}/", "")


def said_of(title: str) -> str:
    """What is said about a step that no text can ask for."""
    step = STEPS[title]
    with pytest.raises(QemuVisoError) as caught:
        build_tree(Recipe("TEST.viso", str(UUID(int=0)), Quoting.BOURNE, (step,)), environment={})
    return f"## {title}\n{caught.value}\n  status: {caught.value.status}\n\n"


def said_of_time() -> str:
    with pytest.raises(QemuVisoError) as caught:
        source_date_epoch({"SOURCE_DATE_EPOCH": "soon"})
    return f"## a time that is none\n{caught.value}\n  status: {caught.value.status}\n\n"


def test_messages_are_the_golden_ones(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qemu_viso.tree.origin.REPEATED", 100)
    plant(tmp_path)
    with lines_met() as met:
        text = "".join(said(tmp_path, title) for title in RECIPES) + "".join(map(said_of, STEPS)) + said_of_time()
    for package in (qemu_viso.tree, qemu_viso.layout):
        assert unmet(Path(package.__path__[0]), MAKERS, met) == []
    golden = request.path.parent / "data" / GOLDEN
    if os.environ.get("GOLDEN") == "write":
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")
    messages = [part.split("\n", 1)[1].split(": ", 1)[-1] for part in text.split("## ")[1:]]
    assert len(set(messages)) == len(messages)


def test_a_source_that_may_not_be_read(tmp_path: Path, monkeypatch: MonkeyPatch) -> None:
    """By hand, because the tests may run as a user who may read everything."""
    write_files(tmp_path, {"a": b"a"})

    def refuse(*_: object, **__: object) -> os.stat_result:
        raise PermissionError(13, "Permission denied")

    recipe = write_recipe(tmp_path, "/a=a")
    monkeypatch.setattr("qemu_viso.tree.origin.os.stat", refuse)
    with pytest.raises(QemuVisoError, match="may not be read") as caught:
        open_viso(recipe)
    assert caught.value.status == 77
    assert caught.value.hint is not None
    assert str(caught.value.place).endswith(":2:1")
