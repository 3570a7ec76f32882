"""Judges of images that others wrote, each behind the same face.

A judge is asked `available()` first: None, or the reason to skip, with its name. `view(image, namespace)` is what it
says of a tree. `expected(view, namespace)` is what it would say of a tree that the strict reader saw: the judge's
known limits live there, each with a word on why, so that everything else is compared exactly.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import re
import shlex
import shutil
import subprocess
import tarfile
import tempfile
from abc import ABC, abstractmethod
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from tests.judges.compare import Item, View, blind, difference, renamed, view_of, view_of_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.judges.reader.image import Image
    from tests.judges.reader.model import Volume

Namespace = Literal["primary", "rock", "joliet", "udf"]
Look = Literal["content", "sizes", "names"]
"""How closely a judge looks: at what files hold, at what is told of them, or, where there are very many, at names."""

_ENVIRONMENT = {"LC_ALL": "C.UTF-8", "TZ": "UTC", "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin", "HOME": "/"}
_KINDS = dict(zip("-edlpfcbs", ("file", "file", "dir", "link", "fifo", "fifo", "char", "block", "socket"), strict=True))


class JudgeError(AssertionError):
    """A judge refused an image altogether."""


class Judge(ABC):
    """Who can show a tree.

    Attributes:
        name: the program, as it is called.
        namespaces: what it can show of an image that has all of them.
    """

    name: ClassVar[str]
    namespaces: ClassVar[tuple[Namespace, ...]]

    def available(self) -> str | None:
        """None, or why it cannot be asked."""
        return missing(self.name)

    def shows(self, seen: Image, namespace: Namespace) -> bool:
        """Whether it can be asked for this namespace of this image."""
        return getattr(seen, namespace) is not None

    @abstractmethod
    def view(self, image: Path, namespace: Namespace, look: Look = "content") -> View:
        """What it says of one namespace of an image."""

    @abstractmethod
    def expected(self, view: View, namespace: Namespace) -> View:
        """What it should say of a tree that is really like `view`."""

    def disagreements(self, image: Path, seen: Image, look: Look = "content") -> list[str]:
        """Every difference between what it says and what the strict reader saw, in all namespaces that it shows.

        Args:
            image: the image.
            seen: what the reader saw of it.
            look: how closely.
        """
        said: list[str] = []
        for namespace in self.namespaces:
            if self.shows(seen, namespace):
                expected = self.expected(view_of(getattr(seen, namespace), content=look == "content"), namespace)
                found = self.view(image, namespace, look)
                said += [f"{namespace}: {line}" for line in difference(expected, found, ("the reader", self.name))]
        return said


def run(*command: str | Path, ok: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[bytes]:
    """Run a judge to its end.

    Raises:
        JudgeError: its exit status is not one of `ok`.
    """
    done = subprocess.run(
        [os.fspath(word) for word in command],
        check=False,
        capture_output=True,
        env=_ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        timeout=300,  # seconds for 200,000 names on a busy machine
    )
    if done.returncode not in ok:
        said = (done.stderr or done.stdout).decode("utf-8", "replace").strip()[-2000:]
        raise JudgeError(f"{command[0]} ended with {done.returncode}: {said}")
    return done


def missing(program: str) -> str | None:
    found = shutil.which(program, path=_ENVIRONMENT["PATH"])
    return None if found else f"{program} is not installed"


def _mode(text: str) -> int:
    """`rwxr-sr-t` as a number."""
    bits = 0
    for index, letter in enumerate(text):
        if letter in "rwxst":
            bits |= 0o400 >> index
        if letter in "sStT":
            bits |= (0o4000, 0o2000, 0o1000)[index // 3]
    return bits


def _plain(view: View) -> View:
    """Links and special files as the plain empty files that a namespace without Rock Ridge makes of them."""
    return {path: item if item.kind in ("dir", "file") else Item(kind="file") for path, item in view.items()}


def without_limited_form(seen: Image, namespace: Namespace) -> bool:
    """Whether a namespace is there for those who know Rock Ridge only by the ER entry of the root."""
    volume: Volume | None = getattr(seen, namespace)
    return volume is not None and (namespace != "rock" or volume.identifiers["extension"] != "")


def is_plain(seen: Image) -> bool:
    """Whether an image has nothing but ISO 9660: only then those who prefer what is better show plain identifiers."""
    return seen.primary is not None and seen.rock is None and seen.joliet is None


def without_version(path: str) -> str:
    """An identifier as most show it: without version, nor a dot that ends it."""
    return re.sub(r"\.?;\d+$", "", path)


class Pycdlib(Judge):
    """The Python library pycdlib."""

    name: ClassVar[str] = "pycdlib"
    namespaces: ClassVar[tuple[Namespace, ...]] = ("primary", "rock", "joliet", "udf")

    def available(self) -> str | None:
        return None if importlib.util.find_spec("pycdlib") else "pycdlib is not installed"

    def view(self, image: Path, namespace: Namespace, look: Look = "content") -> View:
        with self._opened(image) as iso:
            return self._view(iso, namespace, look)

    def disagreements(self, image: Path, seen: Image, look: Look = "content") -> list[str]:
        """As every judge's; the image is opened once, because that takes long."""
        said: list[str] = []
        with self._opened(image) if seen.primary is not None else nullcontext() as iso:
            for namespace in self.namespaces:
                if self.shows(seen, namespace):
                    tree = view_of(getattr(seen, namespace), content=look == "content")
                    expected, found = self.expected(tree, namespace), self._view(iso, namespace, look)
                    said += [f"{namespace}: {line}" for line in difference(expected, found, ("the reader", self.name))]
        return said

    @staticmethod
    @contextmanager
    def _opened(image: Path) -> Iterator[object]:
        import pycdlib

        iso = pycdlib.PyCdlib()
        iso.open(os.fspath(image))
        try:
            yield iso
        finally:
            iso.close()

    def _view(self, iso: object, namespace: Namespace, look: Look) -> View:
        key = {"primary": "iso_path", "rock": "rr_path", "joliet": "joliet_path", "udf": "udf_path"}[namespace]
        view: View = {}
        for parent, directories, files in iso.walk(**{key: "/"}):  # type: ignore[attr-defined]
            view[parent] = Item(kind="dir")
            for number, name in enumerate([*directories, *files]):
                path, is_directory = f"{parent.rstrip('/')}/{name}", number < len(directories)
                view[path] = self._item(iso, key, path, look, is_directory=is_directory)
        return {re.sub(r";\d+$", "", path) if namespace == "joliet" else path: item for path, item in view.items()}

    def _item(self, iso: object, key: str, path: str, look: Look, *, is_directory: bool) -> Item:
        if look == "names":
            return Item(kind="dir") if is_directory else Item()
        record = iso.get_record(**{key: path})  # type: ignore[attr-defined]
        rock = getattr(record, "rock_ridge", None)
        mode = rock.get_file_mode() if rock is not None else 0
        bits = mode & 0o7777 if key == "rr_path" else None
        if is_directory:
            return Item(kind="dir", mode=bits)
        if rock is not None and rock.is_symlink() and key == "rr_path":
            return Item(kind="link", mode=bits, target=rock.symlink_path().decode("utf-8", "surrogateescape"))
        if (rock is not None and mode & 0o170000 != 0o100000) or (key == "udf_path" and not record.is_file()):
            return Item(mode=bits)
        if key == "udf_path" and record.inode is None:  # it does not give the boot catalog's content under a UDF name
            return Item(kind="file", size=record.get_data_length())
        if look == "sizes":
            return Item(kind="file", size=record.get_data_length(), mode=bits)
        into = io.BytesIO()
        iso.get_file_from_iso_fp(into, **{key: path})  # type: ignore[attr-defined]
        data = into.getvalue()
        return Item(kind="file", size=len(data), sha256=hashlib.sha256(data).hexdigest(), mode=bits)

    def shows(self, seen: Image, namespace: Namespace) -> bool:
        """It opens nothing without a primary descriptor."""
        return seen.primary is not None and without_limited_form(seen, namespace)

    def expected(self, view: View, namespace: Namespace) -> View:
        """It does not say whose a file is, nor its time; a link to the root loses its target."""
        view = {path: replace(item, target=None) if item.target == "/" else item for path, item in view.items()}
        return blind(view if namespace == "rock" else _plain(view), "mtime", "uid", "gid", "links", "device")


