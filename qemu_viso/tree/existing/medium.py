"""The bytes of an existing image: a host file, or a part of one, read in bounded pieces."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from qemu_viso.anatomy.model import Source
from qemu_viso.errors import InputOutputError, RecipeError, shown
from qemu_viso.image import FileSlice, Joined
from qemu_viso.sources.handles import Handle
from qemu_viso.sources.host import READ_HINTS, HostDirectory, HostFile

if TYPE_CHECKING:
    from qemu_viso.image import Image

DAMAGED = "it may be damaged: compare its checksum with that of the original"
CUT_SHORT = "the file may have been cut short: compare its size, or its checksum, with what it should be"
COPY_OUT = "if another program can read it (mount, 7z), copy its files into a directory, and name that"
WINDOW = 64 << 10
"""Bytes that are read at once: metadata lies together, and a system call for each sector would be most of the time."""
WINDOWS = 32
"""How many windows are kept."""


class Medium:
    """An image to be read.

    Args:
        content: where its bytes are; a file of an image on a medium is a medium itself.
        name: how messages call it.

    Attributes:
        offset: where it begins in the host file.
        size: bytes.

    Raises:
        RecipeError: the image is a file that lies in several pieces inside another image.
        MissingInputError, AccessError, StaleSourceError, InputOutputError: the host file cannot be opened.
    """

    def __init__(self, content: HostFile | FileSlice | Joined, name: str) -> None:
        if isinstance(content, Joined):
            raise RecipeError(
                f"'{name}' lies in several pieces inside another image, and cannot be opened there",
                hint="copy it out of that image, and name the copy",
            )
        slice_ = FileSlice(content, 0, content.size) if isinstance(content, HostFile) else content
        self.name = name
        self.offset = slice_.offset
        self.size = slice_.size
        self._slice = slice_
        self._handle = Handle(slice_.file)
        self._windows: dict[int, bytes] = {}

    def unsupported(self, what: str) -> RecipeError:
        """The sentence for something in the image that others may be able to read."""
        return self.error(what, hint=COPY_OUT)

    def error(self, what: str, *, hint: str = DAMAGED) -> RecipeError:
        """The sentence for something that is wrong in the image."""
        return RecipeError(f"the image '{self.name}' cannot be read: {shown(what)}", hint=hint)

    def slice(self, offset: int, size: int, what: str) -> FileSlice:
        """A part of the image, as a part of the host file; `what` is the thing that lies there.

        Raises:
            RecipeError: it is not all inside the image.
        """
        if offset < 0 or offset + size > self.size:
            raise self.error(
                f"{what} ({size:,} bytes at {offset:,}) is beyond its end at {self.size:,}", hint=CUT_SHORT
            )
        return FileSlice(self._slice.file, self._slice.offset + offset, size)

    def read(self, offset: int, size: int, what: str) -> bytes:
        """Some bytes; the errors of `slice`, and `InputOutputError` when the host file cannot be read."""
        number, inside = divmod(offset, WINDOW)
        if offset >= 0 and inside + size <= WINDOW and offset + size <= self.size:
            return self._window(number)[inside : inside + size]
        place = self.slice(offset, size, what)
        return self._pread(place.offset, size)

    def peek(self, offset: int, size: int) -> bytes:
        """As many of the bytes as there are."""
        size = max(0, min(size, self.size - offset))
        return self.read(offset, size, "") if size else b""

    def _window(self, number: int) -> bytes:
        data = self._windows.get(number)
        if data is None:
            if len(self._windows) >= WINDOWS:
                del self._windows[next(iter(self._windows))]
            start = number * WINDOW
            data = self._windows[number] = self._pread(self._slice.offset + start, min(WINDOW, self.size - start))
        return data

    def _pread(self, offset: int, size: int) -> bytes:
        parts = []
        while size:
            try:
                data = os.pread(self._handle.descriptor, size, offset)
            except OSError as error:
                raise InputOutputError(
                    f"the image '{self.name}' cannot be read: {error.strerror}", hint=READ_HINTS.get(error.errno or 0)
                ) from None
            if not data:
                self.verify()
                raise InputOutputError(
                    f"the image '{self.name}' ends before its size", hint="try again when nothing writes to it any more"
                )
            parts.append(data)
            offset += len(data)
            size -= len(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def verify(self) -> None:
        """Raise `StaleSourceError` if the host file has changed since it was opened."""
        self._handle.verify()


class ImageMedium(Medium):
    """An image that is laid out, read as an existing one is; a slice of it tells a place in the image."""

    def __init__(self, image: Image, name: str) -> None:
        self.name = name
        self.offset = 0
        self.size = image.size
        stand_in = HostFile(HostDirectory(None, "", 0), name, image.size, 0, 0)
        self._slice = FileSlice(stand_in, 0, image.size)
        self._source = Source(image)

    def read(self, offset: int, size: int, what: str) -> bytes:
        """Some bytes; the errors of `slice`, and those of the image's own files."""
        self.slice(offset, size, what)
        return self._source.read(offset, size)

    def verify(self) -> None:
        """Each read has verified what it read."""
