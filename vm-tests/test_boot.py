"""`qemu-viso boot`: a machine for a person, who watches, writes, looks and changes what is on the medium."""

from __future__ import annotations

import subprocess
import sys
import zlib
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

MARKER = "--iprt-iso-maker-file-marker-bourne-sh 0f7b3c52-52c1-4d6c-9a43-0a5a3f8e7d11"

LONG = 120.0

# Writes itself to sector 40 of the drive that it was started from, reads that back, says W if that is what was
# written and E if not, on the serial port and on the screen, and turns the machine off.
WRITER = (
    bytes.fromhex(
        "31c0 8ed8 8ec0 8ed0 bc007c"  # xor ax, ax; mov ds, ax; mov es, ax; mov ss, ax; mov sp, 0x7c00
        "be427c b80043 cd13 7219"  # mov si, packet; mov ax, 0x4300; int 0x13: extended write; jc fail
        "c706467c0080 b442 cd13 720d"  # mov word [packet + 4], 0x8000; mov ah, 0x42; int 0x13: read; jc fail
        "a10080 3b06007c 7504"  # mov ax, [0x8000]; cmp ax, [0x7c00]; jne fail
        "b057 eb02 b045"  # mov al, 'W'; jmp say; fail: mov al, 'E'
        "baf803 ee b40e cd10"  # say: mov dx, 0x3f8; out dx, al; mov ah, 0x0e; int 0x10
        "ba0406 b80020 ef"  # mov dx, 0x604; mov ax, 0x2000; out dx, ax: off, as ACPI would do it
        "f4 ebfd"  # stop: hlt; jmp stop
        "1000 0100 007c0000 2800000000000000"  # packet: one sector at 0x7c00, number 40
    ).ljust(510, b"\0")
    + b"\x55\xaa"
)
# Reads sectors 16 to 511 of the drive that it was started from, again and again; of one that begins with NO it says the
# next byte on the serial port, if that is not the one that it said last. Goes on where the drive has no medium.
READER = (
    bytes.fromhex(
        "31c0 8ed8 8ec0 8ed0 bc007c"  # xor ax, ax; mov ds, ax; mov es, ax; mov ss, ax; mov sp, 0x7c00
        "c706507c1000"  # again: mov word [packet + 8], 16
        "c7064a7c0100"  # next: mov word [packet + 2], 1: a read that fails says there how much it has read
        "be487c b442 cd13 721a"  # mov si, packet; mov ah, 0x42; int 0x13: extended read; jc skip
        "813e00804e4f 7512"  # cmp word [0x8000], 'NO'; jne skip
        "a00280 3806587c 7409 a2587c"  # mov al, [0x8002]; cmp [last], al; je skip; mov [last], al
        "52 baf803 ee 5a"  # push dx; mov dx, 0x3f8; out dx, al; pop dx
        "ff06507c 813e507c0002"  # skip: inc word [packet + 8]; cmp word [packet + 8], 512
        "72cb ebc3"  # jb next; jmp again
        "1000 0100 00800000 0000000000000000"  # packet: one sector to 0x8000
        "00"  # last
    ).ljust(510, b"\0")
    + b"\x55\xaa"
)


def bootable(folder: Path, code: bytes) -> Path:
    """A recipe that boots a sector, from a CD and from a disk."""
    (folder / "sector").write_bytes(code)
    (folder / "note").write_text("NO{")
    (folder / "room").write_bytes(bytes(4 << 20))  # SeaBIOS reads no disk of less than some cylinders
    recipe = folder / "boot.viso"
    recipe.write_text(
        f"{MARKER} /sector=sector /note=note /room=room --eltorito-boot=/sector --no-emulation-boot -G sector"
    )
    return recipe


def complaints(stderr: Iterable[str]) -> Iterator[str]:
    """What `boot` says beside its word on a host whose KVM is not to be trusted."""
    return (line for line in stderr if not line.startswith("qemu-viso: KVM is here but not used"))


def argv(recipe: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "qemu_viso", "boot", str(recipe), *options]


@pytest.mark.parametrize(("options", "said"), [pytest.param((), "E", marks=pytest.mark.full), (("--overlay",), "W")])
def test_an_overlay_takes_what_the_guest_writes(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    recipe = bootable(tmp_path, WRITER)
    done = subprocess.run(
        argv(recipe, "--bus", "virtio-blk", *options), capture_output=True, text=True, check=False, timeout=LONG
    )
    assert (done.returncode, list(complaints(done.stderr.splitlines()))) == (0, [])
    # SeaBIOS keeps what it says for the serial port for a while; what is written past it comes between.
    assert said in done.stdout.partition("Booting from Hard Disk")[2]
    assert (tmp_path / "sector").read_bytes() == WRITER


def test_the_last_look_is_kept(tmp_path: Path) -> None:
    recipe, picture = bootable(tmp_path, WRITER), tmp_path / "screen.png"
    done = subprocess.run(
        argv(recipe, "--screenshot", str(picture)), capture_output=True, text=True, check=False, timeout=LONG
    )
    assert (done.returncode, list(complaints(done.stderr.splitlines()))) == (0, [])
    data = picture.read_bytes()
    assert data.startswith(b"\x89PNG")
    at = data.index(b"IDAT")
    pixels = zlib.decompressobj().decompress(data[at + 4 :])
    assert len(set(pixels)) > 2, "there is text on the screen"


@pytest.mark.full
def test_a_picture_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    picture = tmp_path / "nowhere" / "screen.png"
    command = argv(bootable(tmp_path, WRITER), "--screenshot", str(picture))
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONG)
    assert done.returncode == 74
    assert str(picture) in done.stderr


def test_the_drive_follows_the_sources(tmp_path: Path) -> None:
    """A changed source, which the guest reads; a mistake in the recipe; its correction; a new file in what is new."""
    recipe = bootable(tmp_path, READER)
    text = recipe.read_text()
    pipe = subprocess.PIPE
    with (
        subprocess.Popen(argv(recipe, "--watch"), stdin=pipe, stdout=pipe, stderr=pipe, text=True) as boot,
        ExitStack() as stack,
    ):
        stack.callback(boot.terminate)
        assert boot.stdin is not None
        assert boot.stdout is not None
        assert boot.stderr is not None
        # The guest may come to read what has changed before it is given the new image, and is then refused.
        refused = "has changed since the recipe was opened"
        complained = (line for line in complaints(boot.stderr) if refused not in line)
        told = complained.__next__
        while (said := boot.stdout.read(1)) != "{":
            assert said, "the machine has ended"
        (tmp_path / "note").write_text("NO}")
        assert told() == "qemu-viso: the medium has been changed\n"
        while (said := boot.stdout.read(1)) != "}":
            assert said, "the machine has ended"
        recipe.write_text(text + " /more/=missing")
        assert "missing' does not exist; the medium stays as it was" in told()
        (tmp_path / "missing").mkdir()
        assert told() == "qemu-viso: the medium has been changed\n"
        (tmp_path / "missing" / "file").write_text("file")
        assert told() == "qemu-viso: the medium has been changed\n"
        boot.stdin.write("\x1d")
        boot.stdin.close()
        assert boot.wait(LONG) == 0
        assert list(complained) == []
