"""One thing wrong in a good UDF bridge, and the reader tells it; and right things that genisoimage never makes."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

import pytest

from tests.judges import samples
from tests.judges.mutation import Editor, Mutation, Seen, sites, told
from tests.judges.reader.model import SECTOR, Source
from tests.judges.reader.udf import udf_volume

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(bool(samples.without("genisoimage")), reason=samples.without("genisoimage"))

QUIRK = "ECMA-167 3/8.4.2.2"  # genisoimage's reserve sequence has a volume set identifier of its own
MAIN, RESERVE, INTEGRITY, ANCHOR, PARTITION = 32, 48, 64, 256, 257
PRIMARY, IMPLEMENTATION, PARTITIONS, LOGICAL, UNALLOCATED, TERMINATOR = 1, 4, 5, 6, 7, 8
MUTATIONS: list[Mutation] = []


class Udf(Editor):
    """Where the UDF structures are: file entries by path, as byte offsets."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        source = Source(lambda offset, length: data[offset : offset + length], len(data))
        udf_volume(source)
        self.icb = {
            match[1]: claim.start
            for claim in source.space.claims
            if (match := re.fullmatch(r"UDF (/.*) \(ICB in block \d+\)", claim.who))
            and claim.stop - claim.start == SECTOR
        }

    def volume(self, kind: int, sequence: int = MAIN) -> int:
        """A descriptor of a Volume Descriptor Sequence."""
        for sector in range(sequence, sequence + 16):
            if int.from_bytes(self.data[sector * SECTOR : sector * SECTOR + 2], "little") == kind:
                return sector * SECTOR
        raise KeyError(kind)

    def block(self, path: str) -> int:
        return self.icb[path] // SECTOR - PARTITION

    def number(self, at: int, width: int = 4) -> int:
        return int.from_bytes(self.data[at : at + width], "little")

    def allocation(self, path: str) -> int:
        """The place of the first allocation descriptor."""
        return self.icb[path] + 176 + self.number(self.icb[path] + 168)

    def data_of(self, path: str) -> int:
        return (PARTITION + self.number(self.allocation(path) + 4)) * SECTOR

    def name(self, directory: str, nth: int) -> int:
        """The nth file identifier of a directory; 0 is the parent's."""
        at = self.data_of(directory)
        for _ in range(nth):
            at += (38 + self.number(at + 36, 2) + self.data[at + 19] + 3) & ~3
        return at

    def allocate(self, path: str, allocations: bytes, *, kind: int = 0, size: int | None = None, used: int = 0) -> None:
        """Replace the allocation descriptors (or inline data) of a file."""
        at = self.icb[path]
        self.put(at + 34, struct.pack("<H", self.number(at + 34, 2) & ~7 | kind))
        if size is not None:
            self.put(at + 56, struct.pack("<QQ", size, used))
        self.put(at + 172, struct.pack("<I", len(allocations)))
        self.put(self.allocation(path), allocations)
        self.length(at, 176 + self.number(at + 168) + len(allocations) - 16)

    def length(self, at: int, crc: int) -> None:
        self.put(at + 10, struct.pack("<H", crc))
        self.retag(at)

    def tag(self, at: int, kind: int, block: int, length: int) -> None:
        """Make the bytes at `at` a descriptor."""
        self.put(at, struct.pack("<HHBBHHHI", kind, 2, 0, 0, 0, 0, length - 16, block))
        self.retag(at)

    def attributes(self, path: str, attributes: bytes) -> None:
        """Give a file an extended attribute space."""
        at = self.icb[path]
        old = bytes(self.data[self.allocation(path) :][: self.number(at + 172)])
        self.put(at + 176, bytes(16), struct.pack("<II", 24, 24), attributes)
        self.tag(at + 176, 262, self.block(path), 24)
        self.put(at + 168, struct.pack("<I", 24 + len(attributes)))
        self.allocate(path, old)


def wrong(clause: str, words: str) -> Callable[[Callable[[Udf], None]], None]:
    def add(change: Callable[[Udf], None]) -> None:
        def with_udf(e: Editor) -> None:
            assert isinstance(e, Udf)
            change(e)

        MUTATIONS.append(Mutation("udf", clause, words, with_udf))

    return add


def put(clause: str, words: str, where: Callable[[Udf], int], offset: int, *parts: bytes | int) -> None:
    """Overwrite bytes of a descriptor, and make its checksums right."""

    def change(e: Udf) -> None:
        at = where(e)
        e.put(at + offset, *parts)
        e.retag(at)

    wrong(clause, words)(change)


