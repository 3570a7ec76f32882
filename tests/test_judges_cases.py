"""The loader of conformance cases: inputs are made as their README says, and differences are told."""

from __future__ import annotations

import hashlib
import json
import stat
import struct
from typing import TYPE_CHECKING

import pytest

from tests.judges import cases, samples
from tests.judges.reader.image import opened

if TYPE_CHECKING:
    from pathlib import Path

FILES: dict[str, dict[str, object]] = {
    "tree/a.txt": {"text": "ä\n"},
    "tree/raw": {"b64": "AP8="},
    "tree/fill": {"fill": [65, 3000]},
    "tree/noise": {"rnd": [7, 100], "mode": "4755"},
    "tree/hole": {"sparse": 5000},
    "tree/sub": {"dir": True, "mode": "700"},
    "tree/sub/deep/x": {"text": "x"},
    "tree/link": {"link": "a.txt"},
    "tree/pipe": {"fifo": True},
}


def case(expect: cases.Expectation | None = None, inputs: dict[str, dict[str, object]] | None = None) -> cases.Case:
    return cases.Case("made", "same", b"/x=@DIR@/x\n", inputs or FILES, expect=expect or cases.Expectation())


def test_noise_is_as_documented() -> None:
    first, second = (hashlib.sha512(text).digest() for text in (b"7/0", b"7/1"))
    assert cases.rnd(7, 100) == (first + second)[:100]


def test_inputs(tmp_path: Path) -> None:
    recipe = cases.materialise(case(), tmp_path)
    tree = tmp_path / "tree"
    assert recipe.read_text() == f"/x={tmp_path}/x\n"
    assert (tree / "a.txt").read_bytes() == "ä\n".encode()
    assert (tree / "raw").read_bytes() == b"\0\xff"
    assert (tree / "fill").read_bytes() == b"A" * 3000
    assert (tree / "noise").read_bytes() == cases.rnd(7, 100)
    assert (tree / "hole").stat().st_size == 5000
    assert (tree / "link").readlink().as_posix() == "a.txt"
    modes = {path.name: f"{path.lstat().st_mode:o}" for path in tree.rglob("*") if not path.is_symlink()}
    assert modes == {
        "a.txt": "100644", "raw": "100644", "fill": "100644", "noise": "104755", "hole": "100644", "sub": "40700",
        "deep": "40755", "x": "100644", "pipe": f"{stat.S_IFIFO | 0o644:o}",
    }  # fmt: skip


def test_a_host_file_that_is_not_here_skips(tmp_path: Path) -> None:
    with pytest.raises(cases.UnavailableError, match="/no/such/file is not installed"):
        cases.materialise(case(inputs={"a": {"host": "/no/such/file"}}), tmp_path)


def test_the_file_of_cases(tmp_path: Path) -> None:
    assert cases.load(tmp_path) == []
    line = {"name": "n", "verdict": "error", "spec_b64": "AP8=", "inputs": {}, "argv": ["a"], "want": "w"}
    (tmp_path / "cases.jsonl").write_text(json.dumps(line) + "\n")
    (only,) = cases.load(tmp_path)
    assert (only.name, only.verdict, only.spec, only.argv, only.want) == ("n", "error", b"\0\xff", ("a",), "w")


@pytest.mark.skipif(not cases.load(), reason="the conformance cases are not here")
def test_every_case_can_be_made(tmp_path: Path) -> None:
    known = cases.load()
    assert {item.verdict for item in known} == {"same", "error", "beyond"}
    for item in known:
        folder = tmp_path / item.name
        folder.mkdir()
        try:
            recipe = cases.materialise(item, folder)
        except cases.UnavailableError:
            continue
        assert recipe.exists()
        assert all((folder / name).is_symlink() or (folder / name).exists() for name in item.inputs)


