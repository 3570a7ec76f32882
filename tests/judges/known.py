"""Where a judge is wrong: what it says of certain images, and why.

The evidence is that it says the same of another maker's images of such trees, which a test shows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Defect:
    """A defect of a judge.

    Attributes:
        judge: its name.
        images: of which of the set it complains without a reason.
        pattern: what it says; each complaint that this matches is expected, and at least one is.
        why: what is wrong with it.
    """

    judge: str
    images: tuple[str, ...]
    pattern: str
    why: str


DEFECTS = (
    Defect(
        "isovfy",
        ("large files", "huge file"),
        r".* -2048 +Flags=\(80\) .*",
        "it keeps sizes in 32 bits with a sign: a section of 4 GiB - 2 KiB looks negative to it",
    ),
    Defect(
        "pycdlib",
        ("large files", "huge file"),
        r"rock: '/(large|huge)': size is .*",
        "by a Rock Ridge name it finds the record of a file's last section, and gives the size of that alone",
    ),
)


def others(image: str, judge: str, said: list[str]) -> list[str]:
    """What a judge said beyond its known defects; and a sentence for each of these that did not show."""
    found = []
    for defect in DEFECTS:
        if defect.judge == judge and image in defect.images:
            kept = [line for line in said if not re.fullmatch(defect.pattern, line, re.DOTALL)]
            if len(kept) == len(said):
                found.append(f"{judge} no longer says of '{image}' what is known of it")
            said = kept
    return said + found
