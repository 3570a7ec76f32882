"""File specs and name set-ups."""

from __future__ import annotations

import pytest

from qemu_viso.errors import RecipeError
from qemu_viso.viso import recipe as r
from qemu_viso.viso.names import parse_name_setup
from qemu_viso.viso.specs import BadValueError, parse_names, parse_spec
from tests.viso.recipes import body

ISO, JOLIET, UDF, ROCK, TRANS = r.Name.ISO, r.Name.JOLIET, r.Name.UDF, r.Name.ROCK, r.Name.TRANS


@pytest.mark.parametrize(
    ("word", "name", "source"),
    [
        ("readme.txt", "/readme.txt", "readme.txt"),
        ("dir/sub/x.bin", "/x.bin", "dir/sub/x.bin"),
        ("/abs/dir/", "/dir/", "/abs/dir/"),
        ("/abs/dir//", "/dir//", "/abs/dir//"),
        ("/", "/", "/"),
        ("//", "/", "//"),
        (".", "/", "."),
        ("./", "/", "./"),
        ("d/.", "/", "d/."),
        ("./@x", "/@x", "./@x"),
        ("/docs/a.txt=/tmp/b", "/docs/a.txt", "/tmp/b"),
        ("docs/a.txt=b", "/docs/a.txt", "b"),
        ("/=tree", "/", "tree"),
        ("=b", None, "b"),
        ("@x=y", "/@x", "y"),
        (r"C:\x=C:\y", r"/C:\x", r"C:\y"),
        ("a" * 4095, "/" + "a" * 4095, "a" * 4095),
    ],
)
def test_one_name(word: str, name: str | None, source: str) -> None:
    assert parse_spec(word, 1) == ((name,), source)


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("src", ("/src", "/src", "/src")),
        ("A.TXT=src", ("/A.TXT", "/A.TXT", "/A.TXT")),
        ("A.TXT=Long Name.txt=src", ("/A.TXT", "/Long Name.txt", "/Long Name.txt")),
        ("=Only.txt=src", (None, "/Only.txt", "/Only.txt")),
        ("A.TXT==src", ("/A.TXT", None, None)),
        ("==src", (None, None, None)),
        ("a=b=c=src", ("/a", "/b", "/c")),
        ("==c=src", (None, None, "/c")),
    ],
)
def test_several_names(word: str, names: tuple[str | None, ...]) -> None:
    assert parse_spec(word, 3) == (names, "src")


@pytest.mark.parametrize(
    ("word", "wrong"),
    [
        ("", "empty word"),
        ("a=b=c", "has 2 names and a source"),
        ("x=", "has no source"),
        ("=", "has no source"),
        ("..", "no name of its own"),
        ("a/../", "no name of its own"),
        ("a" * 4096, "4,096 bytes"),
        ("ä" * 2048 + "=b", "4,096 bytes"),
        ("b=" + "\U0001f600" * 1024, "4,096 bytes"),
        (":iprtvfs:vfs(fat)", "not supported"),
    ],
)
def test_refusals(word: str, wrong: str) -> None:
    with pytest.raises(BadValueError, match=wrong):
        parse_spec(word, 1)


def test_names_without_a_source() -> None:
    assert parse_names("a=b", 3) == ("/a", "/b", "/b")
    assert parse_names("", 2) == (None, None)
    with pytest.raises(BadValueError, match="has 2 names, and one name is allowed"):
        parse_names("a=b", 1)
    with pytest.raises(BadValueError, match="4,096"):
        parse_names("a" * 5000, 1)


def test_removal() -> None:
    [one, two, three] = body("a=:remove: /b=:must-remove: :remove:").steps

    assert isinstance(one, r.Remove)
    assert isinstance(two, r.Remove)
    assert isinstance(three, r.Remove)
    assert (one.names, one.must_exist) == (("/a",), False)
    assert (two.names, two.must_exist) == (("/b",), True)
    assert three.names == ("/:remove:",)


