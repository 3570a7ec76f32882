"""UDF names: that they fit, differ, and stay what they are where they can."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from qemu_viso.layout.udf_names import target_components, udf_names
from qemu_viso.verify.udf_names import shown_name, shown_target

WORDS = st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=20)
NAMES = st.builds(lambda word, times, tail: word * times + tail, WORDS, st.integers(1, 30), st.sampled_from(["", ".c"]))


def text(identifier: bytes) -> str:
    return identifier[1:].decode("latin-1" if identifier[0] == 8 else "utf-16-be")


@given(st.lists(NAMES, max_size=12, unique=True))
@example(["é" * 254, "é" * 255, "é" * 256, "é" * 252 + "~1"])
@example(["\udcff", "\udcfe", "\ufffd"])
@example(["🙂" * 64, "🙂" * 63 + "x", "a" + "🙂" * 63])
@example(["尺" * 128 + "." + "x" * 31, "尺" * 128 + "." + "x" * 32])
def test_names_fit_and_differ(names: list[str]) -> None:
    found = udf_names(names)
    assert len(set(found)) == len(names)
    for name, identifier in zip(names, found, strict=True):
        assert identifier[0] in (8, 16)
        assert 2 <= len(identifier) <= 255
        assert identifier == (b"\x08" if max(text(identifier)) <= "\xff" else b"\x10") + identifier[1:]
        wide = max(name) > "\xff"
        fits = len(name.encode("utf-16-be", "surrogatepass")) // 2 <= (127 if wide else 254)
        if fits and not any("\ud800" <= each <= "\udfff" or each in "\ufeff\ufffe\uffff" for each in name):
            assert text(identifier) == name


def test_a_shortened_name_keeps_its_extension() -> None:
    found = [text(each) for each in udf_names(["x" * 300 + ".iso", "x" * 301 + ".iso", "尺" * 200 + ".iso"])]
    assert found == ["x" * 250 + ".iso", "x" * 248 + "~1.iso", "尺" * 123 + ".iso"]


def test_names_that_stay_have_precedence() -> None:
    names = ["x" * 300, "x" * 254]
    assert [text(each)[-2:] for each in udf_names(names)] == ["~1", "xx"]


def test_link_targets() -> None:
    assert target_components("/a/../b") == b"\2\0\0\0\5\2\0\0\x08a\3\0\0\0\5\2\0\0\x08b"
    assert target_components("./ü尺") == b"\4\0\0\0\5\5\0\0\x10\0\xfc\x5c\x3a"
    assert shown_target("//a///b/") == "/a/b"
    assert shown_target("/") == "/"
    assert shown_target("../.././x") == "../.././x"


def test_names_as_linux_shows_them() -> None:
    """The cases and their sums were seen in a guest, Linux 6.1."""
    for name in ("plain", "...", ".hidden", "ж" * 126, "é" * 127, ".txt"):
        assert shown_name(udf_names([name])[0]) == name
    assert shown_name(b"\x08..two") == ".#5A47.two"
    assert shown_name(udf_names(["é" * 128])[0]).startswith("é" * 124 + "#")
    long_extension = shown_name(udf_names(["ж" * 125 + ".x"])[0])
    assert long_extension == "ж" * 125 + ".x"
    assert shown_name(udf_names(["字" * 120 + ".x"])[0])[-7:-6] == "#"
    assert len(shown_name(udf_names(["字" * 120 + ".x"])[0]).encode()) <= 254
