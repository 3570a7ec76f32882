import json
from pathlib import Path

import pytest

from qemu_viso.errors import MissingProgramError
from qemu_viso.qemu.devices import Flash
from qemu_viso.qemu.firmware import find_uefi
from qemu_viso.qemu.platforms import PLATFORMS


def describe(folder: Path, name: str, **changes: object) -> Flash:
    folder.mkdir(exist_ok=True)
    code, variables = folder / f"{name}-code", folder / f"{name}-vars"
    code.touch()
    variables.touch()
    content = {
        "interface-types": ["uefi"],
        "mapping": {
            "device": "flash",
            "executable": {"filename": str(code), "format": "raw"},
            "nvram-template": {"filename": str(variables), "format": "raw"},
        },
        "targets": [{"architecture": "x86_64", "machines": ["pc-q35-*"]}],
        "features": ["acpi-s3"],
    } | changes
    (folder / f"{name}.json").write_text(json.dumps(content))
    return Flash(str(code), str(variables))


def test_the_first_that_fits(tmp_path: Path) -> None:
    folder = tmp_path / "system"
    describe(folder, "10-bios", **{"interface-types": ["bios"]})
    describe(folder, "20-secure", features=["secure-boot", "requires-smm"])
    describe(folder, "30-arm", targets=[{"architecture": "aarch64", "machines": ["virt-*"]}])
    describe(folder, "40-memory", mapping={"device": "memory", "filename": "/x"})
    (folder / "50-broken.json").write_text("{")
    good = describe(folder, "60-good")
    describe(folder, "70-other")
    assert find_uefi(PLATFORMS["amd64"], (tmp_path / "none", folder)) == good
    Path(good.code).unlink()
    assert find_uefi(PLATFORMS["amd64"], (folder,)).code.endswith("70-other-code")


def test_a_persons_own_descriptor_hides_the_systems(tmp_path: Path) -> None:
    describe(tmp_path / "system", "60-x")
    mine = describe(tmp_path / "mine", "60-x")
    assert find_uefi(PLATFORMS["amd64"], (tmp_path / "mine", tmp_path / "system")) == mine


def test_none_at_all(tmp_path: Path) -> None:
    with pytest.raises(MissingProgramError, match="no UEFI firmware for x86_64") as caught:
        find_uefi(PLATFORMS["amd64"], (tmp_path,))
    assert caught.value.hint == "on Debian: apt-get install ovmf"