def volume(kind: int) -> Callable[[Udf], int]:
    return lambda e: e.volume(kind)


def sector(number: int) -> Callable[[Udf], int]:
    return lambda _: number * SECTOR


def icb(path: str) -> Callable[[Udf], int]:
    return lambda e: e.icb[path]


def name(directory: str, nth: int) -> Callable[[Udf], int]:
    return lambda e: e.name(directory, nth)


# --- recognition and anchors
@wrong("ECMA-167 2/9.1", "BEA01 with")
def _(e: Udf) -> None:
    e.put(e.data.index(b"BEA01") + 10, 1)


@wrong("ECMA-167 2/8.3.1", "extended area is")
def _(e: Udf) -> None:
    e.put(e.data.index(b"TEA01"), b"XXXXX")


put("ECMA-167 3/10.2.4", "reserved", sector(ANCHOR), 100, 1)
put("UDF 2.2.3", "1 anchors", sector(ANCHOR), 0, bytes(32))
put("ECMA-167 3/10.2", "disagree", sector(ANCHOR), 28, struct.pack("<I", 49))


@wrong("UDF 2.2.3.1", "12288 bytes")
def _(e: Udf) -> None:
    for at in (ANCHOR * SECTOR, (e.sectors - 1) * SECTOR):
        e.put(at + 16, struct.pack("<I", 6 * SECTOR))
        e.retag(at)


# --- tags
put("ECMA-167 3/7.2.2", "version 5", volume(LOGICAL), 2, 5)
put("ECMA-167 3/7.2.4", "reserved", volume(LOGICAL), 5, 1)
put("ECMA-167 3/7.2.8", "the tag says", volume(LOGICAL), 12, 1)
put("ECMA-167 3/7.2.1", "instead of 261", icb("/hello.txt"), 0, b"\1\1")


@wrong("ECMA-167 3/7.2.3", "checksum")
def _(e: Udf) -> None:
    e.flip(e.volume(LOGICAL) + 4)


@wrong("ECMA-167 3/7.2.6", "CRC is")
def _(e: Udf) -> None:
    e.flip(e.volume(LOGICAL) + 100)


@wrong("ECMA-167 3/7.2.7", "beyond")
def _(e: Udf) -> None:
    e.length(e.volume(LOGICAL), 4000)


@wrong("ECMA-167 3/7.2", "no room")
def _(e: Udf) -> None:
    e.put(e.icb["/hello.txt"] + 168, struct.pack("<I", 8))
    e.retag(e.icb["/hello.txt"])


# --- the volume descriptor sequence
put("ECMA-167 3/10.9.2", "reserved", volume(TERMINATOR), 100, 1)
put("ECMA-167 3/8.4.1", "type 9", volume(UNALLOCATED), 0, 9)
put("UDF 2.2", "no unallocated space", volume(UNALLOCATED), 0, 9)
put("ECMA-167 3/8.4.2", "no terminating", volume(TERMINATOR), 0, bytes(512))
put("ECMA-167 3/8.4.2.2", "logical volume descriptors", volume(LOGICAL), 310, 1)
put("UDF 2.2.2", "interchange levels", volume(PRIMARY), 60, 9)
put("UDF 2.2.2.3", "character set lists", volume(PRIMARY), 64, 2)
put("ECMA-167 3/10.1.21", "reserved", volume(PRIMARY), 500, 1)
put("UDF 2.2.2.5", "not unique", volume(PRIMARY), 72, bytes(128))
put("ECMA-167 3/10.5.3", "flags", volume(PARTITIONS), 20, 0)
put("ECMA-167 3/10.5.5", "contents", volume(PARTITIONS), 25, b"?")
put("ECMA-167 3/10.5.7", "access type 9", volume(PARTITIONS), 184, 9)
put("UDF 2.3.3", "space tables", volume(PARTITIONS), 56, 1)
put("ECMA-167 3/10.5.9", "more than", volume(PARTITIONS), 192, struct.pack("<I", 100_000))
put("UDF 2.2.4.2", "512", volume(LOGICAL), 212, struct.pack("<I", 512))
put("UDF 2.2.8", "2 partition maps", volume(LOGICAL), 268, 2)
put("ECMA-167 3/10.7.2", "is not of partition", volume(LOGICAL), 444, 9)
put("UDF 2.1.5.3", "revision", volume(IMPLEMENTATION), 44, b"\x50\1")
put("UDF 2.2.7.2.2", "but the volume is", volume(IMPLEMENTATION), 117, b"X")

