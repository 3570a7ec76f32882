import lzma
import struct
from pathlib import Path

import pytest

from qemu_viso.errors import ConfigurationError
from qemu_viso.guest.modules import ModuleTree, modinfo


def elf(info: bytes, *, wide: bool = True, order: str = "<") -> bytes:
    """A relocatable ELF file with nothing but a section `.modinfo`."""
    names = b"\0.modinfo\0.shstrtab\0"
    start = 64
    table = start + len(info) + len(names)
    section = struct.Struct(order + ("IIQQQQIIQQ" if wide else "IIIIIIIIII"))
    sections = [
        section.pack(*[0] * 10),
        section.pack(1, 1, 0, 0, start, len(info), 0, 0, 1, 0),
        section.pack(10, 3, 0, 0, start + len(info), len(names), 0, 0, 1, 0),
    ]
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    rest = struct.pack(
        order + ("HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH"),
        1, 0, 1, 0, 0, table, 0, start, 0, 0, section.size, 3, 2,
    )  # fmt: skip
    return (ident + rest).ljust(start, b"\0") + info + names + b"".join(sections)


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("order", ["<", ">"])
def test_modinfo_of_every_word_size_and_byte_order(wide: bool, order: str) -> None:
    image = elf(b"license=GPL\0alias=a\0alias=b\0depends=x,y\0\0", wide=wide, order=order)
    assert modinfo(image) == {"license": ["GPL"], "alias": ["a", "b"], "depends": ["x,y"]}


@pytest.mark.parametrize(
    "image", [b"", b"\x7fELF", b"MZ" * 100, elf(b"")[:100], elf(b"").replace(b".modinfo", b".nothing")]
)
def test_other_files_are_refused(image: bytes) -> None:
    with pytest.raises(ValueError, match="ELF"):
        modinfo(image)


def tree(folder: Path, **modules: str) -> ModuleTree:
    for name, depends in modules.items():
        path = folder / "kernel" / f"{name}.ko"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(elf(f"depends={depends}\0".encode()))
    (folder / "modules.builtin").write_text("kernel/lib/built-in.ko\n")
    return ModuleTree(folder)


def test_dependencies_come_first_and_once(tmp_path: Path) -> None:
    modules = tree(tmp_path, sr_mod="cdrom,scsi_mod", cdrom="", scsi_mod="scsi-common,built_in", **{"scsi-common": ""})
    assert [name for name, _ in modules.resolve(["sr-mod", "cdrom", "built_in"])] == [
        "cdrom",
        "scsi_common",
        "scsi_mod",
        "sr_mod",
    ]


def test_a_compressed_module(tmp_path: Path) -> None:
    (tmp_path / "a.ko.xz").write_bytes(lzma.compress(elf(b"depends=\0")))
    assert ModuleTree(tmp_path).resolve(["a"]) == [("a", elf(b"depends=\0"))]


def test_what_is_missing_is_named_with_who_wants_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"has no module 'z' \(a -> b -> z\)"):
        tree(tmp_path, a="b", b="z").resolve(["a"])


def test_a_circle_ends(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="a -> b -> a"):
        tree(tmp_path, a="b", b="a").resolve(["a"])


def test_what_cannot_be_understood(tmp_path: Path) -> None:
    (tmp_path / "a.ko").write_bytes(b"no")
    (tmp_path / "b.ko.zst").write_bytes(b"no")
    with pytest.raises(ConfigurationError, match="cannot be understood: not an ELF file"):
        ModuleTree(tmp_path).resolve(["a"])
    with pytest.raises(ConfigurationError, match="compressed in a way that is not known"):
        ModuleTree(tmp_path).resolve(["b"])
