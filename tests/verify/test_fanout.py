"""Many verifications at once: order, change of media, and what becomes of the others when one fails."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qemu_viso.errors import GuestError, MissingProgramError, QemuVisoError, RefusedError
from qemu_viso.guest.build import GuestBuild
from qemu_viso.guest.definition import load_definition
from qemu_viso.guest.run import booted
from qemu_viso.qemu.accelerators import Verdict
from qemu_viso.qemu.storage_daemon import PROGRAM as STORAGE_DAEMON
from qemu_viso.verify import fanout
from qemu_viso.verify.fanout import FanOut, Options, skipped
from qemu_viso.verify.plan import plan
from qemu_viso.verify.run import allowance, names_of
from tests.qemu.fakes import fake_program
from tests.recipes import opened
from tests.verify.seeing import Guests

if TYPE_CHECKING:
    from qemu_viso.guest.definition import GuestDefinition
    from qemu_viso.guest.view import GuestView
    from qemu_viso.opening import Opened
    from qemu_viso.verify.report import Report

GUEST = load_definition("linux-cloud")


@pytest.fixture
def recipes(tmp_path: Path) -> list[Opened]:
    found = []
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
        found.append(opened(tmp_path / name, f"-R --no-joliet --volume-id={name} /a=a", files={"a": b"content"}))
    return found


@pytest.fixture
def guests(recipes: list[Opened], monkeypatch: pytest.MonkeyPatch) -> Guests:
    async def verdicts() -> list[Verdict]:
        return [Verdict("tcg", works=True, seconds=0.1)]

    pretended = Guests({f"recipe-{number}": each.tree for number, each in enumerate(recipes, 1)})
    monkeypatch.setattr(fanout, "booted", pretended.booted)
    monkeypatch.setattr(fanout, "verdicts", verdicts)
    return pretended


def run(
    recipes: list[Opened], buses: list[str], keep: Path, guest: GuestDefinition = GUEST, **options: object
) -> list[Report]:
    """All reports; what was told on the way is the same."""
    told: list[Report] = []
    boots, impossible = plan(recipes, [guest], buses, [])
    assert impossible == []
    build = GuestBuild(guest, keep, keep, ())
    given = Options(keep=keep, repeat=lambda *_: "once more", **options)  # type: ignore[arg-type]
    reports = asyncio.run(FanOut({guest.name: build}, given, lambda _: None, told.extend).run(boots))
    assert sorted(map(repr, told)) == sorted(map(repr, reports))
    return reports


def outcomes(reports: list[Report]) -> list[str]:
    return [f"{report.recipe.split('/')[-2]} {report.namespace} {report.outcome}" for report in reports]


ALL_PASSED = [f"{name} {namespace} passed" for name in ("one", "two", "three") for namespace in ("rock", "plain")]


def test_a_guest_gets_memory_for_the_largest_recipe(recipes: list[Opened], guests: Guests, tmp_path: Path) -> None:
    many = {f"many/{number}": b"x" for number in range(300)}
    (tmp_path / "many").mkdir()
    recipes[1] = opened(tmp_path / "many", "-R --no-joliet --volume-id=two /=many", files=many)
    guests.trees["recipe-2"] = recipes[1].tree
    assert {each.outcome for each in run(recipes, ["scsi-cd"], tmp_path / "kept")} == {"passed"}
    (names,) = guests.names
    assert names == names_of(recipes[1]) > 300


def test_one_boot_for_all_recipes(recipes: list[Opened], guests: Guests, tmp_path: Path) -> None:
    reports = run(recipes, ["scsi-cd"], tmp_path / "kept")
    assert outcomes(reports) == ALL_PASSED
    assert guests.log == [
        "boot scsi-cd recipe-1", "view recipe-1 rock", "view recipe-1 plain",
        "change recipe-2", "view recipe-2 rock", "view recipe-2 plain",
        "change recipe-3", "view recipe-3 rock", "view recipe-3 plain", "quit",
    ]  # fmt: skip
    assert {report.kernel for report in reports} == {"x86_64 6.1"}
    assert {report.to_json()["accelerator"] for report in reports} == {"tcg"}
    assert not (tmp_path / "kept").exists()


def test_a_boot_for_each_recipe_where_there_is_no_tray(recipes: list[Opened], guests: Guests, tmp_path: Path) -> None:
    guests.trees = {"recipe-1": recipes[0].tree}
    reports = run(recipes[:1] * 2, ["virtio-blk"], tmp_path)
    assert [report.outcome for report in reports] == ["passed"] * 4
    assert guests.log == ["boot virtio-blk recipe-1", "view recipe-1 rock", "view recipe-1 plain", "quit"] * 2
    guests.log.clear()
    run(recipes[:1] * 2, ["scsi-cd"], tmp_path, from_medium=True)
    assert guests.log.count("boot scsi-cd recipe-1") == 2


@pytest.mark.parametrize("jobs", [1, 3])
def test_as_many_guests_at_a_time_as_allowed(recipes: list[Opened], guests: Guests, tmp_path: Path, jobs: int) -> None:
    reports = run(recipes, ["scsi-cd", "ide-cd"], tmp_path, jobs=jobs)
    assert [(report.bus) for report in reports] == ["scsi-cd"] * 6 + ["ide-cd"] * 6
    assert guests.most == min(jobs, 2)


def test_a_guest_that_fails_takes_only_its_recipe_with_it(
    recipes: list[Opened], guests: Guests, tmp_path: Path
) -> None:
    def on_view(export: str, namespace: str, view: GuestView) -> GuestView:
        if len(guests.log) == 5 and namespace == "rock":
            raise GuestError("the guest failed: Kernel panic\n  the last lines of the console:\n    oh")
        return view

    guests.on_view = on_view
    reports = run(recipes, ["scsi-cd"], tmp_path)
    # The third recipe is the first one of the new boot.
    assert guests.log[4:7] == ["view recipe-2 rock", "boot scsi-cd recipe-1", "view recipe-1 rock"]
    assert outcomes(reports)[:4] == [*ALL_PASSED[:2], "two rock failed", "two plain failed"]
    assert reports[2].result == "failed: the guest failed: Kernel panic"
    assert reports[2].status == 74
    # What is pretended of the new boot is the first recipe's content, so the third one leaves a folder too.
    folder = Path(reports[2].folder)
    assert fnmatch(folder.name, "*-TEST-linux-cloud-scsi-cd")
    assert folder.parent == tmp_path
    assert reports[3].folder == reports[2].folder != reports[4].folder
    assert "oh" in (folder / "failure.txt").read_text()
    assert (folder / "console.txt").read_bytes().startswith(b"\x1b[31mbooting")
    assert reports[0].folder == ""


def test_a_storage_daemon_that_does_not_start_leaves_its_words(
    recipes: list[Opened], guests: Guests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no machine yet, and yet the folder tells the command and what came of it."""
    fake_program(tmp_path, "sys.exit('no such export')", STORAGE_DAEMON)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(fanout, "booted", booted)
    (report, *_) = run(recipes[:1], ["vhost-user-blk"], tmp_path / "kept")
    assert report.result == "failed: qemu-storage-daemon exited with status 1"
    folder = Path(report.folder)
    assert (folder / "commands.txt").read_text().startswith("qemu-storage-daemon --chardev socket,id=qmp,")
    assert (folder / "output.txt").read_text() == "qemu-storage-daemon said:\nno such export\n"


