"""The agent's answers, parsed without I/O: bytes in, a `GuestView` out.

The format is described at the top of `images/guests/agents/linux.sh`. What comes over the port was written by a guest
whose kernel has just read an image that may be broken on purpose: every number is checked against the others, every
length has a bound, and whatever does not fit ends in a sentence that says where.

The parsers are generators that yield when they need more bytes.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tarfile
from collections import Counter
from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from qemu_viso.errors import GuestError, RefusedError
from qemu_viso.guest.labels import LabelError, read_label
from qemu_viso.guest.view import Entry, GuestView

if TYPE_CHECKING:
    from qemu_viso.guest.view import Kind, Namespace

T = TypeVar("T")
Steps: TypeAlias = Generator[None, None, T]

VERSION = 1
LONGEST_LINE = 4096
LONGEST_PATH = 65536
MOST_PATHS = 1 << 30
MOST_DESCRIPTION = 1 << 20
LARGEST_PIECE = 16 << 20
BLOCK = 512

_KINDS: dict[int, Kind] = {
    stat.S_IFDIR: "directory",
    stat.S_IFREG: "file",
    stat.S_IFLNK: "symlink",
    stat.S_IFBLK: "block",
    stat.S_IFCHR: "character",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


class WireError(GuestError):
    """The agent said something that its protocol does not allow."""


class Feed:
    """Bytes that have come and are not yet read.

    Attributes:
        received: bytes that have come so far.
        reading: the path of the file whose content comes now, for messages.
    """

    def __init__(self) -> None:
        self._data = bytearray()
        self._at = 0
        self.received = 0
        self.reading: str | None = None

    def add(self, data: bytes) -> None:
        """Append what has come."""
        if self._at:
            del self._data[: self._at]
            self._at = 0
        self._data += data
        self.received += len(data)

    @property
    def left(self) -> int:
        """How many bytes have come and not been read."""
        return len(self._data) - self._at

    def peek(self) -> Steps[int]:
        """The next byte, which stays unread."""
        while not self.left:
            yield
        return self._data[self._at]

    def exactly(self, length: int) -> Steps[bytes]:
        """The next bytes, as many as asked for."""
        while self.left < length:
            yield
        return self._take(length)

    def some(self, most: int) -> Steps[bytes]:
        """What there is, at least one byte."""
        while not self.left:
            yield
        return self._take(min(most, self.left))

    def _take(self, length: int) -> bytes:
        with memoryview(self._data) as data:  # a slice of the bytearray itself would be one more copy
            taken = bytes(data[self._at : self._at + length])
        self._at += length
        return taken

    def until(self, mark: bytes, limit: int, what: str) -> Steps[bytes]:
        """What comes before a mark; the mark is skipped.

        Raises:
            WireError: the mark does not come within `limit` bytes.
        """
        searched = 0
        while True:
            found = self._data.find(mark, self._at + max(0, searched - len(mark) + 1))
            if found >= 0 and found - self._at <= limit:
                data = self._take(found - self._at)
                self._at += len(mark)
                return data
            searched = self.left
            if searched > limit or found >= 0:
                raise WireError(f"the agent sent {what} of more than {limit} bytes")
            yield

    def line(self, what: str) -> Steps[str]:
        """A line without its end, as text."""
        data = yield from self.until(b"\n", LONGEST_LINE, what)
        return data.decode("utf-8", "backslashreplace")


def _numbers(line: str, verb: str, count: int) -> list[int]:
    """`VERB n n…`, with exactly so many numbers."""
    words = line.split()
    if len(words) != count + 1 or words[0] != verb or not all(re.fullmatch(r"[0-9]{1,18}", each) for each in words[1:]):
        raise WireError(f"the agent should have sent '{verb}' and {count} numbers; it sent {line[:200]!r}")
    return [int(each) for each in words[1:]]


def parse_hello(feed: Feed) -> Steps[str]:
    """The agent's first line.

    Returns:
        the guest's architecture and kernel release.

    Raises:
        WireError: it is no agent, or one of another version.
    """
    line = yield from feed.line("a greeting")
    match = re.fullmatch(r"HELLO qemu-viso-agent ([0-9]{1,9}) (.*)", line)
    if match is None:
        raise WireError(f"this is not the agent's greeting: {line[:200]!r}")
    if int(match[1]) != VERSION:
        raise WireError(f"the agent speaks version {match[1]} of its protocol; version {VERSION} is needed")
    return match[2]


def _begin(feed: Feed, verb: str, request: int, count: int) -> Steps[list[int]]:
    """The first line of an answer; the numbers after the request's."""
    line = yield from feed.line("the beginning of an answer")
    if line.startswith(f"FAIL {request} "):
        raise RefusedError(f"the guest cannot do what was asked: {line.split(' ', 2)[2].strip()}")
    numbers = _numbers(line, verb, count + 1)
    if numbers[0] != request:
        raise WireError(f"the agent answers request {numbers[0]}; request {request} was asked")
    return numbers[1:]


