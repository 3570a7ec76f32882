"""Boot set-ups of images that others made, imported."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import RecipeError
from qemu_viso.tree.nodes import Namespace
from tests.judges.reader.image import opened as opened_image
from tests.recipes import opened
from tests.tree.makers import genisoimage, seen, view, xorrisofs

if TYPE_CHECKING:
    from tests.judges.reader.eltorito import BootCatalog
    from tests.judges.reader.image import Image

ISOLINUX = Path("/usr/lib/ISOLINUX")
EFI = 0xEF


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (ISOLINUX / "isolinux.bin").exists():
        pytest.skip("isolinux is not installed")
    folder = tmp_path_factory.mktemp("boot") / "in"
    (folder / "isolinux").mkdir(parents=True)
    shutil.copyfile(ISOLINUX / "isolinux.bin", folder / "isolinux" / "isolinux.bin")
    (folder / "isolinux" / "isolinux.cfg").write_text("default linux\n")
    (folder / "efi.img").write_bytes(bytes(range(256)) * 2880)
    (folder / "floppy.img").write_bytes(b"floppy" * 245760)
    return folder


LOADED = ("-no-emul-boot", "-boot-load-size", "4", "-boot-info-table")
BIOS = ("-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat", *LOADED)
UEFI = ("-eltorito-alt-boot", "-e", "efi.img", "-no-emul-boot")


@pytest.fixture(scope="module")
def bios_and_uefi(folder: Path) -> Path:
    return xorrisofs(folder.parent / "both.iso", "-R", "-J", *BIOS, *UEFI, folder)


def catalog(image: Image) -> BootCatalog:
    assert image.boot is not None
    return image.boot


def facts(image: Image) -> list[tuple[object, ...]]:
    """Everything about the entries that does not depend on places."""
    found: list[tuple[object, ...]] = []
    for section in catalog(image).sections:
        for entry in section.entries:
            kind = (entry.bootable, entry.media, entry.load_segment, entry.sector_count, entry.system_type)
            found.append((section.platform, section.identifier, *kind, entry.criteria))
    return found


def test_all_sections_and_the_catalogs_name(bios_and_uefi: Path, tmp_path: Path) -> None:
    image = seen(opened(tmp_path, f"--import-iso={bios_and_uefi}"))

    with opened_image(bios_and_uefi) as old:
        assert facts(image) == facts(old)
    assert [section.platform for section in catalog(image).sections] == [0, EFI]
    catalog_file = image.rock and image.rock.tree["/isolinux/boot.cat"]
    assert catalog_file
    assert catalog_file.content is not None
    assert catalog_file.extents[0].start // 2048 == catalog(image).sector
    assert image.violations("ECMA-119 8.4.6") == []


def test_an_imported_catalog_is_the_recipes(bios_and_uefi: Path, tmp_path: Path) -> None:
    moved = seen(opened(tmp_path, f"--import-iso={bios_and_uefi} -c /mine.cat --chmod 0600:/mine.cat"))

    named = [path for path in view(moved.rock) if path.endswith(".cat")]
    assert named == [path for path in view(moved.joliet) if path.endswith(".cat")] == ["/mine.cat"]
    assert moved.rock is not None
    assert moved.rock.tree["/mine.cat"].extents[0].start // 2048 == catalog(moved).sector
    with pytest.raises(RecipeError, match=r"'/isolinux/boot.cat' is the boot catalog"):
        opened(tmp_path, f"--import-iso={bios_and_uefi} /isolinux/boot.cat=:remove:")
    skipped = seen(opened(tmp_path, f"--import-iso-skip-eltorito={bios_and_uefi} /isolinux/boot.cat=:must-remove:"))
    assert "/isolinux/boot.cat" not in view(skipped.rock)


def test_the_catalog_has_one_name_whatever_is_imported(bios_and_uefi: Path, folder: Path, tmp_path: Path) -> None:
    """A name that `-c` gives stays; of imported names the last one does, as its entries do."""
    xorrisofs(tmp_path / "other.iso", "-R", "-J", "-b", "isolinux.bin", "-c", "other.cat", *LOADED, folder / "isolinux")
    for line, rock, joliet in (
        (f"-c /mine.cat --import-iso={bios_and_uefi}", "/mine.cat", "/mine.cat"),
        (f"--name-setup iso,joliet -c /mine.cat= --import-iso={bios_and_uefi}", "/mine.cat", "/isolinux/boot.cat"),
        (f"--import-iso={bios_and_uefi} --import-iso=other.iso", "/other.cat", "/other.cat"),
        (f"--import-iso={bios_and_uefi} -c /mine.cat --import-iso=other.iso", "/mine.cat", "/mine.cat"),
        (f"-c /other.cat --import-iso={bios_and_uefi} --import-iso=other.iso", "/other.cat", "/other.cat"),
    ):
        image = seen(opened(tmp_path, line))
        assert [path for path in view(image.rock) if path.endswith(".cat")] == [rock], line
        assert [path for path in view(image.joliet) if path.endswith(".cat")] == [joliet], line
        assert image.rock is not None
        assert image.rock.tree[rock].extents[0].start // 2048 == catalog(image).sector


def test_boot_information_table_is_made_anew(bios_and_uefi: Path, tmp_path: Path) -> None:
    (tmp_path / "more").write_bytes(bytes(1 << 20))
    image = seen(opened(tmp_path, "/more=more", f"--import-iso={bios_and_uefi}"))

    with opened_image(bios_and_uefi) as old:
        before = catalog(old).entries[0]
        after = catalog(image).entries[0]
        assert before.sector != after.sector
        assert after.info_table is not None
        assert after.info_table.sector == after.sector
        assert after.info_table.checksum == (before.info_table and before.info_table.checksum)


def test_without_el_torito(bios_and_uefi: Path, tmp_path: Path) -> None:
    image = seen(opened(tmp_path, f"--import-iso-skip-eltorito={bios_and_uefi}"))

    assert image.boot is None
    assert "/isolinux/isolinux.bin" in view(image.rock)


def test_a_floppy_and_ids_and_criteria(folder: Path, tmp_path: Path) -> None:
    """What no writer writes is put into the catalog by hand: ids, selection criteria with an extension entry."""
    path = genisoimage(tmp_path / "f.iso", "-R", "-b", "floppy.img", "-c", "boot.cat", folder)
    data = bytearray(path.read_bytes())
    (sector,) = struct.unpack_from("<I", data, 17 * 2048 + 71)
    at = sector * 2048
    data[at + 4 : at + 28] = b"The Maker".ljust(24, b"\0")
    data[at + 28 : at + 30] = bytes(2)
    total = sum(struct.unpack("<16H", data[at : at + 32]))
    data[at + 28 : at + 30] = struct.pack("<H", -total & 0xFFFF)
    default = bytes(data[at + 32 : at + 64])
    criteria = bytes(range(1, 21))
    data[at + 64 : at + 96] = struct.pack("<BBH28s", 0x91, 2, 1, b"For Macs")
    data[at + 96 : at + 128] = bytes((0, default[1] | 0x20)) + default[2:12] + criteria
    data[at + 128 : at + 160] = bytes((0x44, 0)) + b"more criteria".ljust(30, b"\0")
    path.write_bytes(data)

    image = seen(opened(tmp_path, "--import-iso f.iso"))

    with opened_image(path) as old:
        assert facts(image) == facts(old)
        assert catalog(image).identifier == "The Maker"
        assert catalog(image).sections[1].identifier == "For Macs"
        assert catalog(image).entries[1].criteria.startswith(criteria)
        assert b"more criteria" in catalog(image).entries[1].criteria
        assert not catalog(image).entries[1].bootable
        assert catalog(image).entries[0].image.sha256() == catalog(old).entries[0].image.sha256()
    assert image.violations("ECMA-119 8.4.6", "El Torito 2.1") == []


def test_boot_images_that_are_no_files(folder: Path, tmp_path: Path) -> None:
    """A floppy has its size; another image goes on to the next file."""
    shutil.copytree(folder, tmp_path / "in")
    genisoimage(
        tmp_path / "h.iso", "-R", "-b", "floppy.img", "-eltorito-alt-boot", "-no-emul-boot", "-b", "efi.img",
        "-hide", "floppy.img", "-hide", "efi.img", "-hide", "boot.catalog", tmp_path / "in",
    )  # fmt: skip

    found = opened(tmp_path, "--import-iso h.iso")

    assert "efi.img" not in found.tree.root.nodes(Namespace.ISO)
    floppy, efi = catalog(seen(found)).entries
    image = found.image
    assert image.read(floppy.sector * 2048, 1474560) == (folder / "floppy.img").read_bytes()
    assert image.read(efi.sector * 2048, 256 * 2880) == (folder / "efi.img").read_bytes()


def test_options_behind_an_import_replace_its_entries_one_by_one(bios_and_uefi: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.bin").write_bytes(b"mine" * 1000)

    image = seen(opened(tmp_path, f"--import-iso={bios_and_uefi}", "/mine.bin=mine.bin -b /mine.bin -no-emul-boot"))

    default, efi = catalog(image).entries
    assert default.first_sector.startswith(b"mine")
    assert default.load_segment == 0x7C0
    assert efi.first_sector == (bytes(range(256)) * 8)
    assert [section.platform for section in catalog(image).sections] == [0, EFI]


def test_a_damaged_catalog_is_refused_with_a_way_out(bios_and_uefi: Path, tmp_path: Path) -> None:
    data = bytearray(bios_and_uefi.read_bytes())
    (sector,) = struct.unpack_from("<I", data, 17 * 2048 + 71)
    data[sector * 2048] = 0x17
    (tmp_path / "d.iso").write_bytes(data)

    with pytest.raises(RecipeError, match="boot catalog is damaged") as caught:
        opened(tmp_path, "--import-iso d.iso")
    assert "--import-iso-skip-eltorito" in (caught.value.hint or "")
    opened(tmp_path, "--import-iso-skip-eltorito d.iso")


def test_a_hybrid_image_keeps_its_boot_code_and_its_efi_partition(folder: Path, tmp_path: Path) -> None:
    xorrisofs(
        tmp_path / "hybrid.iso", "-R", "-isohybrid-mbr", ISOLINUX / "isohdpfx.bin", *BIOS, *UEFI,
        "-isohybrid-gpt-basdat", folder,
    )  # fmt: skip

    (tmp_path / "more").write_bytes(bytes(1 << 20))

    image = seen(opened(tmp_path, "/more=more --import-iso hybrid.iso"))

    isolinux, efi = catalog(image).entries
    assert image.system_area[:432] == (ISOLINUX / "isohdpfx.bin").read_bytes()[:432]
    assert struct.unpack_from("<Q", image.system_area, 432) == (isolinux.sector * 4,)
    assert image.disk is not None
    assert [(part.first, part.last) for part in image.disk.gpt] == [(efi.sector * 4, efi.sector * 4 + 1439)]
    assert image.violations("ECMA-119 8.4.6") == []


def test_a_system_area_of_the_recipe_comes_first(folder: Path, tmp_path: Path) -> None:
    xorrisofs(
        tmp_path / "hybrid.iso", "-R", "-isohybrid-mbr", ISOLINUX / "isohdpfx.bin", *BIOS, *UEFI,
        "-isohybrid-gpt-basdat", folder,
    )  # fmt: skip
    (tmp_path / "area").write_bytes(b"area" * 8192)

    image = seen(opened(tmp_path, "--import-iso hybrid.iso -G area"))

    assert image.system_area == b"area" * 8192


def test_an_unknown_system_area_is_kept_and_told_of(folder: Path, tmp_path: Path) -> None:
    path = genisoimage(tmp_path / "u.iso", "-R", folder)
    data = bytearray(path.read_bytes())
    data[:3000] = b"?" * 3000
    path.write_bytes(data)

    found = opened(tmp_path, "--import-iso u.iso")

    assert seen(found).system_area == b"?" * 3000 + bytes(32768 - 3000)
    assert [warning for warning in found.tree.warnings if "of an unknown kind" in warning]


def test_grubs_images_are_told_where_they_lie(tmp_path: Path) -> None:
    """The place in GRUB's boot image is 512-byte sectors, of its second part."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "core.img").write_bytes(bytes(2548) + bytes(8) + bytes(5000))
    (tmp_path / "boot.img").write_bytes(b"GRUB" * 108 + bytes(78) + b"\x55\xaa")
    path = xorrisofs(
        tmp_path / "grub.iso", "-R", "--grub2-mbr", tmp_path / "boot.img", "-b", "core.img", *LOADED,
        "--grub2-boot-info", folder,
    )  # fmt: skip
    (tmp_path / "more").write_bytes(bytes(1 << 20))

    found = opened(tmp_path, f"/more=more --import-iso={path}")

    entry = catalog(seen(found)).entries[0]
    assert struct.unpack_from("<Q", entry.image.data(), 2548) == (entry.sector * 4 + 5,)
    assert entry.info_table is not None
    with opened_image(path) as old:
        assert catalog(old).entries[0].sector != entry.sector
    system_area = seen(found).system_area
    assert system_area[:432] == b"GRUB" * 108
    assert struct.unpack_from("<Q", system_area, 432) == (entry.sector * 4 + 4,)
