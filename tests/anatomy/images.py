"""Images to take apart: our own recipes', and those of other makers."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qemu_viso.opening import open_image
from tests.judges import samples
from tests.recipes import write_recipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from qemu_viso.image import Image

ISOLINUX = Path("/usr/lib/ISOLINUX")
TARGET = "/".join(f"part{number:04}" for number in range(300))
NO_EMULATION = ("--no-emulation-boot", "--boot-load-size=4")
HYBRID = (
    f"-isohybrid-mbr={ISOLINUX}/isohdpfx.bin",
    f"--eltorito-add-image=/isolinux.bin={ISOLINUX}/isolinux.bin",
    *NO_EMULATION,
    "--boot-info-table",
    "--eltorito-platform-id=efi",
    "--eltorito-add-image=/boot/uefi.img=tree/efi.img",
    *NO_EMULATION,
    "-isohybrid-gpt-basdat",
)


def small(folder: Path) -> Path:
    tree = folder / "tree"
    tree.mkdir()
    samples.small_tree(tree)
    return tree


def difficult(folder: Path) -> Path:
    tree = folder / "tree"
    tree.mkdir()
    samples.difficult_tree(tree)
    return tree


def _hybrid(folder: Path) -> str:
    _needs(ISOLINUX / "isohdpfx.bin")
    small(folder)
    return write_recipe(folder, "--udf --rock-ridge -T /=tree", *HYBRID)


def _difficult(folder: Path) -> str:
    difficult(folder)
    return write_recipe(folder, "--udf --rock-ridge /=tree")


def _plain(folder: Path) -> str:
    small(folder)
    return write_recipe(folder, "--iso-level=1 --no-rock-ridge --no-joliet /=tree")


def _spilled(folder: Path) -> str:
    """More than an ICB holds: a link's target, and the allocation descriptors of a file of 300 GiB."""
    (folder / "in").mkdir()
    os.symlink(TARGET, folder / "in" / "link")
    with open(folder / "in" / "large", "wb") as file:
        file.truncate(300 << 30)
    return write_recipe(folder, "--udf --rock-ridge /=in")


def _genisoimage(folder: Path) -> str:
    options = ("-R", "-J", "-T", "-udf", "-b", "boot.img", "-c", "boot.cat", "-no-emul-boot", "-boot-info-table")
    _needs_program("genisoimage")
    return str(samples.genisoimage(folder / "disc.iso", small(folder), *options))


def _relocated(folder: Path) -> str:
    """Directories that lie too deep are moved, and their places have CL, PL and RE entries."""
    _needs_program("genisoimage")
    tree = difficult(folder)
    os.unlink(tree / "fifo")
    return str(samples.genisoimage(folder / "disc.iso", tree, "-R", "-J", "-joliet-long"))


def _xorriso(folder: Path) -> str:
    _needs_program("xorriso")
    _needs(ISOLINUX / "isohdpfx.bin")
    tree = small(folder)
    shutil.copy(ISOLINUX / "isolinux.bin", tree)
    options = (
        *("-R", "-J", "-isohybrid-mbr", str(ISOLINUX / "isohdpfx.bin"), "-c", "boot.cat", "-b", "isolinux.bin"),
        *("-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", "-eltorito-alt-boot", "-e", "efi.img"),
        *("-no-emul-boot", "-isohybrid-gpt-basdat", "-isohybrid-apm-hfsplus"),
    )
    return str(samples.xorriso(folder / "disc.iso", tree, *options))


def _mkudffs(folder: Path, revision: str = "1.02") -> str:
    path = f"{os.environ['PATH']}:/usr/sbin"
    program = shutil.which("mkudffs", path=path)
    if program is None:
        pytest.skip("mkudffs is not installed")
    image = folder / "disc.iso"
    with open(image, "wb") as file:
        file.truncate(4 << 20)
    command = [program, "--utf8", "--blocksize=2048", "--media-type=hd", f"--udfrev={revision}", "--label=ONLY"]
    subprocess.run([*command, str(image)], check=True, capture_output=True)
    return str(image)


MAKERS: dict[str, Callable[[Path], str]] = {
    "hybrid": _hybrid,
    "difficult": _difficult,
    "plain": _plain,
    "genisoimage": _genisoimage,
    "relocated": _relocated,
    "xorriso": _xorriso,
    "mkudffs": _mkudffs,
    "mkudffs 2.01": lambda folder: _mkudffs(folder, "2.01"),
}
"""Each makes an image in a folder; the recipe, or the file."""

SPILLED = _spilled


def _needs(path: Path) -> None:
    if not path.exists():
        pytest.skip(f"{path} is not installed")


def _needs_program(name: str) -> None:
    if reason := samples.without(name):
        pytest.skip(reason)


def make(name: str, folder: Path) -> Image:
    return open_image(MAKERS[name](folder))
