"""What is kept of machines that are started for several tests, and of daemons; QEMU and the guest are pretended."""

from __future__ import annotations

import json
import os
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from qemu_viso.guest.build import GuestBuild
from qemu_viso.opening import Opened
from qemu_viso.pytest_plugin import session
from qemu_viso.pytest_plugin.machines import GuestMachine
from qemu_viso.qemu.accelerators import Verdict
from tests.qemu.fakes import fake_program
from tests.verify.seeing import honest

if TYPE_CHECKING:
    from pathlib import Path

    from qemu_viso.guest.definition import GuestDefinition
    from qemu_viso.guest.view import GuestView, Namespace

pytest_plugins = ["pytester"]

QEMU = "qemu-system-x86_64"
DAEMON = "qemu-storage-daemon"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for programs that are taken instead of the real ones; guests are built of nothing, and see all."""

    async def verdicts() -> list[Verdict]:
        return [Verdict("tcg", works=True, seconds=0.1)]

    def build(definition: GuestDefinition, **_: object) -> GuestBuild:
        return GuestBuild(definition, tmp_path, tmp_path, ())

    def look(machine: GuestMachine, namespace: Namespace, *_: object) -> GuestView:
        assert isinstance(machine.what, Opened)
        return honest(machine.what.tree, namespace)

    monkeypatch.setattr(session, "verdicts", verdicts)
    monkeypatch.setattr(session, "build_guest", build)
    monkeypatch.setattr(GuestMachine, "look", look)
    monkeypatch.setattr(GuestMachine, "guest", "pretended")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return tmp_path


def run(pytester: pytest.Pytester, code: str, **outcomes: int) -> pytest.RunResult:
    pytester.makepyfile(test_inner=f"{dedent(code)}\nFILES = {{'/x': 'x'}}\n")
    result = pytester.runpytest_inprocess("-p", "qemu_viso.pytest_plugin")
    result.assert_outcomes(**outcomes)
    return result


def kept(pytester: pytest.Pytester, test: str) -> Path:
    """The only folder of a machine."""
    (folder,) = (pytester.path / ".pytest_cache" / "d" / "viso").glob(f"test_inner.py.{test}/*/")
    return folder


def test_a_machine_that_is_started_by_the_session(pytester: pytest.Pytester, programs: Path) -> None:
    """In a test or in a fixture of several: what remains goes to the test that met it."""
    fake_program(programs, "sys.exit('no such machine')", QEMU)
    code = """
        import pytest

        @pytest.fixture(scope="module")
        def seen(viso_session, tmp_path_factory):
            recipe = viso_session.open(tmp_path_factory.mktemp("recipe"), "--volume-id=SHARED", files=FILES)
            return viso_session.view("linux-cloud", "scsi-cd", recipe)

        def test_with_a_fixture(seen): ...

        def test_alone(viso_session, tmp_path):
            recipe = viso_session.open(tmp_path, "--volume-id=ALONE", files=FILES)
            viso_session.view("linux-cloud", "virtio-blk", recipe)
    """
    result = run(pytester, code, errors=1, failed=1)
    for name, bus, label in (("test_with_a_fixture", "scsi-cd", "SHARED"), ("test_alone", "virtio-blk", "ALONE")):
        result.stdout.fnmatch_lines(
            [
                f"*QEMU, linux-cloud · {bus}: command line*",
                f"{QEMU} -S *",
                f"*QEMU, linux-cloud · {bus}: console*",
                f"*/.pytest_cache/d/viso/test_inner.py.{name}",
            ]
        )
        folder = kept(pytester, name)
        assert (folder / "output.txt").read_text() == f"{QEMU} said:\nno such machine\n"
        assert label in (folder.parent / "1-recipe.viso").read_text()


def test_what_an_earlier_test_saw(pytester: pytest.Pytester, programs: Path) -> None:
    """A comparison belongs to the test that asks for it, also with the promise of another recipe or of an image."""
    fake_program(programs, "greet()\nserve()", QEMU)
    code = """
        import pytest

        @pytest.fixture(scope="module")
        def seen(viso_session, tmp_path_factory):
            recipe = viso_session.open(tmp_path_factory.mktemp("recipe"), "-R", files={"/x": "x"})
            return viso_session.view("linux-cloud", "scsi-cd", recipe)

        def test_passes(seen):
            assert seen["/x"].size == 1

        def test_fails(seen, viso):
            seen.held_to(viso("-R", files={"/y": "y"}, name="promise")).verify()

        def test_the_guest_is_ended(viso_session):
            assert viso_session.pool.machines == []
    """
    result = run(pytester, code, passed=2, failed=1)
    result.stdout.fnmatch_lines(["*QEMU, linux-cloud · scsi-cd: console*"])
    folder = kept(pytester, "test_fails")
    (report,) = json.loads((folder / "reports.json").read_text())["reports"]
    assert report["recipe"].endswith("/promise.viso")
    assert "recipe.1" in (folder / "regions.txt").read_text()
    recipes = sorted(path.name for path in folder.parent.glob("*.viso"))
    assert recipes == ["1-promise.viso", "2-recipe.viso"]


@pytest.mark.parametrize(
    "test",
    [
        "@pytest.mark.viso_bus('vhost-user-blk')\ndef test_x(viso, viso_view): viso_view(viso(files=FILES))",
        "@pytest.mark.viso_bus('vhost-user-blk')\ndef test_x(viso, viso_machine): viso_machine(viso(files=FILES))",
        "def test_x(viso, viso_export): viso_export(viso(files=FILES), 'vhost-user-blk')",
    ],
    ids=["viso_view", "viso_machine", "viso_export"],
)
def test_a_storage_daemon_that_does_not_start(pytester: pytest.Pytester, programs: Path, test: str) -> None:
    fake_program(programs, "sys.exit('no such export')", DAEMON)
    fake_program(programs, "greet()\nserve()", QEMU)
    result = run(pytester, f"import pytest\n\n{test}\n", failed=1)
    result.stdout.fnmatch_lines(
        [
            f"E *GuestError: {DAEMON} exited with status 1",
            f"*{DAEMON}: command line*",
            f"{DAEMON} --chardev *",
            f"*{DAEMON}: output*",
            "no such export",
            "*/.pytest_cache/d/viso/test_inner.py.test_x*",
        ]
    )
    folder = kept(pytester, "test_x*")
    assert (folder / "commands.txt").read_text().startswith(f"{DAEMON} --chardev ")
    assert (folder / "output.txt").read_text() == f"{DAEMON} said:\nno such export\n"


def test_a_failure_after_everything_has_ended(pytester: pytest.Pytester, programs: Path) -> None:
    """The last test's teardown ends the session, and its machines, before it fails."""
    fake_program(programs, "greet()\nserve()", QEMU)
    code = """
        import pytest

        @pytest.fixture(scope="session")
        def first():
            yield
            assert False, "too late"

        def test_x(first, viso_session, tmp_path):
            viso_session.view("linux-cloud", "scsi-cd", viso_session.open(tmp_path, files=FILES))
    """
    result = run(pytester, code, passed=1, errors=1)
    result.stdout.fnmatch_lines(["E *too late", f"{QEMU} -S *"])
    assert (kept(pytester, "test_x") / "commands.txt").read_text().count(QEMU) == 1