def sum16(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def expected() -> cases.Expectation:
    """What an image of `small_tree` shows."""
    boot, efi, hello = samples.noise("boot", 6000), samples.noise("efi", 8192), b"hello\n"
    files = {
        "/boot.img": boot, "/efi.img": efi, "/hello.txt": hello, "/" + "l" * 200: b"long\n",
        "/dir/data.bin": samples.noise("data", 5000), "/dir/more.bin": samples.noise("more", 4096),
        "/dir/sub/end.txt": b"the end\n", "/two/a.bin": samples.noise("a", 2048),
        "/two/b.bin": samples.noise("b", 1000),
    }  # fmt: skip
    rock: dict[str, dict[str, object]] = {
        path: {"type": "file", "size": len(data), "sha256_16": sum16(data), "mode": "100644", "uid": 0, "gid": 0}
        for path, data in files.items()
    }
    rock |= {path: {"type": "dir", "mode": "40755", "uid": 0, "gid": 0} for path in ("/dir", "/dir/sub", "/two")}
    rock["/link"] = {"type": "link", "target": "dir/sub/../data.bin"}
    rock["/boot.cat"] = {"type": "file"}
    joliet = {
        path[:104]: {key: value for key, value in facts.items() if key in ("type", "size", "sha256_16")}
        for path, facts in rock.items()
    }
    joliet["/link"] = {"type": "file", "size": 0}
    entry = {"bootable": True, "load_seg": 0, "media": 0, "system_type": 0}
    return cases.Expectation(
        volumes={"primary": {"volume_id": "VOLUME"}, "joliet": {"volume_id": "VOLUME"}},
        rock=rock,
        joliet=joliet,
        primary_dirs=3,
        boot={
            "platform": 0,
            "id": "",
            "entries": [
                entry | {"load_sectors": 4, "image_sha256_16_of_first_sector": sum16(boot[:2048])},
                {"section_header": 0x91, "platform": 0, "count": 1},
                entry | {"load_sectors": 16, "image_sha256_16_of_first_sector": sum16(efi[:2048])},
                {"section_header": 0x91, "platform": 0, "count": 0},
            ],
        },
    )


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if reason := samples.without("genisoimage"):
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("cases")
    (folder / "tree").mkdir()
    samples.small_tree(folder / "tree")
    boot = ("-b", "boot.img", "-c", "boot.cat", "-no-emul-boot", "-boot-load-size", "4")
    efi = ("-eltorito-alt-boot", "-b", "efi.img", "-no-emul-boot")
    options = ("-R", "-J", "-joliet-long", "-uid", "0", "-gid", "0", "-V", "VOLUME", *boot, *efi)
    return samples.genisoimage(folder / "image.iso", folder / "tree", *options)


def test_an_image_as_expected(image: Path) -> None:
    with opened(image) as seen:
        assert cases.compare(case(expected()), seen) == []


def test_content_of_the_primary_tree(tmp_path: Path) -> None:
    if reason := samples.without("genisoimage"):
        pytest.skip(reason)
    source = tmp_path / "tree"
    source.mkdir()
    for name, text in (("one", "1"), ("two", "22"), ("none", "")):
        (source / name).write_text(text)
    path = samples.genisoimage(tmp_path / "plain.iso", source, "-V", "PLAIN")
    content = [f"{sum16(data)}:{len(data)}" for data in (b"1", b"22")] + ["-:0"]
    with opened(path) as seen:
        assert cases.compare(case({"primary_content": content, "primary_dirs": 0}), seen) == []
        assert cases.compare(case({"primary_content": content[:2], "primary_dirs": 1}), seen) != []
        assert len(cases.compare(case({"rock": {}, "joliet": {}, "boot": {"platform": 0}}), seen)) == 3


def test_a_boot_information_table_may_tell_another_sector(image: Path, tmp_path: Path) -> None:
    """The image's place is the maker's affair; another byte of the image is not."""
    expect = expected()
    path = tmp_path / "table.iso"
    with opened(image) as seen:
        assert seen.boot is not None
        sector = seen.boot.entries[0].sector
    data = bytearray(image.read_bytes())
    at = sector * 2048
    whole = bytes(data[at : at + 6000])
    checksum = sum(word for (word,) in struct.iter_unpack("<I", whole[64:])) & 0xFFFFFFFF

    def table(place: int) -> bytes:
        return whole[:8] + struct.pack("<4I", 16, place, 6000, checksum) + bytes(40) + whole[64:]

    data[at : at + 6000] = table(sector)
    path.write_bytes(data)
    elsewhere = table(sector + 5)
    for namespace in (expect["rock"], expect["joliet"]):
        namespace["/boot.img"]["sha256_16"] = sum16(elsewhere)
    entries = expect["boot"]["entries"]
    assert isinstance(entries, list)
    entries[0]["image_sha256_16_of_first_sector"] = sum16(elsewhere[:2048])
    with opened(path) as seen:
        assert cases.compare(case(expect), seen) == []
    data[at + 100] ^= 1
    path.write_bytes(data)
    with opened(path) as seen:
        assert len(cases.compare(case(expect), seen)) == 3


def changes() -> list[tuple[str, cases.Expectation]]:
    """One wrong expectation each, and a word of the sentence that must tell it."""
    found: list[tuple[str, cases.Expectation]] = []

    def wrong(word: str) -> cases.Expectation:
        fresh = expected()
        found.append((word, fresh))
        return fresh

    wrong("volume_id")["volumes"]["joliet"]["volume_id"] = "OTHER"
    wrong("sha256_16")["rock"]["/hello.txt"]["sha256_16"] = "0" * 16
    wrong("size")["joliet"]["/hello.txt"]["size"] = 7
    wrong("mode")["rock"]["/dir"]["mode"] = "40555"
    wrong("uid")["rock"]["/dir"]["uid"] = 1
    wrong("gid")["rock"]["/dir"]["gid"] = 1
    wrong("target")["rock"]["/link"]["target"] = "elsewhere"
    wrong("type")["rock"]["/dir"]["type"] = "file"
    wrong("missing")["rock"]["/more"] = {"type": "file"}
    wrong("not expected")["joliet"].pop("/hello.txt")
    wrong("primary directories")["primary_dirs"] = 4
    wrong("expected none").pop("rock")
    wrong("expected none").pop("boot")
    wrong("platform")["boot"]["platform"] = 0xEF
    entries = wrong("boot entries")["boot"]["entries"]
    assert isinstance(entries, list)
    entries[0]["load_sectors"] = 5
    entries = wrong("boot entries")["boot"]["entries"]
    assert isinstance(entries, list)
    del entries[1:3]
    return found


@pytest.mark.parametrize("index", range(len(changes())))
def test_each_difference_is_told(image: Path, index: int) -> None:
    word, expect = changes()[index]
    with opened(image) as seen:
        (said,) = cases.compare(case(expect), seen)
    assert word in said
