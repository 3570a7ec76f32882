"""Two processes, two hosts: the same bytes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qemu_viso.image.render import render as render_image
from tests.recipes import opened, write_files, write_recipe

if TYPE_CHECKING:
    from collections.abc import Iterator


def render(recipe: str, output: Path, **environment: str) -> bytes:
    subprocess.run(
        [sys.executable, "-m", "qemu_viso", "render", recipe, "-o", str(output)],
        check=True,
        env=os.environ | environment,
    )
    return output.read_bytes()


def copy_backwards(source: Path, target: Path) -> None:
    """The same tree, made in the opposite order, so that the directories read differently."""
    for folder, directories, files in sorted(os.walk(source), reverse=True):
        place = target / os.path.relpath(folder, source)
        place.mkdir(parents=True, exist_ok=True)
        links = [name for name in directories if os.path.islink(os.path.join(folder, name))]
        for name in sorted(files + links, reverse=True):
            shutil.copy2(os.path.join(folder, name), place / name, follow_symlinks=False)
    for folder, _, _ in os.walk(source, topdown=False):
        shutil.copystat(folder, target / os.path.relpath(folder, source))


def sources(folder: Path) -> None:
    """Files and links in directories of several orders, boot images, boot code, and an image to import."""
    names = {f"in/d{index % 5}/é {index * 7919 % 100}": b"%d" % index for index in range(100)}
    names |= {f"in/long/{'語' * 80}{index}": b"" for index in range(20)}
    boot = {
        "in/isolinux.bin": ISOLINUX,
        "in/efi.img": b"FAT" * 5000,
        "code": CODE,
        "order": b"in/d3/* 10\n",
        "area": b"A",
    }
    write_files(folder, names | boot | {"other/x/y": b"y", "other/z": b"z" * 5000})
    for index in range(10):
        os.symlink(f"../d{index}/é", folder / "in" / f"link{index * 7 % 10}")
    os.symlink("d1", folder / "in" / "to a directory")
    found = opened(folder, "--udf --rock-ridge /=other", "-b /z -no-emul-boot")
    render_image(found.image, str(folder / "other.iso"))
    (folder / "TEST.viso").unlink()


ISOLINUX = bytes(64) + b"\xfb\xc0\x78\x70" + b"isolinux" * 1000
CODE = b"\x33\xed" + b"boot code".ljust(430, b"\x90")
BOOT = (
    "-b /isolinux.bin -no-emul-boot -boot-info-table -c /boot.cat -isohybrid-mbr code",
    "--efi-boot /efi.img -isohybrid-gpt-basdat",
)
RECIPES = {
    "plain": ("--rock-ridge --joliet", "/=in", "/copy=in"),
    "UDF": ("--udf --rock-ridge", "/=in", "/copy=in"),
    "limited, level 1, tables": ("--iso-level=1 -T", "/=in", "-sort order"),
    "boot": ("--udf --rock-ridge", "/=in", BOOT[0].partition(" -isohybrid")[0], "-G area"),
    "hybrid": ("--udf --rock-ridge", "/=in", *BOOT),
    "hybrid without UDF": ("--rock-ridge --no-pad", "/=in", *BOOT),
    "import": ("--udf --rock-ridge", "--import-iso=other.iso", "/in=in"),
    "push": ("--rock-ridge", "--push-iso=other.iso", "/pushed=/", "--pop", "/in=in"),
}
ENVIRONMENTS = (
    {"PYTHONHASHSEED": "1", "TZ": "UTC", "LC_ALL": "C.UTF-8"},
    {"PYTHONHASHSEED": "2", "TZ": "Asia/Tokyo", "LC_ALL": "C"},
    {"PYTHONHASHSEED": "3", "TZ": "America/St_Johns", "LC_ALL": "POSIX", "LANG": "tr_TR.ISO-8859-9"},
)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    """The same sources three times: copied in the opposite order, and on a file system of another kind."""
    first, second = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
    sources(first)
    copy_backwards(first, second)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        copy_backwards(second, Path(memory))
        listed = [os.listdir(folder / "in" / "d1") for folder in (first, second, Path(memory))]
        assert listed[0] != listed[2] or listed[0] != listed[1]
        yield [first, second, Path(memory)]


@pytest.mark.parametrize("name", RECIPES)
def test_neither_hash_seed_nor_locale_nor_time_zone_nor_directory_order_matter(
    places: list[Path], name: str, tmp_path: Path
) -> None:
    images = [
        render(write_recipe(folder, *RECIPES[name]), tmp_path / f"{number}.iso", **environment)
        for number, (folder, environment) in enumerate(zip(places, ENVIRONMENTS, strict=True))
    ]
    assert [image == images[0] for image in images] == [True] * 3


def test_source_date_epoch_clamps_every_time(tmp_path: Path) -> None:
    write_files(tmp_path, {"in/old": b"old", "in/new": b"new"})
    os.utime(tmp_path / "in" / "old", (1_000_000_000, 1_000_000_000))
    recipe = write_recipe(tmp_path, "/=in")
    first = render(recipe, tmp_path / "1.iso", SOURCE_DATE_EPOCH="1500000000")
    os.utime(tmp_path / "in" / "new")
    os.utime(tmp_path / "in")
    assert render(recipe, tmp_path / "2.iso", SOURCE_DATE_EPOCH="1500000000") == first
    assert b"2017071402400000" in first
    assert b"2026" not in first


def test_a_source_date_epoch_that_is_no_number(tmp_path: Path) -> None:
    write_files(tmp_path, {"a": b"a"})
    done = subprocess.run(
        [sys.executable, "-m", "qemu_viso", "check", write_recipe(tmp_path, "/a=a")],
        env=os.environ | {"SOURCE_DATE_EPOCH": "yesterday"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 78
    assert "yesterday" in done.stderr
