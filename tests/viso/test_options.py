"""Every spelling of every option, in every way to give it a value."""

from __future__ import annotations

from contextlib import suppress
from difflib import get_close_matches

import pytest

from qemu_viso.errors import RecipeError
from qemu_viso.viso import recipe as r
from qemu_viso.viso.modes import parse_mode
from qemu_viso.viso.options import BY_SPELLING, GROUPS, MARKERS
from qemu_viso.viso.writer import same
from tests.viso.recipes import body
from tests.viso.strategies import NOWHERE as AT

ISO, JOLIET, UDF, ROCK = r.Name.ISO, r.Name.JOLIET, r.Name.UDF, r.Name.ROCK
FILE, DIRECTORY = r.Kind.FILE, r.Kind.DIRECTORY

# Spellings, a value, and the steps that they are then.
TAKING = [
    ("--name-setup", "iso,joliet+rr", [r.SetNames(AT, (frozenset([ISO]), frozenset([JOLIET, r.Name.TRANS])))]),
    ("--import-iso", "a.iso", [r.ImportIso(AT, "a.iso", el_torito=True)]),
    ("--import-iso-skip-eltorito", "a.iso", [r.ImportIso(AT, "a.iso", el_torito=False)]),
    ("--push-iso", "a.iso", [r.PushIso(AT, "a.iso", joliet=True, rock=True)]),
    ("--push-iso-no-joliet", "a.iso", [r.PushIso(AT, "a.iso", joliet=False, rock=True)]),
    ("--push-iso-no-rock", "a.iso", [r.PushIso(AT, "a.iso", joliet=True, rock=False)]),
    ("--push-iso-no-rock-no-joliet", "a.iso", [r.PushIso(AT, "a.iso", joliet=False, rock=False)]),
    ("--iso-level ---iso-level -iso-level", "2", [r.SetIsoLevel(AT, 2)]),
    ("--joliet-ucs-level --ucs-level -ucs-level", "1", [r.SetJoliet(AT, 1)]),
    ("-m -x --exclude -exclude", "*.o", [r.Exclude(AT, "*.o")]),
    ("-hide --hide", "*.o", [r.Hide(AT, "*.o", ISO)]),
    ("-hide-joliet --hide-joliet", "*.o", [r.Hide(AT, "*.o", JOLIET)]),
    ("-sort --sort", "w.txt", [r.Sort(AT, "w.txt")]),
    ("-input-charset --input-charset", "UTF-8", []),
    ("--file-mode -file-mode", "0644", [r.ForceMode(AT, FILE, 0o644)]),
    ("--dir-mode -dir-mode", "755", [r.ForceMode(AT, DIRECTORY, 0o755)]),
    ("--new-dir-mode -new-dir-mode", "40755", [r.SetNewDirectoryMode(AT, 0o755)]),
    ("--chmod", "u=rwX:/a:b", [r.ChangeMode(AT, parse_mode("u=rwX"), "/a:b")]),
    ("--chown", "0x10:/a", [r.ChangeOwner(AT, 16, None, "/a")]),
    ("--chgrp", "010:/a", [r.ChangeOwner(AT, None, 8, "/a")]),
    ("-uid --uid", "1000", [r.ForceOwner(AT, 1000, None)]),
    ("-gid --gid", "1000", [r.ForceOwner(AT, None, 1000)]),
    ("--eltorito-boot -eltorito-boot -b", "i/l.bin", [r.BootImage(AT, "/i/l.bin")]),
    ("--eltorito-add-image", "/i/l.bin=l.bin", [r.BootAddImage(AT, ("/i/l.bin",), "l.bin")]),
    ("-e", "efi.img", [r.BootEfiImage(AT, "/efi.img", new_entry=False)]),
    ("-efi-boot --efi-boot", "/efi.img", [r.BootEfiImage(AT, "/efi.img", new_entry=True)]),
    ("--eltorito-platform-id -eltorito-platform-id", "efi", [r.BootPlatform(AT, 0xEF)]),
    ("--boot-load-seg -boot-load-seg", "0x07c0", [r.BootLoadSegment(AT, 0x7C0)]),
    ("--boot-load-size -boot-load-size", "010", [r.BootLoadSize(AT, 10)]),
    ("--boot-catalog -c", "boot.cat", [r.BootCatalog(AT, ("/boot.cat",))]),
    ("--generic-boot -G", "mbr.bin", [r.SystemArea(AT, "mbr.bin")]),
    ("-isohybrid-mbr --isohybrid-mbr", "mbr.bin", [r.IsohybridMbr(AT, "mbr.bin")]),
    ("--volume-id --volid -volid -V", "a b=c", [r.SetText(AT, r.VolumeField.VOLUME_ID, "a b=c")]),
    ("--sysid -sysid", "s", [r.SetText(AT, r.VolumeField.SYSTEM_ID, "s")]),
    ("--volset -volset", "s", [r.SetText(AT, r.VolumeField.VOLUME_SET_ID, "s")]),
    ("--publisher -publisher -P", "s", [r.SetText(AT, r.VolumeField.PUBLISHER_ID, "s")]),
    ("--preparer -p", "s", [r.SetText(AT, r.VolumeField.PREPARER_ID, "s")]),
    ("--application-id -A", "s", [r.SetText(AT, r.VolumeField.APPLICATION_ID, "s")]),
    ("--copyright -copyright", "s", [r.SetText(AT, r.VolumeField.COPYRIGHT_FILE, "s")]),
    ("--abstract -abstract", "s", [r.SetText(AT, r.VolumeField.ABSTRACT_FILE, "s")]),
    ("--biblio -biblio", "s", [r.SetText(AT, r.VolumeField.BIBLIOGRAPHIC_FILE, "s")]),
    ("-volset-size --volset-size", "3", [r.SetVolumeSet(AT, 3, None)]),
    ("-volset-seqno --volset-seqno", "2", [r.SetVolumeSet(AT, None, 2)]),
    ("--output-buffer-size --random-order-verification", "0xffffffff", []),
    (" ".join(MARKERS), "anything", []),
]

