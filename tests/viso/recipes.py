"""Recipes for tests, without files."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TypedDict

from qemu_viso.viso import Recipe, parse_recipe

UUID_TEXT = "5f1c0ae0-1111-2222-3333-444455556666"
BOURNE = f"--iprt-iso-maker-file-marker-bourne-sh {UUID_TEXT}\n"
MS_CRT = f"--iprt-iso-maker-file-marker-ms-crt {UUID_TEXT}\n"

CASES = Path(__file__).parent.parent / "data" / "conformance" / "cases.jsonl"


class Case(TypedDict, total=False):
    """The keys of a conformance case that concern its text."""

    name: str
    spec: str
    spec_b64: str
    argv: list[str]
    verdict: str
    error: dict[str, str]
    virtualbox: str | None
    want: str


def conformance_cases() -> list[Case]:
    return [json.loads(line) for line in CASES.read_text().splitlines()]


def case_bytes(case: Case) -> bytes:
    return case["spec"].encode() if "spec" in case else base64.b64decode(case["spec_b64"])


def parse(text: str, files: dict[str, str] | None = None, path: str = "dir/a.viso") -> Recipe:
    """Parse a whole recipe; response files come from `files`."""

    def load(name: str) -> bytes:
        if files is None or name not in files:
            raise FileNotFoundError(2, "No such file or directory", name)
        return files[name].encode()

    return parse_recipe(text.encode(errors="surrogatepass"), path, load)


def body(text: str, files: dict[str, str] | None = None) -> Recipe:
    """Parse what follows the marker's line, in Bourne quoting."""
    return parse(BOURNE + text, files)
