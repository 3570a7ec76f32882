"""What this host cannot do skips a test, and the skip says why."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from qemu_viso.pytest_plugin import session
from qemu_viso.qemu.accelerators import Verdict
from qemu_viso.qemu.platforms import PLATFORMS

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parent.parent.parent
PLUGIN = ("-p", "qemu_viso.pytest_plugin", "-rs")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH on which a test puts what it wants found."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def add(programs: Path, name: str) -> None:
    (programs / name).write_text("#!/bin/false\n")
    (programs / name).chmod(0o755)


def skipped(pytester: pytest.Pytester, marker: str, sentence: str, *options: str) -> None:
    """A marked test is skipped, and its report ends so."""
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.{marker}
        def test_x(viso, viso_view):
            viso_view(viso(files={{"/x": "x"}}))
    """)
    result = pytester.runpytest_inprocess(*PLUGIN, *options)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines([f"SKIPPED *: {sentence}"])


def test_qemu_is_missing(pytester: pytest.Pytester, programs: Path) -> None:
    sentence = "the program 'qemu-system-x86_64' is not installed (on Debian: apt-get install qemu-system-x86)"
    skipped(pytester, "viso_guest('linux-cloud')", sentence)


def test_the_guest_cannot_drive_the_bus(pytester: pytest.Pytester, programs: Path) -> None:
    sentence = "the guest 'linux-cloud' cannot drive the bus 'usb-cd'; it can drive scsi-cd, ide-cd, virtio-blk*"
    skipped(pytester, "viso_bus('usb-cd')", sentence)


@pytest.mark.parametrize("guest", ["arm64", "armhf", "riscv64"])
def test_there_is_no_such_firmware(pytester: pytest.Pytester, programs: Path, guest: str) -> None:
    """A machine would start with nothing that looks at the medium, and be waited for until the deadline."""
    add(programs, PLATFORMS[guest].program)
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.viso_guest("linux-{guest}")
        @pytest.mark.viso_firmware("bios")
        def test_x(viso, viso_machine):
            viso_machine(viso(files={{"/x": "x"}}))
    """)
    result = pytester.runpytest_inprocess(*PLUGIN)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines([f"SKIPPED *: there is no BIOS for {guest} (*"])


def test_firmware_is_missing(pytester: pytest.Pytester, programs: Path) -> None:
    """There is no UEFI for this architecture anywhere."""
    add(programs, "qemu-system-ppc64")
    pytester.makepyfile("""
        import pytest

        @pytest.mark.viso_guest("linux-ppc64el")
        @pytest.mark.viso_firmware("uefi")
        def test_x(viso, viso_machine):
            viso_machine(viso(files={"/x": "x"}))
    """)
    result = pytester.runpytest_inprocess(*PLUGIN)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED *: no UEFI firmware for ppc64 is installed"])


def test_the_storage_daemon_is_missing(pytester: pytest.Pytester, programs: Path) -> None:
    pytester.makepyfile("def test_x(viso, viso_export): viso_export(viso(files={'/x': 'x'}), 'vhost-user-blk')")
    result = pytester.runpytest_inprocess(*PLUGIN)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED *: the program 'qemu-storage-daemon' is not installed (*"])


def test_what_builds_the_guest_is_missing(
    pytester: pytest.Pytester, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(programs, "qemu-system-x86_64")
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(pytester.path / "cache"))
    pytester.makepyfile("def test_x(viso_guest): ...")
    result = pytester.runpytest_inprocess(*PLUGIN)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED *: the program '*' is not installed*"])


def judge(monkeypatch: pytest.MonkeyPatch, *found: Verdict) -> None:
    async def verdicts() -> list[Verdict]:
        return list(found)

    monkeypatch.setattr(session, "verdicts", verdicts)


BAD_KVM = Verdict("kvm", works=False, seconds=3.0, reason="the probe guest was not done after 3 s")
TCG = Verdict("tcg", works=True, seconds=0.1)


def test_the_accelerator_that_was_asked_for_does_not_work(
    pytester: pytest.Pytester, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(programs, "qemu-system-x86_64")
    judge(monkeypatch, BAD_KVM, TCG)
    sentence = "the accelerator 'kvm' does not work here: the probe guest was not done after 3 s"
    skipped(pytester, "viso_bus('scsi-cd')", sentence, "--viso-accel", "kvm")


def test_the_accelerator_does_not_run_guests_of_that_architecture(
    pytester: pytest.Pytester, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(programs, "qemu-system-s390x")
    judge(monkeypatch, Verdict("kvm", works=True, seconds=0.1), TCG)
    sentence = "the accelerator 'kvm' runs no guests of s390x"
    skipped(pytester, "viso_guest('linux-s390x')", sentence, "--viso-accel", "kvm")


TELLING = """
    import pytest
    from qemu_viso.qemu.platforms import PLATFORMS

    @pytest.mark.parametrize("number", range(4))
    def test_x(viso_session, number):
        assert viso_session.accelerator(PLATFORMS["amd64"]).accelerator == "tcg"
"""


@pytest.mark.parametrize(("options", "times"), [((), 1), (("-n", "2"), 1), (("--viso-accel", "tcg"), 0)])
def test_a_rejected_accelerator_is_told_of_once(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], times: int
) -> None:
    """Also with workers, and where all of Python's warnings are errors; not to those who have chosen."""
    if "-n" in options:
        pytest.importorskip("xdist")
    monkeypatch.setenv("PYTHONPATH", os.fspath(ROOT))
    pytester.makeconftest(f"""
        from qemu_viso.pytest_plugin import session
        from qemu_viso.qemu.accelerators import Verdict

        async def verdicts():
            return [{BAD_KVM!r}, {TCG!r}]

        session.verdicts = verdicts
    """)
    pytester.makepyfile(TELLING)
    result = pytester.runpytest_subprocess(*PLUGIN, "-W", "error", *options)
    result.assert_outcomes(passed=4)
    told = [line for line in result.outlines if line.startswith("qemu-viso: KVM is here but not used")]
    assert len(told) == times


def test_a_namespace_that_the_image_lacks_is_a_mistake(pytester: pytest.Pytester, programs: Path) -> None:
    pytester.makepyfile("def test_x(viso, viso_view): viso_view(viso(files={'/x': 'x'}), 'udf')")
    result = pytester.runpytest_inprocess(*PLUGIN)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *UsageError: the image has no udf namespace*", "*.py:1: UsageError"])