def test_a_firmware_that_there_is_not_is_a_skip(
    recipes: list[Opened], guests: Guests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout, "booted", booted)
    reports = run(recipes[:1], ["scsi-cd"], tmp_path, load_definition("linux-arm64"), from_medium=True, seconds=0.1)
    assert {report.outcome for report in reports} == {"skipped"}
    assert reports[0].reason.startswith("there is no BIOS for arm64 (")


def test_a_namespace_that_is_refused_leaves_the_others(recipes: list[Opened], guests: Guests, tmp_path: Path) -> None:
    def on_view(export: str, namespace: str, view: GuestView) -> GuestView:
        if namespace == "rock":
            raise RefusedError("the guest cannot do what was asked: mount: no")
        return view

    guests.on_view = on_view
    reports = run(recipes[:1], ["scsi-cd"], tmp_path)
    assert outcomes(reports) == ["one rock failed", "one plain passed"]
    assert guests.log.count("boot scsi-cd recipe-1") == 1
    assert (reports[0].folder, reports[1].folder) == (str(next(tmp_path.glob("*-cd"))), "")


def test_differences_have_their_bytes(recipes: list[Opened], guests: Guests, tmp_path: Path) -> None:
    def on_view(export: str, namespace: str, view: GuestView) -> GuestView:
        entries = dict(view.entries)
        entries["/a"] = dataclasses.replace(entries["/a"], sha256="0" * 64, mode=0o7)
        return dataclasses.replace(view, entries=entries)

    guests.on_view = on_view
    reports = run(recipes[:1], ["virtio-blk"], tmp_path)
    assert outcomes(reports) == ["one rock different", "one plain different"]
    mode, content = reports[0].differences
    assert (mode.field, content.field, content.wrong_byte) == ("mode", "content", 0)
    assert mode.place is not None
    assert "'file mode'" in mode.place.structures[0][2]
    assert content.place is not None
    assert content.place.size == 1
    assert content.place.structures[0][2].startswith("file /a")
    assert recipes[0].image.read(content.place.start, 7) == b"content"
    assert "byte 0 is the first wrong one" in reports[0].table()


