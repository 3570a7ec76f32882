"""What VirtualBox takes otherwise."""

from __future__ import annotations

import pytest

from qemu_viso.viso.known import REFUSED
from qemu_viso.viso.options import BY_SPELLING, REMARKABLE, Version
from qemu_viso.viso.portable import Finding, portability, rules
from qemu_viso.viso.quirks import Quirk
from tests.viso import virtualbox_tables
from tests.viso.recipes import Case, body, case_bytes, conformance_cases, parse

EVERY = (Version.V6_1, Version.V7_0, Version.TRUNK)
OLD = EVERY[:2]
NEW = EVERY[2:]
ILLEGAL = "a Joliet name with one of * : ; ? \\"
LONG = "a Rock Ridge name of more than 100 bytes"
SLASHES = "a name of several slashes and nothing else"
NOTHING_LEFT = "a name without an ASCII letter, a digit or an underscore before its extension"
WIDE_UDF = "a UDF name with a character beyond U+00FF"
LONG_UDF = "a UDF name of more than 254 bytes"
UNHEARD = "a text given before --joliet turns Joliet on"
UNHEARD_UDF = "a volume id given before --udf"
SETTING = "a namespace or level that changes after something was added"

# Text after the marker's line, what is found, in which versions, and where.
CASES: list[tuple[str, str, tuple[Version, ...], str]] = [
    ("-V x", "-V", EVERY, "2:1"),
    ("-iso-level 2", "-iso-level", EVERY, "2:1"),
    ("a -T", "-T", EVERY, "2:3"),
    ("--graft-points", "--graft-points", EVERY, "2:1"),
    ("-Gmbr.bin", "-G", EVERY, "2:1"),
    ("--udf", "--udf", OLD, "2:1"),
    ("--import-iso-skip-eltorito=x", "--import-iso-skip-eltorito", OLD, "2:1"),
    ("a --rename a b", "--rename", OLD, "2:3"),
    ("--ignore-symlinks", "--ignore-symlinks", OLD, "2:1"),
    ("-isohybrid-gpt-basdat", "-isohybrid-gpt-basdat", EVERY, "2:1"),
    ("a '' \"C:\\new\"".replace("'' ", ""), Quirk.BACKSLASH, EVERY, "2:3"),
    ("\u2212J", Quirk.LOOKALIKE, OLD, "2:1"),
    ("\u2013file=y", Quirk.LOOKALIKE_FILE, NEW, "2:1"),
    (".", Quirk.DOT, EVERY, "2:1"),
    ("d/.", Quirk.DOT, EVERY, "2:1"),
    ("@r", Quirk.RESPONSE_FILE, EVERY, "2:1"),
    ("-b isolinux.bin", Quirk.BOOT_PATH, EVERY, "2:1"),
    ("a --chmod u+x:/a", Quirk.SYMBOLIC_MODE, EVERY, "2:3"),
    ("--name-setup iso+udf", "udf in a name set-up", OLD, "2:1"),
    ("--name-setup iso,rr,joliet", "a Rock Ridge name apart from the ISO 9660 name", EVERY, "2:1"),
    ("-b /a --eltorito-alt-boot -b /b", "a further boot entry", OLD, "2:7"),
    ("-b /a --eltorito-platform-id efi -b /b", "a further boot entry", OLD, "2:7"),
    ("a --no-joliet", SETTING, EVERY, "2:3"),
    ("a --no-rock-ridge", SETTING, EVERY, "2:3"),
    ("a --iso-level=1", SETTING, EVERY, "2:3"),
    ("--import-iso=x --iso-level=1 --iso-level=2", SETTING, EVERY, "2:16 2:30"),
    ("--name-setup=joliet /=d", "nothing that has an ISO 9660 name", EVERY, "2:21"),
    ("=d", "nothing that has an ISO 9660 name", EVERY, "2:1"),
    ("--push-iso=x " * 5, "a fifth image pushed", EVERY, "2:53"),
    (f"--volume-id={'x' * 256}", "a text of more than 255 characters", EVERY, "2:1"),
    ("d/Trans.tbl", "an ISO 9660 name TRANS.TBL", EVERY, "2:1"),
    ("/" + "x" * 111 + "=a", "a Joliet name of more than 110 characters", EVERY, "2:1"),
    ("/" + "\U0001f600" * 56 + "/=a", "a Joliet name of more than 110 characters", EVERY, "2:1"),
    ("/" + "x" * 111 + "/y=a", "a Joliet name of more than 110 characters", EVERY, "2:1"),
    (
        "a=:iprtvfs:file(stdfile,x) --push-iso :iprtvfs:file(stdfile,/x) :iprtvfs:file(stdfile,y)|vfs(isofs)|b",
        "a relative path in a chain",
        EVERY,
        "2:1 2:65",
    ),
    ("//=d ///x=d --chmod 0755:// /=d", SLASHES, EVERY, "2:1 2:13"),
    ("-b // --rename /a // -c /// //=:remove:", SLASHES, EVERY, "2:1 2:7 2:22 2:29"),
    ("/\u00e4=a /.\u00e4.txt=a /\u00e4x=a /...=a", NOTHING_LEFT, EVERY, "2:1 2:6"),
    ("/+/x=a --name-setup iso,joliet /a=/+=a", NOTHING_LEFT, EVERY, "2:1"),
    ("/TRANS.TBL/x=a", "an ISO 9660 name TRANS.TBL", EVERY, "2:1"),
    ("'/a?/b=c' --no-joliet '/c?=c'", ILLEGAL, EVERY, "2:1"),
    ("--name-setup iso,joliet '/a*=/b=c' '/a=/b\\=c'", ILLEGAL, EVERY, "2:36"),
    ("--no-rock-ridge /" + "x" * 101 + "=a -R /" + "\u00e4" * 51 + "=b", LONG, EVERY, "2:125"),
    ("/a=a --rename /a /TRANS.TBL", "an ISO 9660 name TRANS.TBL", EVERY, "2:6"),
    ("/a=a --rename /a '/b?'", ILLEGAL, EVERY, "2:6"),
    ("/a=a --rename /a /" + "x" * 111, "a Joliet name of more than 110 characters", EVERY, "2:6"),
    ("-c /a:b", ILLEGAL, EVERY, "2:1"),
    ("-c /" + "x" * 111, LONG, EVERY, "2:1"),
    ("--name-setup iso,joliet -c /a=/trans.tbl", "an ISO 9660 name TRANS.TBL", EVERY, ""),
    ("-c /TRANS.TBL", "an ISO 9660 name TRANS.TBL", EVERY, "2:1"),
    ("/TRANS.TBL=:remove: /d/trans.tbl/=:must-remove:", "TRANS.TBL removed", EVERY, "2:1 2:21"),
    ("--name-setup joliet /TRANS.TBL=:remove:", "TRANS.TBL removed", EVERY, ""),
    ("/\u0100=a --udf /\u00e4=a /\u0100=a --no-udf /\u0100=a", WIDE_UDF, NEW, "2:17"),
    ("--udf --name-setup iso,udf /\u0100=/a=a /a=/b\u0100=a", WIDE_UDF, NEW, "2:36"),
    ("--udf /" + "x" * 255 + "=a /" + "x" * 254 + "=b", LONG_UDF, NEW, "2:7"),
    ("--udf /" + "\u0100" * 128 + "=a /" + "\u0100" * 127 + "=b", LONG_UDF, NEW, "2:7"),
    ("--no-joliet --volume-id=A -A B --joliet h", UNHEARD, EVERY, "2:13 2:27"),
    ("--no-joliet --volume-id=A --joliet --volume-id=B", UNHEARD, EVERY, ""),
    ("--no-joliet --volume-id=A", UNHEARD, EVERY, ""),
    ("--name-setup iso --no-joliet --volume-id=A --joliet", UNHEARD, EVERY, ""),
    ("--volume-id=A --udf h", UNHEARD_UDF, NEW, "2:1"),
    ("--udf --volume-id=A h", UNHEARD_UDF, NEW, ""),
]

