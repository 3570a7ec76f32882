"""The splitting tables of both quoting styles."""

from __future__ import annotations

import pytest

from qemu_viso.errors import RecipeError
from qemu_viso.viso import Quoting
from qemu_viso.viso.source import Source
from qemu_viso.viso.words import LONGEST_WORD, Oddities, split


def words(text: str, quoting: Quoting, *, comments: bool = False) -> list[str]:
    return [word for word, _ in split(Source("x", text), quoting, comments=comments)]


BOURNE = [
    ("a b", ["a", "b"]),
    ("a\tb\nc\r\nd", ["a", "b", "c", "d"]),
    ("'a b'", ["a b"]),
    ('"a b"', ["a b"]),
    ("a'b c'd", ["ab cd"]),
    ('a"b"c', ["abc"]),
    ("''", [""]),
    ('""', [""]),
    ("x '' y", ["x", "", "y"]),
    (r"a\ b", ["a b"]),
    ("a\\\nb", ["a\nb"]),
    ("a\\\r\nb", ["a\r", "b"]),
    ('"a\\\nb"', ["a\nb"]),
    ("'a\\\nb'", ["a\\\nb"]),
    (r'"C:\new"', [r"C:\new"]),
    (r'"a\tb"', [r"a\tb"]),
    (r'"a\\tb"', [r"a\tb"]),
    (r'"a\\b"', [r"a\b"]),
    (r'"a\"b"', ['a"b']),
    (r'"a\$b\`c"', ["a$b`c"]),
    (r"'it'\''s'", ["it's"]),
    ("'abc", ["abc"]),
    ('"abc def', ["abc def"]),
    ("abc\\", ["abc"]),
    ('"abc\\', ["abc"]),
    ("a \\", ["a", ""]),
    (r"\"", ['"']),
    (r"a\\b", [r"a\b"]),
    (r"C:\dir\file", ["C:dirfile"]),
    ("$HOME `id` *", ["$HOME", "`id`", "*"]),
    ("# c\nx", ["#", "c", "x"]),
    ("'a'='b c'", ["a=b c"]),
    ("a\vb", ["a\vb"]),
    ("\u00a0x y", ["\u00a0x", "y"]),
    ("a\x85b\u2028c", ["a\x85b\u2028c"]),
    ("", []),
    (" \t\r\n", []),
    ("'a\"b'\"c'd\"", ["a\"bc'd"]),
]

MS_CRT = [
    ("'a b'", ["'a", "b'"]),
    ('"a b"', ["a b"]),
    ('a"b c"d', ["ab cd"]),
    ('""', [""]),
    ('x "" y', ["x", "", "y"]),
    ('""""', ['"']),
    ('"a""b"', ['a"b']),
    ('"a"" b"', ['a" b']),
    (r"a\b", [r"a\b"]),
    (r"a\\b", [r"a\\b"]),
    (r"a\"b", ['a"b']),
    (r'a\\"b c"', [r"a\b c"]),
    (r"a\\\"b", [r"a\"b"]),
    (r'"C:\dir\" x', [r'C:\dir" x']),
    (r'"C:\dir\\"', ["C:\\dir\\"]),
    ("C:\\dir\\ x", ["C:\\dir\\", "x"]),
    ('"a\nb"', ["a\nb"]),
    ('"abc', ["abc"]),
    ("a\\\nb", ["a\\", "b"]),
    ("abc\\", ["abc\\"]),
    ('"abc\\', ["abc\\"]),
    (r'"a"\"b', ['a"b']),
    ('"a\\\\""b"', ['a\\"b']),
]


@pytest.mark.parametrize(("text", "expected"), BOURNE)
def test_bourne(text: str, expected: list[str]) -> None:
    assert words(text, Quoting.BOURNE) == expected


@pytest.mark.parametrize(("text", "expected"), MS_CRT)
def test_ms_crt(text: str, expected: list[str]) -> None:
    assert words(text, Quoting.MS_CRT) == expected


@pytest.mark.parametrize("quoting", Quoting)
def test_comments_of_response_files(quoting: Quoting) -> None:
    text = ' \t#one two\na #b\n#"c\n  # d\nx"\n# no\n"#y\n#'

    assert words(text, quoting, comments=True) == ["a", "#b", "#", "d", "x\n# no\n#y"]
    assert words("#", quoting, comments=True) == []
    assert words("a\n# c\nb", quoting, comments=True) == ["a", "b"]


def test_offsets_are_those_of_the_first_character() -> None:
    text = ' a\n\'b c\' \\d\n"e\\""f'

    assert list(split(Source("x", text), Quoting.BOURNE)) == [("a", 1), ("b c", 3), ("d", 9), ('e"f', 12)]


def test_oddities_are_reported_by_word() -> None:
    oddities = Oddities()
    assert len(list(split(Source("x", r'a "b\c" "d\\e\n" "\$" "f'), Quoting.BOURNE, oddities))) == 5

    assert oddities.backslashes == [2, 8]
    assert oddities.unclosed == 22


@pytest.mark.parametrize("text", ['x"', '"x', "'x", 'a"b" "c'])
def test_unclosed_quotes(text: str) -> None:
    oddities = Oddities()
    list(split(Source("x", text), Quoting.BOURNE, oddities))

    assert oddities.unclosed is not None


@pytest.mark.parametrize(
    ("quoting", "text"),
    [
        (quoting, text)
        for quoting in Quoting
        for text in ("'\"" * 500_000, '"' * 1_000_001, '"' + "\\" * 1_000_000, '\\"' * 500_000, '"\\a' * 333_333)
    ],
)
def test_a_word_without_end_is_refused(quoting: Quoting, text: str) -> None:
    with pytest.raises(RecipeError) as caught:
        list(split(Source("x", "a\n " + text), quoting))

    assert str(caught.value.place) == "x:2:2"
    assert f"{LONGEST_WORD:,}" in caught.value.message
