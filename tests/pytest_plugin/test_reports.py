"""What the report of a failed test tells, and what is kept; QEMU is a fake that says what a guest might."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.qemu.fakes import fake_program

if TYPE_CHECKING:
    from collections.abc import Sequence

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parent.parent.parent
PLUGIN = ("-p", "qemu_viso.pytest_plugin")
BODY = """
def command(name):
    if name == "cont":
        console.sendall(b"".join(b"line %d\\r\\n" % each for each in range(100)) + b"login: ")
    if name == "quit":
        console.sendall(b"Kernel panic - not syncing: it was asked to\\r\\n")
    return {"return": {}}

def answer():
    typed = console.recv(100)
    console.sendall(b"Kernel panic - not syncing: " + typed + b"\\r\\n")

import threading
threading.Thread(target=answer, daemon=True).start()
greet()
serve(command)
"""


@pytest.fixture
def spec(pytester: pytest.Pytester) -> None:
    """A fixture `spec` for the tests inside: a machine whose QEMU is a fake."""
    program = fake_program(pytester.path, BODY)
    pytester.makeconftest(f"""
        import pytest
        from qemu_viso.qemu.machine import MachineSpec
        from qemu_viso.qemu.platforms import Platform

        @pytest.fixture
        def spec():
            return MachineSpec(Platform("fake", {program!r}, "none", None, 16, "pci", "ttyS0"), "none", agent=False)
    """)


def run(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    """Run the tests inside."""
    return pytester.runpytest_inprocess(*PLUGIN, *options)


FAILING = """
    def test_fails(viso, viso_machine, spec):
        viso("--volume-id=KEPT", files={"/x": "x"})
        machine = viso_machine(spec)
        assert machine.wait_for_console("log[a-z]+: ") == "login: "
        assert machine.console.splitlines() == [], "it has said nothing"

    def test_passes(viso_machine, spec):
        assert viso_machine(spec).wait_for_console(b"line 99") == b"line 99"
"""


def kept(pytester: pytest.Pytester) -> Sequence[str]:
    folder = pytester.path / ".pytest_cache" / "d" / "viso"
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_failed_test_shows_its_machines(pytester: pytest.Pytester, spec: None) -> None:
    pytester.makepyfile(test_inner=FAILING)
    result = run(pytester)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "E *it has said nothing*",
            "*QEMU, qemu-system-fake: command line*",
            "*/qemu-system-fake -S -nodefaults * -mon chardev=qmp,mode=control *",
            "*QEMU, qemu-system-fake: console*",
            "line 71",
            "line 99",
            "login: ",
            "*qemu-viso kept*",
            "*/.pytest_cache/d/viso/test_inner.py.test_fails",
        ]
    )
    result.stdout.no_fnmatch_line("line 70")
    recipe, *others = kept(pytester)
    assert recipe == "test_inner.py.test_fails/1-recipe.viso"
    folder = pytester.path / ".pytest_cache" / "d" / "viso" / "test_inner.py.test_fails"
    assert "--volume-id=KEPT" in (folder / "1-recipe.viso").read_text()
    assert {Path(path).name for path in others} == {
        "commands.txt", "console.txt", "failure.txt", "qmp.txt", "repeat.sh",
    }  # fmt: skip
    (console,) = folder.glob("*-qemu-system-fake/console.txt")
    assert console.read_bytes().endswith(b"line 98\r\nline 99\r\nlogin: ")
    assert "it has said nothing" in (console.parent / "failure.txt").read_text()
    repeat = (console.parent / "repeat.sh").read_text()
    assert repeat.startswith(f"#!/bin/sh\ncd {pytester.path} && ")
    assert repeat.endswith(f" -p qemu_viso.pytest_plugin {pytester.path}/test_inner.py::test_fails\n")


REPEATED = """
    import os

    def test_fails(viso_machine, spec, request, monkeypatch):
        viso_machine(spec)
        option = request.config.getoption
        seen = [option("--viso-guest"), option("--viso-accel"), option("--mine"), os.environ["QEMU_VISO_X"]]
        (request.config.rootpath / "seen").open("a").write(f"{seen} {os.getcwd()}\\n")
        monkeypatch.setenv("QEMU_VISO_X", "the test's own")
        assert False

    def test_passes(request):
        (request.config.rootpath / "seen").open("a").write("another test\\n")
