"""MBR and GPT: values, and one thing wrong after another; and damage by chance that breaks nothing."""

from __future__ import annotations

import random
import struct
import uuid
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.judges import samples
from tests.judges.mutation import Editor, Mutation, Seen, sites, told
from tests.judges.reader.image import opened

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(bool(samples.without("genisoimage")), reason=samples.without("genisoimage"))

SECTOR = 512
ESP = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
ISOHDPFX, ISOLINUX = Path("/usr/lib/ISOLINUX/isohdpfx.bin"), Path("/usr/lib/ISOLINUX/isolinux.bin")
MUTATIONS: list[Mutation] = []


class Disk(Editor):
    """An image with a protective MBR and a GPT of two partitions."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.last = len(data) // SECTOR - 1
        self.backup = self.last * SECTOR
        self.table, self.backup_table = 2 * SECTOR, self.backup - 32 * SECTOR
        self.put(
            446, struct.pack("<B3sB3sII", 0, b"\0\x02\0", 0xEE, b"\xff\xff\xff", 1, self.last), bytes(48), b"\x55\xaa"
        )
        self.put(450 + 1, b"\xfe\xff\xff")
        for number, (first, last) in enumerate(((100, 119), (120, 139))):
            name = f"part{number}".encode("utf-16-le").ljust(72, b"\0")
            raw = struct.pack("<16s16sQQQ", ESP.bytes_le, uuid.UUID(int=number + 1).bytes_le, first, last, 0) + name
            self.put(self.table + 128 * number, raw)
        self.copy()

    def copy(self) -> None:
        """Both headers, and the backup's entries, after the main entries."""
        entries = bytes(self.data[self.table : self.table + 128 * 128])
        self.put(self.backup_table, entries)
        for here, other, table in ((1, self.last, 2), (self.last, 1, self.backup_table // SECTOR)):
            self.header(here * SECTOR, other, table, zlib.crc32(entries))

    def header(self, at: int, other: int, table: int, crc: int) -> None:
        guid = uuid.UUID(int=99).bytes_le
        fields = (b"EFI PART", 0x10000, 92, 0, 0, at // SECTOR, other, 34, self.last - 33, guid, table, 128, 128, crc)
        self.put(at, struct.pack("<8sIIIIQQQQ16sQIII", *fields))
        self.seal(at)

    def seal(self, at: int) -> None:
        """Make a header's CRC right again."""
        self.put(at + 16, bytes(4))
        self.put(at + 16, struct.pack("<I", zlib.crc32(bytes(self.data[at : at + 92]))))

    def chs(self, number: int, start: int, count: int, *, kind: int = 0x83, active: int = 0) -> None:
        """A partition of the MBR, its cylinders and heads beyond what they can say."""
        beyond = b"\xfe\xff\xff"
        self.put(430 + 16 * number, struct.pack("<B3sB3sII", active, beyond, kind, beyond, start, count))


def wrong(clause: str, words: str) -> Callable[[Callable[[Disk], None]], None]:
    def add(change: Callable[[Disk], None]) -> None:
        def with_disk(e: Editor) -> None:
            assert isinstance(e, Disk)
            change(e)

        MUTATIONS.append(Mutation("disk", clause, words, with_disk))

    return add


def header(words: str, offset: int, *parts: bytes | int, clause: str = "UEFI 5.3.2") -> None:
    """Overwrite bytes of the main header, and make its CRC right."""

    def change(e: Disk) -> None:
        e.put(SECTOR + offset, *parts)
        e.seal(SECTOR)

    wrong(clause, words)(change)


def entry(words: str, offset: int, *parts: bytes | int) -> None:
    """Overwrite bytes of the entries, and make everything that depends on them right."""

    def change(e: Disk) -> None:
        e.put(e.table + offset, *parts)
        e.copy()

    wrong("UEFI 5.3.3", words)(change)


wrong("UEFI 5.2.3", "without any MBR")(lambda e: e.put(510, b"\0\0"))
wrong("UEFI 5.3.2", "but no GPT")(lambda e: e.put(SECTOR, b"X"))
wrong("UEFI 5.2.3 protective MBR", "without")(lambda e: e.put(450, 0x83))
wrong("UEFI 5.2.1", "boot indicator")(lambda e: e.put(446, 1))
wrong("UEFI 5.2.1", "unused partition")(lambda e: e.put(466, 0x83))
wrong("UEFI 5.2.1", "leave the image")(lambda e: e.chs(2, 0, e.last + 100))
wrong("UEFI 5.2.1 CHS", "for sector 1")(lambda e: e.put(447, 9))
header("revision", 8, 1)
header("the rest", 92, 1)
header("it says sector 2", 24, 2)
header("64 bytes", 84, 64)
header("the backup is in", 32, struct.pack("<Q", 5))
header("no header in", 32, struct.pack("<Q", 5))
header("disagrees", 56, 77)
header("usable from 10", 40, struct.pack("<Q", 10))
wrong("UEFI 5.3.2 CRC", "header's CRC")(lambda e: e.flip(SECTOR + 40))
wrong("UEFI 5.3.2 CRC", "entries' CRC")(lambda e: e.flip(e.table + 40))
wrong("UEFI 5.3.2", "not those of the main")(lambda e: e.flip(e.backup_table + 40))
entry("usable 34", 32, struct.pack("<QQ", 10, 20))
entry("begins inside", 128 + 32, struct.pack("<Q", 110))
entry("one identifier", 128 + 16, uuid.UUID(int=1).bytes_le)


@wrong("UEFI 5.2.1", "more than one active")
def _(e: Disk) -> None:
    e.chs(2, 200, 10, active=0x80)
    e.chs(3, 300, 10, active=0x80)


@wrong("UEFI 5.2.1", "begins inside partition 1")
def _(e: Disk) -> None:
    e.chs(2, 200, 10)


@wrong("UEFI 5.3.2", "lie in the usable")
def _(e: Disk) -> None:
    for at in (SECTOR, e.backup):
        e.put(at + 48, struct.pack("<Q", e.last))
        e.seal(at)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("disk")
    (folder / "tree").mkdir()
    samples.small_tree(folder / "tree")
    options = ("-R", "-J", "-udf", "-b", "boot.img", "-c", "boot.cat", "-no-emul-boot", "-V", "BASE")
    return samples.genisoimage(folder / "disk.iso", folder / "tree", *options).read_bytes()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("plain")
    (folder / "tree").mkdir()
    samples.small_tree(folder / "tree")
    return samples.genisoimage(folder / "plain.iso", folder / "tree", "-R", "-V", "BASE").read_bytes()


@pytest.fixture(scope="module")
def isohybrid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if reason := samples.without("xorriso"):
        pytest.skip(reason)
    if not ISOHDPFX.exists():
        pytest.skip(f"{ISOHDPFX} is not installed")
    folder = tmp_path_factory.mktemp("isohybrid")
    (folder / "tree").mkdir()
    samples.small_tree(folder / "tree")
    (folder / "tree" / "boot.img").write_bytes(ISOLINUX.read_bytes())
    boot = ("-b", "boot.img", "-c", "boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table")
    efi = ("-eltorito-alt-boot", "-e", "efi.img", "-no-emul-boot", "-isohybrid-gpt-basdat")
    return samples.xorriso(folder / "h.iso", folder / "tree", "-R", *boot, *efi, "-isohybrid-mbr", str(ISOHDPFX))


def test_partitions(plain: bytes) -> None:
    image = Disk(plain).inspect()
    assert image.violations() == []
    assert image.disk is not None
    assert [(item.kind, item.start) for item in image.disk.mbr] == [(0xEE, 1)]
    assert image.disk.disk_guid == uuid.UUID(int=99)
    assert [(item.kind, item.first, item.last, item.name) for item in image.disk.gpt] == [
        (ESP, 100, 119, "part0"),
        (ESP, 120, 139, "part1"),
    ]


def test_a_system_area_without_partitions(plain: bytes) -> None:
    image = Editor(plain).inspect()
    assert image.disk is None
    assert image.system_area == bytes(32768)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
def test_mutation_is_told(plain: bytes, mutation: Mutation) -> None:
    disk = Disk(plain)
    mutation.change(disk)
    findings = disk.inspect().findings
    assert told(mutation, findings), [str(finding) for finding in findings]


def test_isohybrid_finds_its_image(isohybrid: Path) -> None:
    quirks = ("UEFI 5.2.3 protective MBR", "UEFI 5.3.3", "RRIP 4.1.1 links", "ECMA-119 7.4.1", "ECMA-119 7.6.1")
    with opened(isohybrid) as image:
        assert image.violations(*quirks) == []
        assert image.disk is not None
        assert image.boot is not None
        assert [item.active for item in image.disk.mbr] == [True, False]
        assert image.disk.mbr[1].start == image.boot.entries[1].sector * 4
    disk = Editor(isohybrid.read_bytes())
    disk.flip(432)
    assert [item.clause for item in disk.inspect().findings if item.clause == "isohybrid"] == ["isohybrid"]


def test_every_check_was_seen_failing(plain: bytes, isohybrid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen()
    seen.watch(monkeypatch)
    for mutation in MUTATIONS:
        disk = Disk(plain)
        mutation.change(disk)
        disk.inspect()
    moved = Editor(isohybrid.read_bytes())
    moved.flip(432)
    moved.inspect()
    assert seen.unseen(sites("hybrid")) == {}


@pytest.mark.parametrize("seed", range(40))
def test_damage_of_any_kind_is_survived(base: bytes, seed: int) -> None:
    """The reader ends, with findings and without an exception, whatever it reads."""
    chance = random.Random(seed)
    editor = Editor(base)
    used = [at for at in range(0, len(base) - 64, 32) if any(base[at : at + 32]) and at < 300 * 2048]
    for _ in range(chance.choice((1, 20, 300))):
        at = chance.choice(used) + chance.randrange(32)
        editor.put(at, chance.choice((0, 255, chance.randrange(256))))
    if seed % 4 == 0:
        del editor.data[chance.randrange(len(base)) :]
    image = editor.inspect()
    for volume in (image.primary, image.rock, image.joliet, image.udf):
        for node in volume.tree.values() if volume is not None else ():
            if node.content is not None and node.size < 1 << 20:
                node.content.sha256()
