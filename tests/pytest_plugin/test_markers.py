"""Markers and options, in other people's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

pytest_plugins = ["pytester"]

PLUGIN = ("-p", "qemu_viso.pytest_plugin", "-p", "no:randomly")


def collected(pytester: pytest.Pytester, *options: str) -> Sequence[str]:
    result = pytester.runpytest_inprocess(*PLUGIN, "--collect-only", "-q", *options)
    return [line.partition("::")[2] for line in result.outlines if "::" in line]


def test_a_test_for_each_guest_bus_and_firmware(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest
        pytestmark = pytest.mark.viso_bus("scsi-cd", "virtio-blk")

        def test_module(viso_view): ...

        @pytest.mark.viso_bus("ide-cd")
        def test_nearest(viso_machine): ...

        @pytest.mark.viso_guest("linux-cloud", "linux-arm64")
        def test_guests(viso_guest): ...

        @pytest.mark.viso_guest("linux-i386")
        @pytest.mark.viso_firmware("bios", "uefi")
        def test_all(viso_target): ...

        def test_unconcerned(viso): ...
    """)
    assert collected(pytester) == [
        "test_module[scsi-cd]",
        "test_module[virtio-blk]",
        "test_nearest[ide-cd]",
        "test_guests[linux-cloud]",
        "test_guests[linux-arm64]",
        "test_all[linux-i386-scsi-cd-bios]",
        "test_all[linux-i386-scsi-cd-uefi]",
        "test_all[linux-i386-virtio-blk-bios]",
        "test_all[linux-i386-virtio-blk-uefi]",
        "test_unconcerned",
    ]


def test_what_a_test_gets(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest

        def test_usual(viso_target):
            assert (viso_target.guest, viso_target.bus, viso_target.firmware) == ("linux-s390x", "scsi-cd", None)

        @pytest.mark.viso_guest("grub")
        def test_the_first_bus(viso_target):
            assert viso_target.bus == "ahci-cd"

        @pytest.mark.viso_guest("linux-i386")
        @pytest.mark.viso_bus("usb-cd")
        @pytest.mark.viso_firmware("uefi")
        def test_marked(viso_target):
            assert str(viso_target) == "linux-i386 · usb-cd · uefi"
    """)
    pytester.runpytest_inprocess(*PLUGIN, "--viso-guest", "linux-s390x").assert_outcomes(passed=3)


@pytest.mark.parametrize(
    ("marker", "sentence"),
    [
        ("viso_guest('linux-vax')", "*there is no guest 'linux-vax'; one of *linux-cloud*"),
        ("viso_bus('scsi-cd', 'floppy')", "*there is no bus 'floppy'; one of scsi-cd, *"),
        ("viso_firmware('coreboot')", "*there is no firmware 'coreboot'; one of bios, uefi"),
        ("viso_bus()", "*the marker viso_bus takes one or more names: @pytest.mark.viso_bus('…')"),
        ("viso_bus(name='scsi-cd')", "*the marker viso_bus takes one or more names*"),
    ],
)
def test_mistakes_in_markers(pytester: pytest.Pytester, marker: str, sentence: str) -> None:
    pytester.makepyfile(f"import pytest\n@pytest.mark.{marker}\ndef test_x(viso_view): ...")
    result = pytester.runpytest_inprocess(*PLUGIN)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([sentence])
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*target.py*")


def test_an_unknown_guest_on_the_command_line(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_x(viso_target): ...")
    result = pytester.runpytest_inprocess(*PLUGIN, "--viso-guest", "linux-vax")
    result.stdout.fnmatch_lines(["*there is no guest 'linux-vax'; one of *"])
    assert result.ret == 1


def test_markers_and_fixtures_are_documented(pytester: pytest.Pytester) -> None:
    markers = pytester.runpytest_inprocess(*PLUGIN, "--markers")
    markers.stdout.fnmatch_lines([f"@pytest.mark.viso_{kind}(name, ...): *" for kind in ("guest", "bus", "firmware")])
    fixtures = pytester.runpytest_inprocess(*PLUGIN, "--fixtures").stdout.str()
    for name in ("viso", "viso_export", "viso_guest", "viso_machine", "viso_session", "viso_target", "viso_view"):
        assert f"\n{name} " in fixtures
    assert "\n_viso" not in fixtures
    assert "no docstring available" not in fixtures.partition("fixtures defined from qemu_viso.pytest_plugin")[2]


def test_the_plugin_may_be_named_twice(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("pytest_plugins = ['qemu_viso.pytest_plugin']")
    pytester.makepyfile("def test_x(viso): assert viso(files={'/x': 'x'}).image.size")
    pytester.runpytest_inprocess(*PLUGIN, "--strict-markers").assert_outcomes(passed=1)
