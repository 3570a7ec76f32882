"""Firmware: whether a machine has one of its own, and UEFI, found by the descriptors that distributions install for it.

Format of the descriptors: docs/interop/firmware.json in QEMU.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from qemu_viso.errors import ConfigurationError, MissingProgramError
from qemu_viso.qemu.devices import Flash

if TYPE_CHECKING:
    from qemu_viso.qemu.platforms import Platform

# In the order in which the descriptors' specification looks them up; a name found first hides later ones.
FOLDERS = (
    Path.home() / ".config/qemu/firmware",
    Path("/etc/qemu/firmware"),
    Path("/usr/local/share/qemu/firmware"),
    Path("/usr/share/qemu/firmware"),
)
PACKAGES = {"x86_64": "ovmf", "aarch64": "qemu-efi-aarch64", "arm": "qemu-efi-arm"}
# Secure Boot refuses what is not signed; it also needs system management mode.
UNWANTED = {"secure-boot", "enrolled-keys", "requires-smm", "amd-sev-es", "amd-sev-snp", "intel-tdx"}


def require_bios(platform: Platform) -> None:
    """Raise `ConfigurationError` where a machine would start without any firmware that looks at a medium."""
    if not platform.bios:
        raise ConfigurationError(
            f"there is no BIOS for {platform.name}", hint="a medium is started by UEFI there, or not at all"
        )


def find_uefi(platform: Platform, folders: tuple[Path, ...] = FOLDERS) -> Flash:
    """UEFI without Secure Boot for a platform.

    Raises:
        MissingProgramError: none is installed; the hint names its package.
    """
    architecture = platform.program.removeprefix("qemu-system-")
    descriptors: dict[str, Path] = {}
    for folder in folders:
        for path in folder.glob("*.json"):
            descriptors.setdefault(path.name, path)
    for name in sorted(descriptors):
        flash = _flash(descriptors[name], architecture)
        if flash is not None:
            return flash
    package = PACKAGES.get(architecture)
    hint = None if package is None else f"on Debian: apt-get install {package}"
    raise MissingProgramError(f"no UEFI firmware for {architecture} is installed", hint=hint)


def _flash(path: Path, architecture: str) -> Flash | None:
    """What a descriptor offers, if it fits."""
    try:
        content = json.loads(path.read_bytes())
        mapping = content["mapping"]
        fits = (
            "uefi" in content["interface-types"]
            and mapping["device"] == "flash"
            and not UNWANTED & set(content["features"])
            and any(target["architecture"] == architecture for target in content["targets"])
        )
        if not fits:
            return None
        code, variables = mapping["executable"], mapping["nvram-template"]
        if code["format"] != "raw" or not Path(code["filename"]).is_file() or not Path(variables["filename"]).is_file():
            return None
        return Flash(str(code["filename"]), str(variables["filename"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
