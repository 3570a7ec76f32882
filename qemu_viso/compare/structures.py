"""What volumes and boot catalogs of two images say, field by field."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from qemu_viso.compare.model import ABSENT, Difference, Part
from qemu_viso.ondisk.fields import SHOWN_BYTES, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qemu_viso.anatomy import Anatomy, Explained

_PARTS: dict[str, Part] = {"volume descriptor": "volume", "UDF descriptor": "volume", "boot catalog": "boot"}
# What follows from where things lie, and from other fields: `bytes` tells of it.
_DERIVED = re.compile(
    r"location|^directory record for root|extent|\bRBA\b|descriptor tag|pointer|checksum|^unused|^reserved"
)


class _Key(NamedTuple):
    """A structure: what it concerns, its name, what it is about, and which of several of that name it is."""

    part: Part
    structure: str
    subject: str
    number: int


def differences(left: Anatomy, right: Anatomy, *, udf: bool) -> Iterator[Difference]:
    """The fields in which they differ, and the structures that one of them does not have.

    Args:
        left: the one image.
        right: the other one.
        udf: look at those of UDF; not worth it if only one of the images has it.
    """
    mine, other = _structures(left, udf=udf), _structures(right, udf=udf)
    for key in [*mine, *(key for key in other if key not in mine)]:
        a, b = mine.get(key), other.get(key)
        name = next(iter((a or b or {}).values())).label
        if a is None or b is None:
            offset = next(iter(a.values())).start if a else None
            present = ("present", ABSENT) if a else (ABSENT, "present")
            yield Difference(key.part, (), name, "name", *present, offset)
            continue
        for field in [*a, *(field for field in b if field not in a)]:
            was, now = a.get(field), b.get(field)
            texts = _text(was), _text(now)
            if texts[0] != texts[1] and not _DERIVED.search(field) and not _is_long(was or now):
                yield Difference(key.part, (), name, field, *texts, None if was is None else was.start)


def _structures(anatomy: Anatomy, *, udf: bool) -> dict[_Key, dict[str, Explained]]:
    """The fields of each structure that concerns a volume as a whole, or booting."""
    found: dict[_Key, dict[str, Explained]] = {}
    for start, (stop, claim) in zip(anatomy.starts, anatomy.stretches, strict=True):
        part = _PARTS.get(claim.kind)
        if part is None or claim.subject.startswith("/") or claim.subject == "the reserve sequence":
            continue  # of a file, or the same once more
        if claim.kind == "UDF descriptor" and not udf:
            continue
        last: tuple[str, str] | None = None
        fields: dict[str, Explained] = {}
        for each in anatomy.explain(start, stop - start):
            if (each.structure, each.subject) != last or each.field in fields:
                last, fields = (each.structure, each.subject), {}
                found[_key(part, each, found)] = fields
            fields[each.field] = each
    return {key: fields for key, fields in found.items() if not key.structure.startswith("unused")}


def _key(part: Part, each: Explained, found: dict[_Key, dict[str, Explained]]) -> _Key:
    number = 0
    while (key := _Key(part, each.structure, each.subject, number)) in found:
        number += 1
    return key


def _is_long(each: Explained | None) -> bool:
    """Whether a field is bytes of which a text shows but the first; `bytes` tells which of them differs."""
    return each is not None and each.kind in (Kind.BYTES.value, Kind.UNUSED.value) and each.size > SHOWN_BYTES


def _text(each: Explained | None) -> str:
    if each is None:
        return ABSENT
    return f"{each.value} ({each.meaning})" if each.meaning else str(each.value)
