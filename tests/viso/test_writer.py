"""Writing and reading are inverse, in both quoting styles."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qemu_viso.errors import RecipeError
from qemu_viso.viso import Quoting, parse_recipe
from qemu_viso.viso import recipe as r
from qemu_viso.viso.modes import parse_mode
from qemu_viso.viso.quote import quote
from qemu_viso.viso.source import Source
from qemu_viso.viso.words import split
from qemu_viso.viso.writer import same, write_recipe
from tests.viso.strategies import NOWHERE, WORDS, step_lists

if TYPE_CHECKING:
    from collections.abc import Sequence

UUID_1 = UUID("5f1c0ae0-1111-2222-3333-444455556666")


def no_files(name: str) -> bytes:
    raise AssertionError(name)


def read_again(steps: Sequence[r.Step], quoting: Quoting) -> r.Recipe:
    return parse_recipe(write_recipe(steps, UUID_1, quoting=quoting).encode(), "x.viso", no_files)


@given(words=st.lists(WORDS), quoting=st.sampled_from(Quoting))
def test_quoted_words_split_into_themselves(words: list[str], quoting: Quoting) -> None:
    text = " ".join(quote(word, quoting) for word in words)

    assert [word for word, _ in split(Source("x", text), quoting)] == words


@pytest.mark.parametrize(
    ("word", "bourne", "ms_crt"),
    [
        ("plain", "plain", "plain"),
        ("", "''", '""'),
        ("a b", "'a b'", '"a b"'),
        ("it's", r"'it'\''s'", "it's"),
        ('a"b', "'a\"b'", r'"a\"b"'),
        ("C:\\new\\", "'C:\\new\\'", "C:\\new\\"),
        ("C:\\a b\\", "'C:\\a b\\'", '"C:\\a b\\\\"'),
        ('\\"', "'\\\"'", r'"\\\""'),
    ],
)
def test_quoting_is_what_people_expect(word: str, bourne: str, ms_crt: str) -> None:
    assert (quote(word, Quoting.BOURNE), quote(word, Quoting.MS_CRT)) == (bourne, ms_crt)


@pytest.mark.parametrize("word", ["a\0b", "\ud800"])
def test_words_that_no_text_holds(word: str) -> None:
    with pytest.raises(RecipeError, match="UTF-8 without NUL"):
        quote(word, Quoting.BOURNE)


@given(steps=step_lists(), quoting=st.sampled_from(Quoting))
def test_steps_are_read_as_they_were_written(steps: list[r.Step], quoting: Quoting) -> None:
    recipe = read_again(steps, quoting)

    assert len(recipe.steps) == len(steps)
    assert all(map(same, recipe.steps, steps))
    assert (recipe.uuid, recipe.quoting) == (UUID_1, quoting)


def test_text_of_a_recipe() -> None:
    steps = [
        r.SetText(NOWHERE, r.VolumeField.VOLUME_ID, "My Disc"),
        r.SetNames(NOWHERE, (frozenset([r.Name.ISO]), frozenset([r.Name.ROCK, r.Name.JOLIET]))),
        r.AddSource(NOWHERE, ("/A.TXT", "/a file.txt"), "a.txt"),
        r.AddSource(NOWHERE, ("/B", "/B"), "b"),
        r.AddSource(NOWHERE, (None, "/c"), "c"),
        r.Remove(NOWHERE, ("/B", None), must_exist=True),
        r.ChangeMode(NOWHERE, parse_mode("a+rx"), "/c"),
        r.ChangeMode(NOWHERE, parse_mode("755"), "/c"),
        r.ChangeMode(NOWHERE, parse_mode("u=rwX,g-w"), "/c"),
    ]

    assert write_recipe(steps, UUID_1).splitlines() == [
        "--iprt-iso-maker-file-marker-bourne-sh 5f1c0ae0-1111-2222-3333-444455556666",
        "'--volume-id=My Disc'",
        "--name-setup=iso,joliet+iso-rock-ridge",
        "'/A.TXT=/a file.txt=a.txt'",
        "/B=b",
        "=/c=c",
        "/B==:must-remove:",
        "--chmod=a+rx:/c",
        "--chmod=0755:/c",
        "--chmod=u=rwX,g-w:/c",
    ]


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        (r.AddSource(NOWHERE, ("/a=b",), "c"), "'/a=b' has a '=' in it, which a file spec cannot express"),
        (r.AddSource(NOWHERE, ("/a",), "b=c"), "'b=c' has a '=' in it, which a file spec cannot express"),
        (r.AddSource(NOWHERE, ("/a",), ":remove:"), "a file called ':remove:' cannot be a source"),
        (r.AddSource(NOWHERE, ("a",), "b"), "would be read as AddSource"),
        (r.AddSource(NOWHERE, ("/a", "/b"), "b"), "2 names and a source, and one name is allowed here"),
        (r.AddSource(NOWHERE, ("/a",), ""), "has no source"),
        (r.AddSource(NOWHERE, ("/" + "a" * 4095,), "b"), "4,096 bytes or more"),
        (r.Rename(NOWHERE, ("/a",), (None,)), "leaves other names blank"),
        (r.SetNames(NOWHERE, (frozenset([r.Name.ROCK]), frozenset([r.Name.ISO]))), "before 'iso'"),
        (r.SetNames(NOWHERE, (frozenset(),)), "a name for nothing"),
        (r.Hide(NOWHERE, "*", r.Name.UDF), "no option means Hide"),
        (r.SetPadding(NOWHERE, 7), "no option means SetPadding"),
        (r.SetVolumeSet(NOWHERE, 1, 1), "no option means SetVolumeSet"),
        (r.ForceOwner(NOWHERE, None, None), "no option means ForceOwner"),
        (r.ChangeOwner(NOWHERE, 1, 1, "/a"), "no option means ChangeOwner"),
        (r.ChangeMode(NOWHERE, (), "/a"), "no option means ChangeMode"),
        (r.ChangeMode(NOWHERE, (r.ModeClause(1, 2, 4),), "/a"), "no option means ChangeMode"),
        (r.BootMedia(NOWHERE, r.Media.AUTO), "no option means BootMedia"),
        (r.SetRockRidge(NOWHERE, 3), "no option means SetRockRidge"),
        (r.SetIsoLevel(NOWHERE, 4), "out of range"),
        (r.ForceMode(NOWHERE, r.Kind.FILE, 0o10000), "would be read as ForceMode"),
        (r.PopIso(NOWHERE), "--pop without a --push-iso"),
        (r.SetText(NOWHERE, r.VolumeField.VOLUME_ID, "a\0"), "UTF-8 without NUL"),
    ],
)
def test_what_cannot_be_written_is_refused(step: r.Step, sentence: str) -> None:
    with pytest.raises(RecipeError) as caught:
        write_recipe([step], UUID_1)

    assert sentence in caught.value.message
    assert caught.value.place is None


def test_every_step_can_be_written() -> None:
    from qemu_viso.viso.writer import _WRITERS

    def below(kind: type[r.Step]) -> set[type[r.Step]]:
        return {step for sub in kind.__subclasses__() for step in {sub, *below(sub)}}

    # dataclass(slots=True) makes a second class; the first one is not in the module any more.
    assert {step for step in below(r.Step) if getattr(r, step.__name__) is step} == set(_WRITERS)
