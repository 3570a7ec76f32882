"""Guest definitions: one TOML file each, read into typed values."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qemu_viso.errors import ConfigurationError, MissingInputError
from qemu_viso.guest.view import NAMESPACES, READERS
from qemu_viso.qemu.devices import BUSES
from qemu_viso.qemu.platforms import PLATFORMS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qemu_viso.guest.view import Namespace, ReaderName
    from qemu_viso.qemu.platforms import Platform

# The best first, as readers that nobody tells what to show choose among them.
ISO_NAMESPACES: tuple[Namespace, ...] = ("rock", "joliet", "plain")


@dataclass(frozen=True, slots=True)
class Kernel:
    """Where a guest's kernel comes from.

    Attributes:
        package: the package of the kernel, or a metapackage that depends on it.
        image: glob of the kernel in the unpacked packages.
        extracted: whether the kernel is taken out of its self-extracting form, which starts faster without hardware
            virtualisation.
    """

    package: str
    image: str
    extracted: bool


FAST, FULL = "fast", "full"


@dataclass(frozen=True, slots=True)
class GuestDefinition:
    """A guest that can be built from Debian packages.

    Attributes:
        name: the definition's file stem.
        title: in words.
        proves: what a verification by this guest shows.
        architecture: Debian's name, a key of `PLATFORMS`.
        reader: what reads the medium, and how it tells what it saw.
        buses: keys of `BUSES` that it can drive.
        namespaces: those that it can read.
        agent: path of the script that it runs: `/init`, GRUB's configuration or the firmware's `startup.nsh`.
        source: path of the definition.
        suite: Debian's release from which the packages come; None for that of the host.
        kernel: of the Linux in which the agent runs; None for readers of another kind.
        tool_packages: packages whose programs are needed in the guest.
        modules: to load, in this order, each after what it depends on: of the kernel, or of GRUB.
        loaded: modules of GRUB that are loaded when they are asked for.
        tier: `fast` for guests that are quick enough to be asked all the time, else `full`.
        root: packages of a root file system, which becomes a disk; none where the initial RAM disk is all.
    """

    name: str
    title: str
    proves: str
    architecture: str
    reader: ReaderName
    buses: tuple[str, ...]
    namespaces: tuple[Namespace, ...]
    agent: Path
    source: Path
    suite: str | None = None
    kernel: Kernel | None = None
    tool_packages: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    loaded: tuple[str, ...] = ()
    tier: str = FULL
    root: tuple[str, ...] = ()

    @property
    def platform(self) -> Platform:
        """The architecture, as QEMU emulates it."""
        return PLATFORMS[self.architecture]

    def sees(self, present: Iterable[Namespace]) -> tuple[Namespace, ...]:
        """Of the namespaces that a medium has, those that this guest can be made to look at.

        Linux can be told which of ISO 9660's namespaces to show; GRUB always shows the best.
        """
        offered = set(present)
        seen = [each for each in NAMESPACES if each in offered and each in self.namespaces]
        if self.reader != "agent":
            best = next((each for each in ISO_NAMESPACES if each in offered), None)
            seen = [each for each in seen if each not in ISO_NAMESPACES or each == best]
        return tuple(seen)


class _Table:
    """A TOML table from which every key must be taken, each with its type."""

    def __init__(self, source: Path, name: str, content: dict[str, object]) -> None:
        self._source = source
        self._name = name
        self._content = dict(content)

    def _fail(self, sentence: str, hint: str | None = None) -> ConfigurationError:
        return ConfigurationError(f"{self._source}: {sentence}", hint=hint)

    def _key(self, key: str) -> str:
        return f"{self._name}.{key}" if self._name else key

    def text(self, key: str, allowed: Iterable[str] = ()) -> str:
        value = self._content.pop(key, None)
        if not isinstance(value, str) or not value:
            raise self._fail(f"'{self._key(key)}' must be a text that is not empty")
        self._check(key, value, tuple(allowed))
        return value

    def texts(self, key: str, allowed: Iterable[str] = ()) -> tuple[str, ...]:
        values = self._content.pop(key, None)
        if not isinstance(values, list) or not values or not all(isinstance(each, str) for each in values):
            raise self._fail(f"'{self._key(key)}' must be a list of texts that is not empty")
        known = tuple(allowed)
        for value in values:
            self._check(key, value, known)
        return tuple(values)

    def _check(self, key: str, value: str, allowed: tuple[str, ...]) -> None:
        if allowed and value not in allowed:
            raise self._fail(f"'{self._key(key)}' knows no '{value}'", hint=f"one of {', '.join(allowed)}")

    def choice(self, key: str, allowed: tuple[str, ...], otherwise: str) -> str:
        """One of some words; `otherwise` where the key is not there."""
        return self.text(key, allowed) if key in self._content else otherwise

    def table(self, key: str) -> _Table:
        value = self._content.pop(key, None)
        if not isinstance(value, dict):
            raise self._fail(f"the table [{self._key(key)}] is missing")
        return _Table(self._source, self._key(key), value)

    def has(self, key: str) -> bool:
        return key in self._content

    def flag(self, key: str) -> bool:
        """A truth value; false where there is none."""
        value = self._content.pop(key, False)
        if not isinstance(value, bool):
            raise self._fail(f"'{self._key(key)}' must be true or false")
        return value

    def end(self) -> None:
        for key in self._content:
            raise self._fail(f"'{self._key(key)}' means nothing here")


def definitions_folder() -> Path:
    """Where the definitions that come with the project lie: in the installed package, or in the checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "definitions"
    return installed if installed.is_dir() else package.parent.parent / "images" / "guests"


