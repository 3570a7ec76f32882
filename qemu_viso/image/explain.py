"""Where the bytes of an image come from, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qemu_viso.image.regions import FileSlice, Generated, Hole, Joined, Literal, Patched
from qemu_viso.sources.host import HostFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qemu_viso.image.image import Image
    from qemu_viso.image.regions import Content


@dataclass(frozen=True, slots=True)
class Origin:
    """A stretch of an image with one origin.

    Attributes:
        start: first byte in the image.
        size: bytes.
        what: the structure, the host file, or "zeros".
        offset: where the stretch begins in the structure or in the host file; None for zeros.
        file: the host file, None for all others.
    """

    start: int
    size: int
    what: str
    offset: int | None
    file: HostFile | None = None


def describe(content: Content | None) -> str:
    """What fills a region."""
    if content is None:
        return "zeros"
    if isinstance(content, HostFile):
        return f"file {content.path}"
    if isinstance(content, FileSlice):
        return f"{content.size} bytes of file {content.file.path} from {content.offset}"
    if isinstance(content, Joined):
        return " + ".join("hole" if isinstance(part, Hole) else describe(part) for part in content.parts)
    if isinstance(content, Patched):
        return f"{describe(content.base)} with {content.edit.label}"
    return content.label


def explain(image: Image, offset: int, size: int) -> Iterator[Origin]:
    """The origin of each byte of a range, in stretches.

    Raises:
        ValueError: the range is not inside the image.
    """
    if offset < 0 or size < 1 or offset + size > image.size:
        raise ValueError(f"{size} bytes at {offset} are not inside an image of {image.size} bytes")
    stop = offset + size
    for start, end, content in image.regions.spans(image.regions.index(offset)):
        if start >= stop:
            return
        for origin in _origins(start, end, content):
            low, high = max(origin.start, offset), min(origin.start + origin.size, stop)
            if low < high:
                inside = None if origin.offset is None else origin.offset + low - origin.start
                yield Origin(low, high - low, origin.what, inside, origin.file)


def _origins(start: int, stop: int, content: Content | None) -> Iterator[Origin]:
    """The stretches of one region."""
    end = start
    if content is not None:
        for origin in content_origins(start, content):
            yield origin
            end = origin.start + origin.size
    if end < stop:
        what = "zeros" if content is None else "zeros to the end of the sector"
        yield Origin(end, stop - end, what, None)


def content_origins(start: int, content: Content) -> Iterator[Origin]:
    """The stretches of some content that begins at `start`."""
    if isinstance(content, HostFile):
        yield Origin(start, content.size, f"file {content.path}", 0, content)
    elif isinstance(content, FileSlice):
        yield Origin(start, content.size, f"file {content.file.path}", content.offset, content.file)
    elif isinstance(content, Joined):
        for part in content.parts:
            if isinstance(part, Hole):
                yield Origin(start, part.size, "hole", None)
            else:
                yield from content_origins(start, part)
            start += part.size
    elif isinstance(content, Patched):
        yield from _patched(start, content)
    else:
        assert isinstance(content, Generated | Literal)
        yield Origin(start, content.size, content.label, 0)


def _patched(start: int, content: Patched) -> Iterator[Origin]:
    base = next(content_origins(start, content.base))
    assert base.offset is not None
    low, high = content.edit_offset, content.edit_offset + content.edit.size
    if low:
        yield Origin(start, low, base.what, base.offset, base.file)
    yield Origin(start + low, high - low, content.edit.label, 0)
    if high < content.size:
        yield Origin(start + high, content.size - high, base.what, base.offset + high, base.file)
