"""`qemu-viso verify` as people use it: several recipes, guests and buses, and what is left of a failure."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.recipes import write_files, write_recipe

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "images" / "demo.viso"


def verify(folder: Path, *words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(folder / "state")} | (env or {})
    return subprocess.run(
        [sys.executable, "-m", "qemu_viso", "verify", *words],
        capture_output=True, text=True, cwd=folder, env=environment, timeout=240, check=False,
    )  # fmt: skip


def rows(output: str) -> list[tuple[str, ...]]:
    """Recipe, guest, bus, namespace and the word that follows, of each row."""
    return [tuple(line.split()[:4]) for line in output.splitlines() if not line.startswith(" ")]


def test_one_boot_for_two_recipes_on_a_drive_and_two_on_a_disk(tmp_path: Path) -> None:
    write_files(tmp_path, {"in/a": b"a" * 5000, "in/b": b""})
    other = write_recipe(tmp_path, "--udf -R --volume-id=OTHER", "/=in", name="other.viso")
    words = ("--buses", "ide-cd,virtio-blk", "--namespaces", "rock,udf", "--jobs", "2")
    done = verify(tmp_path, str(DEMO), other, *words, "--junit", "r.xml", "--html", "r.html")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(rows(done.stdout)) == sorted(
        (recipe, "linux-cloud", bus, namespace)
        for bus in ("ide-cd", "virtio-blk")
        for recipe, namespace in (
            ("demo.viso", "rock"), ("demo.viso", "udf"), ("other.viso", "rock"), ("other.viso", "udf"),
        )
    )  # fmt: skip
    assert done.stdout.count("skipped: the image has no udf namespace") == 2
    assert done.stdout.count("11 of 11 entries as expected") == 2
    assert done.stdout.count("3 of 3 entries as expected") == 4
    suites = ET.parse(tmp_path / "r.xml").getroot()
    assert (suites.get("tests"), suites.get("failures"), suites.get("skipped")) == ("8", "0", "2")
    assert "All as promised" in (tmp_path / "r.html").read_text(encoding="utf-8")
    assert not (tmp_path / "state").exists()


def test_a_failure_leaves_a_folder(tmp_path: Path) -> None:
    """The demo has nothing to boot from."""
    words = ("--boot-medium", "--namespaces", "rock", "--timeout", "30", "--json", "--html", "r.html")
    done = verify(tmp_path, str(DEMO), *words, "--keep", "kept")
    assert done.returncode == 74
    (report,) = json.loads(done.stdout)["reports"]
    assert (report["outcome"], report["namespace"]) == ("failed", "rock")
    assert "No bootable device" in report["reason"]
    (folder,) = (tmp_path / "kept").iterdir()
    assert os.path.samefile(tmp_path / report["folder"], folder)
    assert sorted(os.listdir(folder)) == [
        "commands.txt", "console.txt", "failure.txt", "qmp.txt", "reads.txt", "regions.txt", "repeat.sh",
        "reports.json", "screen.png",
    ]  # fmt: skip
    assert b"No bootable device" in (folder / "console.txt").read_bytes()
    assert (folder / "screen.png").read_bytes().startswith(b"\x89PNG")
    assert "qemu-system-x86_64 -S" in (folder / "commands.txt").read_text()
    assert '"execute": "cont"' in (folder / "qmp.txt").read_text()
    assert "primary" in (folder / "reads.txt").read_text() or "descriptor" in (folder / "reads.txt").read_text()
    assert "data:image/png;base64," in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_the_line_that_repeats_a_failure_repeats_it(tmp_path: Path) -> None:
    done = verify(tmp_path, str(DEMO), "--boot-medium", "--namespaces", "rock", "--timeout", "30", "--keep", "kept")
    assert done.returncode == 74
    (script,) = (tmp_path / "kept").glob("*/repeat.sh")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "qemu-viso").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m qemu_viso "$@"\n')
    (tmp_path / "bin" / "qemu-viso").chmod(0o755)
    environment = os.environ | {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }
    again = subprocess.run([script], capture_output=True, text=True, env=environment, timeout=240, check=False)
    assert again.returncode == 74
    assert "No bootable device" in again.stdout
    assert len(list((tmp_path / "state" / "qemu-viso" / "failures").iterdir())) == 1


def test_a_guest_whose_qemu_is_missing_is_skipped(tmp_path: Path) -> None:
    """As on a host that has QEMU for x86 only."""
    (tmp_path / "bin").mkdir()
    for program in ("qemu-system-x86_64", "setpriv", "sh", "apt-get", "apt-cache", "dpkg", "dpkg-deb"):
        found = shutil.which(program)
        if found is None:
            pytest.skip(f"{program} is not installed")
        (tmp_path / "bin" / program).symlink_to(found)
    words = (str(DEMO), "--guests", "linux-arm64,linux-cloud", "--namespaces", "rock")
    done = verify(tmp_path, *words, env={"PATH": str(tmp_path / "bin")})
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = done.stdout.splitlines()
    assert "linux-arm64  scsi-cd  rock  skipped: the program 'qemu-system-aarch64' is not installed (" in first
    assert "linux-cloud  scsi-cd  rock  11 of 11 entries as expected" in second


@pytest.mark.full
def test_a_file_that_is_too_large_to_be_read_as_a_whole(tmp_path: Path) -> None:
    """Nine gigabytes of nothing, but for some bytes at the borders of extents and at the end."""
    with (tmp_path / "large").open("wb") as file:
        for offset in (0, 0xFFFFF800 - 3, 2 * 0xFFFFF800 - 3, (9 << 30) + 1234):
            file.seek(offset)
            file.write(b"border")
    recipe = write_recipe(tmp_path, "--udf -R --volume-id=LARGE", "/large=large")
    done = verify(tmp_path, recipe, "--buses", "virtio-blk", "--namespaces", "rock,udf")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("2 of 2 entries as expected, 1 of them in samples") == 2


@pytest.mark.full
def test_a_file_of_more_than_a_gibibyte_is_read_as_a_whole(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.seek(1 << 30)
        file.write(b"the end")
    recipe = write_recipe(tmp_path, "--udf -R --volume-id=LARGE", "/large=large")
    done = verify(tmp_path, recipe, "--buses", "virtio-blk", "--namespaces", "rock")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2 entries as expected (" in done.stdout
