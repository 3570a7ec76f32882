"""How the values of options are read: numbers, modes, names, paths.

A reader takes the value's text and the number of names that a file spec has at that point, and raises `BadValueError`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Generic, TypeVar

from qemu_viso.frozen import Frozen
from qemu_viso.viso import modes, specs
from qemu_viso.viso.names import parse_name_setup
from qemu_viso.viso.specs import BadValueError

if TYPE_CHECKING:
    from collections.abc import Callable

    from qemu_viso.viso.recipe import ModeClause, Name

T = TypeVar("T")

_NUMBER = re.compile(r"[0-9]{1,40}|0[xX][0-9a-fA-F]{1,40}")
_OCTAL = re.compile(r"[0-7]{1,40}")
_PLATFORMS = {"x86": 0, "PPC": 1, "Mac": 2, "efi": 0xEF}


class Value(Frozen, Generic[T]):
    """A kind of value: the name that help texts give it, and its reader."""

    metavar: str
    read: Callable[[str, int], T]


def _text(word: str, _names: int) -> str:
    return word


def _path(word: str, _names: int) -> str:
    if not word:
        raise BadValueError("is empty, and a file is needed here", "write a path from the recipe's directory on")
    return specs.checked_source(word)


def _host_path(word: str, names: int) -> str:
    if word.startswith(specs.CHAIN):
        raise BadValueError(
            "is a chain, and a file of the host is needed here", "a file of that name is written ./:iprtvfs:…"
        )
    return _path(word, names)


def _image_path(word: str, _names: int) -> str:
    if not word:
        raise BadValueError("is empty, and a path in the image is needed here", "for instance /isolinux/isolinux.bin")
    return specs.with_slash(specs.checked_length(word))


def _glob(word: str, _names: int) -> str:
    if not word:
        raise BadValueError("is empty, and a pattern is needed here", "for instance '*.bak'")
    return word


def unsigned(low: int, high: int, hint: str | None = None) -> Value[int]:
    """A decimal or 0x number from `low` to `high`; a leading zero does not make it octal."""

    def read(word: str, _names: int) -> int:
        if not _NUMBER.fullmatch(word):
            raise BadValueError("is not a number", "numbers are decimal, or hexadecimal after 0x")
        value = int(word, 16 if word[:2] in ("0x", "0X") else 10)
        if not low <= value <= high:
            raise BadValueError("is out of range", hint or f"from {low} to {high}")
        return value

    return Value("N", read)


def _octal_mode(word: str, _names: int) -> int:
    if not _OCTAL.fullmatch(word) or (value := int(word, 8)) >= 1 << 32:
        raise BadValueError("is not an octal mode", "for instance 0644")
    return value & 0o7777


def _split_path(word: str, what: str) -> tuple[str, str]:
    first, colon, path = word.partition(":")
    if not colon or not path.startswith("/"):
        raise BadValueError("names no path in the image", f"it is written {what}:/path")
    return first, specs.checked_length(path)


def _mode_and_path(word: str, _names: int) -> tuple[tuple[ModeClause, ...], str]:
    mode, path = _split_path(word, "MODE")
    try:
        return modes.parse_mode(mode), path
    except BadValueError as error:
        raise BadValueError(f"has a mode that {error.wrong}", "for instance 0644, a+rx or u=rwX,go-w") from None


def _id_and_path(word: str, _names: int) -> tuple[int, str]:
    number, path = _split_path(word, "ID")
    value = _c_number(number)
    if value is None:
        if number[:1].isdecimal():
            raise BadValueError(
                "does not begin with a number as C writes it", "after 0 it is octal, after 0x hexadecimal"
            )
        raise BadValueError(
            "does not begin with a number", "owners and groups are numbers: names mean nothing to the guest"
        )
    if value > 0xFFFFFFFF:
        raise BadValueError("has a number that is out of range", f"from 0 to {0xFFFFFFFF}")
    return value, path


def _c_number(word: str) -> int | None:
    """A number as C writes it: 0x is hexadecimal, a leading 0 is octal."""
    if not _NUMBER.fullmatch(word):
        return None
    if word[:2] in ("0x", "0X"):
        return int(word, 16)
    if len(word) > 1 and word[0] == "0":
        return int(word, 8) if _OCTAL.fullmatch(word) else None
    return int(word)


def _platform(word: str, _names: int) -> int:
    value = _PLATFORMS.get(word)
    if value is None:
        value = _c_number(word)
    if value is None or value > 0xFF:
        raise BadValueError("is not a platform", "x86, PPC, Mac, efi, or a number up to 255")
    return value


def _utf8(word: str, _names: int) -> str:
    if word.lower() not in ("utf-8", "utf8"):
        raise BadValueError("is not supported as the character set of file names", "only utf-8 is")
    return word


def _setup(word: str, _names: int) -> tuple[frozenset[Name], ...]:
    return parse_name_setup(word)


def _file_spec(word: str, names: int) -> tuple[tuple[str | None, ...], str]:
    given, source = specs.parse_spec(word, names)
    if source in specs.REMOVALS:
        raise BadValueError("removes a name, and a file is needed here", "for instance /boot.img=boot.img")
    return given, source


TEXT = Value("TEXT", _text)
FILE = Value("FILE", _path)
HOST_FILE = Value("FILE", _host_path)
IMAGE_PATH = Value("/PATH", _image_path)
GLOB = Value("GLOB", _glob)
OCTAL_MODE = Value("MODE", _octal_mode)
MODE_AND_PATH = Value("MODE:/PATH", _mode_and_path)
ID_AND_PATH = Value("ID:/PATH", _id_and_path)
PLATFORM = Value("PLATFORM", _platform)
CHARSET = Value("CHARSET", _utf8)
NAME_SETUP = Value("SETUP", _setup)
FILE_SPEC = Value("[NAME=]FILE", _file_spec)
NAMES = Value("NAME[=NAME]", specs.parse_names)
UINT8 = unsigned(0, 0xFF)
UINT16 = unsigned(0, 0xFFFF)
UINT32 = unsigned(0, 0xFFFFFFFF)
ISO_LEVEL = unsigned(1, 3, "the levels are 1, 2 and 3 (ECMA-119 clause 10)")
JOLIET_LEVEL = unsigned(0, 3, "0 is none, and the UCS-2 levels are 1, 2 and 3")
# The fields hold 16 bits (ECMA-119 8.4.13 and 8.4.14).
VOLUME_NUMBER = unsigned(1, 0xFFFF)
