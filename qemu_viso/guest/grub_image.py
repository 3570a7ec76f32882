"""GRUB in the form of a Linux kernel, which QEMU starts without a medium to boot from.

GRUB's own tool makes the image; its modules come from the guest's packages. What GRUB needs later lies in an archive
inside of the image, so that no disk but the one under test is ever read.
"""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING

from qemu_viso.errors import ConfigurationError
from qemu_viso.qemu.process import find_program

if TYPE_CHECKING:
    from pathlib import Path

    from qemu_viso.guest.definition import GuestDefinition

FORMAT = "i386-pc"
PREFIX = "/boot/grub"
# The console in UTF-8, and wide enough that no name is broken into lines.
START = f"""serial
terminal_input serial
terminfo -u -g 65000x24 serial vt100
terminal_output serial
normal (memdisk){PREFIX}/grub.cfg
"""


def write_grub(definition: GuestDefinition, root: Path, work: Path, target: Path) -> None:
    """Make the image.

    Args:
        definition: of the guest.
        root: the unpacked packages.
        work: a folder for what is needed on the way.
        target: path of the image.

    Raises:
        ConfigurationError: the packages do not hold what is needed.
        MissingProgramError: GRUB's tools are not installed.
    """
    modules = root / "usr/lib/grub" / FORMAT
    start, archive, core = work / "start.cfg", work / "memdisk.tar", work / "core.img"
    start.write_text(START)
    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as tar:
        tar.add(definition.agent, f"{PREFIX}/grub.cfg", filter=_anonymous)
        for name in definition.loaded:
            path = modules / f"{name}.mod"
            if not path.is_file():
                raise ConfigurationError(f"the packages of the guest '{definition.name}' have no GRUB module '{name}'")
            tar.add(path, f"{PREFIX}/{FORMAT}/{path.name}", filter=_anonymous)
    argv = [find_program("grub-mkimage"), "-d", str(modules), "-O", FORMAT, "-m", str(archive), "-c", str(start)]
    argv += ["-p", f"(memdisk){PREFIX}", "-o", str(core), *definition.modules]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode("utf-8", "backslashreplace").strip()
        raise ConfigurationError(f"grub-mkimage cannot make the guest '{definition.name}': {said}")
    with target.open("wb") as file:
        for part in (modules / "lnxboot.img", core):
            with part.open("rb") as source:
                shutil.copyfileobj(source, file)


def _anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """The same bytes whoever builds it, and whenever."""
    info.uid = info.gid = info.mtime = 0
    info.uname = info.gname = ""
    return info