FLAGS = [
    ("--name-setup-from-import", [r.SetNamesFromImport(AT)]),
    ("-graft-points --graft-points", [r.SetNames(AT, (frozenset([ISO, JOLIET, UDF]),))]),
    ("--rock-ridge", [r.SetRockRidge(AT, 2)]),
    ("--limited-rock-ridge", [r.SetRockRidge(AT, 1)]),
    ("--no-rock-ridge", [r.SetRockRidge(AT, 0)]),
    ("--joliet -J", [r.SetJoliet(AT, 3)]),
    ("--no-joliet", [r.SetJoliet(AT, 0)]),
    ("-joliet-long --joliet-long", []),
    ("--udf -udf", [r.SetUdf(AT, on=True)]),
    ("--no-udf -no-udf", [r.SetUdf(AT, on=False)]),
    ("--long-names -l", [r.LongNames(AT)]),
    ("-T --trans-tbl", [r.WriteTransTbl(AT)]),
    ("--pad -pad", [r.SetPadding(AT, 150)]),
    ("--no-pad -no-pad", [r.SetPadding(AT, 0)]),
    ("--ignore-symlinks", [r.IgnoreLinks(AT, ignore=True)]),
    ("--no-ignore-symlinks", [r.IgnoreLinks(AT, ignore=False)]),
    ("-f --follow-symlinks -follow-symlinks -follow-links", [r.FollowLinks(AT)]),
    ("--rational-attribs", [r.SetAttributeStyle(AT, strict=False)]),
    ("--strict-attribs", [r.SetAttributeStyle(AT, strict=True)]),
    ("--rock -rock -R", [r.SetRockRidge(AT, 2), r.SetAttributeStyle(AT, strict=True)]),
    ("--rational-rock -rational-rock -r", [r.SetRockRidge(AT, 2), r.SetAttributeStyle(AT, strict=False)]),
    ("--no-file-mode", [r.ForceMode(AT, FILE, None)]),
    ("--no-dir-mode", [r.ForceMode(AT, DIRECTORY, None)]),
    ("--eltorito-new-entry --eltorito-alt-boot -eltorito-alt-boot", [r.BootNewEntry(AT)]),
    (
        "--no-emulation-boot -no-emulation-boot -no-emul-boot --no-emul-boot",
        [r.BootMedia(AT, r.Media.NO_EMULATION)],
    ),
    ("--hard-disk-boot -hard-disk-boot", [r.BootMedia(AT, r.Media.HARD_DISK)]),
    ("--eltorito-floppy-12", [r.BootMedia(AT, r.Media.FLOPPY_12)]),
    ("--eltorito-floppy-144", [r.BootMedia(AT, r.Media.FLOPPY_144)]),
    ("--eltorito-floppy-288", [r.BootMedia(AT, r.Media.FLOPPY_288)]),
    ("--no-boot -no-boot", [r.BootNotBootable(AT)]),
    ("--boot-info-table -boot-info-table", [r.BootInfoTable(AT)]),
    ("-isohybrid-gpt-basdat --isohybrid-gpt-basdat", [r.IsohybridGpt(AT)]),
    ("--random-output-buffer-size -quiet --quiet", []),
]

