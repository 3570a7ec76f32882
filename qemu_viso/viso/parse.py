"""Text to steps: options and file specs strictly in their order."""

from __future__ import annotations

import gc
import posixpath
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from qemu_viso.errors import (
    MAY_READ,
    AccessError,
    InputOutputError,
    MissingInputError,
    Place,
    QemuVisoError,
    RecipeError,
)
from qemu_viso.viso.marker import MARKER, parse_head
from qemu_viso.viso.match import Match, is_option, match, mistaken_for
from qemu_viso.viso.names import DEFAULT_NAMES
from qemu_viso.viso.options import REMARKABLE
from qemu_viso.viso.quirks import Quirk
from qemu_viso.viso.recipe import (
    AddSource,
    BootImage,
    ChangeMode,
    PopIso,
    PushIso,
    Quoting,
    Recipe,
    Remark,
    Remove,
    SetNames,
    SetNamesFromImport,
    Step,
)
from qemu_viso.viso.source import Source, Spot, shown
from qemu_viso.viso.specs import MUST_REMOVE, REMOVALS, BadValueError, parse_spec
from qemu_viso.viso.words import Oddities, split

Load = Callable[[str], bytes]
Words = Iterator[tuple[str, int]]

RECIPE_LIMIT = 32 << 20
RESPONSE_LIMIT = 2 << 20
DEEPEST_RESPONSE = 3
# 32 MiB of one-letter words would be 16 million steps of some hundred bytes each.
MOST_WORDS = 1 << 21
_FEWER_WORDS = "give directories instead of their files"
_MOST_WARNINGS = 100
# Looking for the nearest option takes milliseconds.
_MOST_LOOKS = 1000

# What VirtualBox's trunk takes for a hyphen at the beginning of an option, and the hyphen.
_DASH_CHARACTERS = "-\u2010\u2011\u2012\u2013\u2014\u2212\ufe58\ufe63\uff0d"
_DASHES = frozenset(_DASH_CHARACTERS)
_MS_MARKER = MARKER.decode() + "-ms"
_PORTABLE_MODE = re.compile(r"(?:[0-7]++|a\+(?:r|x|rx)):")


def parse_recipe(data: bytes, path: str, load: Load) -> Recipe:
    """The recipe that `data` says.

    Args:
        data: the whole file.
        path: its name, for messages.
        load: gives the bytes of a response file, whose name is as the recipe has it (relative names are relative
            to the recipe's directory); it raises OSError as `open` does, or an error of this package.

    Raises:
        RecipeError: with the place, what is wrong, and what would be right.
        MissingInputError: a response file is not there.
        AccessError, InputOutputError: a response file cannot be read.
    """
    if len(data) > RECIPE_LIMIT:
        raise too_large(path, len(data))
    head = parse_head(data, path)
    source = Source(path, _decode(data, path))
    _check_beginning(source)
    parser = _Parser(posixpath.dirname(path), load)
    with _collector_at_rest():
        parser.text(source, head.quoting, depth=0)
    return Recipe(
        path,
        head.uuid_text,
        head.quoting,
        tuple(parser.steps),
        tuple(parser.warnings),
        tuple(parser.remarks),
        parser.response_files,
    )


def too_large(path: str, size: int) -> RecipeError:
    """What is said about a recipe of so many bytes."""
    return RecipeError(
        f"the recipe has {size:,} bytes, and {RECIPE_LIMIT:,} is the most", place=Place(path, 1, 1), hint=_FEWER_WORDS
    )


