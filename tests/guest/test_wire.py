"""The agent's answers: those that are right, cut at every place, and those of a guest that lies."""

import contextlib
import hashlib
import io
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qemu_viso.errors import GuestError, RefusedError
from qemu_viso.guest.view import Entry, GuestView
from qemu_viso.guest.wire import (
    MOST_DESCRIPTION,
    Feed,
    Steps,
    WireError,
    parse_hello,
    parse_piece,
    parse_stat,
    parse_view,
)

LIMIT = 1 << 20


def descriptors(label: bytes = b"LABEL") -> bytes:
    primary = b"\1CD001\1\0" + bytes(32) + label.ljust(32)
    return primary.ljust(2048, b"\0") + b"\xffCD001\1".ljust(2048, b"\0")


@dataclass
class Answer:
    """The parts of an answer to VIEW, each of which a test may replace."""

    begin: bytes = b"VIEW 7\n"
    volume: bytes = field(default_factory=lambda: b"VOLUME 4096\n" + descriptors())
    paths: list[bytes] = field(default_factory=list)
    stats: list[bytes] = field(default_factory=list)
    tar: bytes = b""
    end: bytes | None = None

    def add(self, path: bytes, stat: str, content: bytes | None = None, target: bytes | None = None) -> None:
        self.paths.append(path)
        self.stats.append(stat.encode())
        if content is None and target is None:
            return
        member = tarfile.TarInfo(path.decode("utf-8", "surrogateescape"))
        if target is not None:
            member.type, member.linkname = tarfile.SYMTYPE, target.decode("utf-8", "surrogateescape")
        else:
            member.size = len(content or b"")
        with io.BytesIO() as buffer:
            with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
                archive.addfile(member, io.BytesIO(content or b""))
            self.tar += buffer.getvalue()

    def __bytes__(self) -> bytes:
        end = b"END 7 %d 0 0 0\n" % len(self.paths) if self.end is None else self.end
        names = b"".join(path + b"\0" for path in self.paths) + b"\0"
        return self.begin + self.volume + names + b"".join(line + b"\n" for line in self.stats) + self.tar + end


DIRECTORY = "41ed 2048 0 0 2 0 0 1000 1970-01-01 00:16:40.000000000 +0000"
FILE = "81a4 {} 1 2 1 0 0 -5 1969-12-31 23:59:55.250000000 +0000"
LINK = "a1ff 4 0 0 1 0 0 0 1970-01-01 00:00:00.000000000 +0000"
DEVICE = "61b0 0 0 6 1 8 1f 0 1970-01-01 00:00:00.000000000 +0000"


def good() -> Answer:
    answer = Answer()
    answer.add(b".", DIRECTORY)
    answer.add(b"./hello", FILE.format(5), b"hello")
    answer.add(b"./empty", FILE.format(0), b"")
    answer.add(b"./a\nb\xff", FILE.format(700), b"x" * 700)
    answer.add(b"./link", LINK, target=b"to\n\xfe")
    answer.add(b"./" + b"d" * 200, LINK, target=b"t" * 200)
    answer.add(b"./huge", FILE.format(LIMIT))
    answer.add(b"./sda15", DEVICE)
    return answer


def run(steps: Steps[GuestView], feed: Feed, data: bytes, size: int) -> GuestView:
    """Feed bytes in pieces until the parser is done; the end of the bytes is the end of the patience."""
    at = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            view: GuestView = end.value
            return view
        if at >= len(data):
            raise EOFError
        feed.add(data[at : at + size])
        at += size


def parse(data: bytes, size: int = 1 << 20) -> GuestView:
    feed = Feed()
    return run(parse_view(feed, 7, "rock", LIMIT), feed, data, size)