PORTABLE = [
    "--volume-id=x -volid x --volid x -J -R -r -l -P p -p p -A a -c /boot.cat a",
    "--iso-level=1 ---iso-level 2 --no-pad a",
    "a --rock-ridge --joliet --iso-level 2 -R",
    "/=.  /a/x=.. './a b'=c",
    "a --chmod=0644:/a --chmod a+x:/a --chmod a+r:/a --chmod a+rx:/a",
    "--eltorito-platform-id efi -b /a -no-emulation-boot",
    "--eltorito-new-entry -b /a",
    '--no-joliet \'C:\\new\' "a\\\\b" "a\\"b"',
    "@/abs",
    "--name-setup iso+rr,joliet a",
    "--name-setup joliet =a --name-setup-from-import a",
    "--push-iso x --pop " * 5 + "a",
    f"--volume-id={'x' * 255}",
    "--name-setup iso,joliet /a=/trans.tbl=a",
    "--no-rock-ridge /" + "x" * 110 + "=a --name-setup iso,joliet /" + "x" * 111 + "=/x=a",
    "--no-rock-ridge --name-setup iso,joliet /" + "a=/" + "\U0001f600" * 55 + "=a",
    "--no-joliet --no-rock-ridge '/a?=a' /" + "x" * 111 + "=a",
    "/" + "x" * 100 + "=a",
]


def found(text: str, version: Version) -> list[Finding]:
    return portability(body(text, {"r": "", "/abs": "a"}), version)


@pytest.mark.parametrize(("text", "what", "versions", "places"), CASES, ids=[case[0][:40] for case in CASES])
def test_findings(text: str, what: str, versions: tuple[Version, ...], places: str) -> None:
    for version in Version:
        findings = [finding for finding in found(text, version) if finding.what == what]
        assert [str(finding.place) for finding in findings] == [
            f"dir/a.viso:{place}" for place in places.split() if version in versions
        ]