ELSEWHERE = {"--pop", "--rename"}

TAKING_EACH = [(s, value, steps) for spellings, value, steps in TAKING for s in spellings.split()]
FLAGS_EACH = [(s, steps) for spellings, steps in FLAGS for s in spellings.split()]


def assert_steps(text: str, expected: list[r.Step]) -> None:
    steps = body(text).steps
    assert len(steps) == len(expected), steps
    assert all(map(same, steps, expected)), steps


@pytest.mark.parametrize(("spelling", "value", "steps"), TAKING_EACH, ids=[each[0] for each in TAKING_EACH])
def test_options_with_a_value(spelling: str, value: str, steps: list[r.Step]) -> None:
    ways = [f"{spelling} '{value}'", f"'{spelling}={value}'", f"'{spelling}:{value}'"]
    if len(spelling) == 2:
        ways += [f"'{spelling}{value}'", f"-J{spelling[1:]} '{value}' --joliet"]
    for way in ways:
        if way.endswith(" --joliet"):
            assert_steps(way, [r.SetJoliet(AT, 3), *steps, r.SetJoliet(AT, 3)])
        else:
            assert_steps(way + " -l", [*steps, r.LongNames(AT)])

    with pytest.raises(RecipeError, match=f"{spelling} needs a value"):
        body(spelling)


@pytest.mark.parametrize(("spelling", "steps"), FLAGS_EACH, ids=[each[0] for each in FLAGS_EACH])
def test_options_without_a_value(spelling: str, steps: list[r.Step]) -> None:
    assert_steps(spelling, steps)
    if len(spelling) == 2:
        assert_steps(f"{spelling}l", [*steps, r.LongNames(AT)])

    with pytest.raises(RecipeError, match="takes none"):
        body(f"{spelling}=1")


def test_no_spelling_is_left_out() -> None:
    assert {each[0] for each in TAKING_EACH} | {each[0] for each in FLAGS_EACH} | ELSEWHERE == set(BY_SPELLING)


def test_every_spelling_is_there_once() -> None:
    options = [option for group in GROUPS.values() for option in group]
    spellings = [spelling for option in options for spelling in option.spellings + option.also]

    assert len(spellings) == len(set(spellings))
    assert all(option.help and not option.help.endswith(".") for option in options)


def test_rename() -> None:
    expected: list[r.Step] = [r.Rename(AT, ("/a",), ("/b/",))]
    assert_steps("--rename a b/", expected)
    assert_steps("--rename=a b/", expected)
    assert_steps("--rename:/a /b/", expected)
    assert_steps("--rename '' ''", [r.Rename(AT, (None,), (None,))])
    assert_steps(
        "--name-setup iso,joliet,udf --rename a= b=",
        [r.SetNames(AT, (frozenset([ISO]), frozenset([JOLIET]), frozenset([UDF]))),
         r.Rename(AT, ("/a", None, None), ("/b", None, None))],
    )  # fmt: skip