@pytest.mark.parametrize("size", [1, 3, 511, 512, 1 << 20])
def test_a_good_answer_however_it_is_cut(size: int) -> None:
    feed = Feed()
    view = run(parse_view(feed, 7, "rock", LIMIT), feed, bytes(good()) + b"next", size)
    assert view.label == "LABEL"
    assert view.namespace == "rock"
    entries = view.entries
    assert list(entries) == [
        "/", "/hello", "/empty", "/a\nb\udcff", "/link", "/" + "d" * 200, "/huge", "/sda15",
    ]  # fmt: skip
    assert entries["/"] == Entry("directory", 2048, 0o755, 0, 0, None, 1000, None, links=2)
    digest = hashlib.sha256(b"hello").hexdigest()
    assert entries["/hello"] == Entry("file", 5, 0o644, 1, 2, None, -5, digest, mtime_nanoseconds=250_000_000)
    assert entries["/empty"].sha256 == hashlib.sha256(b"").hexdigest()
    assert entries["/a\nb\udcff"].sha256 == hashlib.sha256(b"x" * 700).hexdigest()
    assert entries["/link"].target == "to\n\udcfe"
    assert entries["/" + "d" * 200].target == "t" * 200
    assert entries["/huge"].sha256 is None
    assert entries["/sda15"] == Entry("block", 0, 0o660, 0, 6, None, 0, None, device=(8, 0x1F))


def test_what_follows_an_answer_stays() -> None:
    feed = Feed()
    data = bytes(good()) + b"VIEW 8\n"
    run(parse_view(feed, 7, "rock", LIMIT), feed, data, len(data))
    assert feed.left == len(b"VIEW 8\n")


def test_two_names_of_one_file() -> None:
    answer = good()
    answer.add(b"./other", FILE.format(5))
    member = tarfile.TarInfo("./other")
    member.type, member.linkname = tarfile.LNKTYPE, "./hello"
    answer.tar += member.tobuf(tarfile.GNU_FORMAT)
    entries = parse(bytes(answer)).entries
    assert entries["/other"].sha256 == entries["/hello"].sha256


def test_a_cut_answer_is_waited_for_and_never_taken() -> None:
    data = bytes(good())
    for end in (0, 3, 50, 5000, len(data) - 700, len(data) - 1):
        with pytest.raises(EOFError):
            parse(data[:end])


def change(**parts: object) -> Callable[[Answer], None]:
    def apply(answer: Answer) -> None:
        for name, value in parts.items():
            setattr(answer, name, value)

    return apply


def drop_content(answer: Answer) -> None:
    answer.tar = b""


def swap_sizes(answer: Answer) -> None:
    answer.stats[1] = FILE.format(4).encode()


def content_twice(answer: Answer) -> None:
    answer.tar += answer.tar


def link_as_file(answer: Answer) -> None:
    answer.stats[4] = FILE.format(4).encode()


def link_to_nothing(answer: Answer) -> None:
    answer.add(b"./other", FILE.format(5))
    member = tarfile.TarInfo("./other")
    member.type, member.linkname = tarfile.LNKTYPE, "./missing"
    answer.tar += member.tobuf(tarfile.GNU_FORMAT)