@pytest.mark.parametrize(
    ("text", "sets"),
    [
        ("iso", [{ISO}]),
        ("primary+joliet|udf", [{ISO, JOLIET, UDF}]),
        ("iso , joliet", [{ISO}, {JOLIET}]),
        ("iso,joliet,", [{ISO}, {JOLIET}]),
        ("iso,rr,joliet", [{ISO}, {ROCK}, {JOLIET}]),
        ("iso,joliet,iso-rock-ridge", [{ISO}, {JOLIET}, {ROCK}]),
        ("iso,joliet,rock", [{ISO}, {JOLIET}, {TRANS}]),
        ("iso+rr+trans,joliet-rr", None),
        ("joliet,joliet-rr,primary-iso,primaryiso-trans-tbl", [{JOLIET}, {TRANS}, {ISO}, {TRANS}]),
        ("iso+iso", [{ISO}]),
        ("iso,rr,rr", [{ISO}, {ROCK}, {ROCK}]),
        ("udf,trans,udf-trans", [{UDF}, {TRANS}, {TRANS}]),
        ("udf,udf-rr", None),
        ("iso,rr,rr,rr,rr,rr,rr,rr", [{ISO}, *[{ROCK}] * 7]),
        ("iso,rr,rr,rr,rr,rr,rr,rr,rr", None),
        ("", None),
        (",", None),
        ("iso,,joliet", None),
        ("iso,+,joliet", None),
        ("iso,iso", None),
        ("iso,joliet+iso", None),
        ("rr", None),
        ("udf,rr", None),
        ("trans", None),
        ("iso-rr,iso", None),
        ("ISO", None),
        ("hfs", None),
        ("iso,hfsplus", None),
        ("iso,hfs-trans", None),
        ("iso;joliet", None),
    ],
)
def test_name_setup(text: str, sets: list[set[r.Name]] | None) -> None:
    if sets is None:
        with pytest.raises(BadValueError):
            parse_name_setup(text)
    else:
        assert parse_name_setup(text) == tuple(map(frozenset, sets))


def test_set_ups_are_in_force_from_where_they_stand() -> None:
    steps = body("a=x --name-setup iso,joliet a=b=x --graft-points c=x --name-setup joliet,udf --rename a=b c").steps
    named = [step.names for step in steps if isinstance(step, r.AddSource)]

    assert named == [("/a",), ("/a", "/b"), ("/c",)]
    with pytest.raises(RecipeError, match="2 names and a source"):
        body("--name-setup iso,joliet --name-setup-from-import a=b=x")


@pytest.mark.parametrize(
    "option", ["--import-iso", "--push-iso", "-G", "-sort", "-m", "-hide", "-b", "-e", "-isohybrid-mbr"]
)
def test_empty_values_where_something_is_needed(option: str) -> None:
    with pytest.raises(RecipeError, match="is empty, and a"):
        body(f"{option} ''")


def test_a_removal_is_no_boot_image() -> None:
    with pytest.raises(RecipeError, match="removes a name"):
        body("--eltorito-add-image /a=:remove:")


@pytest.mark.parametrize("value", ["1", "1:", "1:a", ":/a", "root:/a", "-1:/a", "08:/a", "0x100000000:/a", "1.5:/a"])
def test_owners_that_are_refused(value: str) -> None:
    with pytest.raises(RecipeError, match="--chown"):
        body(f"--chown {value}")


@pytest.mark.parametrize(
    ("text", "number"), [("x86", 0), ("PPC", 1), ("Mac", 2), ("efi", 239), ("0xef", 239), ("0357", 239)]
)
def test_platforms(text: str, number: int) -> None:
    [step] = body(f"--eltorito-platform-id {text}").steps
    assert isinstance(step, r.BootPlatform)
    assert step.platform == number


@pytest.mark.parametrize("text", ["arm", "X86", "256", "0400", "08", ""])
def test_platforms_that_are_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="is not a platform"):
        body(f"--eltorito-platform-id '{text}'")
