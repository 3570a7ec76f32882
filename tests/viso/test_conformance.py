"""The text side of the measured cases: splitting, and refusals whose reason is in the text."""

from __future__ import annotations

import pytest

from qemu_viso.errors import RecipeError
from qemu_viso.viso import Quoting, parse_recipe
from qemu_viso.viso.marker import parse_head
from qemu_viso.viso.source import Source
from qemu_viso.viso.words import split
from tests.viso.recipes import Case, case_bytes, conformance_cases

CASES = {case["name"]: case for case in conformance_cases()}

# VirtualBox puts a double quote where a backslash in double quotes is not followed by something special. That is its
# one quoting defect, and not repeated here.
MENDED = {'/bs"n=a.txt': "/bs\\n=a.txt"}

# Refused for what the text says; the other errors need the files, or the image as far as it is made.
IN_THE_TEXT = {
    "err-badnum",
    "err-bootcat-toomany",
    "err-chmod-big",
    "err-chmod-nopath",
    "err-eltorito-platform",
    "err-iso-level0",
    "err-nomarker",
    "err-nouuid",
    "err-nouuid2",
    "err-ns-hfs",
    "err-output",
    "err-pop",
    "equal-in-src",
    "m-bom",
    "name-too-many",
    "opt-case",
    "opt-help",
    "q-bourne-emptyarg",
}


def load_nothing(name: str) -> bytes:
    return b""


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if "argv" in case])
def test_text_splits_into_the_measured_words(name: str) -> None:
    case = CASES[name]
    data = case_bytes(case)
    words = [word for word, _ in split(Source(name, data.decode()), parse_head(data, name).quoting)]

    assert words == [MENDED.get(word, word) for word in case["argv"]]


@pytest.mark.parametrize("name", sorted(IN_THE_TEXT))
def test_refused_with_place(name: str) -> None:
    case = CASES[name]
    assert case["verdict"] == "error"

    with pytest.raises(RecipeError) as caught:
        parse_recipe(case_bytes(case), "r.viso", load_nothing)

    assert caught.value.status == 65
    assert caught.value.place is not None
    assert caught.value.place.file == "r.viso"


@pytest.mark.parametrize("name", sorted(CASES.keys() - IN_THE_TEXT))
def test_all_others_are_parsed(name: str) -> None:
    recipe = parse_recipe(case_bytes(CASES[name]), "r.viso", load_nothing)

    assert recipe.quoting is Quoting.BOURNE


def test_errors_are_all_accounted_for() -> None:
    later = {name for name, case in CASES.items() if case["verdict"] == "error"} - IN_THE_TEXT

    assert {reason(CASES[name]) for name in later} == {
        "VERR_ALREADY_EXISTS",
        "VERR_DRIVE_IS_EMPTY",
        "VERR_EOF",
        "VERR_FILE_NOT_FOUND",
        "VERR_INVALID_PARAMETER",
        "VERR_ISOMK_BOOT_CAT_NO_DEFAULT_ENTRY",
        "VERR_NOT_A_DIRECTORY",
        "VERR_NOT_IMPLEMENTED",
        "VERR_NO_DATA",
        "VERR_PATH_NOT_FOUND",
    }
    assert {name for name in later if reason(CASES[name]) == "VERR_INVALID_PARAMETER"} == {
        "err-chmod-nofile",
        "err-eltorito-dup",
        "err-eltorito-missing",
        "err-eltorito-noimage",
    }


def reason(case: Case) -> str:
    return case["error"]["status"]