def guest_names(folder: Path | None = None) -> list[str]:
    """The names of all definitions in a folder, sorted."""
    return sorted(path.stem for path in (folder or definitions_folder()).glob("*.toml"))


def load_definition(name: str, folder: Path | None = None) -> GuestDefinition:
    """Read the definition of a guest.

    Args:
        name: of the guest, as in `linux-cloud`.
        folder: where definitions lie; those of the project if not given.

    Raises:
        MissingInputError: there is no such guest; the hint names those that are.
        ConfigurationError: the definition is wrong.
    """
    folder = folder or definitions_folder()
    source = folder / f"{name}.toml"
    try:
        text = source.read_bytes().decode()
        content = tomllib.loads(text)
    except (FileNotFoundError, NotADirectoryError):
        known = ", ".join(guest_names(folder)) or "none"
        raise MissingInputError(f"there is no guest '{name}'", hint=f"guests in {folder}: {known}") from None
    except OSError as error:
        raise MissingInputError(f"the guest definition '{source}' cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{source}: this is not TOML: {error}") from None
    return _read(name, source, content)


def _read(name: str, source: Path, content: dict[str, object]) -> GuestDefinition:
    top = _Table(source, "", content)
    named = top.text("reader", READERS) if top.has("reader") else "agent"
    reader: ReaderName = next(each for each in READERS if each == named)
    chosen = top.texts("namespaces", NAMESPACES)
    tables = [top]

    def table(key: str) -> _Table:
        tables.append(top.table(key))
        return tables[-1]

    kernel, suite = None, None
    tools: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    loaded: tuple[str, ...] = ()
    root: tuple[str, ...] = ()
    parts = table({"agent": "initrd", "grub": "grub", "uefi-shell": "shell"}[reader])
    agent = source.parent / "agents" / parts.text("agent")
    if reader != "uefi-shell":
        packages = table("packages")
        tools = packages.texts("tools")
        suite = packages.text("suite") if packages.has("suite") else None
        modules = parts.texts("modules")
        if reader == "agent":
            image = table("kernel")
            kernel = Kernel(packages.text("kernel"), image.text("image"), image.flag("extracted"))
            if top.has("root"):
                root = table("root").texts("packages")
                suite = suite or packages.text("suite")  # it must be named
        else:
            loaded = parts.texts("loaded")
    if not agent.is_file():
        raise ConfigurationError(f"{source}: 'agent' names '{agent}', which is not there")
    definition = GuestDefinition(
        name=name,
        title=top.text("title"),
        proves=top.text("proves"),
        architecture=top.text("architecture", PLATFORMS),
        reader=reader,
        buses=top.texts("buses", BUSES),
        namespaces=tuple(each for each in NAMESPACES if each in chosen),
        agent=agent,
        source=source,
        suite=suite,
        kernel=kernel,
        tool_packages=tools,
        modules=modules,
        loaded=loaded,
        tier=top.choice("tier", (FAST, FULL), FULL),
        root=root,
    )
    for each in reversed(tables):
        each.end()
    return definition
