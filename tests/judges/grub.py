"""GRUB as a judge, and all judges that show trees."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tests.judges.compare import Item, View, difference, view_of
from tests.judges.external import (
    Bsdtar,
    Isoinfo,
    Judge,
    Look,
    Namespace,
    Pycdlib,
    SevenZip,
    Xorriso,
    run,
    without_limited_form,
    without_version,
)

if TYPE_CHECKING:
    from tests.judges.reader.image import Image
    from tests.judges.reader.model import Volume


class Grub(Judge):
    """GRUB's file system drivers. It chooses the namespace: UDF, else Rock Ridge, else Joliet, else plain names."""

    name: ClassVar[str] = "grub-fstest"
    namespaces: ClassVar[tuple[Namespace, ...]] = ("udf", "rock", "joliet", "primary")
    _LINE = re.compile(rb"(\d+|DIR) +(\d{14}) (.*)", re.DOTALL)

    def _names(self, image: Path, folders: list[str]) -> View:
        """The names in some directories. With `-l` it would look for each name from a directory's beginning on."""
        view: View = {"/": Item(kind="dir")}
        for folder in folders:
            here = folder.rstrip("/") + "/"
            for word in run("grub-fstest", image, "ls", "--", f"(loop0){here}").stdout.decode().split():
                view[here + word.rstrip("/")] = Item(kind="dir" if word.endswith("/") else "file")
        return view

    def view(self, image: Path, _namespace: Namespace, look: Look = "content") -> View:  # noqa: ARG002
        view: View = {"/": Item(kind="dir")}
        pending = ["/"]
        while pending:
            here = pending.pop()
            done = run("grub-fstest", image, "ls", "--", "-l", "-a", f"(loop0){here}")
            for line in re.split(rb"\n(?=(?:\d+|DIR) +\d{14} )", done.stdout.removesuffix(b"\n\n").removesuffix(b"\n")):
                match = self._LINE.fullmatch(line)
                if match is None or match[3] in (b"./", b"../"):
                    continue
                name = match[3].decode("utf-8", "surrogateescape")
                if match[1] == b"DIR":
                    path = f"{here.rstrip('/')}/{name.rstrip('/')}"
                    view[path] = Item(kind="dir")
                    pending.append(path + "/")
                else:
                    view[f"{here.rstrip('/')}/{name}"] = Item(kind="file", size=int(match[1]))
        return view

    def shows(self, seen: Image, namespace: Namespace) -> bool:
        """It chooses the namespace itself, by this order."""
        return next((name for name in self.namespaces if without_limited_form(seen, name)), "") == namespace

    def expected(self, view: View, namespace: Namespace) -> View:
        """Special files are empty files to it. It shows links as what they lead to: see `disagreements`."""
        return {
            _shown(path, namespace): Item(kind="dir") if item.kind == "dir" else Item(kind="file", size=item.size or 0)
            for path, item in view.items()
        }

    def disagreements(self, image: Path, seen: Image, look: Look = "content") -> list[str]:
        """Links are left out: GRUB shows what they lead to, and nothing where that is not on the image."""
        namespace = next((name for name in self.namespaces if self.shows(seen, name)), None)
        if namespace is None:
            return []
        view = view_of(getattr(seen, namespace), content=False)
        links = {path for path, item in view.items() if item.kind == "link"}
        # Each directory costs a process: of many, those in which nothing should be are left out.
        folders = sorted({path.rpartition("/")[0] or "/" for path in view})
        said = self._names(image, folders) if look == "names" else self.view(image, namespace)
        found = {path: item for path, item in said.items() if path not in links}
        rest = {path: item for path, item in view.items() if path not in links}
        names = ("the reader", self.name)
        others = self._contents(image, getattr(seen, namespace), namespace) if look == "content" else []
        return difference(self.expected(rest, namespace), found, names) + others

    def _contents(self, image: Path, volume: Volume, namespace: Namespace) -> list[str]:
        """Complaints about the files that the reader saw, written to a directory of the host."""
        with tempfile.TemporaryDirectory() as scratch:
            for path, node in volume.tree.items():
                place = Path(scratch + _shown(path, namespace))
                if node.kind == "dir":
                    place.mkdir(exist_ok=True)
                elif node.kind == "file":
                    place.write_bytes(node.content.data() if node.content is not None else b"")
            return self.complaints(image, Path(scratch))

    def complaints(self, image: Path, directory: Path) -> list[str]:
        """Differences in content: GRUB compares every file below a host directory with the image's."""
        done = run("grub-fstest", image, "cmp", "(loop0)/", directory, ok=(0, 1))
        return [line for line in (done.stdout + done.stderr).decode("utf-8", "replace").splitlines() if line.strip()]


def _shown(path: str, namespace: Namespace) -> str:
    """A path as GRUB shows it: plain identifiers in lower case."""
    return without_version(path).lower() if namespace == "primary" else path


TREE_JUDGES: tuple[Judge, ...] = (Pycdlib(), Xorriso(), Isoinfo(), Bsdtar(), SevenZip(), Grub())
