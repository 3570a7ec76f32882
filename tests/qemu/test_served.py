from __future__ import annotations

import subprocess
from pathlib import Path

from qemu_viso.opening import open_viso
from qemu_viso.qemu.served import ServedImage
from tests.recipes import write_recipe


def label(path: str) -> bytes:
    """The volume identifier, as libnbd's client reads it."""
    argv = ["nbdcopy", f"nbd+unix:///?socket={path}", "-"]
    return subprocess.run(argv, check=True, capture_output=True).stdout[32808:32840].strip()


def test_who_comes_next_reads_the_next_image(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    images = []
    for name in ("FIRST", "SECOND"):
        recipe = write_recipe(tmp_path, f"--volume-id={name} /file=file", name=f"{name}.viso")
        images.append(open_viso(recipe).image)
    with ServedImage(images[0]) as served:
        path = served.medium.path
        assert label(path) == b"FIRST"
        assert served.replace(images[1]) == served.medium
        assert label(path) == b"SECOND"
    assert not Path(path).exists()
