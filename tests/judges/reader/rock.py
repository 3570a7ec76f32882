"""Rock Ridge Interchange Protocol: 1.12 (IEEE P1282), and the forms of 1.09 and 1.10."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tests.judges.reader.fields import Fields, long_date, short_date

if TYPE_CHECKING:
    from tests.judges.reader.directory import Record
    from tests.judges.reader.model import Kind, Source
    from tests.judges.reader.susp import SystemUse

KINDS: dict[int, Kind] = {
    0o010000: "fifo",
    0o020000: "char",
    0o040000: "dir",
    0o060000: "block",
    0o100000: "file",
    0o120000: "link",
    0o140000: "socket",
}
_ONCE = ("PX", "PN", "CL", "PL", "RE", "SF", "RR")
_RR_FLAGS = {"PX": 1, "PN": 2, "SL": 4, "NM": 8, "CL": 16, "PL": 32, "RE": 64, "TF": 128}
_CONTINUE, _CURRENT, _PARENT, _ROOT = 1, 2, 4, 8


@dataclass(frozen=True, slots=True)
class Attributes:
    """What the entries of one record say.

    Attributes:
        px_length: 36 (RRIP 1.09) or 44 (1.12); 0 without a PX entry.
        name: None without an NM entry that carries a name.
        name_flag: CURRENT or PARENT of an NM entry, or 0.
        times: by TF flag bit, nanoseconds since 1970.
        child, parent: sector of a CL or PL entry.
    """

    px_length: int = 0
    mode: int = 0
    links: int = 0
    uid: int = 0
    gid: int = 0
    serial: int | None = None
    device: tuple[int, int] | None = None
    name: bytes | None = None
    name_flag: int = 0
    target: bytes | None = None
    times: dict[int, int | None] = field(default_factory=dict)
    child: int | None = None
    parent: int | None = None
    relocated: bool = False
    sparse: bool = False

    @property
    def kind(self) -> Kind | None:
        return KINDS.get(self.mode & 0o170000)

    @property
    def mtime(self) -> int | None:
        return self.times.get(1, self.times.get(0))


def attributes(source: Source, entries: list[SystemUse], record: Record, where: str) -> Attributes:
    """Read and check the entries of one record."""
    by_name: dict[str, list[SystemUse]] = {}
    for entry in entries:
        by_name.setdefault(entry.signature, []).append(entry)
    for signature in _ONCE:
        if len(by_name.get(signature, ())) > 1:
            source.findings.add("RRIP 4.1", f"more than one {signature}", where)
    found = Attributes()
    if "PX" in by_name:
        found = _px(source, by_name["PX"][0], found, where)
    if "PN" in by_name:
        fields = Fields(_sized(source, by_name["PN"][0], (20,), where), where, source.findings)
        found = replace(found, device=_device(fields.both(4, 4, "PN high"), fields.both(12, 4, "PN low")))
    if "SL" in by_name:
        found = replace(found, target=_target(source, by_name["SL"], where))
    if "NM" in by_name:
        found = _name(source, by_name["NM"], found, where)
    if "TF" in by_name:
        found = replace(found, times=_times(source, by_name["TF"], where))
    if "CL" in by_name:
        fields = Fields(_sized(source, by_name["CL"][0], (12,), where), where, source.findings)
        found = replace(found, child=fields.both(4, 4, "CL"))
    if "PL" in by_name:
        fields = Fields(_sized(source, by_name["PL"][0], (12,), where), where, source.findings)
        found = replace(found, parent=fields.both(4, 4, "PL"))
    if "RE" in by_name:
        _sized(source, by_name["RE"][0], (4,), where)
        found = replace(found, relocated=True)
    if "SF" in by_name:
        _sized(source, by_name["SF"][0], (12, 21), where)
        found = replace(found, sparse=True)
    if "RR" in by_name:
        flags = _sized(source, by_name["RR"][0], (5,), where)[4]
        want = sum(bit for signature, bit in _RR_FLAGS.items() if signature in by_name)
        if flags != want:
            source.findings.add("RRIP 1.09 4.1.9", f"RR says {flags:#04x}, the entries are {want:#04x}", where)
    _check_kind(source, found, record, where)
    return found


def _sized(source: Source, entry: SystemUse, sizes: tuple[int, ...], where: str) -> bytes:
    if len(entry.data) not in sizes:
        what = f"{entry.signature} has {len(entry.data)} bytes, not {' or '.join(map(str, sizes))}"
        source.findings.add("RRIP 4.1", what, where)
    return entry.data.ljust(max(sizes), b"\0")


def _px(source: Source, entry: SystemUse, found: Attributes, where: str) -> Attributes:
    data = _sized(source, entry, (36, 44), where)
    fields = Fields(data, where, source.findings)
    return replace(
        found,
        px_length=len(entry.data),
        mode=fields.both(4, 4, "PX mode"),
        links=fields.both(12, 4, "PX links"),
        uid=fields.both(20, 4, "PX user"),
        gid=fields.both(28, 4, "PX group"),
        serial=fields.both(36, 4, "PX serial number") if len(entry.data) >= 44 else None,
    )


def _device(high: int, low: int) -> tuple[int, int]:
    """4.1.2: the number's two halves; writers put major and minor there, or an old 16-bit number in the low one."""
    return (low >> 8, low & 0xFF) if not high else (high, low)