class Xorriso(Judge):
    """GNU xorriso: what `-find` lists under `-read_fs`, and its check of every block."""

    name: ClassVar[str] = "xorriso"
    namespaces: ClassVar[tuple[Namespace, ...]] = ("rock", "joliet", "primary")
    _LINE = re.compile(r"(.)(.{9}).?\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+(?:,\s*\d+)?) (\S+ +\S+ +\S+) ('.*)", re.DOTALL)

    def view(self, image: Path, namespace: Namespace, look: Look = "content") -> View:
        read = "any" if namespace == "rock" else "norock"
        if look == "names":
            return dict.fromkeys(self._found(image, read), Item())
        list_all = ("-find", "/", "-exec", "lsdl", "--")
        done = run("xorriso", "-no_rc", "-abort_on", "FATAL", "-read_fs", read, "-indev", image, *list_all)
        view: View = {}
        # A name may hold line feeds: a line that does not look like one belongs to the line before it.
        for line in re.split(
            r"\n(?=[-edlpcbs][-rwxsStT]{9})", done.stdout.decode("utf-8", "surrogateescape").strip("\n")
        ):
            match = self._LINE.fullmatch(line)
            if match is None:
                raise JudgeError(f"xorriso says {line!r}")
            path, *rest = shlex.split(match[8])
            kind = _KINDS[match[1]]
            # An `e` is the boot catalog, whose size it forgets when it reads Joliet.
            item = Item(kind=kind, size=int(match[6]) if match[1] == "-" else None)
            if namespace == "rock":
                target = rest[-1] if kind == "link" else None
                item = replace(item, mode=_mode(match[2]), uid=int(match[4]), gid=int(match[5]), target=target)
            view[path] = item
        return view

    @staticmethod
    def _found(image: Path, read: str) -> list[str]:
        """All paths, each quoted as for a shell. With `lsdl`, as above, 200,000 of them take minutes."""
        done = run("xorriso", "-no_rc", "-abort_on", "FATAL", "-read_fs", read, "-indev", image, "-find", "/", "--")
        return shlex.split(done.stdout.decode("utf-8", "surrogateescape"))

    def shows(self, seen: Image, namespace: Namespace) -> bool:
        """Without Rock Ridge it shows Joliet where there is one."""
        return is_plain(seen) if namespace == "primary" else without_limited_form(seen, namespace)

    def expected(self, view: View, namespace: Namespace) -> View:
        """It lists no sums, and times only to the minute; link counts are its own."""
        known = blind(view if namespace == "rock" else _plain(view), "sha256", "mtime", "links", "device")
        return renamed(known, without_version) if namespace == "primary" else known

    def complaints(self, image: Path, sectors: int | None = None) -> list[str]:
        """Everything at SORRY or worse while it loads the tree, and each of the (first) sectors that it cannot read."""
        check = ("-check_media", *(() if sectors is None else (f"max_lba={sectors - 1}",)), "--")
        done = run("xorriso", "-no_rc", "-abort_on", "FATAL", "-indev", image, *check, ok=(0, 32, 5))
        said = (done.stdout + done.stderr).decode("utf-8", "replace").splitlines()
        bad = [
            line
            for line in said
            if re.match(r"(xorriso|libisofs|libburn) : (WARNING|HINT|SORRY|MISHAP|FAILURE|FATAL)", line)
        ]
        good = "+ good" if sectors is None else ("+ good", "0 untested")
        bad += [line for line in said if line.startswith("Media region") and not line.rstrip().endswith(good)]
        return bad


