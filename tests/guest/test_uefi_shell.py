"""What the UEFI shell leaves on its disk, understood."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from qemu_viso.errors import GuestError
from qemu_viso.guest.uefi_shell import parse_listing, scratch_disk

DAY = '"21:08:06","22.11.2026"'
LISTING = f"""ShellCommand,"ls"
VolumeInfo,"größe 尺","434176"," TRUE","0","2048"
FileInfo,"FS2:\\.hidden","2","2","ar",{DAY},{DAY},"04:05:06","03.02.2001"
FileInfo,"FS2:\\a, "b"","5","5","ar",{DAY},{DAY},{DAY}
FileInfo,"FS2:\\sub","80","80","dr",{DAY},{DAY},{DAY}
FileInfo,"FS2:\\sub\\🙂 x","3","3","ar",{DAY},{DAY},{DAY}
"""


def test_a_listing(tmp_path: Path) -> None:
    (tmp_path / ".hidden").write_bytes(b"x\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "__ x").write_bytes(b"yy\n")  # mtools' name for it
    view = parse_listing(LISTING, tmp_path)
    assert (view.namespace, view.label, view.reader) == ("udf", "größe 尺", "uefi-shell")
    assert sorted(view.facts) == ["content", "mtime", "size"]
    found = {path: (entry.kind, entry.size, entry.sha256) for path, entry in view.entries.items()}
    assert found == {
        "/": ("directory", 0, None),
        "/.hidden": ("file", 2, hashlib.sha256(b"x\n").hexdigest()),
        '/a, "b"': ("file", 5, None),  # FAT has no such name
        "/sub": ("directory", 80, None),
        "/sub/🙂 x": ("file", 3, hashlib.sha256(b"yy\n").hexdigest()),
    }
    assert view.entries["/.hidden"].mtime == 981173106


def test_nothing_listed(tmp_path: Path) -> None:
    with pytest.raises(GuestError, match="the UEFI shell lists nothing"):
        parse_listing('ShellCommand,"ls"\n', tmp_path)


@pytest.mark.skipif(shutil.which("mformat") is None, reason="mtools are not installed")
def test_its_disk_is_gone_afterwards(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("reset -s\n")
    with scratch_disk(tmp_path / "script") as disk:
        assert disk.path in disk.to_argv()[1]
        with open(disk.path, "rb") as file:
            assert file.read(8 << 20).count(b"STARTUP NSH") == 1
    assert not Path(disk.path).exists()
