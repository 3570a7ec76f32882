"""Fuzzing both NBD cores and the session between them, without a socket.

    python -m tests.nbd.fuzz_nbd --runs 1000000        seeded mutations of the corpus; needs nothing
    python -m tests.nbd.fuzz_nbd --atheris [...]       libFuzzer through atheris, where it is installed

The first byte of an input says who hears the rest: a handshake, which may go on into its session, or a session at once.
The second says how it is cut into pieces, the third in which world that is: which contexts are selected, and what has
become of the image's files. Nothing but the documented outcomes is allowed: options get well-formed replies, requests
the very answers that `oracle` works out for them, in pieces and as a whole.
"""

from __future__ import annotations

import atexit
import os
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from qemu_viso.image import FileSlice, Generated, Literal, Patched
from qemu_viso.nbd.constants import Mode
from qemu_viso.nbd.contexts import Status
from qemu_viso.nbd.handshake import Ended, Export, Handshake, Selected, StartTls, Tls
from qemu_viso.nbd.session import Session
from tests.fuzzing import drive, lines_of_corpus
from tests.nbd.images import Builder, host_file, random_bytes
from tests.nbd.oracle import Conversation, Place, World
from tests.nbd.wire import REP, split_replies

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence

    from qemu_viso.image import Content
    from qemu_viso.nbd.channel import Buffer

CORPUS = Path(__file__).with_name("fuzz_corpus.txt")
HANDSHAKES = {0: Tls.NOTLS, 1: Tls.FORCEDTLS}
SESSIONS = {2: Mode.SIMPLE, 3: Mode.STRUCTURED, 4: Mode.EXTENDED}
CONTEXTS = ((1, 2), (), (1,), (2,))
GREETING = b"NBDMAGICIHAVEOPT\0\x03"
FAULT_AT = 100_000
"""So many bytes of files are sent before one of them ends too soon, in a world where that happens."""


class Scene:
    """An image, its contexts, and how it must read, with two of its files as `becomes` has left them."""

    def __init__(self, folder: Path, becomes: str) -> None:
        folder.mkdir()
        self._builder = Builder()
        self._places: list[Place] = []
        self._add(None, b"", 0, span=65_536)
        self._add(Literal(b"a descriptor", "descriptor"), b"a descriptor", 1)
        data = random_bytes(10_000, 1)
        self._add(Generated(len(data), lambda: data, "directory"), data, 2)
        long = random_bytes(100_000, 2)
        self._add(Literal(long, "long"), long, 1)
        bad = becomes != "nothing"
        self._file(folder / "big", 300_001, bad=bad)
        for name in ("small", "bad", "other"):
            self._file(folder / name, 700, bad=bad and name == "bad")
        with (folder / "sparse").open("wb") as sparse:
            sparse.write(b"begin")
            sparse.seek(200_000)
            sparse.write(b"end")
        file = host_file(folder / "sparse")
        self._add(file, (folder / "sparse").read_bytes(), 3, sparse=True)
        whole = random_bytes(60_000, 3)
        (folder / "whole").write_bytes(whole)
        file = host_file(folder / "whole")
        self._add(FileSlice(file, 1000, 50_000), whole[1000:51_000], 4)
        edit = random_bytes(56, 4)
        self._add(Patched(file, 64, Generated(56, lambda: edit, "table")), whole[:64] + edit + whole[120:], 5)
        self._add(None, b"", 0, span=102_400)
        self.image = self._builder.image("fuzz")
        self.status = Status(self.image)
        self.world = World(bytes(self._builder.expected), self._places)
        self.image.read(0, self.image.size)  # opens the files: some handles are older than what becomes of them
        for name in ("big", "bad"):
            if becomes == "changed":
                os.utime(folder / name, ns=(0, 0))
            elif becomes == "truncated":
                os.truncate(folder / name, 100)

    def _file(self, path: Path, size: int, *, bad: bool) -> None:
        data = random_bytes(size, size)
        path.write_bytes(data)
        self._add(host_file(path), data, 3, bad=bad)

    def _add(
        self,
        content: Content | None,
        data: bytes,
        kind: int,
        *,
        span: int | None = None,
        bad: bool = False,
        sparse: bool = False,
    ) -> None:
        start = self._builder.add(content, data, span)
        self._places.append(Place(start, start + len(data), self._builder.regions.size, kind, bad, sparse))


def _scenes() -> tuple[Scene, ...]:
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    healthy, *others = (Scene(Path(folder.name) / each, each) for each in ("nothing", "changed", "truncated"))
    return (healthy, *others, healthy)  # in the last one, a file ends while it is sent


SCENES = _scenes()
EXPORT = Export("fuzz", SCENES[0].image.size, "described")
EXPORTS = {"fuzz": EXPORT, "other": Export("other", EXPORT.size, ""), "": EXPORT}


def one_input(data: bytes) -> None:
    """Raises AssertionError, or whatever a bug raises."""
    if len(data) < 3:
        return
    who, cut, world, rest = data[0] % 5, data[1] or 256, data[2], data[3:]
    pieces = [rest[at : at + cut] for at in range(0, len(rest), cut)]
    if who in HANDSHAKES:
        _handshake(HANDSHAKES[who], rest, pieces, world)
        return
    mode = SESSIONS[who]
    contexts = () if mode is Mode.SIMPLE else CONTEXTS[world >> 2 & 3]
    first, others = (pieces[:1], pieces[1:]) if world & 16 else ([], pieces)
    _session(Selected(EXPORT, mode, contexts, b"".join(first)), others, world)