class Isoinfo(Judge):
    """Schilling's isoinfo, in the version of cdrkit."""

    name: ClassVar[str] = "isoinfo"
    namespaces: ClassVar[tuple[Namespace, ...]] = ("primary", "rock", "joliet")
    _LINE = re.compile(
        r"(.)(.{9}) +(\d+) +(\d+) +(\d+) +(\d+) \w{3} +\d+ +\d+ \[ *(\d+) (?:..\] |FFFF) (.*?) ?", re.DOTALL
    )

    def view(self, image: Path, namespace: Namespace, look: Look = "content") -> View:  # noqa: ARG002
        flags = {"primary": (), "rock": ("-R",), "joliet": ("-J",)}[namespace]
        done = run("isoinfo", "-l", *flags, "-i", image)
        text = done.stdout.decode("latin-1" if namespace == "joliet" else "utf-8", "surrogateescape")
        view: View = {}
        here = "/"
        # A name may hold line feeds: a line that does not look like one belongs to the line before it.
        for line in re.split(r"\n(?=[-dlpfcbs?][-rwxsStT]{9} |\nDirectory listing of |$)", text):
            if line.startswith("\nDirectory listing of "):
                here = line.removeprefix("\nDirectory listing of ")
                continue
            match = self._LINE.fullmatch(line)
            if match is None:
                if line.strip():
                    raise JudgeError(f"isoinfo says {line!r}")
                continue
            name = match[8]
            if name != "..":
                self._add(view, here.rstrip("/") or "/" if name == "." else f"{here}{name}", match, namespace)
        return view

    def _add(self, view: View, path: str, match: re.Match[str], namespace: Namespace) -> None:
        kind, size = _KINDS[match[1]], int(match[6])
        target = None
        if kind == "link":
            path, _, target = path.partition(" ->")
            target = target[1:] or None  # it shows nothing for a link to the root
        if namespace == "joliet":
            path = re.sub(r";\d+$", "", path)
        before = view.get(path)
        if before is not None and before.size is not None and kind == "file":
            size += before.size  # a line for each section of a file
        item = Item(kind=kind, size=size if kind == "file" else None)
        if namespace == "rock":
            bits, links, uid, gid = _mode(match[2]), int(match[3]), int(match[4]), int(match[5])
            item = replace(item, mode=bits, links=links, uid=uid, gid=gid, target=target)
        view[path] = item

    def expected(self, view: View, namespace: Namespace) -> View:
        """It lists no sums, times only to the day, no set-id and sticky bits; Joliet names in Latin-1, others `_`."""
        view = {path: replace(item, mode=None) if (item.mode or 0) & 0o7000 else item for path, item in view.items()}
        seen = blind(view if namespace == "rock" else _plain(view), "sha256", "mtime", "device")
        if namespace != "joliet":
            return seen
        narrow: View = {}
        for path, item in seen.items():
            short = "".join(c if c <= "\xff" else "_" * (len(c.encode("utf-16-le")) // 2) for c in path)
            before = narrow.get(short)
            sizes = (item.size, None if before is None else before.size)
            narrow[short] = replace(item, size=sum(size or 0 for size in sizes)) if all(sizes) else item
        return narrow


class Bsdtar(Judge):
    """libarchive's reader of ISO 9660."""

    name: ClassVar[str] = "bsdtar"
    namespaces: ClassVar[tuple[Namespace, ...]] = ("rock", "joliet", "primary")
    _KINDS: ClassVar = {
        tarfile.DIRTYPE: "dir", tarfile.SYMTYPE: "link", tarfile.FIFOTYPE: "fifo", tarfile.CHRTYPE: "char",
        tarfile.BLKTYPE: "block",
    }  # fmt: skip

    def view(self, image: Path, namespace: Namespace, look: Look = "content") -> View:
        options = {"rock": "rockridge", "joliet": "!rockridge", "primary": "!rockridge,!joliet"}[namespace]
        if look != "content":
            return self._listed(run("bsdtar", "--options", options, "-tvf", image).stdout.decode())
        if namespace == "rock":
            return self._archive(run("bsdtar", "--format=pax", "-cf", "-", f"@{image}").stdout)
        with tempfile.TemporaryDirectory() as scratch:
            run("bsdtar", "--options", options, "-xpf", image, "-C", scratch)
            return blind(view_of_directory(Path(scratch)), "mode", "uid", "gid", "mtime")

    def _listed(self, text: str) -> View:
        """What `-tv` says, of names that need no quoting."""
        view: View = {}
        for line in text.splitlines():
            letter, _, _, _, size, _, _, _, path = line.split(maxsplit=8)
            path, _, target = path.partition(" -> ") if letter[0] == "l" else (path, "", "")
            kind, number = _KINDS[letter[0]], int(size) if letter[0] == "-" else None
            view["/" + path.rstrip("/").removeprefix(".")] = Item(kind=kind, size=number, target=target or None)
        return view

    def _archive(self, data: bytes) -> View:
        view: View = {}
        with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as archive:
            for member in archive:
                path = "/" if member.name in (".", "./") else "/" + member.name.removeprefix("./").rstrip("/")
                if member.islnk():  # names of the same extent
                    view[path] = view["/" + member.linkname.removeprefix("./").strip("/")]
                    continue
                stream = archive.extractfile(member) if member.isreg() else None
                kind = self._KINDS.get(member.type, "file")
                view[path] = Item(
                    kind=kind,
                    size=member.size if kind == "file" else None,
                    sha256=hashlib.sha256(stream.read()).hexdigest() if stream is not None else None,
                    mode=member.mode & 0o7777,
                    uid=member.uid,
                    gid=member.gid,
                    mtime=int(member.mtime),
                    target=member.linkname if kind == "link" else None,
                )
        return view

    def expected(self, view: View, namespace: Namespace) -> View:
        """It says everything but link counts.

        It shows only the first 103 units of a Joliet name. A link of several SL entries loses the slash between them.
        """
        if namespace == "rock":
            known = blind(view, "links", "device")
            return {
                path: replace(item, target=None) if len(item.target or "") > 100 else item
                for path, item in known.items()
            }
        changed = blind(_plain(view), "mode", "uid", "gid", "mtime", "links", "device")
        if namespace == "joliet":
            shown: View = {}
            for path, item in changed.items():
                cut = "/".join(map(_first_units, path.split("/")))
                shown[cut] = Item(kind=item.kind) if cut in shown else item  # one of several
            return shown
        return renamed(changed, without_version)


def _first_units(name: str) -> str:
    return name.encode("utf-16-le")[: 2 * 103].decode("utf-16-le", "ignore")


class SevenZip(Judge):
    """7-Zip, which extracts the whole tree."""

    name: ClassVar[str] = "7z"
    namespaces: ClassVar[tuple[Namespace, ...]] = ("joliet", "primary", "udf")

    def shows(self, seen: Image, namespace: Namespace) -> bool:
        """It refuses a UDF volume that holds anything but files and directories."""
        if namespace == "primary":
            return is_plain(seen)
        volume: Volume | None = getattr(seen, namespace)
        kinds = {node.kind for node in volume.tree.values()} if volume is not None else set()
        return volume is not None and (namespace != "udf" or kinds <= {"file", "dir"})

    def view(self, image: Path, namespace: Namespace, look: Look = "content") -> View:
        kind = "Udf" if namespace == "udf" else "Iso"
        if look != "content":
            return self._listed(run("7z", "l", "-slt", f"-t{kind}", image).stdout.decode())
        with tempfile.TemporaryDirectory() as scratch:
            run("7z", "x", "-y", f"-t{kind}", f"-o{scratch}", image)
            shutil.rmtree(Path(scratch) / "[BOOT]", ignore_errors=True)  # boot images under names of its own
            return blind(view_of_directory(Path(scratch)), "mode", "uid", "gid", "mtime")

    def _listed(self, text: str) -> View:
        view: View = {"/": Item(kind="dir")}
        for block in text.partition("\n----------\n")[2].split("\n\n"):
            facts = dict(line.partition(" = ")[::2] for line in block.splitlines())
            path = facts.get("Path", "[BOOT]")
            if not path.startswith("[BOOT]"):  # boot images under names of its own
                size = int(facts["Size"]) if facts["Folder"] == "-" else None
                view[f"/{path}"] = Item(kind="dir" if size is None else "file", size=size)
        return view

    def expected(self, view: View, namespace: Namespace) -> View:
        """It prefers Joliet to Rock Ridge, and drops a dot that ends a name."""
        plain = _plain(blind(view, "mode", "uid", "gid", "mtime", "links", "device", "target"))
        if namespace == "primary":
            return renamed(plain, without_version)
        return plain if namespace == "udf" else renamed(plain, lambda path: path.removesuffix("."))

    def complaints(self, image: Path) -> list[str]:
        """What `7z t` says of an image, beyond that everything is ok."""
        done = run("7z", "t", image, ok=(0, 1, 2))
        said = (done.stdout + done.stderr).decode("utf-8", "replace").splitlines()
        return [
            line for line in said if re.match(r"(WARNING|ERROR|Warnings|Errors|Headers Error|Unexpected end)", line)
        ]
