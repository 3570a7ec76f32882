"""The server before the clients that people use: libnbd's, QEMU's, each in its own process."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from qemu_viso.nbd import Server, listen_tcp, listen_unix
from tests.nbd.images import Mixed, mixed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TIMEOUT = 60
# Distributions build libnbd's bindings for their own Python, which need not be the first one in PATH.
ENVIRONMENT = os.environ | {"PATH": f"/usr/bin:{os.environ['PATH']}"}


def run(program: str, *arguments: str, status: int = 0) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run(
        [path, *arguments], capture_output=True, text=True, timeout=TIMEOUT, env=ENVIRONMENT, check=False
    )
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Mixed]]:
    """One image over a Unix socket."""
    image = mixed(tmp_path_factory.mktemp("image"))
    with Server({"test": image.image}, listen_unix()) as server:
        yield server, image


def test_nbdcopy(served: tuple[Server, Mixed], tmp_path: Path) -> None:
    server, image = served
    run("nbdcopy", server.uri, str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == image.expected


def test_nbdcopy_without_extents_and_with_odd_requests(served: tuple[Server, Mixed], tmp_path: Path) -> None:
    server, image = served
    run("nbdcopy", "--no-extents", "--request-size=8192", server.uri, str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == image.expected
    run("nbdcopy", "--no-extents", "--request-size=33554432", server.uri, str(tmp_path / "again"))
    assert (tmp_path / "again").read_bytes() == image.expected


def test_nbdcopy_over_tcp(served: tuple[Server, Mixed], tmp_path: Path) -> None:
    _, image = served
    with Server({"test": image.image}, listen_tcp(port=0)) as server:
        run("nbdcopy", server.uri_of("test"), str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == image.expected


def test_nbdinfo(served: tuple[Server, Mixed]) -> None:
    server, image = served
    info = json.loads(run("nbdinfo", "--json", server.uri))
    assert info["protocol"] == "newstyle-fixed"
    assert info["structured"] is True
    (export,) = info["exports"]
    assert export["export-name"] == "test"
    assert export["export-size"] == len(image.expected)
    assert (export["is_read_only"], export["can_multi_conn"], export["can_df"]) == (True, True, True)
    assert (export["can_flush"], export["can_cache"], export["can_trim"], export["can_zero"]) == (
        True,
        True,
        False,
        False,
    )
    assert export["contexts"] == ["base:allocation", "qemu-viso:origin"]
    assert (export["block_size_minimum"], export["block_size_preferred"], export["block_size_maximum"]) == (
        1,
        4096,
        1 << 25,
    )


def test_nbdinfo_list(served: tuple[Server, Mixed]) -> None:
    server, image = served
    with Server({"one": image.image, "zwei — zwo": image.image}, listen_unix()) as two:
        listed = json.loads(run("nbdinfo", "--list", "--json", two.uri))
        assert [export["export-name"] for export in listed["exports"]] == ["one", "zwei — zwo"]
        assert run("nbdinfo", "--size", two.uri_of("zwei — zwo")).strip() == str(len(image.expected))
        refused = run("nbdinfo", two.uri_of(""), status=1)
        assert "for the default export" in refused
    assert run("nbdinfo", "--size", server.uri_of("")).strip() == str(len(image.expected))


def test_nbdsh(served: tuple[Server, Mixed], tmp_path: Path) -> None:
    server, image = served
    copy = tmp_path / "expected"
    copy.write_bytes(image.expected)
    start = image.starts["big"]
    code = f"""
import errno
data = h.pread(100000, {start} + 1)
assert data == open({str(image.files["big"])!r}, "rb").read()[1:100001]
chunks = []
def chunk(data, offset, status, error):
    chunks.append((bytes(data), offset, status))
whole = h.pread_structured(1 << 20, 0, chunk)
assert whole == open({str(copy)!r}, "rb").read()[:1 << 20]
assert sorted({{status for _, _, status in chunks}}) == [nbd.READ_DATA, nbd.READ_HOLE], chunks
chunks.clear()
assert h.pread_structured(1 << 20, 0, chunk, nbd.CMD_FLAG_DF) == whole
assert [(offset, status) for _, offset, status in chunks] == [(0, nbd.READ_DATA)], chunks
h.cache(h.get_size(), 0)
h.flush()
h.set_strict_mode(0)
for call in (lambda: h.pwrite(b"x" * 512, 0), lambda: h.trim(512, 0), lambda: h.zero(512, 0)):
    try:
        call()
        raise SystemExit("a write was not refused")
    except nbd.Error as error:
        assert error.errnum == errno.EPERM, error