def _haggle(tls: Tls, pieces: Sequence[bytes]) -> tuple[bytes, object, Sequence[bytes]]:
    handshake = Handshake(EXPORTS, tls)
    sent = b""
    for number, piece in enumerate(pieces):
        handshake.receive(piece)
        sent += handshake.take_output()
        if isinstance(handshake.outcome, StartTls):
            handshake.tls_started()
        if handshake.outcome is not None:
            return sent, handshake.outcome, pieces[number + 1 :]
    return sent, None, []


def _handshake(tls: Tls, rest: bytes, pieces: Sequence[bytes], world: int) -> None:
    sent, outcome, unheard = _haggle(tls, pieces)
    assert sent.startswith(GREETING) or not pieces
    replies = sent[len(GREETING) :]
    if isinstance(outcome, Selected) and not replies.endswith(struct.pack(">II", 1, 0)):
        tail = replies[-10:] if replies[-124:] != bytes(124) else replies[-134:]
        assert tail[:8] == struct.pack(">Q", outcome.export.size)
        replies = replies[: -len(tail)]
    for _, kind, data in split_replies(replies):
        assert kind in REP
        if kind >= 1 << 31:
            assert len(data) <= 4096
            data.decode()
    whole_sent, whole_outcome, _ = _haggle(tls, [rest])
    started = any(kind == 1 and option == 5 for option, kind, _ in split_replies(replies))
    if not started and pieces:
        # With TLS they may differ: what follows STARTTLS in the same packet ends the session.
        assert whole_sent == sent
        if isinstance(outcome, Selected) and isinstance(whole_outcome, Selected):
            assert whole_outcome.rest == outcome.rest + b"".join(unheard)
        elif not isinstance(outcome, Ended):
            assert whole_outcome == outcome
    if isinstance(outcome, Selected):
        _session(outcome, unheard, world)


class Script:
    """A channel that plays a client's packets and keeps what is sent to it.

    Attributes:
        faults: how often less of a file was sent than was asked for.
    """

    def __init__(self, packets: Sequence[bytes], fault_at: int | None) -> None:
        self._packets: Iterator[bytes] = iter(packets)
        self._left = fault_at
        self.faults = 0
        self.sent = bytearray()

    def limit(self, seconds: float | None) -> None:
        raise AssertionError(f"a session set a limit of {seconds}")

    def receive_into(self, buffer: memoryview) -> int:
        packet = next(self._packets, b"")
        buffer[: len(packet)] = packet
        return len(packet)

    receive_next = receive_into

    def send(self, buffers: Sequence[Buffer], *, more: bool = False) -> None:  # noqa: ARG002 - nothing is held back
        for buffer in buffers:
            self.sent += buffer

    def send_file(self, descriptor: int, offset: int, length: int) -> int:
        if self._left is not None and length > self._left:
            length, self._left = self._left, None
            self.faults += 1
        elif self._left is not None:
            self._left -= length
        data = os.pread(descriptor, length, offset)
        self.sent += data
        return len(data)

    def finish(self) -> None:
        raise AssertionError("a session does not hang up")


def _run(selected: Selected, pieces: Sequence[bytes], world: int) -> tuple[bytes, str | None, int]:
    """What was sent, what the client did wrong, and how often a file ended too soon."""
    scene = SCENES[world & 3]
    script = Script(
        [piece[at : at + 65_536] for piece in pieces for at in range(0, len(piece), 65_536)],
        FAULT_AT if world & 3 == 3 else None,
    )
    reported: list[Exception] = []
    wrong = Session(script, scene.image, scene.status, selected, reported.append).run()
    assert script.faults or world & 3 in (1, 2) or not reported
    return bytes(script.sent), wrong, script.faults


def _session(selected: Selected, pieces: Sequence[bytes], world: int) -> None:
    received = selected.rest + b"".join(pieces)
    whole = Selected(selected.export, selected.mode, selected.contexts, b"")
    # What shares a packet with other requests may leave in other chunks: right both times, but not the same bytes.
    for sent, wrong, faults in (_run(selected, pieces, world), _run(whole, [received], world)):
        conversation = Conversation(SCENES[world & 3].world, selected.mode.name.lower(), selected.contexts, faults)
        conversation.check(received, sent, wrong)


def corpus() -> list[bytes]:
    """The inputs of the corpus, each of which has a word about it there."""
    return lines_of_corpus(CORPUS)


INTERESTING = (
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    11,
    255,
    256,
    4096,
    65_535,
    65_536,
    77_824,
    180_224,
    300_000,
    1 << 25,
    0x7FFFFFFF,
    0xFFFFFFFF,
)


def mutate(chooser: random.Random, inputs: Sequence[bytes]) -> bytes:
    """One of the inputs with a few changes."""
    data = bytearray(chooser.choice(inputs))
    if chooser.random() < 0.5:
        data[2] = chooser.randrange(32)
    for _ in range(chooser.choice((1, 1, 2, 3, 8))):
        at = chooser.randrange(len(data) + 1)
        change = chooser.randrange(7)
        if change == 0 and at < len(data):
            data[at] ^= 1 << chooser.randrange(8)
        elif change == 1 and at < len(data):
            data[at] = chooser.randrange(256)
        elif change == 2:
            del data[at : at + chooser.randrange(1, 40)]
        elif change == 3:
            data[at:at] = chooser.randbytes(chooser.randrange(1, 20))
        elif change == 4:
            width = chooser.choice((2, 4, 8))
            data[at : at + width] = (chooser.choice(INTERESTING) % (1 << 8 * width)).to_bytes(width, "big")
        elif change == 5:
            other = chooser.choice(inputs)[3:]
            cut = chooser.randrange(len(other) + 1)
            data[at:at] = other[cut : cut + chooser.randrange(1, 200)]
        else:
            data = data[:3] + data[3:] * 2
    return bytes(data[:8192])


if __name__ == "__main__":
    known = corpus()
    drive(one_input, lambda chance: mutate(chance, known), __doc__)
