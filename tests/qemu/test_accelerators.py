import asyncio
import json
import resource
import shutil
import subprocess
from pathlib import Path

import pytest

from qemu_viso.errors import GuestError, MissingProgramError
from qemu_viso.qemu import accelerators
from qemu_viso.qemu.accelerators import Verdict, best, probe, rejection, verdicts, warn_of_rejection
from qemu_viso.qemu.deadline import guest_seconds
from qemu_viso.qemu.platforms import PLATFORMS
from qemu_viso.qemu.probe import GOOD_STATUS, SIZE, firmware
from tests.qemu.fakes import fake_program

SOURCE = Path(accelerators.__file__).with_name("probe.S")


def test_the_firmware_is_what_its_source_says(tmp_path: Path) -> None:
    for program in ("as", "objcopy"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is missing (binutils)")
    subprocess.run(["as", "--64", "-o", tmp_path / "o", SOURCE], check=True)
    subprocess.run(["objcopy", "-O", "binary", "-j", ".text", tmp_path / "o", tmp_path / "bin"], check=True)
    assert len(firmware()) == SIZE
    assert firmware()[-4096:] == (tmp_path / "bin").read_bytes()
    assert not any(firmware()[:-4096])


def test_tcg_works_here() -> None:
    if shutil.which("qemu-system-x86_64") is None:
        pytest.skip("qemu-system-x86_64 is missing (qemu-system-x86)")
    verdict = asyncio.run(probe("tcg"))
    assert verdict.works, verdict.reason


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("sys.exit(35)", "the probe guest failed: QEMU exited with status 35"),
        ("sys.exit(0)", "the probe guest failed: QEMU exited with status 0"),
        ("os.abort()", "QEMU was ended by SIGABRT"),
        ("print('KVM internal error', flush=True); signal.pause()", "was not done after 2 s (KVM internal error)"),
    ],
)
def test_accelerators_that_do_not_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, reason: str) -> None:
    monkeypatch.setattr(accelerators, "PROBE_SECONDS", 2.0 if "pause" in body else 60.0)
    verdict = asyncio.run(probe("tcg", program=fake_program(tmp_path, body)))
    assert not verdict.works
    assert reason in verdict.reason


def test_a_qemu_without_sandbox(tmp_path: Path) -> None:
    body = f"sys.exit('sandbox support is not enabled' if '-sandbox' in sys.argv else {GOOD_STATUS})"
    verdict = asyncio.run(probe("tcg", program=fake_program(tmp_path, body)))
    assert verdict.works
    assert not verdict.sandbox


def test_kvm_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerators, "KVM", "/nowhere/kvm")
    assert asyncio.run(probe("kvm", program="/nowhere/qemu")).reason == "there is no /nowhere/kvm"


def test_verdicts_are_remembered_until_something_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = f"open({str(tmp_path / 'calls')!r}, 'a').write('x'); sys.exit({GOOD_STATUS})"
    program = fake_program(tmp_path, body)
    monkeypatch.setattr(accelerators, "KVM", "/nowhere/kvm")
    first = asyncio.run(verdicts(tmp_path, program=program))
    assert [each.works for each in first] == [False, True]
    assert asyncio.run(verdicts(tmp_path, program=program)) == first
    (tmp_path / "link").symlink_to(program)
    assert asyncio.run(verdicts(tmp_path, program=str(tmp_path / "link"))) == first
    assert (tmp_path / "calls").read_text() == "x"
    fake_program(tmp_path, body + " ")
    asyncio.run(verdicts(tmp_path, program=program))
    (tmp_path / "accelerators.json").write_text("{}")
    asyncio.run(verdicts(tmp_path, program=program))
    boot = tmp_path / "boot_id"
    boot.write_text("another boot")
    monkeypatch.setattr(accelerators, "_BOOT_ID", boot)
    asyncio.run(verdicts(tmp_path, program=program))
    assert (tmp_path / "calls").read_text() == "xxxx"
    assert json.loads((tmp_path / "accelerators.json").read_text())["key"].startswith("another boot")
    with pytest.raises(MissingProgramError):
        asyncio.run(verdicts(tmp_path, program="/nowhere/qemu"))