"""


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "xdist"])
def test_the_line_that_repeats_the_run(
    pytester: pytest.Pytester, spec: None, monkeypatch: pytest.MonkeyPatch, workers: tuple[str, ...]
) -> None:
    """It runs the same test, and no other, in the same folder with the same options and environment."""
    if workers:
        pytest.importorskip("xdist")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("QEMU_VISO_X", "of the run")
    (pytester.path / "mine.py").write_text("def pytest_addoption(parser): parser.addoption('--mine')\n")
    (pytester.path / "below").mkdir()
    (pytester.path / "my.ini").write_text("[pytest]\naddopts = --viso-guest linux-arm64\npythonpath = .\n")
    pytester.makepyfile(test_inner=REPEATED)
    monkeypatch.chdir(pytester.path / "below")
    chosen = ("-c", "../my.ini", "--viso-accel", "tcg", "-p", "mine", "--mine", "a b", "-k", "fails or passes")
    result = pytester.runpytest_subprocess(*PLUGIN, *workers, *chosen, "--junitxml=results.xml", "../test_inner.py")
    result.assert_outcomes(failed=1, passed=1)
    (pytester.path / "below" / "results.xml").write_text("the run's own")
    monkeypatch.delenv("PYTHONPATH")
    monkeypatch.delenv("QEMU_VISO_X")
    monkeypatch.chdir("/")
    (script,) = pytester.path.glob(".pytest_cache/d/viso/*/*/repeat.sh")
    assert subprocess.run([script], capture_output=True, check=False).returncode == 1
    first, *others = sorted((pytester.path / "seen").read_text().splitlines())
    assert first == f"['linux-arm64', 'tcg', 'a b', 'of the run'] {pytester.path}/below"
    assert others == [first, "another test"]
    assert (pytester.path / "below" / "results.xml").read_text() == "the run's own"


@pytest.mark.parametrize(("keep", "folders"), [("never", set()), ("always", {"test_fails", "test_passes"})])
def test_what_is_kept(pytester: pytest.Pytester, spec: None, keep: str, folders: set[str]) -> None:
    pytester.makepyfile(test_inner=FAILING)
    run(pytester, "--viso-keep", keep).assert_outcomes(failed=1, passed=1)
    assert {re.sub(r"test_inner\.py\.(\w+)/.*", r"\1", path) for path in kept(pytester)} == folders


def test_without_a_cache_it_is_kept_elsewhere(pytester: pytest.Pytester, spec: None) -> None:
    pytester.makepyfile(test_inner=FAILING)
    result = run(pytester, "-p", "no:cacheprovider", "--basetemp", "base")
    result.assert_outcomes(failed=1, passed=1)
    assert list((pytester.path / "base" / "viso" / "test_inner.py.test_fails").glob("*/console.txt"))
    assert not (pytester.path / ".pytest_cache").exists()


def test_a_folder_that_cannot_be_written_is_told(pytester: pytest.Pytester, spec: None) -> None:
    pytester.makepyfile(test_inner=FAILING)
    (pytester.path / ".pytest_cache" / "d").mkdir(parents=True)
    (pytester.path / ".pytest_cache" / "d" / "viso").write_text("in the way")
    result = run(pytester)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["E *it has said nothing*", "*qemu-viso kept nothing*", "*File exists: *"])


def test_a_later_run_replaces_what_an_earlier_one_kept(pytester: pytest.Pytester, spec: None) -> None:
    pytester.makepyfile(test_inner=FAILING)
    run(pytester).assert_outcomes(failed=1, passed=1)
    old = pytester.path / ".pytest_cache" / "d" / "viso" / "test_inner.py.test_fails" / "old"
    old.write_text("old")
    run(pytester).assert_outcomes(failed=1, passed=1)
    assert not old.exists()
    assert len({Path(path).parent for path in kept(pytester)}) == 2


def test_a_guest_that_fails_is_a_sentence(pytester: pytest.Pytester, spec: None) -> None:
    """Below the line of the test, and without the lines of the project that led to it."""
    pytester.makepyfile("""
        def test_fails(viso_machine, spec):
            machine = viso_machine(spec)
            machine.type("it was asked to")
            machine.wait_for_console("never")
    """)
    result = run(pytester, "--tb=long")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ['>*machine.wait_for_console("never")', "E *GuestError: the guest failed: *Kernel panic - not syncing: *"]
    )
    result.stdout.no_fnmatch_line("*machines.py*")
    result.stdout.no_fnmatch_line("*attention.py*")


def test_what_the_guest_said_before_anybody_waited_counts(pytester: pytest.Pytester, spec: None) -> None:
    pytester.makepyfile("""
        import pytest
        from qemu_viso.errors import GuestError

        def test_order(viso_machine, spec):
            machine = viso_machine(spec)
            machine.wait_for_console("login")
            with pytest.raises(GuestError, match="time ran out while waiting for 'line 5'"):
                machine.wait_for_console("line 5", seconds=0.01)

            machine = viso_machine(spec)
            machine.wait_for_console("line 5.")
            machine.wait_for_console("line 6.")
            machine.type("it was asked to")
            machine.wait_for_console("panic - [^:]+: it was asked to")
            with pytest.raises(GuestError, match="the guest failed"):
                machine.wait_for_console("more")
    """)
    run(pytester).assert_outcomes(passed=1)


def test_a_machine_that_does_not_start(pytester: pytest.Pytester) -> None:
    program = fake_program(pytester.path, "sys.exit('no such machine')")
    pytester.makepyfile(f"""
        from qemu_viso.qemu.machine import MachineSpec
        from qemu_viso.qemu.platforms import Platform

        def test_fails(viso_machine):
            viso_machine(MachineSpec(Platform("fake", {program!r}, "none", None, 16, "pci", "ttyS0"), "none"))
    """)
    result = run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E *GuestError: *exited with status 1*", "E *no such machine", "*command line*", "*/qemu-system-fake -S *"]
    )


def test_a_machine_that_ends_is_a_sentence(pytester: pytest.Pytester) -> None:
    """Which names the exit status, not the connection that was lost with it."""
    program = fake_program(
        pytester.path,
        "import threading\n"
        "threading.Thread(target=lambda: (console.recv(1), os._exit(9)), daemon=True).start()\n"
        "greet()\nserve()",
    )
    pytester.makepyfile(f"""
        from qemu_viso.qemu.machine import MachineSpec
        from qemu_viso.qemu.platforms import Platform

        def test_fails(viso_machine):
            platform = Platform("fake", {program!r}, "none", None, 16, "pci", "ttyS0")
            machine = viso_machine(MachineSpec(platform, "none", agent=False))
            machine.type("x")
            machine.wait_for_console("never")
    """)
    result = run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *GuestError: qemu-system-fake exited with status 9"])


def test_machines_end_with_their_test(pytester: pytest.Pytester, spec: None) -> None:
    pytester.makepyfile("""
        import os
        import pytest

        pids = []

        def test_first(viso_machine, spec):
            pids.extend(viso_machine(spec).machine.pid for _ in range(2))
            for pid in pids:
                os.kill(pid, 0)

        def test_second():
            for pid in pids:
                with pytest.raises(ProcessLookupError):
                    os.kill(pid, 0)
    """)
    run(pytester).assert_outcomes(passed=2)