def parse_piece(feed: Feed, request: int, length: int) -> Steps[bytes]:
    """The answer to READ.

    Raises:
        RefusedError: the guest could not read it.
        WireError: the answer is not well formed, or longer than what was asked for.
    """
    (size,) = yield from _begin(feed, "READ", request, 1)
    if size > length:
        raise WireError(f"the agent announces {size} bytes; {length} were asked for")
    data = yield from feed.exactly(size)
    number, status = _numbers((yield from feed.line("the end of an answer")), "END", 2)
    if number != request:
        raise WireError(f"the agent ends request {number}; request {request} was asked")
    if status:
        raise RefusedError(f"the guest could not read the file: dd ended with status {status} after {size} bytes")
    return data


def parse_view(feed: Feed, request: int, namespace: Namespace, limit: int) -> Steps[GuestView]:
    """The answer to VIEW.

    Args:
        feed: where its bytes come from.
        request: the number of the request.
        namespace: as asked for.
        limit: files smaller than this come with their content.

    Raises:
        RefusedError: the guest could not mount the medium, or could not read all of it.
        WireError: the answer is not well formed, or contradicts itself.
    """
    yield from _begin(feed, "VIEW", request, 0)
    (size,) = _numbers((yield from feed.line("the length of the volume description")), "VOLUME", 1)
    if size > MOST_DESCRIPTION:
        raise WireError(f"the agent announces a volume description of {size} bytes")
    description = yield from feed.exactly(size)
    paths = yield from _paths(feed)
    entries: dict[str, Entry] = {}
    for path in paths:
        line = yield from feed.line("a line from stat")
        entries[path] = parse_stat(line, path)
    yield from _contents(feed, entries, limit)
    line = yield from feed.line("the end of an answer")
    number, count, *statuses = _numbers(line, "END", 5)
    if number != request:
        raise WireError(f"the agent ends request {number}; request {request} was asked")
    if count != len(entries):
        raise WireError(f"the agent has sent {len(entries)} paths and says that it sent {count}")
    missing = next((path for path, entry in entries.items() if _comes_with_content(entry, limit)), None)
    for tool, status in zip(("find", "stat", "tar"), statuses, strict=True):
        if status:
            raise RefusedError(f"the guest could not read all of the medium: {tool} ended with status {status}")
    if missing is not None:
        raise WireError(f"the agent did not send the content of {missing!r}")
    try:
        return GuestView(namespace, read_label(description, namespace), entries)
    except LabelError as error:
        raise RefusedError(error.message) from None


def _paths(feed: Feed) -> Steps[list[str]]:
    """Paths as `find . -print0` writes them, up to an empty one."""
    data = yield from feed.until(b"\0\0", MOST_PATHS, "paths")
    paths = []
    for item in data.split(b"\0"):
        if item == b".":
            paths.append("/")
        elif item.startswith(b"./") and len(item) <= LONGEST_PATH:
            paths.append(os.fsdecode(item[1:]))
        else:
            raise WireError(f"the agent sent a path that is not below the medium's root: {item[:200]!r}")
    if len(set(paths)) != len(paths):
        twice = Counter(paths).most_common(1)[0][0]
        raise WireError(f"the guest lists the path {twice!r} twice")
    return paths


