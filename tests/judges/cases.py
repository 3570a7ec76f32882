"""The conformance cases of the VISO language: their inputs made, and an image compared with what they expect."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import shutil
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict, cast

from tests.judges.reader.model import SECTOR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.judges.reader.eltorito import BootCatalog, BootEntry
    from tests.judges.reader.image import Image
    from tests.judges.reader.model import Node, Volume

DATA = Path(__file__).parents[1] / "data" / "conformance"
RECIPE = "RECIPE.viso"  # its stem is the default volume identifier, so it is made of d-characters

_FIRST_SECTOR = "image_sha256_16_of_first_sector"

Input = dict[str, object]


class Expectation(TypedDict, total=False):
    """The `expect` of a case, as its file spells it."""

    volumes: dict[str, dict[str, str]]
    rock: dict[str, dict[str, object]]
    joliet: dict[str, dict[str, object]]
    primary_content: list[str]
    primary_dirs: int
    boot: dict[str, object]


class UnavailableError(Exception):
    """An input of the host that is not here: the test that needs it skips with this reason."""


@dataclass(frozen=True, slots=True)
class Case:
    """One case.

    Attributes:
        spec: the recipe's bytes; `@DIR@` stands for its directory.
        want: for `beyond`, what is done where VirtualBox refuses or errs.
        virtualbox: for `beyond`, what VirtualBox does; empty where it makes another image.
        expect: what was measured; empty where there was no image, or nobody can want that one.
    """

    name: str
    verdict: Literal["same", "error", "beyond"]
    spec: bytes
    inputs: dict[str, Input]
    argv: tuple[str, ...] | None = None
    want: str = ""
    virtualbox: str = ""
    error: str = ""
    expect: Expectation = field(default_factory=Expectation)


def load(folder: Path = DATA) -> list[Case]:
    """All cases; none where the folder is not there."""
    path = folder / "cases.jsonl"
    if not path.exists():
        return []
    return [_case(json.loads(line)) for line in path.read_text("utf-8").splitlines() if line.strip()]


def _case(raw: dict[str, object]) -> Case:
    text = raw.get("spec")
    spec = text.encode() if isinstance(text, str) else base64.b64decode(cast("str", raw["spec_b64"]))
    argv = raw.get("argv")
    return Case(
        name=cast("str", raw["name"]),
        verdict=cast("Literal['same', 'error', 'beyond']", raw["verdict"]),
        spec=spec,
        inputs=cast("dict[str, Input]", raw["inputs"]),
        argv=None if argv is None else tuple(cast("list[str]", argv)),
        want=str(raw.get("want", "")),
        virtualbox=str(raw.get("virtualbox", "")),
        error=json.dumps(raw.get("error", "")),
        expect=cast("Expectation", raw.get("expect", {})),
    )


def materialise(case: Case, directory: Path, folder: Path = DATA) -> Path:
    """Make a case's input files and its recipe in a directory; gives the recipe's path.

    Raises:
        UnavailableError: an input is a file of the host that is not here.
    """
    for name, content in case.inputs.items():
        _make(directory / name, content, folder)
    for parent in sorted({parent for name in case.inputs for parent in (directory / name).parents}):
        if directory in parent.parents:
            relative = os.fspath(parent.relative_to(directory))
            if "mode" not in case.inputs.get(relative, {}):
                parent.chmod(0o755)
    recipe = directory / RECIPE
    recipe.write_bytes(case.spec.replace(b"@DIR@", os.fsencode(directory)))
    return recipe


def _make(path: Path, content: Input, folder: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = int(str(content["mode"]), 8) if "mode" in content else None
    if content.get("dir"):
        path.mkdir(exist_ok=True)
        path.chmod(0o755 if mode is None else mode)
        return
    if "link" in content:
        path.symlink_to(str(content["link"]))
        return
    if content.get("fifo"):
        os.mkfifo(path)
    elif "host" in content:
        host = Path(str(content["host"]))
        if not host.exists():
            raise UnavailableError(f"{host} is not installed")
        shutil.copyfile(host, path)
    elif "sparse" in content:
        path.touch()
        os.truncate(path, cast("int", content["sparse"]))
    else:
        path.write_bytes(_bytes(content, folder))
    path.chmod(0o644 if mode is None else mode)


def _bytes(content: Input, folder: Path) -> bytes:
    if "text" in content:
        return str(content["text"]).encode()
    if "b64" in content:
        return base64.b64decode(str(content["b64"]))
    if "fill" in content:
        byte, count = cast("tuple[int, int]", content["fill"])
        return bytes([byte]) * count
    if "rnd" in content:
        seed, count = cast("tuple[int, int]", content["rnd"])
        return rnd(seed, count)
    if "gz" in content:
        return gzip.decompress((folder / str(content["gz"])).read_bytes())
    raise ValueError(f"an input of unknown form: {content}")


def rnd(seed: int, count: int) -> bytes:
    """The first `count` bytes of SHA-512("seed/0"), SHA-512("seed/1"), and so on."""
    blocks = -(-count // 64)
    return b"".join(hashlib.sha512(f"{seed}/{index}".encode()).digest() for index in range(blocks))[:count]


def compare(case: Case, image: Image) -> list[str]:
    """What an image shows otherwise than a case of verdict `same` expects, a sentence each."""
    expect = case.expect
    said = list(_volumes(expect, image))
    said += _namespace("Rock Ridge", expect.get("rock"), image.rock)
    said += _namespace("Joliet", expect.get("joliet"), image.joliet)
    if image.primary is None:
        return [*said, "there is no primary volume"]
    nodes = [
        node for path, node in image.primary.tree.items() if path != "/" and path.rpartition("/")[2] != "TRANS.TBL;1"
    ]
    if "primary_content" in expect:
        have = sorted(f"{_sum(node)}:{node.size}" for node in nodes if node.kind == "file")
        # The cases write a dash for the sum of nothing.
        want = sorted(
            f"{hashlib.sha256().hexdigest()[:16]}:0" if item == "-:0" else item for item in expect["primary_content"]
        )
        if have != want:
            said.append(f"primary content is {have}, expected {want}")
    if "primary_dirs" in expect:
        count = sum(node.kind == "dir" for node in nodes)
        if count != expect["primary_dirs"]:
            said.append(f"{count} primary directories, expected {expect['primary_dirs']}")
    if (boot := expect.get("boot")) is None:
        if image.boot is not None:
            said.append("there is a boot catalog, expected none")
    else:
        said += _boot(boot, image.boot)
    return said


def _volumes(expect: Expectation, image: Image) -> Iterator[str]:
    for name, volume in (("primary", image.primary), ("joliet", image.joliet)):
        for key, value in expect.get("volumes", {}).get(name, {}).items():
            have = None if volume is None else volume.identifiers.get(key)
            if have != value:
                yield f"{name} {key} is {have!r}, expected {value!r}"


def _namespace(name: str, expect: dict[str, dict[str, object]] | None, volume: Volume | None) -> Iterator[str]:
    if expect is None or volume is None:
        if (expect is None) != (volume is None):
            yield f"{name}: there is {'a' if volume else 'no'} tree, expected {'none' if volume else 'one'}"
        return
    tree = {path: node for path, node in volume.tree.items() if path != "/" and not path.endswith("/TRANS.TBL")}
    for path in sorted(expect.keys() | tree.keys()):
        if path not in tree:
            yield f"{name}: {path!r} is missing"
        elif path not in expect:
            yield f"{name}: {path!r} is not expected"
        else:
            have = _facts(tree[path])
            for key, value in expect[path].items():
                if have.get(key) != value and not (key == "sha256_16" and _placed_elsewhere(tree[path], str(value))):
                    yield f"{name}: {path!r}: {key} is {have.get(key)!r}, expected {value!r}"


def _facts(node: Node) -> dict[str, object]:
    facts: dict[str, object] = {"type": node.kind, "uid": node.uid, "gid": node.gid, "target": node.target}
    if node.mode is not None:
        facts["mode"] = f"{node.mode:o}"
    if node.kind == "file":
        facts |= {"size": node.size, "sha256_16": _sum(node)}
    return facts


def _placed_elsewhere(node: Node, expected: str) -> bool:
    """Whether a sum is that of a boot image whose boot information table gives another sector as its own.

    Where a maker puts an image is its own affair, and the table tells it.
    """
    if node.content is None or not node.extents or node.size < 64:
        return False
    return _with_other_sector(node.content.data(), node.extents[0].start // SECTOR, expected)


def _with_other_sector(data: bytes, sector: int, expected: str) -> bool:
    if data[8:16] != struct.pack("<II", 16, sector):
        return False
    tables = (struct.pack("<I", other) for other in range(max(17, sector - 64), sector + 64))
    return any(hashlib.sha256(data[:12] + table + data[16:]).hexdigest()[:16] == expected for table in tables)


def _sum(node: Node) -> str:
    return node.content.sha256()[:16] if node.content is not None else hashlib.sha256().hexdigest()[:16]


def _boot(expect: dict[str, object], boot: BootCatalog | None) -> Iterator[str]:
    if boot is None:
        yield "there is no boot catalog"
        return
    if (boot.platform, boot.identifier) != (expect["platform"], expect["id"]):
        yield f"the catalog is of platform {boot.platform}, id {boot.identifier!r}, expected {expect}"
    have: list[dict[str, object]] = []
    for index, section in enumerate(boot.sections):
        if index:
            have.append({"section_header": section.header, "platform": section.platform, "count": section.count})
        have += [_boot_entry(entry) for entry in section.entries]
    want = _without_end(cast("list[dict[str, object]]", expect["entries"]))
    have = _without_end(have)
    entries = [item for item in have if "media" in item]
    for entry, mine, wanted in zip(boot.entries, entries, [item for item in want if "media" in item], strict=False):
        if _with_other_sector(entry.first_sector, entry.sector, str(wanted[_FIRST_SECTOR])):
            mine[_FIRST_SECTOR] = wanted[_FIRST_SECTOR]
    if have != want:
        yield f"boot entries are {have}, expected {want}"


def _boot_entry(entry: BootEntry) -> dict[str, object]:
    return {
        "bootable": entry.bootable,
        _FIRST_SECTOR: hashlib.sha256(entry.first_sector).hexdigest()[:16],
        "load_sectors": entry.sector_count,
        "load_seg": entry.load_segment,
        "media": entry.media,
        "system_type": entry.system_type,
    }


def _without_end(entries: list[dict[str, object]]) -> list[dict[str, object]]:
    """A final header without entries only says that the catalog ends; a catalog may end without one."""
    return [entry for entry in entries if not (entry.get("section_header") == 0x91 and entry.get("count") == 0)]
