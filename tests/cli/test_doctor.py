"""What `doctor` says of this host, in words and as JSON."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from qemu_viso.guest.definition import guest_names
from qemu_viso.qemu.probe import GOOD_STATUS
from qemu_viso.qemu.process import PACKAGES
from qemu_viso.qemu.programs import PROGRAMS
from tests.cli.test_commands import qemu_viso
from tests.qemu.fakes import fake_program

ROOT = Path(__file__).resolve().parent.parent.parent
OVMF = Path("/usr/share/OVMF")
# Essential in Debian, or brought by QEMU.
THERE_ANYHOW = {"util-linux", "apt", "dpkg", "qemu-system-common"}
# What these have is no program.
NO_PROGRAMS = {
    "isolinux", "syslinux-common", "ovmf", "grub-pc-bin", "grub-efi-amd64-bin", "debian-installer-12-netboot-amd64"
}  # fmt: skip


@pytest.fixture(scope="module")
def content() -> dict[str, list[dict[str, object]]]:
    done = qemu_viso("doctor", "--json")
    found: dict[str, list[dict[str, object]]] = json.loads(done.stdout)
    assert done.returncode == (0 if found["ready"] else 69)
    return found


@pytest.fixture(scope="module")
def words() -> str:
    return qemu_viso("doctor").stdout


def line(words: str, what: str) -> str:
    """What is said of something, after its columns' blanks."""
    found: list[str] = re.findall(rf"^{re.escape(what)} +(.*)$", words, re.MULTILINE)
    assert len(found) == 1, (what, words)
    return found[0]


def test_programs(content: dict[str, list[dict[str, object]]], words: str) -> None:
    told = {each["name"]: each for each in content["programs"]}
    assert {"qemu-system-x86_64", "xorriso", "bsdtar", "7z", "udfinfo", "grub-fstest", "mmdebstrap"} <= told.keys()
    for name, each in told.items():
        assert each["path"] == shutil.which(str(name))
        if each["path"] is None:
            assert line(words, str(name)).startswith("missing")
            assert str(each["package"]) in words.splitlines()[-1].split()
        else:
            assert line(words, str(name)).startswith(str(each["version"] or "version unknown"))


def test_what_is_set_up_for_the_tests_is_looked_for() -> None:
    lines = (ROOT / "scripts" / "debian-packages").read_text(encoding="utf-8").splitlines()
    installed = {line.split()[0] for line in lines if not line.startswith("#")}
    assert {each.package for each in PROGRAMS} - THERE_ANYHOW == installed - NO_PROGRAMS
    for each in PROGRAMS:
        assert PACKAGES.get(each.name, each.package) == each.package


@pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="QEMU is not installed")
def test_machines_buses_and_firmware(content: dict[str, list[dict[str, object]]], words: str) -> None:
    (qemu,) = (each for each in content["qemus"] if each["architecture"] == "amd64")
    assert "q35" in str(qemu["machines"])
    assert "scsi-cd" in str(qemu["buses"])
    assert re.fullmatch(r"\S+ +(pc, q35|q35, pc)", line(words, "machines amd64"))
    assert line(words, "buses amd64").startswith("scsi-cd, ")
    if OVMF.is_dir():
        assert os.path.samefile(Path(str(qemu["uefi"])).parent, OVMF)
        assert line(words, "firmware amd64") == qemu["uefi"]


@pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="QEMU is not installed")
def test_accelerators(content: dict[str, list[dict[str, object]]], words: str) -> None:
    told = {each["accelerator"]: each for each in content["accelerators"]}
    assert list(told) == ["kvm", "tcg"]
    assert told["tcg"]["works"] is True
    for name, each in told.items():
        said = line(words, f"accelerator {name}")
        assert bool(each["reason"]) is not each["works"]
        if each["works"]:
            assert re.fullmatch(r"works \(\d+\.\d\d s\)", said)  # it is tried anew each time
            assert float(str(each["seconds"])) > 0
        else:
            assert re.fullmatch(r"not usable +" + re.escape(str(each["reason"])), said)
    if not os.path.exists("/dev/kvm"):
        assert told["kvm"]["reason"] == "there is no /dev/kvm"


def test_what_is_missing(tmp_path: Path) -> None:
    """A host that has QEMU and nothing else."""
    qemu = shutil.which("qemu-system-x86_64")
    if qemu is None:
        pytest.skip("QEMU is not installed")
    for name in ("qemu-system-x86_64", "setpriv"):
        (tmp_path / name).symlink_to(shutil.which(name) or name)
    done = qemu_viso("doctor", PATH=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert done.returncode == 69
    assert line(done.stdout, "qemu-storage-daemon").startswith("missing  ")
    assert line(done.stdout, "xorriso").startswith("missing (optional)")
    assert line(done.stdout, "accelerator tcg").startswith("works (")
    assert line(done.stdout, "guest linux-cloud") == "not built yet"


def test_without_the_program_that_starts_others(tmp_path: Path) -> None:
    """Everything is told but what needs it."""
    fake_program(tmp_path, "print('QEMU emulator version 7.2.1')", "qemu-system-x86_64")
    (tmp_path / "python3").symlink_to(shutil.which("python3") or "python3")
    (tmp_path / "env").symlink_to(shutil.which("env") or "env")
    done = qemu_viso("doctor", PATH=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert (done.returncode, done.stderr) == (69, "")
    assert line(done.stdout, "setpriv").startswith("missing  ")
    assert line(done.stdout, "qemu-system-x86_64").startswith("7.2.1")
    assert "accelerator" not in done.stdout


def test_guests(content: dict[str, dict[str, bool]], words: str) -> None:
    systems = ROOT / "images" / "guests" / "systems"
    assert list(content["guests"]) == [*guest_names(), *guest_names(systems)]
    assert "debian-cloud-init" in content["guests"]
    for name, built in content["guests"].items():
        assert line(words, f"guest {name}") == ("built" if built else "not built yet")


def test_doctor_tries_the_accelerators_each_time(tmp_path: Path) -> None:
    ill = tmp_path / "ill"
    probed = f"sys.exit(1 if os.path.exists({str(ill)!r}) else {GOOD_STATUS})"
    fake_program(tmp_path, f"if '-accel' in sys.argv: {probed}", "qemu-system-x86_64")

    def tcg() -> bool:
        path = f"{tmp_path}:{os.environ['PATH']}"
        done = qemu_viso("doctor", "--json", PATH=path, XDG_CACHE_HOME=str(tmp_path / "cache"))
        return {each["accelerator"]: bool(each["works"]) for each in json.loads(done.stdout)["accelerators"]}["tcg"]

    assert tcg()
    ill.touch()
    assert not tcg()