def test_push_and_pop() -> None:
    push = r.PushIso(AT, "a", joliet=True, rock=True)
    assert_steps("--push-iso a --push-iso a --pop --pop", [push, push, r.PopIso(AT), r.PopIso(AT)])

    with pytest.raises(RecipeError, match="--pop without"):
        body("--push-iso a --pop --pop")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("--volume-id --joliet", "--joliet"),
        ("--volume-id=", ""),
        ("--volume-id ''", ""),
        ("--volume-id==x", "=x"),
        ("--volume-id:=x", "=x"),
        ("-V-J", "-J"),
        ("-JrVx", "x"),
        ("-JV=x", "x"),
        ("-JV:=x", "=x"),
        ("-V=", ""),
        ("-V:x", "x"),
        ("-volid @x", "@x"),
    ],
)
def test_values_are_what_follows(text: str, value: str) -> None:
    [*_, step] = body(text).steps
    assert same(step, r.SetText(AT, r.VolumeField.VOLUME_ID, value))


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("--volum-id=x", "--volume-id"),
        ("--Volume-ID=A", "--volume-id"),
        ("--no-rockridge", "--no-rock-ridge"),
        ("-eltorito-bot x", "-eltorito-boot"),
        ("-rock-ridge", "-rock"),
        ("--boot-inf-table", "--boot-info-table"),
        ("--imprt-iso x", "--import-iso"),
        ("-volumeid=x", "--volume-id"),
        ("-volumid x", "-volid"),
        ("-Volid", "-volid"),
        ("-VOLID=x -Volumeid", "--volume-id"),
        ("-Dir-mode=0755", "-dir-mode"),
        ("-out-charset=utf-8", "-input-charset"),
        ("-hid secret", "-hide"),
        ("-mvolsets", "-volset"),
        ("-xpublisher", "-publisher"),
        ("-Jq", "-J"),
        ("-Qq", "-"),
        ("-\u00e9", "-"),
        ("--" + "x" * 5000, "--"),
    ],
)
def test_the_nearest_option_is_suggested(text: str, meant: str) -> None:
    with pytest.raises(RecipeError, match="is not an option") as caught:
        body(text)

    assert caught.value.hint is not None
    assert meant in caught.value.hint


