"""The project's own images before every judge: no rule broken, nobody complains, and all see the same trees."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qemu_viso.opening import open_viso
from tests.judges import samples
from tests.judges.compare import difference, view_of, view_of_directory
from tests.judges.external import TREE_JUDGES, Blkid, FileMagic, Isovfy, SevenZip, Xorriso
from tests.judges.reader.image import inspect
from tests.recipes import write_recipe

if TYPE_CHECKING:
    from tests.judges.external import Judge
    from tests.judges.reader.image import Image

# What these recipes ask for goes beyond the standards on purpose.
INTENDED = {
    "ECMA-119 6.8.2.1": "directories lie as deep as the source has them",
    "Joliet 64 units": "names run to the 110 units that a record holds",
}
BIOS = ("--eltorito-add-image=/boot/bios.img=tree/boot.img", "--no-emulation-boot", "--boot-load-size=4")
UEFI = ("--eltorito-platform-id=efi", "--eltorito-add-image=/boot/uefi.img=tree/efi.img", "--no-emulation-boot")
BOOT = (*BIOS, "--boot-info-table", *UEFI, "--boot-catalog=/boot/boot.cat")
ISOLINUX = Path("/usr/lib/ISOLINUX")
LOADER = (f"--eltorito-add-image=/isolinux.bin={ISOLINUX}/isolinux.bin", *BIOS[1:], "--boot-info-table")
HYBRID = (f"-isohybrid-mbr={ISOLINUX}/isohdpfx.bin", *LOADER, *UEFI, "-isohybrid-gpt-basdat")  # of the UEFI image
RECIPES: dict[str, tuple[str, ...]] = {
    "small": ("--strict-attribs", "--rock-ridge", "/=tree"),
    "small limited": ("/=tree",),
    "small level 1": ("--iso-level=1", "--rock-ridge", "/=tree"),
    "small without Rock Ridge": ("--no-rock-ridge", "/=tree"),
    "small without Joliet": ("--no-joliet", "--rock-ridge", "/=tree"),
    "small bootable": ("--rock-ridge", "/=tree", *BOOT),
    "small merged": ("--rock-ridge", "/=tree", "/deep/er=tree", "/two/b.bin=:remove:", "/again=tree/hello.txt"),
    "small imported": ("--rock-ridge", "--import-iso=other.iso", "/more=tree/hello.txt"),
    "small UDF": ("--udf", "--rock-ridge", "/=tree", *BOOT),
    "small UDF without links": ("--udf", "--rock-ridge", "/=tree", "/link=:remove:"),
    "difficult UDF": ("--udf", "--rock-ridge", "/=tree"),
    "small hybrid": ("--udf", "--rock-ridge", "/=tree", *HYBRID),
    "difficult": ("--strict-attribs", "--rock-ridge", "/=tree"),
    "difficult limited": ("/=tree",),
    "difficult level 1": ("--iso-level=1", "--rock-ridge", "/=tree"),
}


@dataclass(frozen=True, slots=True)
class Made:
    """An image in a file, and what the strict reader sees of it."""

    path: Path
    seen: Image
    tree: Path


@pytest.fixture(scope="module")
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    name: str = request.param
    folder = tmp_path_factory.mktemp("project")
    tree = folder / "tree"
    tree.mkdir()
    (samples.difficult_tree if name.startswith("difficult") else samples.small_tree)(tree)
    if name.endswith("imported"):
        if reason := samples.without("genisoimage"):
            pytest.skip(reason)
        samples.genisoimage(folder / "other.iso", tree, "-R", "-J", "-V", "OTHER")
    if name.endswith("hybrid") and not ISOLINUX.is_dir():
        pytest.skip(f"{ISOLINUX} is not installed")
    image = open_viso(write_recipe(folder, *RECIPES[name])).image
    data = image.read(0, image.size)
    path = folder / "image.iso"
    path.write_bytes(data)
    level = 1 if "level 1" in name else 3
    return Made(path, inspect(lambda offset, length: data[offset : offset + length], len(data), level=level), tree)


every_recipe = pytest.mark.parametrize("made", RECIPES, indirect=True)


@every_recipe
def test_no_rule_is_broken(made: Made) -> None:
    assert made.seen.violations(*INTENDED) == []


@every_recipe
def test_nobody_complains(made: Made) -> None:
    for judge in (Xorriso(), Isovfy(), SevenZip()):
        if judge.available() is None:
            assert judge.complaints(made.path) == [], judge.name


@every_recipe
@pytest.mark.parametrize("judge", TREE_JUDGES, ids=lambda judge: judge.name)
def test_the_judges_agree(made: Made, judge: Judge) -> None:
    if reason := judge.available():
        pytest.skip(reason)
    assert judge.disagreements(made.path, made.seen) == []


@pytest.mark.parametrize("made", ["small", "difficult"], indirect=True)
def test_rock_ridge_is_the_source(made: Made) -> None:
    assert made.seen.rock is not None
    expected = {path: item for path, item in view_of_directory(made.tree).items() if item.kind != "fifo"}
    assert difference(expected, view_of(made.seen.rock), ("the source", "the image"), ignore=("uid", "gid")) == []


@pytest.mark.parametrize(
    "made", ["small UDF", "small UDF without links", "difficult UDF", "small hybrid"], indirect=True
)
def test_udf_shows_what_rock_ridge_shows(made: Made) -> None:
    assert made.seen.rock is not None
    assert made.seen.udf is not None
    # A name in UDF has a byte for its character size, and at most 254 more: a longer one is shortened.
    rock, udf = (
        {path: item for path, item in view_of(volume).items() if "x" * 200 not in path}
        for volume in (made.seen.rock, made.seen.udf)
    )
    assert len(made.seen.rock.tree) == len(made.seen.udf.tree)
    assert difference(rock, udf, ("Rock Ridge", "UDF"), ignore=("links",)) == []


@pytest.mark.parametrize("made", ["small hybrid"], indirect=True)
def test_the_disk_and_the_boot_catalog_name_one_image(made: Made) -> None:
    assert made.seen.disk is not None
    assert made.seen.boot is not None
    uefi = made.seen.boot.entries[1]
    (system,) = made.seen.disk.gpt
    assert (system.first, system.last) == (uefi.sector * 4, uefi.sector * 4 + uefi.image.size // 512 - 1)


@pytest.mark.parametrize("made", ["small"], indirect=True)
def test_the_label_is_the_recipes_stem(made: Made) -> None:
    if Blkid().available() is None:
        assert Blkid().facts(made.path)["LABEL"] == "TEST"
    if FileMagic().available() is None:
        assert "'TEST'" in FileMagic().says(made.path)