for call in (lambda: h.pread(512, h.get_size()), lambda: h.pread((1 << 25) + 1, 0), lambda: h.cache(512, h.get_size())):
    try:
        call()
        raise SystemExit("a bad request was not refused")
    except nbd.Error as error:
        assert error.errnum == errno.EINVAL, error
assert h.pread(7, {image.starts["literal"]}) == b"literal"
"""
    run("nbdsh", "-u", server.uri, "-c", code)


def test_qemu_img(served: tuple[Server, Mixed], tmp_path: Path) -> None:
    server, image = served
    info = json.loads(run("qemu-img", "info", "--output=json", server.uri))
    assert info["virtual-size"] == len(image.expected)
    run("qemu-img", "convert", "-O", "raw", server.uri, str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == image.expected
    run("qemu-img", "compare", "-f", "raw", "-F", "raw", server.uri, str(tmp_path / "copy"))


def test_qemu_io(served: tuple[Server, Mixed]) -> None:
    server, image = served
    start = image.starts["sparse"]
    told = run("qemu-io", "-r", "-f", "raw", "-c", f"read -P 0 {start + 4096} 64k", "-c", "flush", server.uri)
    assert "failed" not in told
    assert "Pattern" not in told
    told = run("qemu-io", "-f", "raw", "-c", "write 0 512", server.uri, status=1)
    assert "read-only" in told or "Permission denied" in told or "not permitted" in told


def test_qemu_nbd(served: tuple[Server, Mixed]) -> None:
    server, _ = served
    address = server.uri.partition("socket=")[2]
    told = run("qemu-nbd", "--list", "--socket", address)
    assert "export: 'test'" in told
    assert "qemu-viso:origin" in told


def test_qemu_nbd_hands_the_image_on(served: tuple[Server, Mixed], tmp_path: Path) -> None:
    """It reads from us and serves to others; what they get went through both."""
    server, image = served
    program = shutil.which("qemu-nbd")
    if program is None:
        pytest.skip("qemu-nbd is not installed")
    path, ready = tmp_path / "again.sock", tmp_path / "pid"
    handed_on = f"nbd+unix:///?socket={path}"
    argv = [program, "--fork", f"--pid-file={ready}", "--read-only", "--format=raw", "--persistent"]
    run(*argv, f"--socket={path}", server.uri)
    descriptor = os.pidfd_open(int(ready.read_text()))
    try:
        run("nbdcopy", handed_on, str(tmp_path / "copy"))
        holes = [each for each in json.loads(run("nbdinfo", "--map", "--json", handed_on)) if each["type"] == 3]
    finally:
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        assert select.select([descriptor], [], [], TIMEOUT)[0]
        os.close(descriptor)
    assert (tmp_path / "copy").read_bytes() == image.expected
    assert sum(each["length"] for each in holes) > 900_000


def test_qemu_itself(served: tuple[Server, Mixed]) -> None:
    """A machine without a guest: QEMU's own block layer opens the export, reads, and is refused a write."""
    server, image = served
    program = shutil.which("qemu-system-x86_64")
    if program is None:
        pytest.skip("qemu-system-x86_64 is not installed")
    start = image.starts["sparse"]
    node = {"driver": "nbd", "node-name": "medium", "read-only": True, "export": "test"}
    node["server"] = {"type": "unix", "path": server.uri.partition("socket=")[2]}
    commands = [
        {"execute": "qmp_capabilities"},
        {"execute": "query-named-block-nodes"},
        *(
            {"execute": "human-monitor-command", "arguments": {"command-line": f'qemu-io medium "{command}"'}}
            for command in (f"read -P 0 {start + 4096} 64k", f"read -P 1 {start + 4096} 64k", "write 0 512")
        ),
        {"execute": "quit"},
    ]
    argv = [program, "-S", "-display", "none", "-nodefaults", "-machine", "none", "-qmp", "stdio"]
    done = subprocess.run(
        [*argv, "-blockdev", json.dumps(node)],
        input="\n".join(map(json.dumps, commands)),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    answers = [line["return"] for line in lines if "return" in line]
    (opened,) = answers[1]
    assert (opened["drv"], opened["ro"]) == ("nbd", True)
    assert opened["image"]["virtual-size"] == len(image.expected)
    said = done.stdout + done.stderr
    assert "read 65536/65536 bytes" in said
    assert said.count("Pattern verification failed") == 1
    assert "read-only" in said or "not permitted" in said or "Permission denied" in said