# --- fields
put("UDF 2.1.3", "of 200 bytes", volume(PRIMARY), 24 + 31, 200)
put("ECMA-167 1/7.2.12", "after the string", volume(PRIMARY), 24 + 28, 1)
put("UDF 2.1.3", "length 1", volume(PRIMARY), 24, 8, bytes(30), 1)
put("UDF 2.1.2", "character set", volume(PRIMARY), 205, b"?")
put("UDF 2.1.5.1", "flags", volume(LOGICAL), 216, 1)
put("UDF 2.1.5.2", "is b'?OSTA", volume(LOGICAL), 217, b"?")
put("UDF 2.1.5.2", "empty", icb("/hello.txt"), 129, bytes(23))
put("UDF 2.1.4.1", "type 2", volume(PRIMARY), 377, 0x20)
put("ECMA-167 1/7.3.1", "2000 minutes", volume(PRIMARY), 376, struct.pack("<H", 0x1000 | 2000))
put("ECMA-167 1/7.3", "month", volume(PRIMARY), 380, 13)
put("ECMA-167 1/7.3.8", "above 99", volume(PRIMARY), 385, 100)
put("UDF 2.1.1", "compression 9", name("/", 1), 38, 9)
put("UDF 2.1.1", "not Unicode", name("/", 1), 38, b"\x10\xd8\0\xd8\0\xd8\0\xd8\0")

# --- file set and integrity
put("UDF 2.3.2", "interchange levels", sector(PARTITION), 28, 9)
put("UDF 2.3.2.7", "another revision", sector(PARTITION), 440, 0x50)
put("ECMA-167 4/14.1.11", "another logical volume", sector(PARTITION), 113, b"X")
put("ECMA-167 4/14.1.18", "reserved", sector(PARTITION), 500, 1)
put("ECMA-167 3/10.10.3", "not closed", sector(INTEGRITY), 28, 0)
put("UDF 3.2.1.1", "next unique id 16", sector(INTEGRITY), 40, struct.pack("<Q", 16))
put("ECMA-167 3/10.10.6", "2 partitions", sector(INTEGRITY), 72, 2)
put("ECMA-167 3/10.10.9", "size table", sector(INTEGRITY), 84, 1)
put("ECMA-167 3/10.10.8", "free blocks", sector(INTEGRITY), 80, 1)
put("UDF 2.2.6.4", "40 bytes", sector(INTEGRITY), 76, 40)
put("UDF 2.2.6.4", "99 files", sector(INTEGRITY), 120, 99)
put("UDF 2.2.6.4", "revisions", sector(INTEGRITY), 128, b"\x50\1")

# --- file entries
put("UDF 3.2.1.1", "root is a dir, unique id 5", icb("/"), 160, 5)
put("ECMA-167 4/14.9.6", "7 links", icb("/hello.txt"), 48, 7)
put("UDF 2.3.6", "record format", icb("/hello.txt"), 50, 1)
put("ECMA-167 4/14.9", "end at byte", icb("/hello.txt"), 172, struct.pack("<I", 3000))
put("UDF 3.2.1.1", "unique id 3", icb("/hello.txt"), 160, struct.pack("<Q", 3))
put("ECMA-167 4/14.6.6", "file type 99", icb("/hello.txt"), 27, 99)
put("UDF 3.3.4.4", "devices", icb("/hello.txt"), 27, 7)
put("UDF 2.3.5", "strategy 4096", icb("/hello.txt"), 20, struct.pack("<H", 4096))
put("UDF 2.3.5.4", "kind 2", icb("/hello.txt"), 34, 2)
put("ECMA-167 4/14.9.10", "information length is 7", icb("/hello.txt"), 56, 7)
put("ECMA-167 4/14.9.11", "9 blocks recorded, the extents", icb("/hello.txt"), 64, 9)
put("ECMA-167 4/14.9.10", "inside the ICB", icb("/hello.txt"), 34, 3)
put("ECMA-167 4/14.9.11", "though the data", icb("/hello.txt"), 34, 3)
put("ECMA-167 4/14.14", "9 bytes", icb("/hello.txt"), 172, 9)
put("ECMA-167 4/8.6", "a directory of", icb("/two"), 56, struct.pack("<Q", 2 << 30))
wrong("ECMA-167 4/14.10.2", "does not fit")(lambda e: e.attributes("/hello.txt", struct.pack("<IB3xI", 12, 1, 99)))
wrong("ECMA-167 4/14.10.2.2", "subtype 2")(lambda e: e.attributes("/hello.txt", struct.pack("<IB3xI", 5, 2, 12)))