def long_name_without_end(answer: Answer) -> None:
    member = tarfile.TarInfo("././@LongLink")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 1 << 40
    answer.tar = member.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    ("lie", "sentence"),
    [
        (change(begin=b"VIEW 8\n"), "answers request 8; request 7 was asked"),
        (change(begin=b"VIEW\n"), "should have sent 'VIEW' and 1 numbers"),
        (change(begin=b"VIEW 0x7\n"), "should have sent 'VIEW'"),
        (change(begin=b"\xff" * 5000), "the beginning of an answer of more than 4096 bytes"),
        (change(begin=b"hello\n"), "it sent 'hello'"),
        (change(volume=b"VOLUME %d\n" % (MOST_DESCRIPTION + 1)), "announces a volume description of"),
        (change(volume=b"VOLUME -1\n"), "should have sent 'VOLUME'"),
        (change(volume=b"VOLUME 99999999999999999999999\n"), "should have sent 'VOLUME'"),
        (change(paths=[b"/etc/passwd"]), "not below the medium's root: b'/etc/passwd'"),
        (change(paths=[b"./" + b"x" * 70000]), "not below the medium's root"),
        (change(paths=[b".", b"./a", b"./a"]), "lists the path '/a' twice"),
        (change(stats=[b"rubbish"]), "a line from stat for '/'; it sent 'rubbish'"),
        (change(stats=[b"x" * 5000]), "a line from stat of more than 4096 bytes"),
        (change(tar=b"." * 512), "no tar header"),
        (change(tar=b"\x01" + bytes(511)), "no tar header"),
        (drop_content, "did not send the content of '/hello'"),
        (swap_sizes, "announces 4 bytes for '/hello' and then sends 5"),
        (content_twice, "sends content for './hello', of which none was to come"),
        (link_as_file, "announces '/link' as a file and then sends tar type b'2'"),
        (link_to_nothing, "the same file as './missing', whose content did not come"),
        (long_name_without_end, "announces a name of 1099511627776 bytes"),
        (change(end=b"END 7 3 0 0 0\n"), "has sent 8 paths and says that it sent 3"),
        (change(end=b"END 6 8 0 0 0\n"), "ends request 6; request 7 was asked"),
        (change(end=b"END 7 8\n"), "should have sent 'END' and 5 numbers"),
        (change(end=b"Enough\n"), "should have sent 'END'"),
    ],
)
def test_lies(lie: Callable[[Answer], None], sentence: str) -> None:
    answer = good()
    lie(answer)
    with pytest.raises(WireError) as caught:
        parse(bytes(answer))
    assert sentence in caught.value.message


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"FAIL 7 mount: No medium (sr0: disc change)\n", "the guest cannot do what was asked: mount: No medium"),
        (bytes(good()).replace(b"END 7 8 0 0 0", b"END 7 8 1 0 0"), "find ended with status 1"),
        (bytes(good()).replace(b"END 7 8 0 0 0", b"END 7 8 0 0 123"), "tar ended with status 123"),
    ],
)  # fmt: skip
def test_a_guest_that_admits_failure(data: bytes, sentence: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse(data)
    assert sentence in caught.value.message


def test_a_volume_without_descriptor_is_refused() -> None:
    answer = good()
    answer.volume = b"VOLUME 0\n"
    with pytest.raises(GuestError, match="no primary volume descriptor"):
        parse(bytes(answer))


def drive(steps: Steps[object], feed: Feed, data: bytes) -> object:
    feed.add(data)
    try:
        next(steps)
    except StopIteration as end:
        return end.value
    raise EOFError


def test_greetings() -> None:
    feed = Feed()
    assert drive(parse_hello(feed), feed, b"HELLO qemu-viso-agent 1 s390x 6.1.0\n") == "s390x 6.1.0"
    for line, sentence in ((b"login:\n", "not the agent's greeting"), (b"HELLO qemu-viso-agent 2 x y\n", "version 2")):
        feed = Feed()
        with pytest.raises(WireError, match=sentence):
            drive(parse_hello(feed), feed, line)


def test_pieces() -> None:
    feed = Feed()
    assert drive(parse_piece(feed, 3, 10), feed, b"READ 3 4\nabcdEND 3 0\n") == b"abcd"
    for data, sentence in (
        (b"READ 3 11\n", "announces 11 bytes; 10 were asked for"),
        (b"READ 3 4\nabcdEND 4 0\n", "ends request 4"),
        (b"READ 3 4\nabcdEND 3 1\n", "dd ended with status 1 after 4 bytes"),
        (b"FAIL 3 no such device\n", "no such device"),
    ):
        feed = Feed()
        with pytest.raises(GuestError, match=sentence):
            drive(parse_piece(feed, 3, 10), feed, data)


@settings(max_examples=300)
@given(st.data())
def test_any_damage_ends_in_a_sentence(data: st.DataObject) -> None:
    """Whatever a guest sends, the parser ends in a view, in one of its errors, or asks for more."""
    stream = bytearray(bytes(good()))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(stream) - 1))
        match data.draw(st.sampled_from(["flip", "cut", "insert"])):
            case "flip":
                stream[at] ^= data.draw(st.integers(1, 255))
            case "cut":
                del stream[at : at + data.draw(st.integers(1, 600))]
            case _:
                stream[at:at] = data.draw(st.binary(min_size=1, max_size=40))
        if not stream:
            break
    try:
        view = parse(bytes(stream), data.draw(st.sampled_from([17, 4096, 1 << 20])))
    except (EOFError, GuestError):
        return
    assert GuestView.from_json(view.to_json()) == view


@given(st.text(max_size=200))
def test_any_line_in_place_of_stat(line: str) -> None:
    with contextlib.suppress(WireError):
        assert parse_stat(line, "/x").size >= 0
