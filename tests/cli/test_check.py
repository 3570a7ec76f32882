"""`qemu-viso check` and `info --probe`: what is said of VirtualBox, of consumers, and without touching a source."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest

from qemu_viso.tree.facts import Fact
from qemu_viso.verify.consumers import linux_label, missed_by, read_by_linux, read_by_windows
from tests.cli.test_new import ANSWERS, qemu_viso
from tests.recipes import MARKER, opened, write_files, write_recipe

if TYPE_CHECKING:
    from pathlib import Path

CLOUD = b"#cloud-config\n"
NOCLOUD = "--volume-id=cidata"


def missed(folder: Path, consumer: str, *lines: str, files: dict[str, bytes]) -> str:
    return "\n".join(missed_by(opened(folder, *lines, files=files).tree, consumer))


# --- probe and portability -----------------------------------------------------------------------------------------


def test_probe_touches_no_source_and_reads_no_further(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, "/a=missing --nonsense", " " * 1023 + "'")
    done = qemu_viso("info", "--probe", "--json", recipe, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    size = (tmp_path / "TEST.viso").stat().st_size
    expected = {"schema": 1, "recipe": recipe, "uuid": MARKER[-36:], "quoting": "bourne", "recipe_bytes": size}
    assert json.loads(done.stdout) == expected
    assert MARKER[-36:] in qemu_viso("info", "--probe", recipe, cwd=tmp_path).stdout
    assert qemu_viso("info", recipe, cwd=tmp_path).returncode == 65


def test_probe_refuses_what_virtualbox_does_not_see(tmp_path: Path) -> None:
    (tmp_path / "late.viso").write_text(" " * 1000 + MARKER)
    done = qemu_viso("info", "--probe", "late.viso", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (65, "")


def test_portability_names_place_reason_and_versions(tmp_path: Path) -> None:
    write_files(tmp_path, {"d/b": b"", "d/B": b"", "d/c/C": b"", "d/c/c": b""})
    write_recipe(tmp_path, "--udf --volume-id=X", "  /a=d -x '*.o'")
    done = qemu_viso("check", "--portable", "TEST.viso", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines() == [
        "TEST.viso:2:1: --udf: it is known from trunk on (VirtualBox 6.1, 7.0)",
        (
            f"TEST.viso:3:3: {Fact.CASE} ('d/b' and 1 more): they are one name, and the second is refused "
            "(VirtualBox 6.1, 7.0, trunk)"
        ),
        "TEST.viso:3:8: -x: it is known there and refused as not implemented (VirtualBox 6.1, 7.0, trunk)",
    ]
    for version, count in (("6.1", 3), ("7.0", 3), ("trunk", 2)):
        done = qemu_viso("check", f"--portable={version}", "--json", "TEST.viso", cwd=tmp_path)
        found = json.loads(done.stdout)["portability"]
        assert (done.returncode, len(found)) == (1, count)
        assert found[-1] == {
            "file": "TEST.viso",
            "line": 3,
            "column": 8,
            "what": "-x",
            "reason": "it is known there and refused as not implemented",
            "path": None,
            "more": 0,
            "versions": [version],
        }
        assert (found[-2]["path"], found[-2]["more"]) == ("d/b", 1)
    assert qemu_viso("check", "--portable=5", "TEST.viso", cwd=tmp_path).returncode == 2


def test_a_portable_recipe(tmp_path: Path) -> None:
    write_recipe(tmp_path, "--volume-id=X", "/a=missing")
    done = qemu_viso("check", "--portable", "TEST.viso", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (66, "")
    assert done.stderr.splitlines()[0] == "qemu-viso: TEST.viso:3:1: the source './missing' does not exist"
    write_files(tmp_path, {"missing": b""})
    done = qemu_viso("check", "--portable", "TEST.viso", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "TEST.viso: fine\n")


def test_both_checks_at_once(tmp_path: Path) -> None:
    write_files(tmp_path, {"u": CLOUD})
    write_recipe(tmp_path, "--volume-id=cidata -x '*.o'", "/user-data=u")
    done = qemu_viso("check", "--portable", "--for", "nocloud", "--json", "TEST.viso", cwd=tmp_path)
    content = json.loads(done.stdout)
    assert done.returncode == 1
    assert len(content["portability"]) == 1
    assert [line for line in content["missed"] if "'/meta-data' is not there" in line] == content["missed"]
    text = qemu_viso("check", "--for", "nocloud", "TEST.viso", cwd=tmp_path)
    assert text.returncode == 1
    assert text.stdout.startswith("nocloud: '/meta-data' is not there")


def test_refusals_are_json_too(tmp_path: Path) -> None:
    write_recipe(tmp_path, "/a=missing")
    write_recipe(tmp_path, " --volum-id=X", name="WRONG.viso")

    done = qemu_viso("check", "--json", "TEST.viso", cwd=tmp_path)
    assert done.returncode == 66
    assert json.loads(done.stdout) == {
        "schema": 1,
        "error": {
            "status": 66,
            "message": "the source './missing' does not exist",
            "hint": "a source is looked for from the recipe's directory on",
            "file": "TEST.viso",
            "line": 2,
            "column": 1,
        },
    }
    assert done.stderr == (
        "qemu-viso: TEST.viso:2:1: the source './missing' does not exist\n"
        "  hint: a source is looked for from the recipe's directory on\n"
    )

    for words in (("check", "--portable"), ("info",), ("ls",)):
        done = qemu_viso(*words, "--json", "WRONG.viso", cwd=tmp_path)
        error = json.loads(done.stdout)["error"]
        assert (done.returncode, error["status"], error["hint"]) == (65, 65, "did you mean --volume-id?")
        assert (error["file"], error["line"], error["column"]) == ("WRONG.viso", 2, 2)
    done = qemu_viso("check", "--json", "NOTHING.viso", cwd=tmp_path)
    assert done.returncode == 66
    assert set(json.loads(done.stdout)["error"]) == {"status", "message", "hint"}
    assert qemu_viso("check", "WRONG.viso", cwd=tmp_path).stdout == ""


# --- labels --------------------------------------------------------------------------------------------------------

BOTH = {"in/user-data": CLOUD, "in/meta-data": b""}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--volume-id=cidata", ""),
        ("--volume-id=CIDATA --no-joliet", ""),
        ("--volume-id=Cidata", "'Cidata' and cloud-init (NoCloud) looks for 'cidata' or 'CIDATA'"),
        ("", "the label is 'TEST'"),
        ("--volume-id=cidata --udf", "iso9660 and vfat only"),
        ("--volume-id=cidata-of-my-machine --no-rock-ridge", "'cidata-of-my-machine' and"),
        (f"--volume-id={'cidata' * 6}", f"'{('cidata' * 6)[:32]}', which is what fits of '{'cidata' * 6}', and"),
    ],
)
def test_labels(tmp_path: Path, words: str, said: str) -> None:
    found = missed(tmp_path, "nocloud", words, "/=in", files=BOTH)
    assert said in found
    assert bool(said) == bool(found)


@pytest.mark.parametrize(
    ("words", "label", "linux", "windows"),
    [
        ("--volume-id=cidata", "cidata", "rock", "joliet"),
        ("--volume-id=cidata --no-joliet", "cidata", "rock", "plain"),
        ("--volume-id=cidata --no-rock-ridge", "cidata", "joliet", "joliet"),
        ("--volume-id=cidata --no-rock-ridge --no-joliet", "cidata", "plain", "plain"),
        ("--volume-id=cidata --udf", "cidata", "udf", "udf"),
        ("--volume-id=a234567890123456789", "a234567890123456789", "rock", "joliet"),
    ],
)
def test_what_linux_and_windows_read(tmp_path: Path, words: str, label: str, linux: str, windows: str) -> None:
    tree = opened(tmp_path, words, "/=in", files=BOTH).tree
    assert (linux_label(tree), read_by_linux(tree), read_by_windows(tree)) == (label, linux, windows)


# --- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("/user-data=in/user-data /meta-data=in/meta-data", ""),
        ("/user-data=in/user-data", "'/meta-data' is not there, and cloud-init (NoCloud) accepts no medium without it"),
        ("/seed=in", "there is '/seed/meta-data' instead"),
        ("/user-data=in/user-data /META-DATA=in/meta-data", "there is '/META-DATA' instead"),
        ("/user-data=in/user-data /meta_data.yaml=in/meta-data", "there is '/meta_data.yaml' instead"),
        ("/user-data=in/user-data /meta-data=in", "'/meta-data' is a directory"),
        (
            "/user-data=in/user-data --name-setup=joliet /meta-data=in/meta-data",
            "only in Joliet, and Rock Ridge is what it reads",
        ),
        ("/user-data=in/user-data /deep/meta-data=in/meta-data /=links", ""),
    ],
)
def test_names(tmp_path: Path, lines: str, said: str) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "meta-data").symlink_to("deep/meta-data")
    found = missed(tmp_path, "nocloud", NOCLOUD, lines, files=BOTH)
    assert said in found
    assert bool(said) == bool(found)


def test_windows_reads_no_rock_ridge_and_no_case(tmp_path: Path) -> None:
    files = {"x": ANSWERS}
    assert missed(tmp_path, "autounattend", "/AutoUnattend.XML=x", files=files) == ""
    found = missed(tmp_path, "autounattend", "--no-joliet --iso-level=1", "/autounattend.xml=x", files=files)
    assert "'/autounattend.xml' is not there" in found
    assert "only in Rock Ridge, and ISO 9660 is what it reads" in found
    assert "is not there" in missed(tmp_path, "autounattend", "/sub/autounattend.xml=x", files=files)


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "ks.cfg").symlink_to("ks.cfg")
    assert "'/ks.cfg' is not there" in missed(tmp_path, "oemdrv", "--volume-id=OEMDRV", "/=in", files={})


# --- contents ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", ""),
        (CLOUD, ""),
        (b"\n #CLOUD-CONFIG\r\n", ""),
        (b"#!/bin/sh\n", ""),
        (b"## template: jinja\n#cloud-config\n", ""),
        (b"#include-once\nhttp://x\n", ""),
        (b'Content-Type: multipart/mixed; boundary="x"\nMIME-Version: 1.0\n', ""),
        (gzip.compress(CLOUD, mtime=0), ""),
        (gzip.compress(b"packages: []\n", mtime=0), "begins with 'packages: []'"),
        (gzip.compress(CLOUD, mtime=0)[:15], "cannot be unpacked"),
        (b"packages: []\n", "begins with 'packages: []', so that cloud-init ignores it"),
        (b"\xef\xbb\xbf#cloud-config\n", "byte order mark"),
        (b"# cloud-config\n", "begins with '# cloud-config'"),
        (b"\xff\xfe\0", "ignores it"),
    ],
)
def test_user_data(tmp_path: Path, data: bytes, said: str) -> None:
    found = missed(tmp_path, "nocloud", NOCLOUD, "/=in", files={"in/user-data": data, "in/meta-data": b""})
    assert said in found
    assert bool(said) == bool(found)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("meta_data.json", b'{"uuid": "x"}', ""),
        ("meta_data.json", b"{", "is not JSON"),
        ("meta_data.json", b"[" * 100_000, "is not JSON"),
        ("meta_data.json", b"[]", "is not a JSON object"),
        ("meta_data.json", b"{}", "has no 'uuid'"),
        ("network_data.json", b"version: 2", "'/openstack/latest/network_data.json' is not JSON"),
        ("user_data", b"hello", "ignores it"),
    ],
)
def test_config_drives(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    files = {"in/openstack/latest/meta_data.json": b'{"uuid": "x"}', f"in/openstack/latest/{name}": data}
    found = missed(tmp_path, "configdrive", "--volume-id=config-2", "/=in", files=files)
    assert said in found
    assert bool(said) == bool(found)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (ANSWERS, ""),
        (b"\xef\xbb\xbf" + ANSWERS, ""),
        (ANSWERS.decode().replace("utf-8", "utf-16").encode("utf-16"), ""),
        (ANSWERS.replace(b"</unattend>", b""), "is not well-formed XML: no element found: line 3"),
        (b"", "is not well-formed XML"),
        (ANSWERS.replace(b"utf-8", b"klingon"), "is not well-formed XML"),
        (ANSWERS.replace(b"urn:", b"url:"), "as its root, and not 'unattend'"),
        (ANSWERS.replace(b"windowsPE", b"specialize"), "no settings for the pass 'windowsPE'"),
    ],
)
def test_answer_files(tmp_path: Path, data: bytes, said: str) -> None:
    found = missed(tmp_path, "autounattend", "/=in", files={"in/autounattend.xml": data})
    assert said in found
    assert bool(said) == bool(found)


def test_a_kickstart_is_not_empty(tmp_path: Path) -> None:
    assert "is empty" in missed(tmp_path, "oemdrv", "--volume-id=OEMDRV", "/ks.cfg=k", files={"k": b"\n"})