def _target(source: Source, entries: list[SystemUse], where: str) -> bytes:
    """4.1.3: the components of a symbolic link, over as many SL entries as they need."""
    text = b""
    fresh = True  # the next component begins a new path element
    started = rooted = False
    for number, entry in enumerate(entries):
        data = entry.data
        if len(data) < 5:
            source.findings.add("RRIP 4.1.3", f"an SL entry of {len(data)} bytes", where)
            continue
        last = number == len(entries) - 1
        if data[4] & ~_CONTINUE or bool(data[4] & _CONTINUE) == last:
            source.findings.add("RRIP 4.1.3.1", f"flags {data[4]:#x} in SL entry {number + 1} of {len(entries)}", where)
        at = 5
        while at < len(data):
            if at + 2 > len(data) or at + 2 + data[at + 1] > len(data):
                source.findings.add("RRIP 4.1.3.1", "a component does not fit its SL entry", where)
                break
            flags, body = data[at], data[at + 2 : at + 2 + data[at + 1]]
            at += 2 + len(body)
            part = _component(source, flags, body, where)
            if fresh and started and not rooted:
                text += b"/"
            text += part
            started, rooted = True, bool(flags & _ROOT)
            fresh = not flags & _CONTINUE
        if last and not fresh:
            source.findings.add("RRIP 4.1.3.1", "the last component says that it goes on", where)
    if not started:
        source.findings.add("RRIP 4.1.3", "a symbolic link without components", where)
    return text


def _component(source: Source, flags: int, body: bytes, where: str) -> bytes:
    special = flags & (_CURRENT | _PARENT | _ROOT)
    if flags & ~0x0F or special & (special - 1) or (special and (body or flags & _CONTINUE)):
        source.findings.add("RRIP 4.1.3.1", f"a component with flags {flags:#x} and {len(body)} bytes", where)
    if b"/" in body or b"\0" in body:
        source.findings.add("RRIP 4.1.3.1", f"the component {body!r}", where)
    return {_CURRENT: b".", _PARENT: b"..", _ROOT: b"/"}.get(special, body)


def _name(source: Source, entries: list[SystemUse], found: Attributes, where: str) -> Attributes:
    """4.1.4: the alternate name, over as many NM entries as it needs."""
    name, special = b"", 0
    for number, entry in enumerate(entries):
        if len(entry.data) < 5:
            source.findings.add("RRIP 4.1.4", f"an NM entry of {len(entry.data)} bytes", where)
            continue
        flags, body = entry.data[4], entry.data[5:]
        last = number == len(entries) - 1
        if flags & ~0x27 or bool(flags & _CONTINUE) == last:
            source.findings.add("RRIP 4.1.4", f"flags {flags:#x} in NM entry {number + 1} of {len(entries)}", where)
        if flags & (_CURRENT | _PARENT):
            special = flags & (_CURRENT | _PARENT)
            if body or len(entries) > 1:
                source.findings.add("RRIP 4.1.4", f"an NM entry with flags {flags:#x} and a name", where)
            continue
        name += body
    if special:
        return replace(found, name_flag=special)
    if not name or b"/" in name or b"\0" in name or name in (b".", b"..") or len(name) > 255:
        source.findings.add("RRIP 4.1.4", f"the name {name!r} of {len(name)} bytes", where)
    return replace(found, name=name)


def _times(source: Source, entries: list[SystemUse], where: str) -> dict[int, int | None]:
    """4.1.6: time stamps, recorded in the order of their flag bits; one TF may be short, another long."""
    found: dict[int, int | None] = {}
    for entry in entries:
        data = entry.data
        flags = data[4] if len(data) > 4 else 0
        width = 17 if flags & 0x80 else 7
        bits = [bit for bit in range(7) if flags & 1 << bit]
        if len(data) != 5 + width * len(bits):
            source.findings.add("RRIP 4.1.6", f"TF has {len(data)} bytes for flags {flags:#x}", where)
            continue
        for number, bit in enumerate(bits):
            raw = data[5 + width * number : 5 + width * (number + 1)]
            value, problem = long_date(raw) if width == 17 else short_date(raw)
            if problem:
                source.findings.add("RRIP 4.1.6", problem, where)
            if bit in found:
                source.findings.add("RRIP 4.1.6", f"time stamp {bit} twice", where)
            found[bit] = value
    return found


def _check_kind(source: Source, found: Attributes, record: Record, where: str) -> None:
    """The file type against the record's flags, and the entries that a type needs or forbids."""
    if not found.px_length:
        return
    add = source.findings.add
    kind = found.kind
    if kind is None:
        add("RRIP 4.1.1", f"mode {found.mode:o} has no file type", where)
    if found.mode >> 16:
        add("RRIP 4.1.1", f"mode {found.mode:o} has more than 16 bits", where)
    if not found.links:
        add("RRIP 4.1.1", "a link count of 0", where)
    if (kind == "dir") != bool(record.flags & 2) and found.child is None:
        add("RRIP 4.1.1", f"mode {found.mode:o} in a record with flags {record.flags:#x}", where)
    if (kind == "link") != (found.target is not None):
        add("RRIP 4.1.3", "SL entries are there for symbolic links, and only for them", where)
    if (kind in ("char", "block")) != (found.device is not None):
        add("RRIP 4.1.2", "a PN entry is there for devices, and only for them", where)
    if kind not in ("file", "dir") and record.size and found.child is None:
        add("RRIP 4.1.1", f"a {kind} with {record.size} bytes", where)