_STAT = re.compile(
    r"([0-9a-f]{1,8}) (\d{1,20}) (\d{1,10}) (\d{1,10}) (\d{1,10}) ([0-9a-f]{1,8}) ([0-9a-f]{1,8}) (-?\d{1,20}) (.*)"
)
_FRACTION = re.compile(r":\d\d\.(\d{9})\b")


def parse_stat(line: str, path: str) -> Entry:
    """A line of `stat -c '%f %s %u %g %h %t %T %Y %y'`.

    Raises:
        WireError: it is something else.
    """
    match = _STAT.fullmatch(line)
    if match is None:
        raise WireError(f"the agent should have sent a line from stat for {path!r}; it sent {line[:200]!r}")
    mode = int(match[1], 16)
    kind = _KINDS.get(stat.S_IFMT(mode), "unknown")
    fraction = _FRACTION.search(match[9])
    return Entry(
        kind=kind,
        size=int(match[2]),
        mode=stat.S_IMODE(mode),
        uid=int(match[3]),
        gid=int(match[4]),
        target=None,
        mtime=int(match[8]),
        sha256=None,
        mtime_nanoseconds=int(fraction[1]) if fraction else 0,
        device=(int(match[6], 16), int(match[7], 16)) if kind in ("block", "character") else None,
        links=int(match[5]),
    )


def _comes_with_content(entry: Entry, limit: int) -> bool:
    """Whether what only the archives tell is still to come."""
    if entry.kind == "symlink":
        return entry.target is None
    return entry.kind == "file" and entry.sha256 is None and entry.size < limit


def _contents(feed: Feed, entries: dict[str, Entry], limit: int) -> Steps[None]:
    """Tar archives (POSIX.1-1988 with GNU's long names), one after the other, up to a block that begins with END."""
    long_name = long_target = None
    while True:
        first = yield from feed.peek()
        if first == ord("E"):
            return
        block = yield from feed.exactly(BLOCK)
        if not any(block):
            continue
        member = _member(block)
        if member.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
            text = yield from _long_text(feed, member.size)
            if member.type == tarfile.GNUTYPE_LONGNAME:
                long_name = text
            else:
                long_target = text
            continue
        name, target = long_name or member.name, member.linkname if long_target is None else long_target
        long_name = long_target = None
        path = name.removeprefix(".")
        entry = entries.get(path)
        if entry is None or not _comes_with_content(entry, limit):
            raise WireError(f"the agent sends content for {name!r}, of which none was to come")
        entries[path] = yield from _content(feed, entries, path, member, target)


def _member(block: bytes) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError) as error:
        where = f": {error}" if str(error) else ""
        raise WireError(f"the agent sent something that is no tar header{where}") from None


def _long_text(feed: Feed, size: int) -> Steps[str]:
    if not 0 <= size <= LONGEST_PATH:
        raise WireError(f"the agent announces a name of {size} bytes")
    data = yield from feed.exactly(size + -size % BLOCK)
    return os.fsdecode(data[:size].rstrip(b"\0"))


def _content(feed: Feed, entries: dict[str, Entry], path: str, member: tarfile.TarInfo, target: str) -> Steps[Entry]:
    """What follows a header, put into the entry."""
    entry = entries[path]
    if member.type == tarfile.SYMTYPE and entry.kind == "symlink":
        return replace(entry, target=target)
    if member.type == tarfile.LNKTYPE and entry.kind == "file":
        # Names of one inode: tar sends the content with the first.
        first = entries.get(target.removeprefix("."))
        if first is None or first.sha256 is None or first.size != entry.size:
            raise WireError(f"the agent says that {path!r} is the same file as {target!r}, whose content did not come")
        return replace(entry, sha256=first.sha256)
    if member.type != tarfile.REGTYPE or entry.kind != "file":
        raise WireError(f"the agent announces {path!r} as a {entry.kind} and then sends tar type {member.type!r}")
    if member.size != entry.size:
        raise WireError(f"the agent announces {entry.size} bytes for {path!r} and then sends {member.size}")
    feed.reading = path
    digest = hashlib.sha256()
    left = entry.size
    while left:
        data = yield from feed.some(left)
        digest.update(data)
        left -= len(data)
    yield from feed.exactly(-entry.size % BLOCK)
    feed.reading = None
    return replace(entry, sha256=digest.hexdigest())
