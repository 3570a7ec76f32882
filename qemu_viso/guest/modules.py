"""Kernel modules: which files are needed, in which order, read from the modules themselves.

A module's ELF section `.modinfo` holds NUL-terminated `key=value` texts; `depends` lists what must be loaded before.
"""

from __future__ import annotations

import lzma
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from qemu_viso.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

_SUFFIXES = (".ko", ".ko.xz")


def modinfo(image: bytes) -> dict[str, list[str]]:
    """The `key=value` pairs of a module, each key with all its values.

    Raises:
        ValueError: this is not an ELF file with a section `.modinfo`.
    """
    section = _section(image, b".modinfo")
    pairs: dict[str, list[str]] = {}
    for item in section.split(b"\0"):
        key, equals, value = item.decode("utf-8", "replace").partition("=")
        if equals:
            pairs.setdefault(key, []).append(value)
    return pairs


def _section(image: bytes, wanted: bytes) -> bytes:
    """The content of an ELF section (System V gABI, chapter 4), for either word size and byte order."""
    if image[:4] != b"\x7fELF" or len(image) < 64:
        raise ValueError("not an ELF file")
    wide, order = image[4] == 2, "<" if image[5] == 1 else ">"
    try:
        # e_shoff; e_shentsize, e_shnum, e_shstrndx
        (table,) = struct.unpack_from(order + ("Q" if wide else "I"), image, 0x28 if wide else 0x20)
        size, count, names = struct.unpack_from(order + "HHH", image, 0x3A if wide else 0x2E)
        # sh_name, sh_type, sh_flags, sh_addr, sh_offset, sh_size
        header = struct.Struct(order + ("IIQQQQ" if wide else "IIIIII"))
        sections = [header.unpack_from(image, table + size * number) for number in range(count)]
        strings = image[sections[names][4] : sections[names][4] + sections[names][5]]
    except (struct.error, IndexError):
        raise ValueError("a damaged ELF file") from None
    for name, _type, _flags, _address, offset, length in sections:
        if strings[name : strings.find(b"\0", name)] == wanted:
            return image[offset : offset + length]
    raise ValueError(f"an ELF file without the section {wanted.decode()}")


def _canonical(name: str) -> str:
    return name.replace("-", "_")


class ModuleTree:
    """The modules of one kernel.

    Args:
        folder: `lib/modules/VERSION` of the unpacked kernel package.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._paths: dict[str, Path] = {}
        for path in sorted(folder.rglob("*.ko*")):
            stem = path.name.partition(".ko")[0]
            self._paths[_canonical(stem)] = path
        self._builtin = self._read_builtin(folder / "modules.builtin")

    @staticmethod
    def _read_builtin(path: Path) -> set[str]:
        if not path.is_file():
            return set()
        return {_canonical(Path(line).name.partition(".ko")[0]) for line in path.read_text().splitlines()}

    def resolve(self, wanted: Iterable[str]) -> list[tuple[str, bytes]]:
        """The modules that are wanted and all that they depend on, each after its dependencies.

        Returns:
            (name, ELF image) pairs; what is built into the kernel is left out.

        Raises:
            ConfigurationError: a module is not there, or cannot be read.
        """
        order: dict[str, bytes] = {}
        for name in wanted:
            self._add(_canonical(name), order, [])
        return list(order.items())

    def _add(self, name: str, order: dict[str, bytes], above: list[str]) -> None:
        if name in order or name in self._builtin:
            return
        path = self._paths.get(name)
        if path is None or name in above:
            chain = " -> ".join([*above, name])
            raise ConfigurationError(f"the kernel in '{self._folder}' has no module '{name}' ({chain})")
        image = self._load(path)
        try:
            depends = modinfo(image).get("depends", [""])[0]
        except ValueError as error:
            raise ConfigurationError(f"the kernel module '{path}' cannot be understood: {error}") from None
        for each in filter(None, depends.split(",")):
            self._add(_canonical(each), order, [*above, name])
        order[name] = image

    @staticmethod
    def _load(path: Path) -> bytes:
        if not path.name.endswith(_SUFFIXES):
            raise ConfigurationError(f"the kernel module '{path}' is compressed in a way that is not known here")
        data = path.read_bytes()
        return lzma.decompress(data) if path.suffix == ".xz" else data