@wrong("UDF 3.2.1.1", "unique id")
def _(e: Udf) -> None:
    e.put(e.icb["/hello.txt"] + 160, bytes(e.data[e.icb["/two"] + 160 :][:8]))
    e.retag(e.icb["/hello.txt"])


def parts(e: Udf, *lengths: int) -> bytes:
    """Short allocation descriptors of these lengths, from the first block of /dir/data.bin on."""
    block = e.number(e.allocation("/dir/data.bin") + 4)
    return b"".join(struct.pack("<II", length, block + index) for index, length in enumerate(lengths))


@wrong("ECMA-167 4/12.1", "2000 bytes that is not the last")
def _(e: Udf) -> None:
    e.allocate("/dir/data.bin", parts(e, 2000, 2048, 952), size=5000, used=3)


@wrong("ECMA-167 4/8.1", "leave the partition")
def _(e: Udf) -> None:
    e.allocate("/hello.txt", struct.pack("<II", 6, 100_000))


@wrong("ECMA-167 4/12", "after the end")
def _(e: Udf) -> None:
    e.allocate("/hello.txt", struct.pack("<IIII", 0, 0, 6, 1))


def continued(e: Udf, following: bytes, *, length: int | None = None) -> None:
    """/dir/data.bin with its last two blocks named in an allocation extent, in the place of /hello.txt's data."""
    at = e.data_of("/hello.txt")
    block = at // SECTOR - PARTITION
    e.put(at, bytes(16), struct.pack("<II", 0, len(following) if length is None else length), following)
    e.tag(at, 258, block, 24 + len(following))
    e.allocate("/dir/data.bin", parts(e, 2048) + struct.pack("<II", 3 << 30 | 24 + len(following), block))
    e.allocate("/hello.txt", b"", size=0)


@wrong("ECMA-167 4/12", "loop")
def _(e: Udf) -> None:
    block = e.data_of("/hello.txt") // SECTOR - PARTITION
    continued(e, struct.pack("<II", 3 << 30 | 32, block))


@wrong("ECMA-167 4/14.5", "do not fit")
def _(e: Udf) -> None:
    continued(e, parts(e, 2048, 2048, 904)[8:], length=500)


# --- directories
put("UDF 2.3.4.6", "the same", name("/two", 2), 39, b"a")
put("ECMA-167 4/14.4.3", "characteristics 0x2", name("/two", 1), 18, 2)
put("UDF 2.3.4.3", "unique id", name("/two", 1), 32, 77)
put("ECMA-167 4/8.1", "not inside the partition", name("/two", 1), 24, b"\xff\xff\xff\0")
put("ECMA-167 4/8.6", "leads to block", name("/two", 0), 24, 1)
put("ECMA-167 4/8.6", "0 entries", name("/two", 0), 18, 2)
put("ECMA-167 4/14.4", "leaves the directory", name("/two", 2), 19, 255)
put("UDF 2.3.4", "version 2", name("/two", 1), 16, 2)
put("ECMA-167 4/14.4.9", "padding", name("/dir/sub", 1), 38 + 8, 1, 1)
put("UDF 2.3.4.5", "2 bytes", name("/two", 1), 36, 2)
put("UDF 2.3.4.6", "empty name", name("/two", 1), 19, 0)
put("UDF 2.3.4.6", "the name", name("/two", 1), 39, b"/")


@wrong("ECMA-167 4/8.6", "a second name")
def _(e: Udf) -> None:
    at = e.name("/two", 1)
    e.put(at + 18, 2)
    e.put(at + 24, struct.pack("<I", e.block("/dir")))
    e.retag(at)


@wrong("ECMA-167 4/14.4", "after the last name")
def _(e: Udf) -> None:
    at = e.icb["/two"]
    size = e.number(at + 56, 8) + 8
    e.allocate("/two", struct.pack("<II", size, e.number(e.allocation("/two") + 4)), size=size, used=1)


# --- links
def link(e: Udf, components: bytes) -> None:
    """Make /hello.txt a symbolic link, its components inside the ICB."""
    e.put(e.icb["/hello.txt"] + 27, 12)
    e.allocate("/hello.txt", components, kind=3, size=len(components))


