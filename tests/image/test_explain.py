"""Every byte has one origin, and reading that origin gives the byte."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qemu_viso.image import FileSlice, Hole, Image, Joined, RegionMap
from qemu_viso.image.explain import describe, explain
from qemu_viso.sources.host import HostDirectory, HostFile
from tests.recipes import opened


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    folder = tmp_path_factory.mktemp("explain")
    files = {"in/boot.bin": os.urandom(5000), "in/a": b"a" * 3000, "in/d/b": b"b"}
    found = opened(folder, "/=in", "-b /boot.bin -no-emul-boot -boot-info-table", files=files).image
    # The same once more, with a file in pieces behind it.
    path = folder / "in" / "a"
    status = path.stat()
    file = HostFile(HostDirectory(None, str(path.parent), status.st_dev), "a", 3000, status.st_mtime_ns, status.st_ino)
    regions = RegionMap()
    for start, stop, content in found.regions.spans():
        regions.append(start, stop - start, content)
    regions.append(regions.size, 8192, Joined((FileSlice(file, 10, 100), Hole(5000), FileSlice(file, 0, 7))))
    return Image(regions, "explained")


@given(data=st.data())
def test_origins_cover_the_range_and_tell_the_truth(image: Image, data: st.DataObject) -> None:
    offset = data.draw(st.integers(0, image.size - 1))
    size = data.draw(st.integers(1, image.size - offset))
    position = offset
    for origin in explain(image, offset, size):
        assert origin.start == position
        assert origin.size > 0
        position += origin.size
        seen = image.read(origin.start, origin.size)
        if origin.offset is None:
            assert not any(seen)
        elif origin.what.startswith("file "):
            content = Path(origin.what.removeprefix("file ")).read_bytes()
            assert content[origin.offset : origin.offset + origin.size] == seen
    assert position == offset + size


def test_what_there_is(image: Image) -> None:
    names = [describe(content) for content in image.regions.contents]
    for name in ("zeros", "ISO volume descriptor", "boot record", "boot catalog", "ISO path table, type M"):
        assert name in names
    assert any(name.endswith("with boot information table") for name in names)
    assert any("hole" in name for name in names)
    for start, size in ((-1, 1), (0, 0), (image.size, 1)):
        with pytest.raises(ValueError, match="not inside"):
            list(explain(image, start, size))
