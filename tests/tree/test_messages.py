"""What users are told when a recipe that can be read cannot be carried out: each message once, in a golden file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import QemuVisoError
from qemu_viso.opening import open_viso
from tests.recipes import write_files, write_recipe

if TYPE_CHECKING:
    from pathlib import Path

    from _pytest.monkeypatch import MonkeyPatch

GOLDEN = "messages.txt"
FILES = {
    "a": b"a",
    "empty": b"",
    "d/b": b"b",
    "d/e/f": b"f",
    "weights": b"a heavy\n",
    "boot": bytes(3000),
    "code": b"x",
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
    "a name that is taken": "/x=a /x=d/b",
    "a name that differs by case": "/x=a /X=d/b",
    "a name below a file": "/x=a /x/y=a",
    "a directory over a file": "/b=a /=d",
    "a directory named '..'": "/a=a /x/..=d",
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
    "an image to import that is not there": "--import-iso nothing.iso",
    "an image to import that is none": "--import-iso a",
    "an image to push that is none": "--push-iso boot",
    "links that lead in a circle": "-f /=circle",
    "links that lead nowhere, followed": "-f /=links",
    "a large file at a low level": "--iso-level 2 /x=large",
    "an image that is too large": "/x=huge /y=huge2",
    "boot code without ISOLINUX": "/a=a -isohybrid-mbr code",
}


def plant(folder: Path) -> None:
    write_files(folder, FILES)
    os.symlink("nowhere", folder / "dangling")
    os.mkfifo(folder / "pipe")
    (folder / "links").mkdir()
    os.symlink("nowhere", folder / "links" / "link")
    (folder / "circle").mkdir()
    os.symlink(".", folder / "circle" / "again")
    for name, size in (("large", 5 << 30), ("huge", 8 << 40), ("huge2", 8 << 40)):
        with open(folder / name, "wb") as file:
            file.truncate(size)


def said(folder: Path, title: str) -> str:
    with pytest.raises(QemuVisoError) as caught:
        open_viso(write_recipe(folder, RECIPES[title]))
    assert caught.value.place is not None, title
    return f"## {title}\n{caught.value}\n  status: {caught.value.status}\n\n".replace(f"{folder}/", "")


def test_messages_are_the_golden_ones(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    plant(tmp_path)
    text = "".join(said(tmp_path, title) for title in RECIPES)
    golden = request.path.parent / "data" / GOLDEN
    if os.environ.get("GOLDEN") == "write":
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")
    messages = [part.split("\n", 1)[1].split(": ", 1)[1] for part in text.split("## ")[1:]]
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
    assert str(caught.value.place).endswith(":2:1")
