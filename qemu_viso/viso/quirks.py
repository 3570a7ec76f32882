"""Ways of writing that are no options, and that some VirtualBox reads otherwise."""

from __future__ import annotations

from enum import StrEnum


class Quirk(StrEnum):
    """One such way; its value names it in lists."""

    BACKSLASH = "a backslash in double quotes"
    LOOKALIKE = "an option that begins with another dash than '-'"
    LOOKALIKE_FILE = "a file spec that begins with another dash than '-'"
    DOT = "a source without a name that ends in '.'"
    RESPONSE_FILE = "a relative response file"
    FIRST_COMMENT = "a comment that a response file begins with"
    COMMENT = "a comment in a response file"
    BOOT_PATH = "a boot image's path without a leading slash"
    SYMBOLIC_MODE = "a symbolic mode other than a+r, a+x and a+rx"
