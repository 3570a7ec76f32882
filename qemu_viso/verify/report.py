"""Verdicts as values, and as text for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qemu_viso.guest.view import Namespace
    from qemu_viso.verify.diff import Difference

SHOWN = 50
"""Differences that a text report spells out; the JSON report has all of them."""


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one verification.

    Attributes:
        recipe: path of the recipe.
        guest: name of the guest.
        bus: how the medium was attached.
        namespace: how the guest mounted it.
        expected: how many entries the recipe promises, the root included.
        differences: all that is not as promised.
        seconds: from the start of the machine to the end of the comparison.
    """

    recipe: str
    guest: str
    bus: str
    namespace: Namespace
    expected: int
    differences: tuple[Difference, ...]
    seconds: float

    @property
    def as_expected(self) -> int:
        """How many of the expected entries are right."""
        wrong = {difference.path for difference in self.differences if difference.expected != "absent"}
        wrong.discard("")
        return self.expected - len(wrong)

    def summary(self) -> str:
        """One line."""
        text = (
            f"{self.guest} · {self.bus} · {self.namespace}: {self.as_expected} of {self.expected} entries as expected"
        )
        extra = sum(difference.expected == "absent" for difference in self.differences)
        if extra:
            text += f", {extra} too many"
        if any(not difference.path for difference in self.differences):
            text += ", wrong label"
        return f"{text} ({self.seconds:.1f} s)"

    def table(self) -> str:
        """The differences, a line each, in columns."""
        rows = [
            tuple(
                map(printable, (difference.path or "(volume)", difference.field, difference.expected, difference.seen))
            )
            for difference in self.differences[:SHOWN]
        ]
        if not rows:
            return ""
        rows.insert(0, ("path", "field", "expected", "seen"))
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = [
            "  ".join((*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3])) for row in rows
        ]
        if len(self.differences) > SHOWN:
            lines.append(f"… and {len(self.differences) - SHOWN} more")
        return "\n".join(lines)

    def to_json(self) -> dict[str, object]:
        """For `--json`; schema 1."""
        return {
            "recipe": self.recipe,
            "guest": self.guest,
            "bus": self.bus,
            "namespace": self.namespace,
            "expected": self.expected,
            "as_expected": self.as_expected,
            "seconds": round(self.seconds, 3),
            "differences": [
                {
                    "path": difference.path,
                    "field": difference.field,
                    "expected": difference.expected,
                    "seen": difference.seen,
                }
                for difference in self.differences
            ],
        }


def printable(text: str) -> str:
    """A name as one line of a terminal may show it: control characters and undecodable bytes escaped."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode() for char in text
    )
