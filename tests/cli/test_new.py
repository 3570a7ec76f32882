"""`qemu-viso new`: the recipe that is written says what the words said, from wherever they were said."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest

from qemu_viso.cli.new import arrange
from qemu_viso.opening import open_viso
from qemu_viso.viso import Quoting, probe, read_recipe
from qemu_viso.viso import recipe as r
from qemu_viso.viso.options import Version
from qemu_viso.viso.portable import portability
from qemu_viso.viso.seeds import label_where_heard, seed_words
from qemu_viso.viso.writer import write_recipe
from tests.judges.reader.image import inspect
from tests.recipes import write_files
from tests.viso.recipes import BOURNE, UUID_TEXT, parse

ROOT = Path(__file__).resolve().parent.parent.parent


def qemu_viso(*words: str | Path, cwd: Path, umask: int = 0o022) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "qemu_viso", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        umask=umask,
    )


def listed(recipe: Path) -> dict[str, dict[str, object]]:
    done = qemu_viso("ls", "--json", "--namespace", "rock", recipe, cwd=recipe.parent)
    entries = json.loads(done.stdout)["entries"]
    assert isinstance(entries, dict)
    return entries


@pytest.fixture
def home(tmp_path: Path) -> Path:
    files = {"data/in/a b.txt": b"1", "data/in/größe": b"22", "data/it's": b"333", 'data/say "x"': b"4444"}
    write_files(tmp_path, files)
    (tmp_path / "recipes").mkdir()
    return tmp_path


@pytest.mark.parametrize("quoting", Quoting)
def test_what_is_written_reads_as_the_same(home: Path, quoting: Quoting) -> None:
    words = ("--volume-id", "My $disk\\", "--rock-ridge", "in", "/other/q=it's", '/w"=say "x"')
    recipe = home / "recipes" / "x.viso"
    done = qemu_viso("new", "-o", recipe, "--quoting", quoting.value, *words, cwd=home / "data")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    read = read_recipe(str(recipe))
    assert read.quoting is quoting
    texts = [step.value for step in read.steps if isinstance(step, r.SetText)]
    sources = [step.source for step in read.steps if isinstance(step, r.AddSource)]
    assert texts == ["My $disk\\"]
    assert sources == ["../data/in", "../data/it's", '../data/say "x"']
    assert set(listed(recipe)) == {"/", "/in", "/in/a b.txt", "/in/größe", "/other", "/other/q", '/w"'}


def test_each_recipe_has_a_uuid_of_its_own(home: Path) -> None:
    uuids = set()
    for name in ("1.viso", "2.viso"):
        done = qemu_viso("new", "-o", name, "--json", "in", cwd=home / "data")
        content = json.loads(done.stdout)
        found = probe(str(home / "data" / name))
        assert content["uuid"] == str(found.uuid)
        assert found.uuid.version == 4
        uuids.add(found.uuid)
    assert len(uuids) == 2


def test_sources_in_a_pushed_image_stay(home: Path) -> None:
    data = home / "data"
    assert qemu_viso("new", "-o", "old.viso", "in", cwd=data).returncode == 0
    assert qemu_viso("render", "old.viso", "-o", "old.iso", cwd=data).returncode == 0
    recipe = home / "recipes" / "x.viso"
    words = ("--push-iso=old.iso", "/from=/in", "--pop", "/q=it's", "--import-iso", "old.iso")
    done = qemu_viso("new", "-o", recipe, *words, cwd=data)
    assert (done.returncode, done.stderr) == (0, "")
    steps = read_recipe(str(recipe)).steps
    assert [step.source for step in steps if isinstance(step, r.AddSource)] == ["/in", "../data/it's"]
    assert [step.path for step in steps if isinstance(step, (r.PushIso, r.ImportIso))] == ["../data/old.iso"] * 2
    assert {"/from/größe", "/q", "/in/größe"} <= set(listed(recipe))


def test_links_on_the_way_do_not_mislead(home: Path) -> None:
    """`..` behind a link leads to where the link points, both from the recipe and from the words."""
    (home / "elsewhere" / "deep").mkdir(parents=True)
    (home / "recipes" / "link").symlink_to(home / "elsewhere" / "deep")
    (home / "to").symlink_to(home / "data" / "in")
    recipe = home / "recipes" / "link" / "x.viso"
    done = qemu_viso("new", "-o", recipe, "/a=to/../it's", "/b=data/in/.", "/c=recipes/../data/in/größe", cwd=home)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(listed(recipe)) == {"/", "/a", "/b", "/b/a b.txt", "/b/größe", "/c"}


def test_a_backslash_or_a_system_area_makes_a_path_absolute(home: Path) -> None:
    """VirtualBox takes a backslash in a relative path for a separator, and looks elsewhere for system areas."""
    data = home / "data"
    write_files(data, {"back\\slash": b"x"})
    done = qemu_viso("new", "-o", "x.viso", "/a=back\\slash", "-G", "it's", cwd=data)
    assert done.returncode == 0
    assert "--generic-boot: reads the file" in done.stderr
    steps = read_recipe(str(data / "x.viso")).steps
    assert [step.source for step in steps if isinstance(step, (r.AddSource, r.SystemArea))] == [
        str(data / "back\\slash"),
        str(data / "it's"),
    ]


def test_a_source_whose_name_means_something_else(home: Path) -> None:
    data = home / "data"
    write_files(data, {":remove:": b"x", "-dash": b"y", "@at": b"z"})
    done = qemu_viso("new", "-o", "x.viso", "/a=./:remove:", "/b=./-dash", "./@at", cwd=data)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(listed(data / "x.viso")) == {"/", "/a", "/b", "/@at"}


def test_nothing_is_replaced_unasked(home: Path) -> None:
    data, recipe = home / "data", home / "data" / "x.viso"
    recipe.write_text("mine")
    done = qemu_viso("new", "-o", recipe, "in", cwd=data)
    assert done.returncode == 73
    assert "--force" in done.stderr
    assert recipe.read_text() == "mine"
    assert qemu_viso("new", "-o", recipe, "--force", "in", cwd=data, umask=0o077).returncode == 0
    assert recipe.stat().st_mode & 0o777 == 0o600
    assert set(listed(recipe)) == {"/", "/in", "/in/a b.txt", "/in/größe"}


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("-o", "x.viso", "--volume-idd=X", "in"), 65, "did you mean --volume-id"),
        (("-o", "x.viso", "missing"), 66, "missing"),
        (("-o", "x.viso"), 65, "nothing into the image"),
        (("-o", "x.viso", "/a=in", "/A=it's"), 65, "'/A'"),
        (("-o", "x.viso", "/x=:must-remove:", "in"), 65, "/x"),
        (("-o", "nowhere/x.viso", "in"), 66, "nowhere"),
        (("-o", "x.viso", "--seed", "floppy", "it's"), 2, "nocloud, configdrive, oemdrv, autounattend"),
        (("-o", "x.viso", "--seed", "nocloud", "it's"), 2, "USER_DATA META_DATA [NETWORK_CONFIG [VENDOR_DATA]]"),
        (("-o", "x.viso", "--seed", "oemdrv", "it's", "in"), 2, "not made of 2 files"),
        (("in",), 2, "-o"),
    ],
)
def test_a_mistake_leaves_no_file(home: Path, words: tuple[str, ...], status: int, said: str) -> None:
    data = home / "data"
    before = sorted(os.listdir(data))
    done = qemu_viso("new", *words, cwd=data)
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr
    assert "command line:" not in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(os.listdir(data)) == before


def test_the_recipes_options_stay_in_their_order() -> None:
    assert arrange(["-o", "x", "--udf", "a", "--force", "-old-root", "b", "--quoting=ms-crt"]) == [
        *("-o", "x", "--force", "--quoting=ms-crt", "--"),
        *("--udf", "a", "-old-root", "b"),
    ]
    assert arrange(["--seed", "oemdrv", "ks", "/x=y", "z"]) == ["--seed", "oemdrv", "ks", "--", "/x=y", "z"]
    assert arrange(["-o", "x", "--", "--force"]) == ["-o", "x", "--", "--", "--force"]


def test_behind_two_dashes_there_are_no_options(home: Path) -> None:
    write_files(home / "data", {"-dash": b"1", "--force": b"2"})
    done = qemu_viso("new", "-o", "d.viso", "--udf", "--", "-dash", "--force", cwd=home / "data")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert set(listed(home / "data" / "d.viso")) == {"/", "/-dash", "/--force"}


# --- seeds ---------------------------------------------------------------------------------------------------------

ANSWERS = b"""<?xml version="1.0" encoding="utf-8"?>
<unattend xmlns="urn:schemas-microsoft-com:unattend"><settings pass="windowsPE"/></unattend>
"""
FILES = {
    "ud": b"#cloud-config\n{}\n",
    "md": b"instance-id: one\n",
    "nc": b"version: 2\n",
    "md.json": b'{"uuid": "1"}',
    "nd.json": b"{}",
    "install.ks": b"text\n",
    "answers.xml": ANSWERS,
}
SEEDS = [
    ("nocloud", ("ud", "md", "nc"), "cidata", {"/user-data": "ud", "/meta-data": "md", "/network-config": "nc"}),
    (
        "configdrive",
        ("ud", "md.json", "nd.json"),
        "config-2",
        {
            "/openstack/latest/user_data": "ud",
            "/openstack/latest/meta_data.json": "md.json",
            "/openstack/latest/network_data.json": "nd.json",
        },
    ),
    ("oemdrv", ("install.ks",), "OEMDRV", {"/ks.cfg": "install.ks"}),
    ("autounattend", ("answers.xml",), "UNATTEND", {"/autounattend.xml": "answers.xml"}),
]


def output(*words: str | Path) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(shutil.which("isoinfo") is None, reason="isoinfo is not installed")
@pytest.mark.skipif(shutil.which("blkid", path="/usr/sbin:/sbin") is None, reason="blkid is not installed")
@pytest.mark.parametrize(("kind", "files", "label", "names"), SEEDS)
def test_a_seed_as_others_read_it(
    tmp_path: Path, kind: str, files: tuple[str, ...], label: str, names: dict[str, str]
) -> None:
    """blkid tells the label, as it does to udev and cloud-init; isoinfo names and contents, of Joliet for Windows."""
    write_files(tmp_path, FILES)
    done = qemu_viso("new", "-o", "seed.viso", "--seed", kind, *files, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert qemu_viso("render", "seed.viso", "-o", "seed.iso", cwd=tmp_path).returncode == 0
    image = tmp_path / "seed.iso"
    blkid = shutil.which("blkid", path="/usr/sbin:/sbin")
    assert blkid is not None
    found = dict(line.split("=", 1) for line in output(blkid, "-p", "-o", "export", image).splitlines())
    assert (found["LABEL"], found["TYPE"]) == (label, "iso9660")
    for flag in ("-R", "-J"):
        shown = set(output("isoinfo", flag, "-f", "-i", image).split())
        assert names.keys() <= shown
        for name, source in names.items():
            assert output("isoinfo", flag, "-x", name, "-i", image) == FILES[source].decode()
    lines = output("isoinfo", "-R", "-l", "-i", image).splitlines()
    assert sum(line.startswith("-r--r--r--") for line in lines) == len(names)
    checked = qemu_viso("check", "--for", kind, "seed.viso", cwd=tmp_path)
    assert (checked.returncode, checked.stdout) == (0, "seed.viso: fine\n")
    portable = qemu_viso("check", "--portable", "seed.viso", cwd=tmp_path)
    assert (portable.returncode, portable.stdout) == (0, "seed.viso: fine\n")


def test_a_seed_takes_further_words(tmp_path: Path) -> None:
    """Options still count for the seed's files, though namespaces must not change after the first file."""
    write_files(tmp_path, FILES)
    words = ("--seed", "oemdrv", "install.ks", "--udf", "--file-mode=0400", "/extra/x=ud")
    done = qemu_viso("new", "-o", "seed.viso", *words, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    entries = listed(tmp_path / "seed.viso")
    assert set(entries) == {"/", "/ks.cfg", "/extra", "/extra/x"}
    assert entries["/ks.cfg"]["mode"] == "0400"


UNHEARD = "a volume id given before --udf: the UDF volume does not have it"


@pytest.mark.parametrize(
    ("words", "order", "warned"),
    [
        ("--udf", "joliet-ucs-level file-mode udf volume-id", False),
        ("--no-udf x=ud -udf --no-pad", "no-udf udf volume-id no-pad", False),
        ("--no-joliet --joliet", "joliet-ucs-level joliet-ucs-level joliet-ucs-level volume-id", False),
        ("--name-setup=iso,joliet,udf --udf", "name-setup udf volume-id", False),
        ("--import-iso=x.iso", "import-iso volume-id", False),
        ("", "joliet-ucs-level volume-id file-mode", False),
        # The label must be for all namespaces, and one of the user's own is where the user has it.
        ("--name-setup=iso,joliet --udf", "joliet-ucs-level volume-id name-setup udf", True),
        ("--name-setup-from-import --udf", "volume-id name-setup-from-import udf", True),
        ("--volid=CIDATA --udf", "volume-id volume-id udf", True),
        ("--udf --volid=CIDATA", "udf volume-id volume-id", False),
    ],
)
def test_a_seed_s_label_stands_where_every_namespace_hears_it(words: str, order: str, warned: bool) -> None:
    options, files = seed_words("nocloud", ["ud", "md"])
    text = BOURNE + " ".join((*options, *words.split(), *files))

    steps = label_where_heard(parse(text).steps)

    written = write_recipe(steps, UUID(UUID_TEXT))
    spelled = [line[2:].partition("=")[0].partition(" ")[0] for line in written.splitlines()[1:]]
    wanted = order.split()
    assert [word for word in spelled if word in wanted] == wanted
    told = [str(finding) for finding in portability(parse(written), Version.TRUNK)]
    assert any(UNHEARD in each for each in told) == warned


def test_a_seed_with_udf_has_its_label_everywhere(tmp_path: Path) -> None:
    write_files(tmp_path, FILES)
    done = qemu_viso("new", "-o", "seed.viso", "--seed", "nocloud", "ud", "md", "--udf", cwd=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    checked = qemu_viso("check", "--portable=trunk", "seed.viso", cwd=tmp_path)
    assert (checked.returncode, checked.stdout) == (0, "seed.viso: fine\n")
    image = open_viso(str(tmp_path / "seed.viso")).image
    found = inspect(image.read, image.size)
    assert [volume.identifiers["volume_id"] for volume in (found.primary, found.joliet, found.udf) if volume] == [
        "cidata"
    ] * 3
