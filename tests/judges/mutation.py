"""Images with one thing made wrong, and the proof that every check of the strict reader was seen to fail."""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.judges.reader import model
from tests.judges.reader.descriptors import read_descriptors
from tests.judges.reader.directory import read_tree
from tests.judges.reader.image import inspect
from tests.judges.reader.iso9660 import IsoRules
from tests.judges.reader.joliet import JolietRules
from tests.judges.reader.model import SECTOR, Source
from tests.judges.reader.udf_fields import crc16

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pytest

    from tests.judges.reader.directory import Record
    from tests.judges.reader.image import Image

READER = Path(model.__file__).parent


def both(value: int, width: int = 4) -> bytes:
    """A number in both byte orders."""
    return value.to_bytes(width, "little") + value.to_bytes(width, "big")


class Editor:
    """An image's bytes, and where things are in it.

    Attributes:
        records: by hierarchy and path the directory record; "/dir/." is a directory's own, "/dir/.." its parent's.
    """

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)
        self.records: dict[tuple[str, str], Record] = {}
        source = Source(lambda offset, length: data[offset : offset + length], len(data))
        found = read_descriptors(source)
        for name, descriptor, rules in (
            ("primary", found.primary, IsoRules()),
            ("joliet", found.joliet, JolietRules()),
        ):
            if descriptor is None:
                continue
            for directory in read_tree(source, descriptor, rules):
                folder = directory.path.rstrip("/")
                for dots, record in ((".", directory.dot), ("..", directory.dotdot)):
                    if record is not None:
                        self.records[name, f"{folder}/{dots}"] = record
                for entry in directory.entries:
                    self.records[name, f"{folder}/{rules.name(entry.identifier)}"] = entry.last
        self.primary = 16 * SECTOR
        self.joliet = 0 if found.joliet is None else found.joliet.sector * SECTOR
        self.terminator = found.terminator * SECTOR
        self.sectors = len(data) // SECTOR
        self.path_tables = found.primary.path_tables if found.primary is not None else (0, 0, 0, 0)

    def put(self, at: int, *parts: bytes | int) -> None:
        """Overwrite bytes; a number is one byte."""
        raw = b"".join(bytes([part]) if isinstance(part, int) else part for part in parts)
        self.data[at : at + len(raw)] = raw

    def flip(self, at: int, mask: int = 1) -> None:
        self.data[at] ^= mask

    def record(self, path: str, hierarchy: str = "primary") -> int:
        return self.records[hierarchy, path].at

    def use(self, path: str, signature: str, nth: int = 0) -> int:
        """The place of a System Use Entry in a record, or in its first continuation area."""
        record = self.records["primary", path]
        at, stop = record.system_use_at, record.at + record.length
        more = 0, 0
        for _ in range(2):
            while stop - at >= 4 and self.data[at]:
                if self.data[at : at + 2] == signature.encode():
                    if not nth:
                        return at
                    nth -= 1
                if self.data[at : at + 2] == b"CE":
                    block, offset, length = (
                        int.from_bytes(self.data[at + i : at + i + 4], "little") for i in (4, 12, 20)
                    )
                    more = block * SECTOR + offset, block * SECTOR + offset + length
                at += self.data[at + 2]
            at, stop = more
        raise KeyError(f"{path} has no {signature}")

    def retag(self, at: int) -> None:
        """Make a UDF descriptor's checksums right again."""
        length = int.from_bytes(self.data[at + 10 : at + 12], "little")
        self.put(at + 8, crc16(bytes(self.data[at + 16 : at + 16 + length])).to_bytes(2, "little"))
        self.data[at + 4] = 0
        self.data[at + 4] = sum(self.data[at : at + 16]) & 0xFF

    def inspect(self, level: int = 3) -> Image:
        data = bytes(self.data)
        return inspect(lambda offset, length: data[offset : offset + length], len(data), level=level)


@dataclass(frozen=True, slots=True)
class Mutation:
    """A change to a good image, and the clause and words of the finding that it must cause."""

    base: str
    clause: str
    words: str
    change: Callable[[Editor], None]
    level: int = 3

    def __str__(self) -> str:
        return f"{self.clause}: {self.words}"

    def findings(self, data: bytes) -> tuple[model.Finding, ...]:
        editor = Editor(data)
        self.change(editor)
        return editor.inspect(self.level).findings


def told(mutation: Mutation, findings: Iterable[model.Finding]) -> bool:
    return any(item.clause == mutation.clause and mutation.words in f"{item.what} {item.where}" for item in findings)


Site = tuple[str, int]


def sites(*modules: str) -> dict[Site, str]:
    """Every place in the reader's modules that tells a finding, as module and line, with its text."""
    found: dict[Site, str] = {}
    for module in modules:
        text = (READER / f"{module}.py").read_text("utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and _is_add(node):
                found[module, node.lineno] = ast.unparse(node)
            elif isinstance(node, ast.Yield) and isinstance(node.value, ast.Tuple) and "def problems" in text:
                found[module, node.lineno] = ast.unparse(node.value)
    return found


def _is_add(node: ast.Call) -> bool:
    """`add(clause, what, ...)`: of a set it has one argument."""
    function = node.func
    name = (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )
    return name == "add" and len(node.args) >= 2


class Seen:
    """Which of the reader's places told a finding, while `watch` is in force."""

    def __init__(self) -> None:
        self.sites: set[Site] = set()
        self.said: set[tuple[str, str]] = set()

    def watch(self, patch: pytest.MonkeyPatch) -> None:
        add = model.Findings.add

        def spy(findings: model.Findings, clause: str, what: str, where: str) -> None:
            frame = sys._getframe(1)
            self.said.add((clause, what))
            for _ in range(2):  # a helper that adds the clause's prefix is called from the place itself
                self.sites.add((Path(frame.f_code.co_filename).stem, frame.f_lineno))
                assert frame.f_back is not None
                frame = frame.f_back
            add(findings, clause, what, where)

        patch.setattr(model.Findings, "add", spy)

    def unseen(self, known: dict[Site, str]) -> dict[Site, str]:
        """The places that told nothing; a rule that yields its finding is known by its words."""
        return {site: text for site, text in known.items() if site not in self.sites and not self._yielded(text)}

    def _yielded(self, text: str) -> bool:
        value = ast.parse(text, mode="eval").body
        if not isinstance(value, ast.Tuple):
            return False
        clause, what = value.elts
        pattern = re.compile(_pattern(what), re.DOTALL)
        return any(ast.literal_eval(clause) == said and pattern.search(words) for said, words in self.said)


def _pattern(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return re.escape(str(node.value))
    assert isinstance(node, ast.JoinedStr)
    return "".join(re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".*" for part in node.values)
