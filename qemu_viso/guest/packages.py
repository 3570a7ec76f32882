"""Debian packages without root: found, downloaded and unpacked by Debian's own tools.

Packages of the host's own architecture come through the host's package lists. For another architecture, or where the
host has no lists, APT gets a state of its own below the cache folder, so that neither root nor
`dpkg --add-architecture` is needed.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qemu_viso.errors import GuestError, InputOutputError, MissingInputError
from qemu_viso.qemu.process import find_program

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

MIRROR = "http://deb.debian.org/debian"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


@dataclass(frozen=True, slots=True)
class Package:
    """A package as APT knows it.

    Attributes:
        name: without architecture.
        version: the candidate.
        architecture: Debian's name, `all` for packages that fit every one.
        size: of the archive, bytes.
        depends: names of the packages that it depends on, the first of each group of alternatives.
    """

    name: str
    version: str
    architecture: str
    size: int
    depends: tuple[str, ...]


def _run(argv: Sequence[str], folder: Path | None = None, environment: dict[str, str] | None = None) -> str:
    """Run a program to its end; its standard output.

    Raises:
        InputOutputError: it failed; with the last lines that it wrote.
    """
    done = subprocess.run(
        [find_program(argv[0]), *argv[1:]],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=os.environ | {"LC_ALL": "C.UTF-8"} | (environment or {}),
        check=False,
    )
    if done.returncode:
        said = (done.stderr or done.stdout).decode("utf-8", "backslashreplace").strip().splitlines()[-6:]
        raise InputOutputError("\n    ".join([f"'{' '.join(argv)}' failed with status {done.returncode}:", *said]))
    return done.stdout.decode("utf-8", "backslashreplace")


class Apt:
    """APT for one architecture.

    Args:
        architecture: Debian's name.
        state: folder for a private state, made when it is needed.
        progress: takes lines for people.
        suite: a release other than the host's, from the host's mirror of Debian.
        private: use a private state, with fresh lists, even where the host's would do.
    """

    def __init__(
        self,
        architecture: str,
        state: Path,
        progress: Callable[[str], None],
        *,
        suite: str | None = None,
        private: bool = False,
    ) -> None:
        self._architecture = architecture
        self._state = state
        self._progress = progress
        self._suite = suite
        self._private = private or suite is not None
        self._environment: dict[str, str] = {}

    def show(self, name: str) -> Package:
        """What APT knows about a package.

        Raises:
            MissingInputError: no source has it.
            MissingProgramError: this is not a Debian system.
        """
        if not self._environment and (self._private or not self._is_native()):
            self._make_private()
        found = self._look_up(name)
        if found is None and not self._environment:
            self._make_private()
            found = self._look_up(name)
        if found is None:
            raise MissingInputError(
                f"no package source offers '{name}' for {self._architecture}",
                hint="guests are built from Debian's packages; is a Debian mirror among APT's sources?",
            )
        return found

    def _is_native(self) -> bool:
        return _run(["dpkg", "--print-architecture"]).strip() == self._architecture

    def _look_up(self, name: str) -> Package | None:
        try:
            text = _run(
                ["apt-cache", "show", "--no-all-versions", f"{name}:{self._architecture}"], None, self._environment
            )
        except InputOutputError:
            return None
        fields = dict(re.findall(r"^([A-Za-z0-9-]+): *(.*)$", text.split("\n\n")[0], re.MULTILINE))
        if not {"Package", "Version", "Architecture", "Size"} <= fields.keys():
            return None
        groups = ", ".join(filter(None, (fields.get("Pre-Depends"), fields.get("Depends")))).split(",")
        depends = tuple(group.split("|")[0].split()[0].partition(":")[0] for group in groups if group.strip())
        return Package(fields["Package"], fields["Version"], fields["Architecture"], int(fields["Size"]), depends)

    def _make_private(self) -> None:
        """Give APT a state of its own, and fetch the lists into it."""
        for each in ("lists/partial", "archives/partial"):
            (self._state / each).mkdir(parents=True, exist_ok=True)
        (self._state / "status").touch()
        configuration = self._state / "apt.conf"
        configuration.write_text(
            self._sources() + f'Dir::State "{self._state}";\n'
            f'Dir::State::lists "{self._state}/lists";\n'
            f'Dir::State::status "{self._state}/status";\n'
            f'Dir::Cache "{self._state}";\n'
            f'Dir::Cache::archives "{self._state}/archives";\n'
            f'APT::Architecture "{self._architecture}";\n'
            f'APT::Architectures {{ "{self._architecture}"; }};\n'
            'APT::Sandbox::User "root";\n'
            'Acquire::Languages "none";\n'
            'Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";\n'
        )
        self._environment = {"APT_CONFIG": str(configuration)}
        self._progress(f"fetching package lists for {self._architecture}")
        try:
            _run(["apt-get", "update"], None, self._environment)
        except InputOutputError as error:
            # One source that fails (a vendor without this architecture) does not matter if another has the packages.
            self._progress(f"some package lists are missing: {error.message.splitlines()[-1].strip()}")

    def _sources(self) -> str:
        """Configuration that replaces the host's package sources, if another release is wanted."""
        if self._suite is None:
            return ""
        line = f"deb [signed-by={KEYRING}] {debian_mirror()} {self._suite} main\n"
        (self._state / "sources.list").write_text(line)
        return f'Dir::Etc::sourcelist "{self._state}/sources.list";\nDir::Etc::sourceparts "{self._state}/none";\n'

    def download(self, packages: Sequence[Package], folder: Path) -> list[Path]:
        """Download packages into a folder.

        Returns:
            the paths of the archives, in the same order.

        Raises:
            InputOutputError: a download failed.
        """
        paths = []
        for package in packages:
            self._progress(f"downloading {package.name} {package.version} ({package.size / 1e6:.1f} MB)")
            # As root APT would download as another user, who may not write into our folder.
            argv = ["apt-get", "-o", "APT::Sandbox::User=root", "download"]
            argv.append(f"{package.name}:{package.architecture}={package.version}".replace(":all=", "="))
            _run(argv, folder, self._environment)
            version = package.version.replace(":", "%3a")
            path = folder / f"{package.name}_{version}_{package.architecture}.deb"
            if not path.is_file():
                raise GuestError(f"apt-get did not leave '{path.name}' behind")
            paths.append(path)
        return paths


def debian_mirror() -> str:
    """The mirror from which the host takes Debian's packages."""
    try:
        targets = _run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Origin: Debian", "Label: Debian"])
    except InputOutputError:
        targets = ""
    return next(iter(targets.split()), MIRROR)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a package's files into a folder, without running anything of it.

    Raises:
        InputOutputError: it is damaged, or the disk is full.
    """
    _run(["dpkg-deb", "-x", str(archive), str(folder)])
