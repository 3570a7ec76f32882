"""The command line, as a process: what is printed where, and with which status."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from qemu_viso.cli import main
from qemu_viso.cli.main import COMMANDS
from tests.recipes import MARKER, write_files, write_recipe

if TYPE_CHECKING:
    from pathlib import Path

NEEDS_LIBNBD = pytest.mark.skipif(shutil.which("nbdcopy") is None, reason="nbdcopy is not installed")


def qemu_viso(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "qemu_viso", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    write_files(tmp_path, {"in/hello.txt": b"hello\n", "in/sub/größe.bin": os.urandom(300_000), "in/empty": b""})
    os.symlink("hello.txt", tmp_path / "in" / "link")
    return write_recipe(tmp_path, "--volume-id=SAMPLE --rock-ridge", "/=in")


def test_info(recipe: str) -> None:
    done = qemu_viso("info", "--json", recipe)
    assert (done.returncode, done.stderr) == (0, "")
    content = json.loads(done.stdout)
    assert content["schema"] == 1
    assert content["volume_id"] == "SAMPLE"
    assert content["namespaces"] == ["rock", "plain", "joliet"]
    assert (content["files"], content["directories"], content["links"]) == (3, 2, 1)
    assert content["file_bytes"] == 300_006
    text = qemu_viso("info", recipe).stdout
    assert "SAMPLE" in text
    assert content["fingerprint"] in text


@pytest.mark.parametrize(
    ("namespace", "paths"),
    [
        ("rock", ["/", "/empty", "/hello.txt", "/link", "/sub", "/sub/größe.bin"]),
        ("joliet", ["/", "/empty", "/hello.txt", "/sub", "/sub/größe.bin"]),
        ("plain", ["/", "/empty", "/hello.txt", "/link", "/sub", "/sub/gr__e.bin"]),
    ],
)
def test_ls(recipe: str, namespace: str, paths: list[str]) -> None:
    done = qemu_viso("ls", "--json", "--namespace", namespace, recipe)
    if namespace == "plain":
        paths = [path.replace("gr__e", "gr_sse") for path in paths]  # upper case of ß is SS
    assert list(json.loads(done.stdout)["entries"]) == paths
    lines = qemu_viso("ls", "--namespace", namespace, recipe).stdout.splitlines()
    assert len(lines) == len(paths)


def test_ls_shows_each_name_on_one_line(tmp_path: Path) -> None:
    write_files(tmp_path, {"in/new\nline\x1b[31m": b"x"})
    done = qemu_viso("ls", write_recipe(tmp_path, "/=in"))
    assert len(done.stdout.splitlines()) == 2
    assert "\x1b" not in done.stdout
    assert "new\\nline\\x1b[31m" in done.stdout


@NEEDS_LIBNBD
def test_what_is_served_equals_what_is_rendered(recipe: str, tmp_path: Path) -> None:
    assert qemu_viso("render", recipe, "-o", str(tmp_path / "out.iso")).returncode == 0
    done = qemu_viso("serve", recipe, "--run", f'nbdcopy "$uri" {tmp_path}/copy.iso')
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "copy.iso").read_bytes() == (tmp_path / "out.iso").read_bytes()


def test_serve_ends_with_the_status_of_its_command(recipe: str) -> None:
    assert qemu_viso("serve", recipe, "--run", "exit 7").returncode == 7
    assert qemu_viso("serve", recipe, "--run", "kill -9 $$").returncode == 128 + 9


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@NEEDS_LIBNBD
def test_serve_prints_one_uri_and_removes_its_socket(recipe: str, tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "socket"
    with subprocess.Popen(
        [sys.executable, "-m", "qemu_viso", "serve", recipe, "--socket", str(path)], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        uri = server.stdout.readline().strip()
        assert uri == f"nbd+unix:///?socket={path}"
        size = subprocess.run(["nbdinfo", "--size", uri], capture_output=True, text=True, check=True).stdout
        assert int(size) == json.loads(qemu_viso("info", "--json", recipe).stdout)["size"]
        assert path.stat().st_mode & 0o777 == 0o600
        server.send_signal(number)
        assert server.stdout.read() == ""
        assert server.wait(30) == 0
    assert not path.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("deaf", ["", "trap '' TERM; "])
def test_serve_ends_its_command_with_all_that_it_started(
    recipe: str, tmp_path: Path, number: signal.Signals, deaf: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "qemu_viso", "serve", recipe, "--run", f"{deaf}sleep 1000 & echo $! $$; wait"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        started = server.stdout.readline().split()
        server.send_signal(number)
        try:
            assert server.wait(30) == 128 + number
            for process in started:
                with contextlib.suppress(ProcessLookupError):
                    assert select.select([os.pidfd_open(int(process))], [], [], 30)[0]  # readable when it has ended
        finally:
            for process in started:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(process), signal.SIGKILL)
    assert os.listdir(tmp_path / "tmp") == []


def test_nohup_is_respected(recipe: str) -> None:
    done = subprocess.run(
        f"trap '' HUP; exec {sys.executable} -m qemu_viso serve {recipe} --run 'kill -HUP $PPID; echo alive'",
        shell=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "alive\n", "")


@pytest.mark.parametrize("words", [("check",), ("info",), ("ls",), ("ls", "--json"), ("serve",)])
def test_output_that_cannot_be_written(recipe: str, words: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "qemu_viso", *words, recipe],
            stdout=full,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            check=False,
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (74, "qemu-viso: No space left on device\n")


def test_output_that_has_no_such_character(tmp_path: Path) -> None:
    write_files(tmp_path, {"a": b"a"})
    recipe = write_recipe(tmp_path, "/Größe=a")
    done = qemu_viso("ls", recipe, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Gr\\xf6\\xdfe" in done.stdout


def test_a_bug_is_told_from_a_difference(
    recipe: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The status of an exception that nobody foresaw must not be 1."""

    def broken(_: object) -> int:
        raise KeyError("unforeseen")

    monkeypatch.setattr("qemu_viso.cli.check.run", broken)
    monkeypatch.setattr(main, "_forget_output", lambda: None)
    monkeypatch.setattr(main, "end_by_unwinding", lambda: None)
    assert main.main(["check", recipe]) == 70
    said = capfd.readouterr().err
    assert "KeyError: 'unforeseen' (test_commands.py:" in said
    assert "Traceback" not in said


