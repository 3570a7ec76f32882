"""The handshake phase as a core without I/O: bytes from the client in, bytes for the client and an outcome out.

The shell feeds what it receives to `Handshake.receive`, sends what `take_output` gives, and looks at `outcome`. Only
fixed newstyle is spoken; section numbers do not exist in the protocol document, so comments name its headings.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from qemu_viso.nbd.constants import (
    IHAVEOPT,
    INIT_PASSWD,
    MAX_PAYLOAD,
    MAX_STRING,
    MIN_BLOCK,
    OPTION_REPLY_MAGIC,
    PREFERRED_BLOCK,
    ClientFlag,
    HandshakeFlag,
    Info,
    Mode,
    Option,
    Rep,
    TransmissionFlag,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

MAX_OPTION = 1 << 16
"""Bytes of option data that are read at all; more is skipped and answered by ERR_TOO_BIG."""
MAX_SKIP = 1 << 20
"""Bytes of option data that are skipped; a client that announces more is dropped."""

CONTEXTS = {"base:allocation": 1, "qemu-viso:origin": 2}
"""The metadata contexts of every export, with the ids they have on every connection."""

_OPTION = struct.Struct(">QII")
_REPLY = struct.Struct(">QIII")
_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")


class Tls(Enum):
    """The modes of section "TLS support" that this server can be in: SELECTIVETLS is not among them."""

    NOTLS = "no"
    FORCEDTLS = "required"


@dataclass(frozen=True, slots=True)
class Export:
    """What a handshake needs to know of an export.

    Attributes:
        name: its canonical name.
        size: bytes.
        description: a line for people; may be empty.
    """

    name: str
    size: int
    description: str


@dataclass(frozen=True, slots=True)
class Selected:
    """The client has chosen: the transmission phase begins.

    Attributes:
        export: what it chose.
        mode: how requests and replies look from here on.
        contexts: the ids of the metadata contexts that BLOCK_STATUS answers.
        rest: what the client has already sent beyond the handshake.
    """

    export: Export
    mode: Mode
    contexts: tuple[int, ...]
    rest: bytes


@dataclass(frozen=True, slots=True)
class StartTls:
    """The client shall be answered, and then speaks TLS; the shell calls `Handshake.tls_started` afterwards."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The connection is to be closed once the output is sent; `reason` is None after a polite ABORT."""

    reason: str | None


Outcome = Selected | StartTls | Ended


class _InvalidError(Exception):
    """An option that is answered by an error reply, after which haggling goes on."""

    def __init__(self, reply: Rep, message: str) -> None:
        super().__init__(message)
        self.reply = reply
        self.message = message


