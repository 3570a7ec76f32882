"""Building a guest from Debian packages, without root: a kernel and an initial RAM disk, or GRUB.

A build lies in a folder of the cache named after everything that decides its content: the definition, the agent and
this builder. It is complete or not there; two builders at once wait for one another.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qemu_viso.errors import CannotCreateError, ConfigurationError, InputOutputError
from qemu_viso.guest.bzimage import extract_kernel
from qemu_viso.guest.cpio import CpioWriter
from qemu_viso.guest.grub_image import write_grub
from qemu_viso.guest.ipl import boot_image
from qemu_viso.guest.modules import ModuleTree
from qemu_viso.guest.packages import Apt, debian_mirror, unpack
from qemu_viso.guest.rootfs import write_root
from qemu_viso.qemu.cache import cache_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from qemu_viso.guest.definition import GuestDefinition
    from qemu_viso.guest.packages import Package

# Part of the name of a build: raised when the same definition would give another result.
BUILDER = 2

# What the agents call by name; links to busybox.
APPLETS = (
    "cat", "dd", "dmesg", "echo", "find", "grep", "head", "insmod", "mkfifo", "mount", "poweroff", "printf", "rm", "sh",
    "stat", "tail", "tar", "tr", "umount", "uname", "usleep", "wc", "xargs",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class GuestBuild:
    """A guest that is ready to boot.

    Attributes:
        definition: what it was built from.
        kernel: path of what the machine starts: the kernel, GRUB, or the script for the firmware's shell.
        initrd: path of the initial RAM disk, with the agent as `/init`; empty where there is no Linux.
        packages: name and version of each package used.

    Beside them lies, for s390x, `boot.img`: both in the form that its firmware starts from a medium; and `root.img`,
    for a guest with a root file system.
    """

    definition: GuestDefinition
    kernel: Path
    initrd: Path
    packages: tuple[tuple[str, str], ...]


def arguments_for(definition: GuestDefinition) -> str:
    """The kernel's command line."""
    # The last console is the one that programs get. scan=sync: disks are there before the agent looks. panic=-1: no
    # waiting before the reset that ends QEMU.
    words = f"console={definition.platform.console} quiet panic=-1 scsi_mod.scan=sync"
    if definition.architecture not in ("amd64", "i386"):
        return words
    # On a busy host the timer seems broken to a kernel that tests it at its start, and it goes on without one.
    return f"console=tty0 {words} no_timer_check"


def build_key(definition: GuestDefinition) -> str:
    """A hash over everything that decides the content of a build."""
    digest = hashlib.sha256(b"qemu-viso guest %d\0" % BUILDER)
    for path in (definition.source, definition.agent):
        content = path.read_bytes()
        digest.update(b"%d\0" % len(content) + content)
    return digest.hexdigest()[:16]


