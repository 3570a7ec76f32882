"""The El Torito options as a recipe has them: which entry each of them speaks of (section G2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import RecipeError
from qemu_viso.tree.nodes import File
from qemu_viso.viso.recipe import Media
from tests.recipes import opened

if TYPE_CHECKING:
    from pathlib import Path

    from qemu_viso.tree.tree import BootEntry

FILES = {"a": b"a" * 3000, "b": b"b" * 3000, "c": b"c" * 3000}
X86, EFI = 0, 0xEF


def entries(folder: Path, options: str) -> list[BootEntry]:
    tree = opened(folder, "/a=a /b=b /c=c", options, files=FILES).tree
    assert tree.boot is not None
    return tree.boot.entries


def images(found: list[BootEntry]) -> list[tuple[int, str]]:
    names = []
    for entry in found:
        assert isinstance(entry.image, File)
        names.append((entry.platform, getattr(entry.image.data, "name", "")))
    return names


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ("-b a", [(X86, "a")]),
        ("-b /a", [(X86, "a")]),
        ("-b /A", [(X86, "a")]),
        ("-eltorito-platform-id efi -b a", [(EFI, "a")]),
        ("-b a -eltorito-alt-boot -b b", [(X86, "a"), (X86, "b")]),
        ("-b a -eltorito-platform-id efi -b b", [(X86, "a"), (EFI, "b")]),
        ("-b a -eltorito-platform-id efi -eltorito-alt-boot -b b", [(X86, "a"), (EFI, "b")]),
        ("-b a -eltorito-alt-boot -eltorito-platform-id efi -b b", [(X86, "a"), (EFI, "b")]),
        ("-b a -eltorito-alt-boot -e b", [(X86, "a"), (EFI, "b")]),
        ("-b a --efi-boot b", [(X86, "a"), (EFI, "b")]),
        ("-eltorito-alt-boot -b a", [(X86, "a")]),
        ("-b a --efi-boot b -eltorito-alt-boot -eltorito-platform-id 2 -b c", [(X86, "a"), (EFI, "b"), (2, "c")]),
    ],
)
def test_which_entry_an_option_speaks_of(options: str, wanted: list[tuple[int, str]], tmp_path: Path) -> None:
    assert images(entries(tmp_path, options)) == wanted


def test_settings_are_of_the_current_entry(tmp_path: Path) -> None:
    first, second = entries(
        tmp_path,
        "-b a -no-emul-boot -boot-load-size 8 -boot-info-table --eltorito-new-entry "
        "-b b -hard-disk-boot -boot-load-seg 0x1000 -no-boot",
    )

    assert (first.media, first.load_sectors, first.info_table, first.bootable) == (Media.NO_EMULATION, 8, True, True)
    assert (second.media, second.load_sectors, second.load_segment) == (Media.HARD_DISK, None, 0x1000)
    assert not second.bootable


def test_an_image_that_comes_later(tmp_path: Path) -> None:
    tree = opened(tmp_path, "-b late /late=a", files=FILES).tree

    assert tree.boot is not None
    assert images(tree.boot.entries) == [(X86, "a")]


def test_a_removed_image_is_still_booted(tmp_path: Path) -> None:
    tree = opened(tmp_path, "/a=a /b=b -b a /a=:must-remove:", files=FILES).tree

    assert tree.boot is not None
    assert images(tree.boot.entries) == [(X86, "a")]
    assert set(tree.root.listings[0].nodes) == {"b"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("-b a -b b", "boot entry 1 already has an image"),
        ("-b none", "the boot image '/none' is not in the image"),
        ("-no-emul-boot", "boot entry 1 has no image"),
        ("-b a -eltorito-alt-boot -no-emul-boot", "boot entry 2 has no image"),
        ("-b a -eltorito-alt-boot", "boot entry 2 has no image"),
        ("-b a --eltorito-new-entry --eltorito-new-entry -b b", "boot entry 2 has no image"),
        ("--eltorito-new-entry", "boot entry 1 has no image"),
        ("-c boot.cat", "there is a boot catalog, which -c names, and no boot image"),
        ("-b a -c b", "already has '/b'"),
    ],
)
def test_what_is_refused(options: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        entries(tmp_path, options)

    assert caught.value.place is not None
