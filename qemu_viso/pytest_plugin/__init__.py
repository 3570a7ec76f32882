"""The pytest plugin: recipes, exports, guests, machines and what guests see, as fixtures.

Loaded with every pytest run of every user who has the package, so it imports nothing of the project: what a fixture
needs is imported when a test uses it, and what can be imported from here, to annotate with, when it is asked for.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypedDict

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from qemu_viso.guest.build import GuestBuild
    from qemu_viso.guest.definition import GuestDefinition, guest_names, load_definition
    from qemu_viso.guest.view import Entry, GuestView, Namespace
    from qemu_viso.opening import Opened
    from qemu_viso.pytest_plugin.exports import Export, Exports
    from qemu_viso.pytest_plugin.machines import GuestMachine, Machines
    from qemu_viso.pytest_plugin.recipes import Recipes
    from qemu_viso.pytest_plugin.record import Record
    from qemu_viso.pytest_plugin.seen import Seen
    from qemu_viso.pytest_plugin.session import Session
    from qemu_viso.pytest_plugin.target import Target
    from qemu_viso.pytest_plugin.views import Views
    from qemu_viso.verify.diff import Difference
    from qemu_viso.verify.report import Report
else:
    _HOMES = {
        "guest.build": ("GuestBuild",),
        "guest.definition": ("GuestDefinition", "guest_names", "load_definition"),
        "guest.view": ("Entry", "GuestView", "Namespace"),
        "opening": ("Opened",),
        "pytest_plugin.exports": ("Export", "Exports"),
        "pytest_plugin.machines": ("GuestMachine", "Machines"),
        "pytest_plugin.recipes": ("Recipes",),
        "pytest_plugin.seen": ("Seen",),
        "pytest_plugin.session": ("Session",),
        "pytest_plugin.target": ("Target",),
        "pytest_plugin.views": ("Views",),
        "verify.diff": ("Difference",),
        "verify.report": ("Report",),
    }

    # There is no `__dir__`: pytest looks at every name that it tells, for fixtures, and so would import them all.
    def __getattr__(name: str) -> object:
        for home, names in _HOMES.items():
            if name in names:
                from importlib import import_module

                return getattr(import_module(f"qemu_viso.{home}"), name)
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


__all__ = [
    "Difference",
    "Entry",
    "Export",
    "Exports",
    "GuestBuild",
    "GuestDefinition",
    "GuestMachine",
    "GuestView",
    "Machines",
    "Namespace",
    "Opened",
    "Recipes",
    "Report",
    "Seen",
    "Session",
    "Target",
    "Views",
    "guest_names",
    "load_definition",
]

DEFAULT_GUEST = "linux-cloud"
RECORD = pytest.StashKey["Record"]()
SESSION = pytest.StashKey["Session"]()
RUNNING = pytest.StashKey[pytest.Item]()
"""The test that runs, or is being set up: to it belongs what fixtures of a wider scope do meanwhile."""
RUN = pytest.StashKey["Run"]()
RUN_INPUT = "qemu_viso_run"
"""What xdist's workers are told of the run."""
NOTICE = "qemu_viso_notice"
"""A property of the report of the test in which something came up that is told once, at the end."""

MARKERS = (
    "viso_guest(name, ...): run the test with these guests, one after the other",
    "viso_bus(name, ...): run the test with the medium on these buses, one after the other; without it on scsi-cd",
    "viso_firmware(name, ...): let bios or uefi start what is on the medium, instead of QEMU the guest's kernel",
)

# Beside what begins with QEMU_VISO_: where modules are found, what pytest is told, where builds and folders lie.
DECIDING = (
    *("PYTHONPATH", "PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTEST_DISABLE_PLUGIN_AUTOLOAD"),
    *("XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"),
)


class Run(TypedDict):
    """How a person has started pytest, which tells how a test of it is run once more.

    Attributes:
        folder: in which.
        arguments: as they were given.
        selected: those of them that name tests.
        environment: what is set of the variables that matter; a test may change its own.
    """

    folder: str
    arguments: list[str]
    selected: list[str]
    environment: dict[str, str]


# Hooks