def test_what_can_be_mended_is_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who joins the group of /dev/kvm, a TCG that failed for want of memory: neither waits for a reboot."""
    device, ill, calls = tmp_path / "kvm", tmp_path / "ill", tmp_path / "calls"
    monkeypatch.setattr(accelerators, "KVM", str(device))
    accelerator = "sys.argv[sys.argv.index('-accel') + 1]"
    body = f"open({str(calls)!r}, 'a').write({accelerator} + ' '); "
    program = fake_program(tmp_path, body + f"sys.exit(1 if os.path.exists({str(ill)!r}) else {GOOD_STATUS})")

    def works() -> dict[str, bool]:
        return {each.accelerator: each.works for each in asyncio.run(verdicts(tmp_path, program=program))}

    ill.touch()
    assert works() == {"kvm": False, "tcg": False}
    ill.unlink()
    assert works() == {"kvm": False, "tcg": True}
    device.touch()
    assert works() == {"kvm": True, "tcg": True}
    assert calls.read_text() == "tcg tcg kvm "
    device.unlink()
    assert works() == {"kvm": False, "tcg": True}
    assert calls.read_text() == "tcg tcg kvm "


def test_a_probe_anew_takes_the_place_of_what_was_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device, ill = tmp_path / "kvm", tmp_path / "ill"
    monkeypatch.setattr(accelerators, "KVM", str(device))
    device.touch()
    ill.touch()
    body = f"sys.exit(1 if 'kvm' in sys.argv and os.path.exists({str(ill)!r}) else {GOOD_STATUS})"
    program = fake_program(tmp_path, body)
    assert not asyncio.run(verdicts(tmp_path, program=program))[0].works
    ill.unlink()
    assert not asyncio.run(verdicts(tmp_path, program=program))[0].works
    assert asyncio.run(verdicts(tmp_path, program=program, anew=True))[0].works
    assert asyncio.run(verdicts(tmp_path, program=program))[0].works


def test_on_a_full_disk_nothing_is_left(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))  # a write beyond fails, as it does on a full disk
    try:
        accelerators._write(tmp_path / "cache" / "accelerators.json", "key", [Verdict("tcg", works=True, seconds=0.1)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_best_accelerator() -> None:
    good, bad = Verdict("kvm", works=True, seconds=0.1), Verdict("kvm", works=False, seconds=3.0, reason="too slow")
    tcg = Verdict("tcg", works=True, seconds=0.2)
    assert best([good, tcg], PLATFORMS["amd64"]) == good
    assert best([bad, tcg], PLATFORMS["amd64"]) == tcg
    assert best([good, tcg], PLATFORMS["s390x"]) == tcg
    with pytest.raises(GuestError, match="kvm: too slow"):
        best([bad], PLATFORMS["amd64"])


def test_a_rejected_accelerator_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """Of one that the host does not have, or keeps from the user, nobody wants to hear each time."""
    bad, tcg = Verdict("kvm", works=False, seconds=3.0, reason="too slow"), Verdict("tcg", works=True, seconds=0.2)
    sentence = "KVM is here but not used, guests run slower under TCG: too slow"
    assert rejection([bad, tcg]) == sentence
    assert rejection([Verdict("kvm", works=True, seconds=0.1), tcg]) is None
    assert rejection([Verdict("kvm", works=False, seconds=0.0, reason="there is none", tried=False), tcg]) is None
    warn_of_rejection([tcg])
    assert caplog.messages == []
    warn_of_rejection([bad, tcg])
    assert caplog.messages == [sentence]


def test_an_emulated_guest_has_more_time() -> None:
    assert (guest_seconds("kvm"), guest_seconds("tcg")) == (60.0, 120.0)
    assert (guest_seconds("kvm", 5.0), guest_seconds("tcg", 5.0)) == (5.0, 5.0)