FILE_HINT = "a file whose name begins with a dash is written ./-name, or after the word --"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("--volum-id=x", "did you mean --volume-id?"),
        # Whatever its case: as it stands, it is like no option.
        ("--ROCK-RIDGE", "did you mean --rock-ridge?"),
        # Two thirds of it are an option's, and three fifths.
        ("--graft", "did you mean --graft-points?"),
        ("--label=x", f"the nearest one is -ucs-level; {FILE_HINT}"),
        ("-Jq", f"the nearest one is -J; {FILE_HINT}"),
        ("-", FILE_HINT),
    ],
)
def test_what_is_suggested_and_how(text: str, hint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        body(text)

    assert (caught.value.message, caught.value.hint) == (f"'{text}' is not an option", hint)


@pytest.mark.parametrize("word", ["--" + "volume-id" * 100_000, "-x" + "y" * 100_000, "-publisher" * 10_000 + "=x"])
def test_only_the_beginning_of_a_long_word_is_compared(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []

    def watched(name: str, options: list[str], count: int, similarity: float) -> list[str]:
        compared.append(len(name))
        return get_close_matches(name, options, count, similarity)

    monkeypatch.setattr("difflib.get_close_matches", watched)
    with suppress(RecipeError):
        body(word)

    assert max(compared, default=0) <= 1 + max(map(len, BY_SPELLING))


@pytest.mark.parametrize(
    "text", ["-", "-=", "---", "-\u00e9", "-J-", "-J=", "-Jq", "--=x", "-" * 100_000, "-J" * 100_000]
)
def test_what_is_no_option_at_all(text: str) -> None:
    with pytest.raises(RecipeError, match=r"is not an option|takes none"):
        body(text)


@pytest.mark.parametrize(
    "text", ["-pads", "-boot-info-tabl", "-publishr", "-Padd", "-Publishr=x", "-Avolsets", "-Avolset"]
)
def test_letters_that_look_like_an_option_are_warned_of(text: str) -> None:
    recipe = body(text)

    assert len(recipe.steps) == 1
    assert "was " in "".join(recipe.warnings)


@pytest.mark.parametrize(
    "text", ["-PACME", "-pad -PAD", "-VLABEL", "-x*.tmp", "-binstall.img", "-xd/e", "-bboot-load", "-Pad", "-volid=x"]
)
def test_letters_with_values_are_not_warned_of(text: str) -> None:
    assert body(text).warnings == ()


def test_only_so_many_words_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qemu_viso.viso.parse._MOST_LOOKS", 2)

    assert len(body("-pads -pads -pads").warnings) == 2


def test_letters_behind_others_are_read_and_warned_of() -> None:
    recipe = body("-Jexclude")

    assert [type(step) for step in recipe.steps] == [r.SetJoliet, r.BootEfiImage]
    assert recipe.warnings == ("dir/a.viso:2:1: '-Jexclude' is read as -e with 'xclude'; was -exclude meant?",)
    with pytest.raises(
        RecipeError, match="'-Jz' has '-z', which is an option of mkisofs that is known and not supported"
    ):
        body("-Jz")
    with pytest.raises(RecipeError, match="'-Jy' is not an option"):
        body("-Jy")


@pytest.mark.parametrize("text", ["-vv", "-DJ", "-C8,16", "-Mold.iso", "-Nx", "-zz=y"])
def test_words_that_begin_with_a_letter_that_is_not_supported(text: str) -> None:
    with pytest.raises(RecipeError, match=f"begins with '{text[:2]}', which is an option of mkisofs"):
        body(text)


@pytest.mark.parametrize("text", ["--hfs", "-hide-list=x", "-D", "-z", "--transpared-compression", "-appid x"])
def test_known_options_are_refused_by_name(text: str) -> None:
    with pytest.raises(RecipeError, match="known and not supported"):
        body(text)


@pytest.mark.parametrize("text", ["--help", "-h", "-?", "--version", "-o x", "-ox.iso", "--output=x", "--dry-run"])
def test_options_of_a_command_line_are_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="a recipe"):
        body(text)


def test_after_two_dashes_all_words_are_file_specs() -> None:
    steps = body("-J -- --weird=b -J @x=y -- -").steps

    assert [step.names for step in steps[1:] if isinstance(step, r.AddSource)] == [
        ("/--weird",),
        ("/-J",),
        ("/@x",),
        ("/--",),
        ("/-",),
    ]


def test_dashes_of_other_kinds() -> None:
    recipe = body("\u2013\u2014volume-id x \u2212J \u2013file.txt=a")

    assert [type(step) for step in recipe.steps] == [r.SetText, r.SetJoliet, r.AddSource]
    assert len(recipe.warnings) == 2
    with pytest.raises(RecipeError, match="another dash than '-'"):
        body("\u2014no-joliet")


@pytest.mark.parametrize(
    "number", ["-1", "+1", "0x", "1x", " 1", "1 ", "1_0", "\u0661", "65536", "0x10000", "9" * 5000, ""]
)
def test_numbers_that_are_refused(number: str) -> None:
    with pytest.raises(RecipeError, match=r"is not a number|is out of range"):
        body(f"'--boot-load-size={number}'")


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("0X1f", 31), ("0000065535", 65535), ("010", 10)])
def test_numbers(text: str, number: int) -> None:
    assert_steps(f"--boot-load-size {text}", [r.BootLoadSize(AT, number)])
