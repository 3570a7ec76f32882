"""Verdicts as values, and as text for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from qemu_viso.guest.view import Namespace
    from qemu_viso.verify.diff import Difference

NEWLINE = "\n"
SHOWN = 50
"""Differences that a text report spells out; the JSON report has all of them."""


Outcome = Literal["passed", "different", "failed", "skipped"]


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
        seconds: from the start of the machine, or from the end of its work before, to the end of the comparison.
        kernel: the guest's architecture and kernel release, as it told them; empty if it did not.
        sampled: how many files were too large to be read as a whole; of these, pieces were compared.
        reason: why there is no verdict: what the guest failed of, or why it was not asked.
        status: the exit status that fits the reason.
        skipped: whether it was not asked at all.
        folder: where what is known of the failure was kept; empty if nothing was.
        accelerator: what executed the guest's instructions, as QEMU calls it; empty if no machine was started.
    """

    recipe: str
    guest: str
    bus: str
    namespace: Namespace
    expected: int
    differences: tuple[Difference, ...]
    seconds: float
    kernel: str = ""
    sampled: int = 0
    reason: str = ""
    status: int = 0
    skipped: bool = False
    folder: str = ""
    accelerator: str = ""

    @property
    def outcome(self) -> Outcome:
        """One word."""
        if self.reason:
            return "skipped" if self.skipped else "failed"
        return "different" if self.differences else "passed"

    @property
    def as_expected(self) -> int:
        """How many of the expected entries are right."""
        wrong = {difference.path for difference in self.differences if difference.expected != "absent"}
        wrong.discard("")
        return self.expected - len(wrong)

    @property
    def result(self) -> str:
        """What came of it, in words, in one line."""
        if self.reason:
            return f"{self.outcome}: {printable(self.reason.partition(NEWLINE)[0])}"
        text = f"{self.as_expected} of {self.expected} entries as expected"
        extra = sum(difference.expected == "absent" for difference in self.differences)
        if extra:
            text += f", {extra} too many"
        if any(not difference.path for difference in self.differences):
            text += ", wrong label"
        if self.sampled:
            text += f", {self.sampled} of them in samples"
        return text

    def summary(self) -> str:
        """One line."""
        return f"{self.guest} · {self.bus} · {self.namespace}: {self.result} ({self.seconds:.1f} s)"

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
        for at in range(len(rows) - 1, 0, -1):
            lines[at + 1 : at + 1] = [f"    {printable(line)}" for line in self.differences[at - 1].where()]
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
            "outcome": self.outcome,
            "reason": self.reason,
            "kernel": self.kernel,
            "accelerator": self.accelerator,
            "sampled": self.sampled,
            "folder": self.folder,
            "differences": [difference.to_json() for difference in self.differences],
        }


def printable(text: str) -> str:
    """A name as one line of a terminal may show it: control characters and undecodable bytes escaped."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode() for char in text
    )
