"""Equal fingerprints for equal images, and for no others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from qemu_viso.image import FileSlice, Generated, Hole, Image, Joined, Literal, Patched, RegionMap
from qemu_viso.opening import open_viso
from tests.recipes import write_files, write_recipe
from tests.vhost_user.media import lay, write_file

if TYPE_CHECKING:
    from qemu_viso.image import Content

ROOT = Path(__file__).parents[2]
NAMES = ("one", "two")


def of(*contents: Content | int) -> str:
    return lay(*contents).fingerprint()


def generated(data: bytes) -> Generated:
    return Generated(len(data), lambda: data, "directory")


def test_every_kind_of_content_counts(tmp_path: Path) -> None:
    one, two = (write_file(tmp_path, name, 5000) for name in NAMES)
    edit = generated(b"e" * 56)
    images = [
        of(one, two),
        of(two, one),
        of(one, 2048, two),
        of(2048, one, two),
        of(one, two, 2048),
        of(one, two, 1 << 20),
        of(one, two, Literal(b"a", "a")),
        of(one, two, Literal(b"b", "b")),
        of(one, two, Literal(b"b" * 200_000, "long")),
        of(one, two, generated(b"c" * 200_000)),
        of(one, FileSlice(two, 0, 5000)),
        of(one, FileSlice(two, 0, 4999)),
        of(one, FileSlice(two, 1, 4999)),
        of(one, Joined((FileSlice(two, 0, 4096), Hole(904)))),
        of(one, Joined((Hole(904), FileSlice(two, 0, 4096)))),
        of(one, Patched(two, 8, edit)),
        of(one, Patched(two, 16, edit)),
        of(one, Patched(FileSlice(two, 0, 5000), 16, edit)),
    ]
    assert len(set(images)) == len(images)
    assert all(len(each) == 64 for each in images)
    # Who makes the bytes, and when, does not count.
    assert of(one, two, Literal(b"a", "a")) == of(one, two, generated(b"a"))


def test_a_region_may_be_longer_without_other_bytes() -> None:
    regions = RegionMap()
    regions.append(0, 2048, Literal(b"a", "a"))
    regions.append(2048, 1 << 20, None)
    assert Image(regions, "one").fingerprint() != of(Literal(b"a", "a"), 2048)


def test_a_recipe_keeps_its_fingerprint_until_something_changes(tmp_path: Path) -> None:
    write_files(tmp_path, {"one": b"the first\n", "two": b"the second\n"})
    for name in NAMES:
        os.utime(tmp_path / name, ns=(10**18, 10**18))
    path = write_recipe(tmp_path, "--strict-attribs --rock-ridge /one=one /two=two")
    first = open_viso(path).image.fingerprint()
    code = "import sys; from qemu_viso.opening import open_viso; print(open_viso(sys.argv[1]).image.fingerprint())"
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, "-c", code, path], env=environment, capture_output=True, check=True)
        assert done.stdout.decode().strip() == first
    seen = {first}

    def differs() -> bool:
        seen.add(found := open_viso(path).image.fingerprint())
        return found != first

    (tmp_path / "one").chmod(0o600)
    assert differs()
    (tmp_path / "one").chmod(0o644)
    os.utime(tmp_path / "two", ns=(10**18, 10**18 + 1))  # too little for a record of the medium
    assert differs()
    os.utime(tmp_path / "two", ns=(10**18, 10**18))
    assert not differs()
    os.rename(tmp_path / "one", tmp_path / "kept")
    (tmp_path / "one").write_bytes(b"the first\n")
    os.utime(tmp_path / "one", ns=(10**18, 10**18))
    assert differs()
    os.rename(tmp_path / "kept", tmp_path / "one")
    assert not differs()
    write_recipe(tmp_path, "--strict-attribs --rock-ridge /one=one /three=two")
    assert differs()
    assert len(seen) == 5
