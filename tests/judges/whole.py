"""Judges of images that say something of an image as a whole, and show no tree."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from tests.judges.external import missing, run

if TYPE_CHECKING:
    from pathlib import Path


class Isovfy:
    """The verifier of cdrkit; it follows every directory, `.` and `..`, Rock Ridge lengths, and extents."""

    name: ClassVar[str] = "isovfy"

    def available(self) -> str | None:
        return missing("isovfy")

    def complaints(self, image: Path) -> list[str]:
        said = run("isovfy", image).stdout.decode("utf-8", "replace").splitlines()
        return [line for line in said if not re.match(r"Root at extent|\[\d+ \d+\]$|No errors found|$", line)]


class Udfinfo:
    """udftools' udfinfo: the volume structures and the counts, not the files."""

    name: ClassVar[str] = "udfinfo"

    def available(self) -> str | None:
        return missing("udfinfo")

    def facts(self, image: Path) -> dict[str, str]:
        """Its `key=value` lines; keys that occur several times are joined by line feeds."""
        facts: dict[str, str] = {}
        for line in run("udfinfo", "--utf8", image).stdout.decode("utf-8", "replace").splitlines():
            key, _, value = line.partition("=")
            facts[key] = f"{facts[key]}\n{value}" if key in facts else value
        return facts

    def complaints(self, image: Path) -> list[str]:
        return run("udfinfo", image, ok=(0, 1)).stderr.decode("utf-8", "replace").splitlines()


class Blkid:
    """util-linux's prober: labels and identifiers as udev shows them."""

    name: ClassVar[str] = "blkid"

    def available(self) -> str | None:
        return missing("blkid")

    def facts(self, image: Path) -> dict[str, str]:
        """Its `KEY=value` lines; of a bridge it says UDF."""
        said = run("blkid", "-p", "-o", "export", image).stdout.decode("utf-8", "replace")
        return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)


class FileMagic:
    """file(1): the kind of the image, its label and whether it is bootable."""

    name: ClassVar[str] = "file"

    def available(self) -> str | None:
        return missing("file")

    def says(self, image: Path) -> str:
        return run("file", "-b", image).stdout.decode("utf-8", "replace").strip()
