"""What a guest saw, as a value."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

Namespace: TypeAlias = Literal["rock", "joliet", "plain", "udf"]
NAMESPACES: tuple[Namespace, ...] = get_args(Namespace)

Kind: TypeAlias = Literal["directory", "file", "symlink", "block", "character", "fifo", "socket", "unknown"]

Fact: TypeAlias = Literal["size", "content", "mode", "owner", "group", "target", "mtime", "nanoseconds"]
FACTS: frozenset[Fact] = frozenset(get_args(Fact))
"""What a reader may tell of an entry beside its name and whether it is a directory."""

ReaderName: TypeAlias = Literal["agent", "grub", "uefi-shell"]
READERS: tuple[ReaderName, ...] = get_args(ReaderName)


@dataclass(frozen=True, slots=True)
class Entry:
    """One name, as the guest's kernel reports it.

    Attributes:
        kind: from the file type bits of `st_mode`.
        size: bytes.
        mode: the permission bits, including set-id and sticky (0o7777).
        uid: owner.
        gid: group.
        target: of a symbolic link, byte for byte (undecodable bytes as surrogates).
        mtime: seconds since the epoch.
        sha256: of a file's whole content, hexadecimal; None for other kinds, and for files larger than what was
            asked to be read.
        mtime_nanoseconds: the fraction of `mtime`, 0 … 999,999,999.
        device: (major, minor) of a device node.
        links: the number of hard links.
    """

    kind: Kind
    size: int
    mode: int
    uid: int
    gid: int
    target: str | None
    mtime: int
    sha256: str | None
    mtime_nanoseconds: int = 0
    device: tuple[int, int] | None = None
    links: int = 1


@dataclass(frozen=True, slots=True)
class GuestView:
    """Everything that a guest saw of a medium in one namespace.

    Attributes:
        namespace: how it was mounted.
        label: the volume label that the guest read from the descriptor of that namespace.
        entries: by path from the root `/`, in the order in which the guest's kernel lists directories. Names that
            are not UTF-8 carry their bytes as surrogates (`os.fsencode` gives them back).
        reader: what read it; names that cannot be told apart by its means look as it showed them.
        facts: what it told of each entry; the other fields of `Entry` say nothing.
    """

    namespace: Namespace
    label: str
    entries: Mapping[str, Entry]
    reader: ReaderName = "agent"
    facts: frozenset[Fact] = FACTS

    def to_json(self) -> str:
        """As JSON in ASCII; `from_json` reads it back."""
        entries = {path: asdict(entry) for path, entry in self.entries.items()}
        head = {"namespace": self.namespace, "label": self.label, "reader": self.reader, "facts": sorted(self.facts)}
        return json.dumps({**head, "entries": entries}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> GuestView:
        """Read what `to_json` wrote.

        Raises:
            ValueError: it is something else.
        """
        try:
            content = json.loads(text)
            entries = {}
            for path, fields in content["entries"].items():
                device = fields.pop("device", None)
                entries[path] = Entry(**fields, device=None if device is None else (device[0], device[1]))
            if content["namespace"] not in NAMESPACES:
                raise ValueError(f"no namespace is called {content['namespace']!r}")
            reader, facts = content.get("reader", "agent"), frozenset(content.get("facts", FACTS))
            if reader not in READERS or not facts <= FACTS:
                raise ValueError(f"no reader {reader!r} tells {', '.join(map(str, facts))}")
            return cls(content["namespace"], content["label"], entries, reader, facts)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"this is not a guest's view: {error!r}") from None