def pytest_addoption(parser: pytest.Parser) -> None:
    """Three options."""
    group = parser.getgroup("qemu-viso", "qemu-viso: guests that look at VISO recipes")
    group.addoption(
        "--viso-guest",
        metavar="NAME",
        default=DEFAULT_GUEST,
        help="the guest of tests that do not name one by the marker viso_guest (default: %(default)s)",
    )
    group.addoption(
        "--viso-accel",
        choices=("auto", "kvm", "tcg"),
        default="auto",
        help="what executes the guests' instructions; auto: what has been seen to work (default: %(default)s)",
    )
    group.addoption(
        "--viso-keep",
        choices=("never", "on-error", "always"),
        default="on-error",
        help="when a test's recipes, command lines and consoles are kept in a folder (default: %(default)s)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Say what the markers mean, and note how the run began."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    began = config.invocation_params
    told: dict[str, Run] = getattr(config, "workerinput", {})
    config.stash[RUN] = told.get(RUN_INPUT) or {
        "folder": str(began.dir),
        "arguments": [str(each) for each in began.args],
        "selected": [str(each) for each in config.option.file_or_dir],
        "environment": {
            name: value for name, value in os.environ.items() if name in DECIDING or name.startswith("QEMU_VISO_")
        },
    }


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell one of xdist's workers how the run began: its own folder, arguments and environment may be others."""
    node.workerinput[RUN_INPUT] = node.config.stash[RUN]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for each guest, bus and firmware that its markers name."""
    for fixture in ("guest", "bus", "firmware"):
        if f"_viso_{fixture}" in metafunc.fixturenames:
            marker = metafunc.definition.get_closest_marker(f"viso_{fixture}")
            if marker is not None:
                from qemu_viso.pytest_plugin.target import names_of

                metafunc.parametrize(f"_viso_{fixture}", names_of(fixture, marker), indirect=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Note which test runs."""
    item.config.stash[RUNNING] = item
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """Let no other test ask the guests of a failed one."""
    try:
        return (yield)
    finally:
        record, session = item.stash.get(RECORD, None), item.config.stash.get(SESSION, None)
        if record is not None and session is not None:
            session.forget_failed(record)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put what the machines of a failed test said into its report, while they are still there."""
    report = yield
    record = item.stash.get(RECORD, None)
    if record is not None:
        record.report(item, report)
    session = item.config.stash.get(SESSION, None)
    notice = None if session is None else session.take_rejection()
    if notice is not None:
        report.user_properties.append((NOTICE, notice))  # which comes from xdist's workers too
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell once what came up; no warning of Python's, which `-W error` would make a failure of the test."""
    reports = (each for found in terminalreporter.stats.values() for each in found)
    properties = (each for report in reports for each in getattr(report, "user_properties", ()))
    for notice in sorted({value for name, value in properties if name == NOTICE}):
        terminalreporter.write_line(f"qemu-viso: {notice}")


# Which guest, bus and firmware


@pytest.fixture
def _viso_guest(request: pytest.FixtureRequest) -> str:
    name: str = getattr(request, "param", None) or request.config.getoption("--viso-guest")
    return name


@pytest.fixture
def _viso_bus(request: pytest.FixtureRequest) -> str | None:
    return getattr(request, "param", None)


@pytest.fixture
def _viso_firmware(request: pytest.FixtureRequest) -> str | None:
    return getattr(request, "param", None)


@pytest.fixture
def viso_target(_viso_guest: str, _viso_bus: str | None, _viso_firmware: str | None) -> Target:
    """The guest, bus and firmware of this test, by name; its markers say which."""
    from qemu_viso.pytest_plugin.target import target

    return target(_viso_guest, _viso_bus, _viso_firmware)


# What tests use


@pytest.fixture(scope="session")
def viso_session(request: pytest.FixtureRequest) -> Iterator[Session]:
    """What the other fixtures are made of, for fixtures of a wider scope than one test; it knows no markers."""
    from qemu_viso.pytest_plugin.session import Session

    config = request.config
    with Session(config.getoption("--viso-accel"), lambda: _record_of(config.stash[RUNNING])) as session:
        config.stash[SESSION] = session
        yield session


def _record_of(item: pytest.Item) -> Record:
    from qemu_viso.pytest_plugin.record import Record

    return item.stash.setdefault(RECORD, Record())


@pytest.fixture
def viso(tmp_path: Path, request: pytest.FixtureRequest) -> Recipes:
    """Open a recipe: `viso("--volume-id=SEED -R", files={"/user-data": "#cloud-config"})`, or `viso(path)`."""
    from qemu_viso.pytest_plugin.recipes import Recipes

    return Recipes(tmp_path, _record_of(request.node))


@pytest.fixture
def viso_export(viso_session: Session) -> Iterator[Exports]:
    """Serve an image until the test ends: `viso_export(recipe)` over NBD, or as "vhost-user-blk"."""
    from qemu_viso.pytest_plugin.exports import Exports

    with Exports(viso_session) as exports:
        yield exports


@pytest.fixture
def viso_guest(_viso_guest: str, viso_session: Session) -> GuestBuild:
    """The test's guest, built if it is not in the cache."""
    return viso_session.guest(_viso_guest)


@pytest.fixture
def viso_machine(viso_session: Session, viso_target: Target) -> Iterator[Machines]:
    """Start a machine that runs until the test ends: `viso_machine(recipe)`."""
    from qemu_viso.pytest_plugin.machines import Machines

    with Machines(viso_session, viso_target) as machines:
        yield machines


@pytest.fixture
def viso_view(viso_session: Session, viso_target: Target) -> Views:
    """Let the guest look at a recipe: `viso_view(recipe)`, or `viso_view(recipe, "joliet")`."""
    from qemu_viso.pytest_plugin.views import Views

    return Views(viso_session, viso_target)