def test_a_mistake_is_told_with_its_place(tmp_path: Path) -> None:
    write_files(tmp_path, {"a": b"a"})
    for lines, status, words in (
        (("--volume-idd=X /a=a",), 65, ["TEST.viso:2:1", "--volume-idd", "--volume-id"]),
        (("/a=a", "  /b=missing"), 66, ["TEST.viso:3:3", "missing"]),
        (("/a=a /A=a",), 65, ["TEST.viso:2:6", "already has '/A'", "case"]),
        (("/x=:must-remove: /a=a",), 65, ["TEST.viso:2:1", "/x"]),
        (("--volume-id=X",), 65, ["nothing into the image"]),
        (("/a=a -b /nothing",), 65, ["TEST.viso:2:6", "/nothing"]),
    ):
        done = qemu_viso("check", write_recipe(tmp_path, *lines))
        assert done.returncode == status, done.stderr
        assert done.stdout == ""
        for word in words:
            assert word in done.stderr
        assert "Traceback" not in done.stderr


def test_files_that_are_no_recipes(tmp_path: Path) -> None:
    (tmp_path / "no.viso").write_text("hello")
    (tmp_path / "latin.viso").write_bytes(MARKER.encode() + b"\n/\xe9=a\n")
    (tmp_path / "folder.viso").mkdir()
    for name, status in (("no.viso", 65), ("latin.viso", 65), ("missing.viso", 66)):
        done = qemu_viso("check", str(tmp_path / name))
        assert (done.returncode, done.stdout) == (status, "")
        assert name in done.stderr
    done = qemu_viso("check", str(tmp_path / "folder.viso"))
    assert done.returncode in (65, 66, 74)
    assert "Traceback" not in done.stderr


def test_usage() -> None:
    assert qemu_viso("serve", "x.viso", "--socket", "").returncode == 2
    assert qemu_viso().returncode == 2
    assert qemu_viso("nonsense").returncode == 2
    assert qemu_viso("render", "x.viso").returncode == 2
    for seconds in ("0", "-1", "nan", "soon"):
        done = qemu_viso("verify", f"--timeout={seconds}", "x.viso")
        assert done.returncode == 2
        assert f"'{seconds}'" in done.stderr
    done = qemu_viso("verify", "--bus", "nonsense", "x.viso")
    assert done.returncode == 2
    assert "scsi-cd" in done.stderr
    help_text = qemu_viso("--help").stdout
    for command in COMMANDS:
        assert command in help_text
        assert "usage: qemu-viso " + command in qemu_viso(command, "--help").stdout