wrong("ECMA-167 4/14.16.1", "type 9")(lambda e: link(e, b"\x09\0\0\0"))
wrong("ECMA-167 4/14.16.1.4", "empty component")(lambda e: link(e, b"\5\1\0\0\x08"))
wrong("ECMA-167 4/14.16", "not path components")(lambda e: link(e, b"\4\0\0\0\4"))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("udf")
    (folder / "tree").mkdir()
    samples.small_tree(folder / "tree")
    return samples.genisoimage(folder / "udf.iso", folder / "tree", "-udf", "-R", "-J", "-V", "BASE").read_bytes()


def changed(base: bytes, change: Callable[[Udf], None]) -> Udf:
    e = Udf(base)
    change(e)
    return e


def test_the_base_is_good(base: bytes) -> None:
    assert Editor(base).inspect().violations(QUIRK) == []


@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
def test_mutation_is_told(base: bytes, mutation: Mutation) -> None:
    findings = changed(base, mutation.change).inspect().findings
    assert told(mutation, findings), [str(finding) for finding in findings]


def test_every_check_was_seen_failing(base: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen()
    seen.watch(monkeypatch)
    for mutation in MUTATIONS:
        changed(base, mutation.change).inspect()
    assert seen.unseen(sites("udf", "udf_fields", "udf_files")) == {}


def good(e: Udf) -> None:
    """Nothing is told but that the other namespaces, which know nothing of the change, claim the same bytes."""
    assert e.inspect().violations(QUIRK, "ECMA-119 6.4") == []


@pytest.mark.parametrize(
    ("components", "target"),
    [
        (b"\4\0\0\0\3\0\0\0\5\5\0\0\x08file", "./../file"),
        (b"\2\0\0\0\5\4\0\0\x08etc", "/etc"),
        (b"\2\0\0\0", "/"),
        (b"\5\5\0\0\x10\x65\xe5\x67\x2c", "日本"),
    ],
)
def test_links(base: bytes, components: bytes, target: str) -> None:
    e = changed(base, lambda e: link(e, components))
    good(e)
    udf = e.inspect().udf
    assert udf is not None
    assert (udf.tree["/hello.txt"].kind, udf.tree["/hello.txt"].target) == ("link", target)


def test_device(base: bytes) -> None:
    def make(e: Udf) -> None:
        e.put(e.icb["/hello.txt"] + 27, 7)
        e.allocate("/hello.txt", b"", size=0)
        e.attributes("/hello.txt", struct.pack("<IB3xIIII", 12, 1, 24, 0, 5, 1))

    e = changed(base, make)
    good(e)
    udf = e.inspect().udf
    assert udf is not None
    assert (udf.tree["/hello.txt"].kind, udf.tree["/hello.txt"].device) == ("char", (5, 1))


def test_names_of_16_bits_are_big_endian(base: bytes) -> None:
    def make(e: Udf) -> None:
        at = e.name("/", 1)
        assert e.data[at + 19] == 9  # boot.img
        e.put(at + 38, 16, "日本語字".encode("utf-16-be"))
        e.retag(at)

    e = changed(base, make)
    good(e)
    udf = e.inspect().udf
    assert udf is not None
    assert "/日本語字" in udf.tree


@pytest.mark.parametrize("allocation_extent", [False, True])
def test_files_in_several_extents(base: bytes, allocation_extent: bool) -> None:
    def make(e: Udf) -> None:
        if allocation_extent:
            continued(e, parts(e, 2048, 2048, 904)[8:])
        else:
            e.allocate("/dir/data.bin", parts(e, 2048, 2048, 904))

    e = changed(base, make)
    good(e)
    udf = e.inspect().udf
    assert udf is not None
    node = udf.tree["/dir/data.bin"]
    assert node.content is not None
    assert len(node.extents) == 3
    assert node.content.data() == samples.noise("data", 5000)


def test_holes_read_as_zeros(base: bytes) -> None:
    def make(e: Udf) -> None:
        first, _, third = (parts(e, 2048, 2048, 904)[i : i + 8] for i in (0, 8, 16))
        e.allocate("/dir/data.bin", first + struct.pack("<II", 2 << 30 | 2048, 0) + third, size=5000, used=2)

    e = changed(base, make)
    good(e)
    udf = e.inspect().udf
    assert udf is not None
    node = udf.tree["/dir/data.bin"]
    data = samples.noise("data", 5000)
    assert node.content is not None
    assert node.content.data() == data[:2048] + bytes(2048) + data[4096:]