def find_build(definition: GuestDefinition, cache: Path | None = None) -> GuestBuild | None:
    """The build of a guest if it is in the cache; nothing is started to find out."""
    folder = (cache or cache_folder()) / "guests" / f"{definition.name}-{build_key(definition)}"
    try:
        manifest = json.loads((folder / "manifest.json").read_bytes())
        packages = tuple((str(each["name"]), str(each["version"])) for each in manifest["packages"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    build = GuestBuild(definition, folder / "vmlinuz", folder / "initrd.cpio", packages)
    files = [build.kernel, build.initrd, *([folder / "root.img"] if definition.root else [])]
    return build if all(path.is_file() for path in files) else None


def build_guest(
    definition: GuestDefinition, cache: Path | None = None, progress: Callable[[str], None] | None = None
) -> GuestBuild:
    """Build a guest, unless it is there already.

    Args:
        definition: what to build.
        cache: the cache folder; the user's if not given.
        progress: takes lines for people; silent if not given.

    Raises:
        MissingProgramError: APT or dpkg are not there.
        MissingInputError: no package source has a package.
        ConfigurationError: the packages do not hold what the definition names.
        CannotCreateError: the cache cannot be written.
        InputOutputError: a download failed.
    """
    cache = cache or cache_folder()
    build = find_build(definition, cache)
    if build is not None:
        return build

    def tell(line: str) -> None:
        if progress is not None:
            progress(f"guest {definition.name}: {line}")

    guests = cache / "guests"
    try:
        guests.mkdir(parents=True, exist_ok=True)
        with _locked(guests / f".{definition.name}.lock", tell):
            build = find_build(definition, cache)
            if build is None:
                _build(definition, cache, tell)
                build = find_build(definition, cache)
    except OSError as error:
        raise CannotCreateError(
            f"the guest '{definition.name}' cannot be stored in '{guests}': {error.strerror or error}"
        ) from None
    assert build is not None
    return build


@contextmanager
def _locked(path: Path, tell: Callable[[str], None]) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell("another process is building it; waiting")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(definition: GuestDefinition, cache: Path, tell: Callable[[str], None]) -> None:
    begin = time.monotonic()
    guests = cache / "guests"
    with tempfile.TemporaryDirectory(prefix=f".{definition.name}-", dir=guests) as name:
        work = guests / name
        result = work / "result"
        result.mkdir()
        packages: list[Package] = []
        if definition.reader != "uefi-shell":
            packages = _fetch(definition, cache, work, tell)
        _write_parts(definition, work, result, tell)
        manifest = {
            "guest": definition.name,
            "packages": [{"name": each.name, "version": each.version} for each in packages],
        }
        (result / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
        target = guests / f"{definition.name}-{build_key(definition)}"
        # What lies there is not a complete build, or it would have been found.
        shutil.rmtree(target, ignore_errors=True)
        result.rename(target)
    tell(f"ready after {time.monotonic() - begin:.1f} s")


def _write_parts(definition: GuestDefinition, work: Path, result: Path, tell: Callable[[str], None]) -> None:
    """Everything but the manifest, from the packages in `work/root`."""
    root, kernel, initrd = work / "root", result / "vmlinuz", result / "initrd.cpio"
    if definition.kernel is None:
        tell("building")
        initrd.touch()
        if definition.reader == "grub":
            write_grub(definition, root, work, kernel)
        else:
            shutil.copyfile(definition.agent, kernel)
        return
    tell("building the initial RAM disk")
    shutil.copyfile(_single(root, definition.kernel.image), kernel)
    if definition.kernel.extracted:
        kernel.write_bytes(extract_kernel(kernel.read_bytes()))
    with initrd.open("wb") as file:
        write_initrd(definition, root, CpioWriter(file))
    if definition.root:
        assert definition.suite is not None
        tell("installing packages into a root file system")
        root_image, mirror = result / "root.img", debian_mirror()
        write_root(definition.suite, definition.architecture, definition.root, mirror, work, root_image)
    if definition.architecture == "s390x":
        image = boot_image(kernel.read_bytes(), initrd.read_bytes(), arguments_for(definition))
        (result / "boot.img").write_bytes(image)


def _fetch(definition: GuestDefinition, cache: Path, work: Path, tell: Callable[[str], None]) -> list[Package]:
    """Download and unpack the packages into `work/root`."""
    architecture, suite = definition.architecture, definition.suite
    state = cache / "apt" / (architecture if suite is None else f"{architecture}-{suite}")
    try:
        packages, archives = _download(definition, Apt(architecture, state, tell, suite=suite), work)
    except InputOutputError as error:
        # Mirrors drop a version as soon as the next one is there; the host's lists may still name it.
        tell(f"trying again with fresh package lists, because {error.message.splitlines()[-1].strip()}")
        apt = Apt(architecture, state, tell, suite=suite, private=True)
        packages, archives = _download(definition, apt, work)
    for archive in archives:
        unpack(archive, work / "root")
    return packages


def _download(definition: GuestDefinition, apt: Apt, work: Path) -> tuple[list[Package], list[Path]]:
    packages = [apt.show(name) for name in definition.tool_packages]
    if definition.kernel is not None:
        kernel = apt.show(definition.kernel.package)
        # A metapackage depends on the kernel of the day, whose name holds its version.
        pattern = definition.kernel.package.split("-")[:2]
        actual = next((each for each in kernel.depends if each.split("-")[:2] == pattern), None)
        packages.insert(0, kernel if actual is None else apt.show(actual))
    folder = work / "downloads"
    folder.mkdir(exist_ok=True)
    return packages, apt.download(packages, folder)


def _single(root: Path, pattern: str) -> Path:
    found = sorted(root.glob(pattern))
    if len(found) != 1:
        names = ", ".join(str(path.relative_to(root)) for path in found) or "nothing"
        raise ConfigurationError(f"'{pattern}' should match one file of the packages; it matches {names}")
    return found[0]


def write_initrd(definition: GuestDefinition, root: Path, archive: CpioWriter) -> None:
    """Write the initial RAM disk: busybox, the modules in loading order, the agent.

    Args:
        definition: of the guest.
        root: the unpacked packages.
        archive: what is written to; it is closed.

    Raises:
        ConfigurationError: the packages do not hold what is needed.
    """
    modules = ModuleTree(_single(root, "**/lib/modules/*")).resolve(definition.modules)
    for each in ("dev", "mnt", "proc", "sys", "tmp"):
        archive.directory(each)
    archive.file("bin/busybox", _single(root, "**/bin/busybox").read_bytes(), 0o755)
    for applet in APPLETS:
        archive.symlink(f"bin/{applet}", "busybox")
    for name, image in modules:
        archive.file(f"lib/modules/{name}.ko", image)
    archive.file("etc/modules", "".join(f"{name}.ko\n" for name, _ in modules).encode())
    archive.file("init", definition.agent.read_bytes(), 0o755)
    archive.close()
