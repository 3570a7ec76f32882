"""Names as Linux's udf driver shows them, of a volume mounted with the option utf8 (fs/udf/unicode.c, 4.20 and later).

The driver shows at most 254 bytes of UTF-8. A name that is longer, that has a character which no name can have, or of
which nothing but one or two dots stands before the extension, is shown as far as it fits, with `#` and the CRC of the
recorded name before its extension.
"""

from __future__ import annotations

from binascii import crc_hqx

from qemu_viso.layout.udf_names import target_components
from qemu_viso.ondisk import ecma167

SHOWN_BYTES = 254
MARK_BYTES = 5
"""`#` and four digits."""
EXTENSION_CHARACTERS = 5
"""A dot among the last characters of a name begins its extension; they are one more than the extension may have."""


def recorded_name(identifier: bytes) -> str:
    """A name of compressed Unicode (UDF 2.1.1) as it is recorded, which is how most readers show it."""
    return identifier[1:].decode("latin-1" if identifier[0] == 8 else "utf-16-be")


def shown_name(identifier: bytes) -> str:
    """What a recorded name looks like to programs in a Linux guest."""
    body, name = identifier[1:], recorded_name(identifier)
    cleaned = _cleaned(name)
    base, extension = _split(cleaned)
    if cleaned == name and len(name.encode()) <= SHOWN_BYTES and base not in (".", ".."):
        return name
    mark = f"#{crc_hqx(body, 0):04X}"
    extension = _prefix(extension, SHOWN_BYTES - MARK_BYTES - 1)
    return _prefix(base, SHOWN_BYTES - len(extension.encode()) - MARK_BYTES) + mark + extension


def _cleaned(name: str) -> str:
    """Each run of characters that no name can have as one underscore."""
    parts: list[str] = []
    for character in name:
        if character not in "/\0":
            parts.append(character)
        elif not parts or parts[-1] != "/":
            parts.append("/")
    return "".join(parts).replace("/", "_")


def _split(name: str) -> tuple[str, str]:
    """A name without its extension, and the extension with its dot: at least one character, at most four."""
    base, dot, extension = name.rpartition(".")
    if dot and 0 < len(extension) < EXTENSION_CHARACTERS:
        return base, dot + extension
    return name, ""


def _prefix(text: str, room: int) -> str:
    """As many whole characters as have room, in bytes of UTF-8."""
    return text.encode()[:room].decode("utf-8", "ignore")


def shown_target(target: str) -> str:
    """A link's target as it comes out of the path components that are recorded."""
    raw, parts = target_components(target), []
    while raw:
        kind, size = raw[0], raw[1]
        name, raw = raw[4 : 4 + size], raw[4 + size :]
        if kind == ecma167.NAME:
            parts.append(shown_name(name))
        else:
            parts.append({ecma167.ROOT: "", ecma167.PARENT_COMPONENT: "..", ecma167.CURRENT: "."}[kind])
    return "/".join(parts) or "/"
