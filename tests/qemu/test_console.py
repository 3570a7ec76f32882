import asyncio
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qemu_viso.qemu.console import LONGEST_LINE, NOT_FROM_THE_MEDIUM, REMEMBERED, Console, plain


def console() -> tuple[Console, list[str]]:
    failures: list[str] = []
    return Console(None, failures.append), failures


@pytest.mark.parametrize(
    "text",
    [
        b"[    1.2] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\r\n",
        b"No bootable device.\n",
        b"error: file `/boot/grub/i386-pc/normal.mod' not found.\r\n\rgrub rescue> ",
    ],
)
def test_a_failure_is_noticed_however_it_is_cut(text: bytes) -> None:
    for size in (1, 7, len(text)):
        subject, failures = console()
        for at in range(0, len(text), size):
            subject.feed(text[at : at + size])
        assert len(failures) == 1
        assert failures[0] in text.decode().replace("\r", "")


def test_a_prompt_through_seabios() -> None:
    """As Debian 12's GRUB 2.06 says it on a screen that SeaBIOS mirrors."""
    subject, failures = console()
    text = b"\x1b[0merror: file `/boot/grub/i386-pc/normal.mod' not found.\r\ngru\x1b[06;03H\x1b[06;04Hb rescue> "
    for byte in text:
        subject.feed(bytes([byte]))
    assert failures == ["grub rescue>"]


def test_firmware_that_starts_its_own_shell() -> None:
    """As OVMF says it where the medium has nothing for it."""
    text = (
        b'BdsDxe: failed to load Boot0001 "UEFI QEMU QEMU CD-ROM " from PciRoot(0x0)/Pci(0x2,0x0)/Scsi(0x0,0x0): '
        b'Not Found\r\nBdsDxe: starting Boot0002 "EFI Internal Shell" from Fv(7CB8BDC9)\r\n'
    )
    subject, failures = console()
    subject.feed(text)
    assert failures == []
    subject = Console(None, failures.append, NOT_FROM_THE_MEDIUM)
    subject.feed(text)
    assert failures == ['BdsDxe: starting Boot0002 "EFI Internal Shell" from Fv(7CB8BDC9)']


def test_good_news_is_no_failure() -> None:
    subject, failures = console()
    subject.feed(b"Linux version 6.1 panic=-1\nFreeing unused kernel memory\n")
    assert failures == []


def test_a_failure_in_a_line_without_end() -> None:
    subject, failures = console()
    for _ in range(3):
        subject.feed(b"x" * (LONGEST_LINE - 7))
    subject.feed(b"Kernel panic - not syncing: no")
    subject.feed(b"x" * LONGEST_LINE)
    assert failures


def test_noise_is_remembered_in_part() -> None:
    subject, _ = console()
    for _ in range(100):
        subject.feed(b"\x00noise\xff" * 10000)
    assert len(subject.remembered) == REMEMBERED
    assert all(len(line) <= 400 for line in subject.last_lines)


def test_the_last_lines_are_fit_to_print() -> None:
    subject, _ = console()
    subject.feed(b"\x1b[2J\x1b[1;31mred\x1b[0m\r\n\n\x07caf\xc3\xa9 \xff\r\n\x1b]0;title\x07end")
    assert subject.last_lines == ["red", "café \\xff", "end"]


def test_waiting_for_a_pattern_that_comes_in_pieces() -> None:
    async def run() -> bytes:
        subject, _ = console()
        subject.feed(b"login: ")
        waiting = asyncio.create_task(subject.wait_for(rb"lo(gi)n: "))
        await asyncio.sleep(0)
        assert not waiting.done()
        for byte in b"more\r\nlogin: ":
            subject.feed(bytes([byte]))
        return (await waiting).group(1)

    assert asyncio.run(run()) == b"gi"


def test_mirrors_get_everything_once() -> None:
    subject, _ = console()
    subject.feed(b"before ")
    copies: list[bytes] = []
    with subject.mirrored(copies.append):
        subject.feed(b"meanwhile")
    subject.feed(b" after")
    assert b"".join(copies) == b"before meanwhile"


def test_what_lies_in_the_socket_is_read_at_the_end() -> None:
    async def run() -> list[str]:
        ours, theirs = socket.socketpair()
        subject = Console(ours, list[str]().append)
        theirs.sendall(b"last words")
        theirs.close()
        subject.close()
        return subject.last_lines

    assert asyncio.run(run()) == ["last words"]


@given(st.lists(st.binary(max_size=300), max_size=30))
def test_any_bytes_are_survived(chunks: list[bytes]) -> None:
    subject, _ = console()
    for chunk in chunks:
        subject.feed(chunk)
    assert subject.received == sum(map(len, chunks))
    assert all("\x1b" not in line for line in subject.last_lines)
    plain(b"".join(chunks))