def unreadable(what: str, error: OSError | ValueError, place: Place | None = None) -> QemuVisoError:
    """What is said about a recipe or a response file, `what`, that is there and cannot be read."""
    if isinstance(error, PermissionError):
        return AccessError(f"{what} may not be read", place=place, hint=MAY_READ)
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return InputOutputError(f"{what} cannot be read: {reason}", place=place, hint="a file of text is needed here")


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """Without cyclic collection: a million steps hold no cycle, and walking them again and again doubles the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _check_beginning(source: Source) -> None:
    """The probe skips every kind of white space before the marker; the splitter knows four."""
    text = source.text
    for offset in range(len(text) - len(text.lstrip(" \t\n\v\f\r"))):
        if text[offset] in "\v\f":
            raise RecipeError(
                "a vertical tab or form feed before the marker would become part of a word",
                place=Spot(source, offset),
                hint="spaces, tabs and line ends may stand there",
            )


def _decode(data: bytes, file: str) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        good = Source(file, data[: error.start].decode())
        raise RecipeError(
            f"byte 0x{data[error.start]:02x} is not UTF-8", place=Spot(good, len(good.text)), hint="save it as UTF-8"
        ) from None
    if (at := text.find("\0")) >= 0:
        raise RecipeError(
            "there is a NUL character in the text",
            place=Spot(Source(file, text), at),
            hint="take it out; where every other character is one, save the text as UTF-8",
        )
    return text


class _Parser:
    """The state that a recipe's words change."""

    def __init__(self, directory: str, load: Load) -> None:
        self.steps: list[Step] = []
        self.warnings: list[str] = []
        self.remarks: list[Remark] = []
        self._names = len(DEFAULT_NAMES)
        self._words = 0
        self._looked = 0
        self._pushed = 0
        self._directory = directory
        self._load = load
        self._sources: dict[str, Source] = {}
        self._response_text = 0

    def text(self, source: Source, quoting: Quoting, depth: int) -> None:
        """Carry out the words of one recipe or response file."""
        oddities = Oddities()
        words = split(source, quoting, oddities, comments=depth > 0)
        options = True
        for word, offset in words:
            place = Spot(source, offset)
            first = word[:1]
            if options and first in _DASHES:
                if word == "--":
                    options = False
                elif first == "-" or self._is_dashed_option(word, place):
                    self._option(_hyphens(word), place, words, source)
                else:
                    self._spec(word, place)
            elif first == "@" and "=" not in word:
                self._response(word, place, depth)
            else:
                self._spec(word, place)
            self._words += 1
            if self._words > MOST_WORDS:
                raise _too_many_words(word, place)
        self._remember(source, oddities)

    def _remember(self, source: Source, oddities: Oddities) -> None:
        if oddities.unclosed is not None:
            self._warn(Spot(source, oddities.unclosed), "a quote in this word is closed only by the end of the text")
        self.remarks += (Remark(Spot(source, at), Quirk.BACKSLASH) for at in oddities.backslashes)
        begin = len(source.text) - len(source.text.lstrip())
        for at in oddities.comments:
            self.remarks.append(Remark(Spot(source, at), Quirk.FIRST_COMMENT if at == begin else Quirk.COMMENT))

    def _warn(self, place: Place, sentence: str) -> None:
        if len(self.warnings) < _MOST_WARNINGS:
            self.warnings.append(f"{place}: {sentence}")
        elif len(self.warnings) == _MOST_WARNINGS:
            self.warnings.append(f"{place}: this warning and those that follow it are left out")

    # --- file specs ------------------------------------------------------------------------------------------------

    def _spec(self, word: str, place: Place) -> None:
        try:
            names, source = parse_spec(word, self._names)
        except BadValueError as error:
            raise _refusal(word, error, place) from None
        if source in REMOVALS:
            self.steps.append(Remove(place, names, source == MUST_REMOVE))
            return
        self.steps.append(AddSource(place, names, source))
        if source[-1] == "." and names[0] == "/" and "=" not in word:
            self.remarks.append(Remark(place, Quirk.DOT))

    # --- options ---------------------------------------------------------------------------------------------------

    def _is_dashed_option(self, word: str, place: Place) -> bool:
        """Is a word an option though its dash is not a hyphen?"""
        hyphens = _hyphens(word)
        option = is_option(hyphens)
        if not option and is_option("-" + hyphens):
            raise RecipeError(
                f"{shown(word)} begins with another dash than '-'",
                place=place,
                hint="is an option meant? A file of that name is written ./-name, with its own dash",
            )
        self.remarks.append(Remark(place, Quirk.LOOKALIKE if option else Quirk.LOOKALIKE_FILE))
        if option:
            self._warn(place, f"{shown(word)} begins with another dash than '-', and is read as an option")
        return option

    def _option(self, word: str, place: Place, words: Words, source: Source) -> None:
        try:
            matches = match(word)
        except BadValueError as error:
            raise _refusal(word, error, place) from None
        self._words += len(matches) - 1
        for found in matches:
            values = [] if found.value is None else [(found.value, place)]
            while len(values) < len(found.option.values):
                values += (_next_value(found, place, words, source),)
            self._run(found, place, values)
        last = matches[-1]
        if last.value is not None and len(last.spelling) == 2 and self._looked < _MOST_LOOKS:
            self._looked += 1
            if (meant := mistaken_for(word)) is not None:
                self._warn(
                    place, f"{shown(word)} is read as {last.spelling} with {shown(last.value)}; was {meant} meant?"
                )

    def _run(self, found: Match, place: Place, values: list[tuple[str, Place]]) -> None:
        words = [word for word, _ in values]
        try:
            steps = found.option.run(place, words, self._names)
        except BadValueError as error:
            word, at = values[-1]
            raise RecipeError(f"{found.spelling}: {shown(word)} {error.wrong}", place=at, hint=error.hint) from None
        self.steps += steps
        if found.spelling in REMARKABLE:
            self.remarks.append(Remark(place, found.spelling))
        for step in steps:
            if isinstance(step, SetNames):
                self._names = len(step.specifiers)
            elif isinstance(step, SetNamesFromImport):
                self._names = 1
            elif isinstance(step, PushIso):
                self._pushed += 1
            elif isinstance(step, PopIso):
                self._pop(place)
            elif isinstance(step, BootImage) and words[0][:1] != "/":
                self.remarks.append(Remark(place, Quirk.BOOT_PATH))
            elif isinstance(step, ChangeMode) and not _PORTABLE_MODE.match(words[0]):
                self.remarks.append(Remark(place, Quirk.SYMBOLIC_MODE))

    def _pop(self, place: Place) -> None:
        if not self._pushed:
            raise RecipeError(
                "--pop without a --push-iso before it",
                place=place,
                hint="leave it out, or put --push-iso IMAGE before the file specs that are about the image",
            )
        self._pushed -= 1

    # --- response files --------------------------------------------------------------------------------------------

    @property
    def response_files(self) -> tuple[str, ...]:
        """The response files that were read, as the text names them."""
        return tuple(self._sources)

    def _response(self, word: str, place: Place, depth: int) -> None:
        name = word[1:]
        if not name:
            raise RecipeError("'@' names no response file", place=place, hint="a file of that name is written ./@")
        if depth == DEEPEST_RESPONSE:
            raise RecipeError(
                f"{shown(word)} is nested more than {DEEPEST_RESPONSE} levels deep",
                place=place,
                hint="does it include itself?",
            )
        source = self._sources.get(name)
        if source is None:
            source = self._sources[name] = self._read(name, word, place)
        self._response_text += len(source.text)
        if self._response_text > RECIPE_LIMIT:
            raise RecipeError(
                f"with {shown(word)}, response files hold more than {RECIPE_LIMIT:,} characters together",
                place=place,
                hint="one that is named again counts again; give directories instead of their files",
            )
        if not name.startswith("/"):
            self.remarks.append(Remark(place, Quirk.RESPONSE_FILE))
        self.text(source, Quoting.MS_CRT if _MS_MARKER in source.text else Quoting.BOURNE, depth + 1)

    def _read(self, name: str, word: str, place: Place) -> Source:
        try:
            data = self._load(name)
        except (FileNotFoundError, NotADirectoryError):
            raise MissingInputError(
                f"the response file {shown(word)} is not there",
                place=place,
                hint="it is looked for in the recipe's directory",
            ) from None
        except (OSError, ValueError) as error:
            raise unreadable(f"the response file {shown(word)}", error, place) from None
        if len(data) >= RESPONSE_LIMIT:
            raise RecipeError(
                f"the response file {shown(word)} has {RESPONSE_LIMIT:,} bytes or more",
                place=place,
                hint="share it out between several, or give directories instead of their files",
            )
        file = posixpath.join(self._directory, name)
        return Source(file, _decode(data, file))


def _hyphens(word: str) -> str:
    """The word with the dashes that it begins with as hyphens."""
    bare = word.lstrip(_DASH_CHARACTERS)
    return "-" * (len(word) - len(bare)) + bare


def _next_value(found: Match, place: Place, words: Words, source: Source) -> tuple[str, Place]:
    try:
        word, offset = next(words)
    except StopIteration:
        wanted = " ".join(found.option.values)
        raise RecipeError(
            f"{found.spelling} needs a value, and the text ends here",
            place=place,
            hint=f"it is written {found.spelling} {wanted}",
        ) from None
    return word, Spot(source, offset)


def _refusal(word: str, error: BadValueError, place: Place) -> RecipeError:
    return RecipeError(f"{shown(word)} {error.wrong}", place=place, hint=error.hint)


def _too_many_words(word: str, place: Place) -> RecipeError:
    return RecipeError(
        f"{shown(word)} is one word more than the {MOST_WORDS:,} that a recipe may have",
        place=place,
        hint=_FEWER_WORDS,
    )
