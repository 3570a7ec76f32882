"""Fuzzing both NBD cores and the session between them, without a socket.

    python -m tests.nbd.fuzz_nbd --runs 1000000        seeded mutations of the corpus; needs nothing
    python -m tests.nbd.fuzz_nbd --atheris [...]       libFuzzer through atheris, where it is installed

The first byte of an input says who hears the rest, the second how it is cut into pieces. Nothing but the documented
outcomes is allowed: every byte sent must be well-formed, errors only those on NBD's list, and the pieces must lead to
the same bytes as the whole.
"""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from qemu_viso.image import Generated, Image, Literal, RegionMap
from qemu_viso.nbd.constants import Mode
from qemu_viso.nbd.contexts import Status
from qemu_viso.nbd.handshake import Ended, Export, Handshake, Selected, StartTls, Tls
from qemu_viso.nbd.session import Session
from tests.fuzzing import drive, lines_of_corpus
from tests.nbd.wire import REP, Client, Reply, split_replies

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qemu_viso.nbd.channel import Buffer

CORPUS = Path(__file__).with_name("fuzz_corpus.txt")
ERRORS = {1, 5, 12, 22, 28, 75, 95, 108}
"""Section "Error values"."""
HANDSHAKES = {0: Tls.NOTLS, 1: Tls.FORCEDTLS, 2: Tls.NOTLS}
SESSIONS = {3: Mode.SIMPLE, 4: Mode.STRUCTURED, 5: Mode.EXTENDED}
GREETING = b"NBDMAGICIHAVEOPT\0\x03"


def _image() -> Image:
    regions = RegionMap()
    regions.append(0, 65_536, None)
    regions.append(65_536, 2048, Literal(b"a descriptor", "descriptor"))
    data = random.Random(1).randbytes(10_000)
    regions.append(67_584, 10_240, Generated(10_000, lambda: data, "directory"))
    regions.append(77_824, 102_400, Literal(data * 10, "long"))
    return Image(regions, "fuzz")


IMAGE = _image()
STATUS = Status(IMAGE)
EXPORT = Export("fuzz", IMAGE.size, "described")
EXPORTS = {"fuzz": EXPORT, "other": Export("other", 2048, ""), "": EXPORT}


def one_input(data: bytes) -> None:
    """Raises AssertionError, or whatever a bug raises."""
    if len(data) < 2:
        return
    who, cut, rest = data[0] % 6, data[1] or 256, data[2:]
    pieces = [rest[at : at + cut] for at in range(0, len(rest), cut)]
    if who in HANDSHAKES:
        _handshake(HANDSHAKES[who], rest, pieces)
    else:
        _session(SESSIONS[who], rest, pieces)


def _haggle(tls: Tls, pieces: Sequence[bytes]) -> tuple[bytes, object, bytes]:
    handshake = Handshake(EXPORTS, tls)
    sent = b""
    unheard = b""
    for number, piece in enumerate(pieces):
        handshake.receive(piece)
        sent += handshake.take_output()
        if isinstance(handshake.outcome, StartTls):
            handshake.tls_started()
        if handshake.outcome is not None:
            unheard = b"".join(pieces[number + 1 :])
            break
    return sent, handshake.outcome, unheard


def _handshake(tls: Tls, rest: bytes, pieces: Sequence[bytes]) -> None:
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
            assert whole_outcome.rest == outcome.rest + unheard
        elif not isinstance(outcome, Ended):
            assert whole_outcome == outcome


class Script:
    """A channel that plays a client's packets and keeps what is sent to it."""

    def __init__(self, packets: Sequence[bytes]) -> None:
        self._packets: Iterator[bytes] = iter(packets)
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
        raise AssertionError(f"there is no file {descriptor} with {length} bytes at {offset}")

    def finish(self) -> None:
        raise AssertionError("a session does not hang up")


class Decoder(Client):
    """Takes replies from a string of bytes."""

    def __init__(self, mode: Mode, data: bytes) -> None:
        self.mode = mode.name.lower()
        self.left = memoryview(data)

    def take(self, length: int) -> bytes:
        assert len(self.left) >= length
        taken, self.left = bytes(self.left[:length]), self.left[length:]
        return taken

    def one(self) -> Reply:
        reply = Reply(-1)
        # An extended reply repeats the request's offset, which is not known here: it is read from the reply.
        while not self._chunk(reply, struct.unpack_from(">Q", self.left, 16)[0] if self.mode == "extended" else 0):
            pass
        return reply


def _run(mode: Mode, pieces: Sequence[bytes]) -> tuple[bytes, str | None]:
    script = Script([piece[at : at + 65_536] for piece in pieces for at in range(0, len(piece), 65_536)])
    wrong = Session(script, IMAGE, STATUS, Selected(EXPORT, mode, (1, 2), b""), _no_error).run()
    return bytes(script.sent), wrong


def _no_error(error: Exception) -> None:
    raise AssertionError(f"a source failed: {error}")


def _session(mode: Mode, rest: bytes, pieces: Sequence[bytes]) -> None:
    sent, wrong = _run(mode, pieces)
    assert (sent, wrong) == _run(mode, [rest])
    if mode is Mode.SIMPLE:
        return
    decoder = Decoder(mode, sent)
    while decoder.left:
        reply = decoder.one()
        assert reply.error == 0 or reply.error in ERRORS
        for at, data in reply.data.items():
            assert data == IMAGE.read(at, len(data))
        for at, length in reply.holes.items():
            assert not any(IMAGE.read(at, length))


def corpus() -> list[bytes]:
    """The inputs of the corpus, each of which has a word about it there."""
    return lines_of_corpus(CORPUS)


INTERESTING = (0, 1, 2, 3, 4, 7, 8, 11, 255, 256, 4096, 65_535, 65_536, 77_824, 1 << 25, 0x7FFFFFFF, 0xFFFFFFFF)


def mutate(chooser: random.Random, inputs: Sequence[bytes]) -> bytes:
    """One of the inputs with a few changes."""
    data = bytearray(chooser.choice(inputs))
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
            other = chooser.choice(inputs)[2:]
            cut = chooser.randrange(len(other) + 1)
            data[at:at] = other[cut : cut + chooser.randrange(1, 200)]
        else:
            data = data[:2] + data[2:] * 2
    return bytes(data[:8192])


if __name__ == "__main__":
    known = corpus()
    drive(one_input, lambda chance: mutate(chance, known), __doc__)
