"""The table of what each guest saw, row by row as the guests finish."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from qemu_viso.verify.report import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qemu_viso.verify.plan import Boot
    from qemu_viso.verify.report import Report

Row = tuple[str, str, str, str]


class Table:
    """Prints rows whose columns are aligned from the first one on, because what will come is known.

    Args:
        boots: what will be reported.
        reports: what has been reported already.
        show: whether anything is printed at all.
    """

    def __init__(self, boots: Sequence[Boot], reports: Sequence[Report], *, show: bool = True) -> None:
        self._show = show
        rows = [
            _row(look.opened.recipe.path, boot.guest.name, boot.bus, namespace)
            for boot in boots
            for look in boot.looks
            for namespace in look.namespaces
        ]
        rows += [_row(each.recipe, each.guest, each.bus, each.namespace) for each in reports]
        self._recipes = len({row[0] for row in rows}) > 1
        self._widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def add(self, reports: Sequence[Report]) -> None:
        """Print some rows, and below each what was not as promised."""
        for report in reports if self._show else ():
            row = _row(report.recipe, report.guest, report.bus, report.namespace)
            cells = [cell.ljust(width) for cell, width in zip(row, self._widths, strict=True)]
            seconds = "" if report.outcome == "skipped" else f" ({report.seconds:.1f} s)"
            print(f"{'  '.join(cells if self._recipes else cells[1:])}  {report.result}{seconds}", flush=True)
            if report.outcome == "failed":
                _indented("\n".join(report.reason.splitlines()[1:]))
            if report.differences:
                _indented(report.table())
        folder = next((report.folder for report in reports if report.folder), None)
        if self._show and folder is not None:
            print(f"  all that is known of it: {printable(folder)}", flush=True)


def _row(recipe: str, guest: str, bus: str, namespace: str) -> Row:
    return printable(os.path.basename(recipe)), guest, bus, namespace


def _indented(text: str) -> None:
    for line in text.splitlines():
        print(f"  {printable(line)}", flush=True)