class Handshake:
    """One client's handshake.

    Args:
        exports: by name; the empty name, if present, is the default export and is not listed.
        tls: whether TLS is refused or demanded.

    Attributes:
        outcome: None as long as the handshake goes on.
    """

    def __init__(self, exports: Mapping[str, Export], tls: Tls = Tls.NOTLS) -> None:
        self.outcome: Outcome | None = None
        self._exports = exports
        self._tls = tls
        self._secure = False
        self._mode = Mode.SIMPLE
        self._contexts: tuple[str, tuple[int, ...]] | None = None
        self._no_zeroes = False
        self._in = bytearray()
        self._out = bytearray()
        self._answers: dict[int, Callable[[bytes], None]] = {
            Option.ABORT: self._abort,
            Option.LIST: self._list,
            Option.STARTTLS: self._starttls,
            Option.INFO: self._info,
            Option.GO: self._go,
            Option.STRUCTURED_REPLY: self._structured_reply,
            Option.LIST_META_CONTEXT: self._list_meta_context,
            Option.SET_META_CONTEXT: self._set_meta_context,
            Option.EXTENDED_HEADERS: self._extended_headers,
        }
        self._option = 0
        self._parser = self._parse()
        self._wanted = next(self._parser)

    def receive(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes from the client, however they are split; bytes after the end of the handshake are kept."""
        if isinstance(self.outcome, Ended):
            return
        if isinstance(self.outcome, StartTls):
            # Plaintext between STARTTLS and the TLS handshake could have been put there by anybody.
            self._end("data after STARTTLS")
            return
        self._in += data
        self._advance()
        self._settle()

    def _settle(self) -> None:
        """What to do with bytes behind the end of the handshake."""
        if not self._in:
            return
        if isinstance(self.outcome, StartTls):
            self._end("data after STARTTLS")
        elif isinstance(self.outcome, Selected):
            chosen = self.outcome
            self.outcome = Selected(chosen.export, chosen.mode, chosen.contexts, chosen.rest + self._in)
            self._in.clear()

    def _advance(self) -> None:
        while self.outcome is None and len(self._in) >= self._wanted:
            taken = bytes(self._in[: self._wanted])
            del self._in[: self._wanted]
            try:
                self._wanted = self._parser.send(taken)
            except StopIteration:
                return

    def take_output(self) -> bytes:
        """What is to be sent now."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def tls_started(self) -> None:
        """TLS is up.

        What was negotiated before it must not count (option STARTTLS), and there is nothing: without TLS every option
        but STARTTLS and ABORT has been refused.
        """
        self._secure = True
        self.outcome = None

    def _parse(self) -> Generator[int, bytes, None]:
        """Yields how many bytes it needs next; never fails, whatever the bytes are."""
        self._out += struct.pack(">QQH", INIT_PASSWD, IHAVEOPT, HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES)
        (flags,) = _U32.unpack((yield 4))
        if flags >= 1 << 2:  # not "& ~ClientFlag": the complement of an IntFlag knows the known bits only
            self._end(f"unknown client flags {flags:#x}")
            return
        self._no_zeroes = bool(flags & ClientFlag.C_NO_ZEROES)
        fixed = bool(flags & ClientFlag.C_FIXED_NEWSTYLE)
        while True:
            magic, option, length = _OPTION.unpack((yield _OPTION.size))
            if magic != IHAVEOPT:
                self._end(f"option magic {magic:#x}")
                return
            if not fixed and option != Option.EXPORT_NAME:
                # Section "Newstyle negotiation": a client that does not know replies may send nothing else.
                self._end(f"option {option} without fixed newstyle")
                return
            if length > MAX_SKIP or (length > MAX_OPTION and option == Option.EXPORT_NAME):
                self._end(f"option {option} with {length} bytes of data")
                return
            if length > MAX_OPTION:
                for start in range(0, length, MAX_OPTION):
                    yield min(MAX_OPTION, length - start)
                self._answer(option, None)
            else:
                self._answer(option, (yield length) if length else b"")

    def _answer(self, option: int, data: bytes | None) -> None:
        """Data is None where there was too much of it."""
        self._option = option
        if option == Option.SET_META_CONTEXT:
            self._contexts = None  # whatever becomes of it: "including when this command fails"
        if option == Option.EXPORT_NAME:
            self._export_name(data or b"")
            return
        answer = self._answers.get(option)
        try:
            if self._must_secure() and option not in (Option.STARTTLS, Option.ABORT):
                raise _InvalidError(Rep.ERR_TLS_REQD, "this server speaks TLS only")
            if answer is None:
                raise _InvalidError(Rep.ERR_UNSUP, f"option {option} is not supported")
            if data is None:
                raise _InvalidError(Rep.ERR_TOO_BIG, "option data is too long")
            answer(data)
        except _InvalidError as error:
            self._reply(option, error.reply, error.message.encode())

    def _must_secure(self) -> bool:
        return self._tls is Tls.FORCEDTLS and not self._secure

    def _reply(self, option: int, kind: Rep, data: bytes = b"") -> None:
        self._out += _REPLY.pack(OPTION_REPLY_MAGIC, option, kind, len(data)) + data

    def _end(self, reason: str | None) -> None:
        self._in.clear()
        self.outcome = Ended(reason)

    def _abort(self, _data: bytes) -> None:
        self._reply(self._option, Rep.ACK)
        self._end(None)

    def _list(self, data: bytes) -> None:
        _no_data(data)
        for name, export in self._exports.items():
            if name:
                encoded = name.encode()
                self._reply(self._option, Rep.SERVER, _U32.pack(len(encoded)) + encoded + export.description.encode())
        self._reply(self._option, Rep.ACK)

    def _starttls(self, data: bytes) -> None:
        _no_data(data)
        if self._secure:
            raise _InvalidError(Rep.ERR_INVALID, "TLS has been started already")
        if self._tls is Tls.NOTLS:
            raise _InvalidError(Rep.ERR_POLICY, "this server has no certificate")
        self._reply(self._option, Rep.ACK)
        self.outcome = StartTls()

    def _structured_reply(self, data: bytes) -> None:
        _no_data(data)
        if self._mode is Mode.EXTENDED:
            raise _InvalidError(Rep.ERR_EXT_HEADER_REQD, "extended headers have been negotiated already")
        self._mode = Mode.STRUCTURED
        self._reply(self._option, Rep.ACK)

    def _extended_headers(self, data: bytes) -> None:
        _no_data(data)
        self._mode = Mode.EXTENDED
        self._reply(self._option, Rep.ACK)

    def _export_name(self, data: bytes) -> None:
        # This option knows no error reply: what cannot be granted ends the session.
        export = self._exports.get(data.decode(errors="replace")) if len(data) <= MAX_STRING else None
        if self._must_secure():
            self._end("EXPORT_NAME without TLS")
        elif self._mode is Mode.EXTENDED:
            self._end("EXPORT_NAME after EXTENDED_HEADERS")
        elif export is None:
            self._end(f"no export {data[:64]!r}")
        else:
            self._out += struct.pack(">QH", export.size, self._flags(export, committed=True))
            if not self._no_zeroes:
                self._out += bytes(124)
            self._select(export)

    def _select(self, export: Export) -> None:
        self.outcome = Selected(export, self._mode, self._active(export), b"")

    def _active(self, export: Export) -> tuple[int, ...]:
        """The contexts, if they were set for the export that was chosen (option SET_META_CONTEXT)."""
        return self._contexts[1] if self._contexts is not None and self._contexts[0] == export.name else ()

    def _flags(self, export: Export, *, committed: bool) -> TransmissionFlag:
        flags = (
            TransmissionFlag.HAS_FLAGS
            | TransmissionFlag.READ_ONLY
            | TransmissionFlag.SEND_FLUSH
            | TransmissionFlag.CAN_MULTI_CONN
            | TransmissionFlag.SEND_CACHE
        )
        if self._mode is not Mode.SIMPLE:
            flags |= TransmissionFlag.SEND_DF
        if self._mode is Mode.EXTENDED and (self._active(export) or not committed):
            flags |= TransmissionFlag.BLOCK_STATUS_PAYLOAD
        return flags

    def _info(self, data: bytes) -> None:
        self._describe(data, committed=False)

    def _go(self, data: bytes) -> None:
        self._select(self._describe(data, committed=True))

    def _describe(self, data: bytes, *, committed: bool) -> Export:
        fields = _Fields(data)
        export = self._known(fields.string())
        requests = [fields.u16() for _ in range(fields.u16())]
        fields.end()
        if len(set(requests)) != len(requests):
            raise _InvalidError(Rep.ERR_INVALID, "an information request is repeated")
        answers = [struct.pack(">HQH", Info.EXPORT, export.size, self._flags(export, committed=committed))]
        if Info.NAME in requests:
            answers.append(_U16.pack(Info.NAME) + export.name.encode())
        if Info.DESCRIPTION in requests and export.description:
            answers.append(_U16.pack(Info.DESCRIPTION) + export.description.encode())
        if Info.BLOCK_SIZE in requests:
            answers.append(struct.pack(">HIII", Info.BLOCK_SIZE, MIN_BLOCK, PREFERRED_BLOCK, MAX_PAYLOAD))
        for answer in answers:
            self._reply(self._option, Rep.INFO, answer)
        self._reply(self._option, Rep.ACK)
        return export

    def _known(self, name: str) -> Export:
        export = self._exports.get(name)
        if export is None:
            raise _InvalidError(
                Rep.ERR_UNKNOWN,
                f"there is no export '{name[:64]}'" if name else "there is no default export: ask for one by name",
            )
        return export

    def _list_meta_context(self, data: bytes) -> None:
        _, queries = self._queries(data)
        for name in CONTEXTS:
            namespace = name[: name.index(":") + 1]
            if not queries or name in queries or namespace in queries:
                self._reply(self._option, Rep.META_CONTEXT, _U32.pack(0) + name.encode())
        self._reply(self._option, Rep.ACK)

    def _set_meta_context(self, data: bytes) -> None:
        export, queries = self._queries(data)
        # A bare namespace selects nothing here; unknown names are ignored.
        chosen = [name for name in CONTEXTS if name in queries]
        for name in chosen:
            self._reply(self._option, Rep.META_CONTEXT, _U32.pack(CONTEXTS[name]) + name.encode())
        self._contexts = (export.name, tuple(CONTEXTS[name] for name in chosen))
        self._reply(self._option, Rep.ACK)

    def _queries(self, data: bytes) -> tuple[Export, list[str]]:
        if self._mode is Mode.SIMPLE:
            raise _InvalidError(Rep.ERR_INVALID, "structured replies must be negotiated first")
        fields = _Fields(data)
        name = fields.string()
        queries = [fields.string() for _ in range(fields.u32())]
        fields.end()
        for query in queries:
            if query.find(":") < 1:
                raise _InvalidError(Rep.ERR_INVALID, f"the query '{query[:64]}' has no namespace")
        return self._known(name), queries


class _Fields:
    """Reads option data field by field; what does not fit is ERR_INVALID."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def _take(self, length: int) -> bytes:
        taken = self._data[self._at : self._at + length]
        if len(taken) < length:
            raise _InvalidError(Rep.ERR_INVALID, "option data is too short")
        self._at += length
        return taken

    def u16(self) -> int:
        value: int = _U16.unpack(self._take(2))[0]
        return value

    def u32(self) -> int:
        value: int = _U32.unpack(self._take(4))[0]
        return value

    def string(self) -> str:
        length = self.u32()
        if length > MAX_STRING:
            raise _InvalidError(Rep.ERR_INVALID, f"a string of {length} bytes is too long")
        try:
            text = self._take(length).decode()
        except UnicodeDecodeError:
            raise _InvalidError(Rep.ERR_INVALID, "a string is not UTF-8") from None
        if "\0" in text:
            raise _InvalidError(Rep.ERR_INVALID, "a string contains NUL")
        return text

    def end(self) -> None:
        if self._at != len(self._data):
            raise _InvalidError(Rep.ERR_INVALID, "option data is too long")


def _no_data(data: bytes) -> None:
    if data:
        raise _InvalidError(Rep.ERR_INVALID, "this option takes no data")
