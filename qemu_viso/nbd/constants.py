"""The numbers of the NBD protocol, under the protocol document's own names less their NBD_ prefix.

The document is `doc/proto.md` of https://github.com/NetworkBlockDevice/nbd; "section" in this package means one of its
headings.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

INIT_PASSWD = 0x4E42444D41474943
"""`NBDMAGIC`, the first thing a server says."""
IHAVEOPT = 0x49484156454F5054
OPTION_REPLY_MAGIC = 0x0003E889045565A9
REQUEST_MAGIC = 0x25609513
EXTENDED_REQUEST_MAGIC = 0x21E41C71
SIMPLE_REPLY_MAGIC = 0x67446698
STRUCTURED_REPLY_MAGIC = 0x668E33EF
EXTENDED_REPLY_MAGIC = 0x6E8A278C

DEFAULT_PORT = 10809
MAX_STRING = 4096
"""Bytes; section "Conventions": the longest name, query or message."""

MIN_BLOCK = 1
PREFERRED_BLOCK = 4096
MAX_PAYLOAD = 1 << 25
"""Bytes; section "Block size constraints": every client may rely on requests of this length, and none on more."""


class HandshakeFlag(IntFlag):
    """What a server offers before any option."""

    FIXED_NEWSTYLE = 1 << 0
    NO_ZEROES = 1 << 1


class ClientFlag(IntFlag):
    """What a client answers."""

    C_FIXED_NEWSTYLE = 1 << 0
    C_NO_ZEROES = 1 << 1


class TransmissionFlag(IntFlag):
    """What an export can do."""

    HAS_FLAGS = 1 << 0
    READ_ONLY = 1 << 1
    SEND_FLUSH = 1 << 2
    SEND_DF = 1 << 7
    CAN_MULTI_CONN = 1 << 8
    SEND_CACHE = 1 << 10
    BLOCK_STATUS_PAYLOAD = 1 << 12


class Option(IntEnum):
    """What a client may ask for in the handshake."""

    EXPORT_NAME = 1
    ABORT = 2
    LIST = 3
    STARTTLS = 5
    INFO = 6
    GO = 7
    STRUCTURED_REPLY = 8
    LIST_META_CONTEXT = 9
    SET_META_CONTEXT = 10
    EXTENDED_HEADERS = 11


class Rep(IntEnum):
    """Option reply types."""

    ACK = 1
    SERVER = 2
    INFO = 3
    META_CONTEXT = 4
    ERR_UNSUP = 0x80000001
    ERR_POLICY = 0x80000002
    ERR_INVALID = 0x80000003
    ERR_TLS_REQD = 0x80000005
    ERR_UNKNOWN = 0x80000006
    ERR_TOO_BIG = 0x80000009
    ERR_EXT_HEADER_REQD = 0x8000000A


class Info(IntEnum):
    """Information types of INFO and GO."""

    EXPORT = 0
    NAME = 1
    DESCRIPTION = 2
    BLOCK_SIZE = 3


class Command(IntEnum):
    """Request types."""

    READ = 0
    WRITE = 1
    DISC = 2
    FLUSH = 3
    TRIM = 4
    CACHE = 5
    WRITE_ZEROES = 6
    BLOCK_STATUS = 7


class CommandFlag(IntFlag):
    """Flags of a request."""

    FUA = 1 << 0
    NO_HOLE = 1 << 1
    DF = 1 << 2
    REQ_ONE = 1 << 3
    FAST_ZERO = 1 << 4
    PAYLOAD_LEN = 1 << 5


REPLY_FLAG_DONE = 1


class ReplyType(IntEnum):
    """Types of structured and extended reply chunks."""

    NONE = 0
    OFFSET_DATA = 1
    OFFSET_HOLE = 2
    BLOCK_STATUS = 5
    BLOCK_STATUS_EXT = 6
    ERROR = 0x8001
    ERROR_OFFSET = 0x8002


class State(IntFlag):
    """Flags of the context `base:allocation`."""

    HOLE = 1 << 0
    ZERO = 1 << 1


class Error(IntEnum):
    """The errors that are answered with, all of them on the list of section "Error values"."""

    EPERM = 1
    EIO = 5
    EINVAL = 22


class Mode(IntEnum):
    """How replies look: each mode includes the ones before it."""

    SIMPLE = 0
    STRUCTURED = 1
    EXTENDED = 2