def test_a_source_that_changes_is_no_difference(recipes: list[Opened], guests: Guests, tmp_path: Path) -> None:
    (tmp_path / "one" / "a").write_bytes(b"changed!")
    guests.trees = {"recipe-1": recipes[1].tree}
    reports = run(recipes[:1], ["scsi-cd"], tmp_path / "kept")
    assert [report.outcome for report in reports] == ["failed", "failed"]
    assert "changed" in reports[0].reason
    assert reports[0].status == 74


def test_a_guest_that_cannot_run_here_is_skipped(
    recipes: list[Opened], guests: Guests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def verdicts() -> list[Verdict]:
        raise MissingProgramError("the program 'qemu-system-x86_64' is not installed", hint="apt-get install it")

    monkeypatch.setattr(fanout, "verdicts", verdicts)
    reports = run(recipes, ["scsi-cd"], tmp_path)
    assert {(report.outcome, report.accelerator) for report in reports} == {("skipped", "")}
    assert len(reports) == 6
    assert reports[0].result == "skipped: the program 'qemu-system-x86_64' is not installed (apt-get install it)"
    assert guests.log == []


def test_a_guest_that_does_not_end_has_failed(recipes: list[Opened], guests: Guests, tmp_path: Path) -> None:
    async def never(self: object, deadline: object) -> None:
        raise GuestError("time ran out while waiting for the machine to end")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.verify.seeing.PretendedSession.quit", never)
        reports = run(recipes[:1], ["scsi-cd"], tmp_path)
    assert outcomes(reports) == ["one rock passed", "one plain failed"]
    assert "2 of 2 entries as expected, and then time ran out" in reports[1].reason


def test_what_cannot_be_is_reported(recipes: list[Opened]) -> None:
    _, impossible = plan(recipes[:1], [GUEST], ["usb-cd"], ["rock"])
    (report,) = skipped(impossible)
    assert (report.outcome, report.bus, report.namespace, report.status) == ("skipped", "usb-cd", "rock", 78)
    assert isinstance(impossible[0].reason, QemuVisoError)


def test_the_time_depends_on_what_executes_the_guest(
    recipes: list[Opened],
    guests: Guests,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The rejection is told once, however many guests boot."""
    bad, tcg = Verdict("kvm", works=False, seconds=3.0, reason="too slow"), Verdict("tcg", works=True, seconds=0.1)
    found = [Verdict("kvm", works=True, seconds=0.1), tcg]

    async def verdicts() -> list[Verdict]:
        return found

    monkeypatch.setattr(fanout, "verdicts", verdicts)
    run(recipes, ["scsi-cd"], tmp_path)
    assert caplog.messages == []
    found[0] = bad
    run(recipes, ["scsi-cd", "ide-cd"], tmp_path)
    assert len(caplog.messages) == 1
    assert "too slow" in caplog.messages[0]
    run(recipes, ["scsi-cd"], tmp_path, seconds=7.0)
    assert [round(each, -1) for each in guests.allowed] == [60, 120, 120, 10]


def test_names_and_data_add_to_the_time(recipes: list[Opened]) -> None:
    hardware, emulation = (allowance(recipes[0], 2, each) for each in ("kvm", "tcg"))
    assert 60 < hardware < 61
    assert emulation == pytest.approx(2 * hardware)
    assert allowance(recipes[0], 2, "tcg", 5.0) == pytest.approx(5 + emulation - 120)