def test_boot_refuses_an_image_without_boot_images(recipe: str) -> None:
    done = qemu_viso("boot", recipe)
    assert done.returncode == 2
    assert "nothing that a machine could boot" in done.stderr


@pytest.mark.parametrize("options", [("--overlay",), ("--watch", "--bus", "virtio-blk")])
def test_boot_says_what_a_drive_cannot_do(recipe: str, options: tuple[str, ...]) -> None:
    done = qemu_viso("boot", recipe, *options)
    assert done.returncode == 2
    assert "hint: give --" in done.stderr


def test_names_must_be_utf_8(recipe: str) -> None:
    done = qemu_viso("check", recipe, PYTHONUTF8="0", LC_ALL="POSIX", PYTHONCOERCECLOCALE="0")
    assert done.returncode == 78
    assert "PYTHONUTF8=1" in done.stderr


def test_a_closed_pipe_is_no_error(recipe: str) -> None:
    done = subprocess.run(
        f"{sys.executable} -m qemu_viso ls {recipe} | true", shell=True, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


def test_verify_says_what_is_missing(recipe: str, tmp_path: Path) -> None:
    done = qemu_viso("verify", recipe, PATH="/nonexistent", XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert done.returncode == 69
    assert "Traceback" not in done.stderr


def test_cat_map_and_explain(recipe: str) -> None:
    assert qemu_viso("cat", recipe, "hello.txt").stdout == "hello\n"
    assert qemu_viso("cat", recipe, "//empty/", "--namespace", "plain").stdout == ""
    assert qemu_viso("cat", recipe, "/nothing").returncode == 66
    assert qemu_viso("cat", recipe, "/sub").returncode == 2
    regions = json.loads(qemu_viso("map", "--json", recipe).stdout)
    assert sum(region["size"] for region in regions["regions"]) == regions["size"]
    assert len(qemu_viso("map", recipe).stdout.splitlines()) == len(regions["regions"])
    explained = json.loads(qemu_viso("explain", "--json", recipe, "0x8000+7").stdout)["explained"]
    assert [(each["start"], each["size"], each["value"]) for each in explained] == [
        (0x8000, 1, 1),
        (0x8001, 5, "CD001"),
        (0x8006, 1, 1),
    ]
    assert explained[1]["field"] == "standard identifier"
    assert "zeros" in qemu_viso("explain", recipe, "0").stdout
    for wrong in ("x", "1+", "99999999999", "0+0"):
        assert qemu_viso("explain", recipe, wrong).returncode == 2


@pytest.mark.parametrize("options", ["--udf --rock-ridge", "--no-rock-ridge --no-joliet", "--udf"])
def test_commands_look_at_images_in_files_too(tmp_path: Path, options: str) -> None:
    write_files(tmp_path, {"in/hello.txt": b"hello\n", "in/sub/größe.bin": os.urandom(3000), "in/empty": b""})
    os.symlink("hello.txt", tmp_path / "in" / "link")
    recipe = write_recipe(tmp_path, f"--volume-id=SAMPLE {options}", "/=in")
    iso = str(tmp_path / "sample")
    assert qemu_viso("render", recipe, "-o", iso).returncode == 0
    mine, other = (json.loads(qemu_viso("info", "--json", spec).stdout) for spec in (recipe, iso))
    for key in ("volume_id", "namespaces", "bootable", "size", "directories", "file_bytes"):
        assert mine[key] == other[key], key
    for namespace in mine["namespaces"]:
        words = ("--json", "--namespace", namespace)
        listed, there = (json.loads(qemu_viso("ls", *words, spec).stdout) for spec in (recipe, iso))
        assert listed == there
    assert qemu_viso("ls", iso).stdout == qemu_viso("ls", recipe).stdout
    assert qemu_viso("cat", iso, "hello.txt").stdout == "hello\n"
    assert qemu_viso("cat", iso, "empty").stdout == ""
    assert qemu_viso("cat", iso, "/nothing").returncode == 66
    regions = json.loads(qemu_viso("map", "--json", iso).stdout)
    assert sum(region["size"] for region in regions["regions"]) == regions["size"] == other["size"]
    assert qemu_viso("ls", "--namespace", "joliet", iso).returncode == (0 if "joliet" in mine["namespaces"] else 2)
    start = next(
        region["start"] for region in regions["regions"] if region["content"].lower().startswith("file /hello")
    )
    assert "hello" in qemu_viso("explain", iso, str(start)).stdout.lower()