@pytest.mark.parametrize("text", PORTABLE)
def test_nothing_is_found_in_portable_recipes(text: str) -> None:
    for version in Version:
        assert found(text, version) == []


def test_a_platform_after_the_new_entry() -> None:
    what = "a platform for an entry that has no image yet"
    habit = "-b /a -eltorito-alt-boot -eltorito-platform-id efi -b /b"
    right = "-b /a -eltorito-platform-id efi -eltorito-alt-boot -b /b"

    assert [f.what for f in found(habit, Version.TRUNK)] == [what]
    assert found(right, Version.TRUNK) == []
    for begin in ("--eltorito-new-entry", "-no-boot", "-b /a --eltorito-platform-id=PPC --boot-load-size=4"):
        assert [f.what for f in found(f"{begin} --eltorito-platform-id=efi -b /a", Version.TRUNK)] == [what]
    for begin in ("", "--eltorito-platform-id=PPC", "-no-boot -b /a", "-b /a -no-boot"):
        assert found(f"{begin} --eltorito-platform-id=efi -b /b", Version.TRUNK) == []


def test_comments_of_response_files() -> None:
    recipe = body("@/r", {"/r": "# first\na\n# second\nb"})

    assert [str(f.place) for f in portability(recipe, Version.V6_1)] == ["/r:1:1", "/r:3:1"]
    assert [str(f.place) for f in portability(recipe, Version.TRUNK)] == ["/r:3:1"]
    assert [f.what for f in portability(recipe, Version.V7_0)] == [Quirk.FIRST_COMMENT, Quirk.COMMENT]


def test_findings_stand_in_the_order_of_the_text() -> None:
    recipe = body('-T "/a=a\\b"\n-V x @R\n-f', {"R": "-T"})

    assert [str(f.place) for f in portability(recipe, Version.TRUNK)] == [
        "dir/a.viso:2:1",
        "dir/a.viso:2:4",
        "dir/a.viso:3:1",
        "dir/a.viso:3:6",
        "dir/a.viso:4:1",
        "dir/R:1:1",
    ]


def test_a_finding_is_a_sentence() -> None:
    [finding] = found("-V x a", Version.V6_1)
    assert str(finding) == (
        "dir/a.viso:2:1: -V: it asks for VirtualBox's version there, which ends the recipe with an error"
    )


def test_the_table_is_whole() -> None:
    table = {rule.what: rule for rule in rules()}

    assert len(table) == len(rules())
    assert all(rule.reasons and all(rule.reasons.values()) for rule in table.values())
    assert set(table) >= REMARKABLE | {quirk.value for quirk in Quirk}
    assert {what for _, what, _, _ in CASES} | REMARKABLE | {
        Quirk.COMMENT,
        Quirk.FIRST_COMMENT,
        "a platform for an entry that has no image yet",
    } == set(table)


def test_no_option_is_both_supported_and_not() -> None:
    assert not REFUSED & BY_SPELLING.keys()


def test_what_virtualbox_rendered_is_portable() -> None:
    found = {
        case["name"]: findings
        for case in conformance_cases()
        if case["verdict"] == "same"
        if (findings := portability(parse(at_d(case), {"/d/more.rsp": "a"}), Version.V6_1))
    }

    assert found == {}


def test_what_virtualbox_gets_wrong_is_told_at_the_very_words() -> None:
    cases = {case["name"]: case for case in conformance_cases()}
    told = {
        name: {(finding.what, finding.place.line) for finding in portability(parse(at_d(cases[name])), Version.V6_1)}
        for name in ("ns-iso-rr-joliet", "q-bourne-clean", "err-chmod-badmode")
    }

    assert told == {
        "ns-iso-rr-joliet": {("a Rock Ridge name apart from the ISO 9660 name", 2)},
        "q-bourne-clean": {(Quirk.BACKSLASH, 2), (ILLEGAL, 2)},
        "err-chmod-badmode": {(Quirk.SYMBOLIC_MODE, 2)},
    }


def test_what_virtualbox_refused_for_its_text_is_found() -> None:
    """The measured cases that differ, and in which the text alone says that they do."""
    found_in = {
        case["name"]
        for case in conformance_cases()
        if case["verdict"] == "beyond" and portability(parse(at_d(case), {"more.rsp": "a"}), Version.V6_1)
    }

    assert found_in == {
        "dd-variants",
        "dir-dot",
        "eltorito-efi",
        "eltorito-efi-new-entry",
        "eltorito-noslash",
        "err-T",
        "err-chmod-badmode",
        "err-compat-f",
        "err-graft-points",
        "no-joliet-after",
        "ns-iso-rr-joliet",
        "ns-joliet-only",
        "opt-V-version",
        "q-bourne-clean",
        "rock-after",
        "rsp-rel",
    }


def at_d(case: Case) -> str:
    return case_bytes(case).decode().replace("@DIR@", "/d")


def test_the_page_has_these_tables() -> None:
    assert virtualbox_tables.PAGE.read_text() == virtualbox_tables.page()
