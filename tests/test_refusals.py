"""Every refusal that a recipe can cause: it names a right place, quotes what is wrong there, and says what helps.

The golden files of the packages hold each of them once; here they are held to what a refusal must have.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

import pytest

from qemu_viso.viso import Quoting
from qemu_viso.viso.source import Source
from qemu_viso.viso.words import split
from tests.recipes import MARKER
from tests.tree import damaged, damaged_udf, test_messages
from tests.viso import messages
from tests.viso.recipes import BOURNE

FOLDER = Path(__file__).parent
GOLDEN = {
    "viso": FOLDER / "viso" / "data" / "messages.txt",
    "tree": FOLDER / "tree" / "data" / "messages.txt",
    "existing": FOLDER / "tree" / "data" / "existing.txt",
}
_PLACE = re.compile(r"(?P<file>[^\s:]+):(?P<line>[0-9]+):(?P<column>[0-9]+): ")

# Refusals about no word of a text, and why.
WITHOUT_PLACE = {
    "a recipe that is not there": "there is no text",
    "a recipe that is forbidden": "there is no text",
    "a recipe that is a directory": "there is no text",
    "deleting what a text with a NUL names": "the command reads the file and no recipe",
    "a time that is none": "it is in the environment",
    **dict.fromkeys(
        (
            "writing a name with '='",
            "writing a source ':remove:'",
            "writing a padding of 7",
            "writing a name without '/'",
            "writing two names",
            "writing a NUL",
        ),
        "the text is still to be written",
    ),
}
WITHOUT_HINT = {
    "writing a padding of 7": "only a program can ask for it, and the message tells it all",
    "writing a name without '/'": "only a program can ask for it, and the message tells it all",
    "a source with a NUL": "only a program can ask for it: a text with one is refused before",
}
# Refusals of the recipe as a whole, told where it begins.
OF_THE_WHOLE = {
    "no marker": "it is what has to be there",
    "a byte order mark": "it is there",
    "a form feed": "it is there",
    "a recipe that is too large": "all of it is too much",
    "nothing in the image": "it lacks what no word of it is about",
}
# Refusals whose place is not the beginning of a word that the message names, and why.
OVERLONG = next(body for body in messages.BODIES if body.startswith("--volume-id='xxx"))[:89] + "…"
NAMELESS = {
    "␀": "the character cannot be shown",
    "Latin-1": "the word cannot be shown; the byte is",
    "no UUID": "nothing is there",
    "a bad UUID": "it is in the marker's word, and is named",
    OVERLONG: "there is no end of the word, whose beginning is named",
    "a directory over a file": "it names the file, which is in what the word names",
    "two things with one Rock Ridge name": "it names the one that both have",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    package: str
    title: str
    place: tuple[str, int, int] | None
    message: str
    hint: str

    @property
    def where(self) -> str:
        return f"{self.package}: {self.title}"


def refusals() -> list[Refusal]:
    found = []
    for package, path in GOLDEN.items():
        for part in path.read_text("utf-8").split("## ")[1:]:
            title, first, *others = part.splitlines()
            if first.startswith("warning: "):
                continue
            place = _PLACE.match(first)
            hints = [line.removeprefix("  hint: ") for line in others if line.startswith("  hint: ")]
            at = (place["file"], int(place["line"]), int(place["column"])) if place else None
            found.append(Refusal(package, title, at, first[place.end() if place else 0 :], "".join(hints)))
    return found


def texts() -> dict[tuple[str, str], str]:
    """The recipe of each title of a package that has one."""
    found = {("tree", title): f"{MARKER}\n{body}" for title, body in test_messages.RECIPES.items()}
    for title, (body, _) in {**damaged.ISO, **damaged.PUSHED, **damaged_udf.UDF}.items():
        found["existing", title] = f"{MARKER}\n{body}"
    for body in messages.BODIES:
        title = body.replace("\n", "⏎").replace("\0", "␀")
        found["viso", title if len(title) < 90 else title[:89] + "…"] = BOURNE + body
    return found | {("viso", title): data.decode("latin-1") for title, data in messages.WHOLES.items()}


ALL = refusals()
TEXTS = texts()


def test_every_golden_file_has_refusals() -> None:
    assert {refusal.package for refusal in ALL} == set(GOLDEN)
    assert len({refusal.title for refusal in ALL}) == len(ALL)


@pytest.mark.parametrize("refusal", ALL, ids=lambda refusal: refusal.where[:60])
def test_a_refusal_has_a_place_and_a_hint(refusal: Refusal) -> None:
    assert (refusal.place is None) == (refusal.title in WITHOUT_PLACE)
    assert (refusal.hint == "") == (refusal.title in WITHOUT_HINT)


@pytest.mark.parametrize("refusal", [each for each in ALL if each.hint], ids=lambda refusal: refusal.where[:60])
def test_a_hint_says_something_else_than_the_message(refusal: Refusal) -> None:
    assert not refusal.hint.endswith(".")
    assert SequenceMatcher(None, refusal.hint, refusal.message).ratio() < 0.65


@pytest.mark.parametrize("refusal", [each for each in ALL if each.place], ids=lambda refusal: refusal.where[:60])
def test_the_place_is_that_of_a_word_which_the_message_names(refusal: Refusal) -> None:
    assert refusal.place is not None
    file, line, column = refusal.place
    if refusal.title in OF_THE_WHOLE:
        assert (line, column) == (1, 1)
        return
    text = TEXTS.get((refusal.package, refusal.title), "")
    if file not in ("a.viso", "TEST.viso") or not text or refusal.title in NAMELESS:
        return  # also a response file, or a step that no text can ask for
    offset = sum(len(each) for each in text.splitlines(keepends=True)[: line - 1]) + column - 1
    words = list(split(Source(file, text), Quoting.BOURNE))
    at = next((number for number, (_, start) in enumerate(words) if start == offset), None)
    assert at is not None
    word = words[at][0]
    named = {part for value, _ in words[at : at + 3] for part in (value, *re.split("[=:]", value))}
    quoted = [re.escape(part[:40]) for part in named if part.strip("/-")]
    assert any(re.search(rf"(?<![\w/-]){part}", refusal.message) for part in quoted) or f"'{word}'" in refusal.message


@pytest.mark.parametrize("listed", [WITHOUT_PLACE, WITHOUT_HINT, OF_THE_WHOLE, NAMELESS], ids=len)
def test_every_exception_is_one(listed: dict[str, str]) -> None:
    assert listed.keys() <= {refusal.title for refusal in ALL}
    assert all(listed.values())
