"""Names in the UDF tree: compressed, unique, and shortened where they must be."""

from __future__ import annotations

from qemu_viso.ondisk import ecma167
from qemu_viso.ondisk.udf import NAME_BYTES, compressed, representable


def udf_names(names: list[str]) -> list[bytes]:
    """File identifiers, unique and in the order of `names`.

    A name that does not fit (254 characters up to U+00FF, 127 UTF-16 units if it has others) is shortened and keeps
    its extension.
    """
    joined = "/".join(names)
    if joined.isascii() and max(map(len, names), default=0) <= NAME_BYTES:
        return [b"\x08" + name.encode() for name in names]
    fitting = [_fitting(name) for name in names]
    intact = [text == name for text, name in zip(fitting, names, strict=True)]
    # Names that stay as they are come first, so that none that is changed takes theirs.
    seen: set[str] = set()
    numbers: dict[str, int] = {}
    result = [""] * len(names)
    for index in sorted(range(len(names)), key=lambda index: (not intact[index], index)):
        text = start = fitting[index]
        while text in seen:
            numbers[start] = numbers.get(start, 0) + 1
            text = _fitting(names[index], f"~{numbers[start]}")
        seen.add(text)
        result[index] = text
    return [compressed(text) for text in result]


def _fitting(name: str, suffix: str = "") -> str:
    """A name that fits, with `suffix` before its extension."""
    cleaned = representable(name)
    if not suffix and len(compressed(cleaned)) - 1 <= NAME_BYTES:
        return cleaned
    base, dot, extension = cleaned.rpartition(".")
    if not dot or not base or not extension or len(extension) > NAME_BYTES // 8:
        base, dot, extension = cleaned, "", ""
    tail = suffix + dot + extension
    width = compressed(cleaned)[0] // 8  # bytes a character
    room = NAME_BYTES // width - len(tail.encode("utf-16-be")) // 2
    return base.encode("utf-16-be")[: 2 * room].decode("utf-16-be", "ignore") + tail


def target_components(target: str) -> bytes:
    """A symbolic link's target (ECMA-167 4/14.16), without slashes at its end or in a row.

    A component that is a name has at least one character (4/14.16.1.2).
    """
    parts = []
    if target.startswith("/"):
        parts.append(ecma167.path_component(ecma167.ROOT))
    for name in target.split("/"):
        if name == ".":
            parts.append(ecma167.path_component(ecma167.CURRENT))
        elif name == "..":
            parts.append(ecma167.path_component(ecma167.PARENT_COMPONENT))
        elif name:
            parts.append(ecma167.path_component(ecma167.NAME, compressed(_fitting(name))))
    return b"".join(parts)
