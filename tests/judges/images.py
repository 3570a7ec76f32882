"""The set of the project's own images that all judges are shown: between them, everything that an image can have."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qemu_viso.image.render import render
from qemu_viso.opening import open_viso
from tests.judges import samples
from tests.judges.reader.image import opened
from tests.recipes import write_recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.judges.external import Look
    from tests.judges.reader.image import Image

ISOLINUX = Path("/usr/lib/ISOLINUX")
LABEL = "JUDGED"


@dataclass(frozen=True, slots=True)
class Sample:
    """How an image of the set is made.

    Attributes:
        tree: fills the directory that the recipe calls `tree`.
        lines: the recipe's.
        level: the interchange level that is promised.
        needs: programs and directories without which it cannot be made.
        look: how closely judges look at it: at all that very many or very large files hold they do not.
    """

    tree: Callable[[Path], None]
    lines: tuple[str, ...]
    level: int = 3
    needs: tuple[str, ...] = ()
    look: Look = "content"


@dataclass(frozen=True, slots=True)
class Made:
    """An image in a file, and what the strict reader sees of it."""

    sample: Sample
    path: Path
    seen: Image
    tree: Path


BIOS = ("--eltorito-add-image=/boot/bios.img=tree/boot.img", "--no-emulation-boot", "--boot-load-size=4")
UEFI = ("--eltorito-platform-id=efi", "--eltorito-add-image=/boot/uefi.img=tree/efi.img", "--no-emulation-boot")
BOOT = (*BIOS, "--boot-info-table", *UEFI, "--boot-catalog=/boot/boot.cat")
LOADER = (f"--eltorito-add-image=/isolinux.bin={ISOLINUX}/isolinux.bin", *BIOS[1:], "--boot-info-table")
MBR = (f"-isohybrid-mbr={ISOLINUX}/isohdpfx.bin", *LOADER)
HYBRID = (*MBR, *UEFI, "-isohybrid-gpt-basdat")  # of the UEFI image
FULL = "--strict-attribs --rock-ridge /=tree"
NEXT = "--eltorito-new-entry"
FLOPPIES = (
    *("-b /floppy12.img", NEXT, "-b /floppy144.img", NEXT, "-b /floppy288.img", NEXT),
    "-b /disk.img --hard-disk-boot",
)
EMULATED = (
    *("-b /floppy12.img --eltorito-floppy-12", NEXT, "-b /floppy144.img --eltorito-floppy-144", NEXT),
    *("-b /floppy288.img --eltorito-floppy-288", NEXT, "-b /disk.img", "--boot-load-size=1 --boot-load-seg=0x1000"),
)
PLATFORMS = (
    *("-b /boot.img --no-emulation-boot", NEXT, "--eltorito-platform-id=PPC -b /efi.img --no-emulation-boot", NEXT),
    *("-b /boot.img --no-emulation-boot --no-boot", NEXT, "--eltorito-platform-id=Mac -b /boot.img -no-emul-boot"),
    "--efi-boot /efi.img",
)

MANY = ("-b /boot.img -no-emul-boot", *[f"{NEXT} -b /efi.img -no-emul-boot"] * 79, "-c /boot.cat")

IMAGES: dict[str, Sample] = {
    "small": Sample(samples.small_tree, (FULL,)),
    "small limited": Sample(samples.small_tree, ("/=tree",)),
    "small level 1": Sample(samples.small_tree, ("--iso-level=1 --rock-ridge /=tree",), level=1),
    "small level 2": Sample(samples.small_tree, ("--iso-level=2 --rock-ridge /=tree",), level=2),
    "small without Rock Ridge": Sample(samples.small_tree, ("--no-rock-ridge /=tree",)),
    "small plain": Sample(samples.small_tree, ("--no-rock-ridge --no-joliet /=tree",)),
    "small without Joliet": Sample(samples.small_tree, ("--no-joliet --rock-ridge /=tree",)),
    "small Joliet level 1": Sample(samples.small_tree, ("--joliet-ucs-level=1 --rock-ridge /=tree",)),
    "small Joliet level 2": Sample(samples.small_tree, ("--joliet-ucs-level=2 --no-rock-ridge /=tree",)),
    "small without padding": Sample(samples.small_tree, ("--no-pad --rock-ridge /=tree",)),
    "small UDF without padding": Sample(samples.small_tree, ("--udf --no-pad --rock-ridge /=tree",)),
    "small TRANS.TBL": Sample(samples.small_tree, ("-T --rock-ridge /=tree",)),
    "small system area": Sample(samples.small_tree, ("--rock-ridge /=tree", "-G tree/boot.img")),
    "small merged": Sample(
        samples.small_tree, ("--rock-ridge /=tree", "/deep/er=tree", "/two/b.bin=:remove:", "/again=tree/hello.txt")
    ),
    "small imported": Sample(
        samples.small_tree, ("--rock-ridge --import-iso=other.iso", "/more=tree/hello.txt"), needs=("genisoimage",)
    ),
    "small bootable": Sample(samples.small_tree, ("--rock-ridge /=tree", *BOOT)),
    "small hidden catalog": Sample(samples.small_tree, ("--rock-ridge /=tree", *BOOT[:-1])),
    "small boot image without a name": Sample(
        samples.small_tree, ("--udf --rock-ridge /=tree", *BOOT, "/boot/bios.img=:remove: /boot/uefi.img=:remove:")
    ),
    "small platforms": Sample(samples.small_tree, ("--rock-ridge /=tree", *PLATFORMS)),
    "small EFI alone": Sample(samples.small_tree, ("--rock-ridge /=tree", "-e /efi.img -no-emul-boot")),
    "small with many boot entries": Sample(samples.small_tree, ("--rock-ridge /=tree", *MANY)),
    "floppies": Sample(samples.floppy_tree, ("--rock-ridge /=tree", *FLOPPIES)),
    "floppies by name": Sample(samples.floppy_tree, ("--rock-ridge /=tree", *EMULATED)),
    "small UDF": Sample(samples.small_tree, ("--udf --rock-ridge /=tree", *BOOT)),
    "small UDF without links": Sample(samples.small_tree, ("--udf --rock-ridge /=tree", "/link=:remove:")),
    "small UDF limited": Sample(samples.small_tree, ("--udf /=tree",)),
    "small hybrid": Sample(samples.small_tree, ("--udf --rock-ridge /=tree", *HYBRID), needs=(str(ISOLINUX),)),
    "small hybrid without GPT": Sample(samples.small_tree, ("--rock-ridge /=tree", *MBR), needs=(str(ISOLINUX),)),
    "small hybrid without MBR code": Sample(
        samples.small_tree, ("--rock-ridge /=tree", "-e /efi.img -no-emul-boot -isohybrid-gpt-basdat")
    ),
    "difficult": Sample(samples.difficult_tree, (FULL,)),
    "difficult limited": Sample(samples.difficult_tree, ("/=tree",)),
    "difficult level 1": Sample(samples.difficult_tree, ("--iso-level=1 --rock-ridge /=tree",), level=1),
    "difficult plain level 1": Sample(
        samples.difficult_tree, ("--iso-level=1 --no-rock-ridge --no-joliet /=tree",), level=1
    ),
    "difficult level 2": Sample(samples.difficult_tree, ("--iso-level=2 --rock-ridge /=tree",), level=2),
    "difficult UDF": Sample(samples.difficult_tree, ("--udf --rock-ridge /=tree",)),
    "long names": Sample(samples.long_names_tree, ("--udf --rock-ridge /=tree",)),
    "long names level 1": Sample(
        samples.long_names_tree, ("--iso-level=1 --no-rock-ridge --joliet-ucs-level=1 /=tree",), level=1
    ),
    "continuation areas": Sample(samples.continuation_tree, (FULL,)),
    "continuation areas limited": Sample(samples.continuation_tree, ("--limited-rock-ridge /=tree",)),
    "many directories": Sample(samples.many_directories, ("--udf --rock-ridge /=tree",), look="names"),
    "crowded": Sample(samples.crowded_directory, ("--rock-ridge /=tree",), look="names"),
    "large files": Sample(samples.large_files, ("--udf --rock-ridge /=tree",), look="sizes"),
    "huge file": Sample(samples.huge_file, ("--udf --rock-ridge /=tree",), look="sizes"),
}


def lacking(sample: Sample) -> str:
    """Why an image cannot be made here; empty where it can."""
    folders = [need for need in sample.needs if "/" in need and not os.path.isdir(need)]
    programs = [need for need in sample.needs if "/" not in need]
    return ", ".join(
        [*(f"{folder} is not installed" for folder in folders), *filter(None, [samples.without(*programs)])]
    )


@contextmanager
def made(sample: Sample, folder: Path) -> Iterator[Made]:
    """The image in a file of that folder; files in it can be read while the context lasts."""
    tree = folder / "tree"
    tree.mkdir()
    sample.tree(tree)
    if "genisoimage" in sample.needs:
        samples.genisoimage(folder / "other.iso", tree, "-R", "-J", "-V", "OTHER")
    path = folder / "image.iso"
    render(open_viso(write_recipe(folder, f"--volume-id={LABEL}", *sample.lines)).image, str(path))
    with opened(path, level=sample.level) as seen:
        yield Made(sample, path, seen, tree)
