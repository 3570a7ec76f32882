"""Results as JUnit XML: a suite for each recipe, a case for each guest, bus and namespace."""

from __future__ import annotations

import re
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from qemu_viso.verify.report import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qemu_viso.verify.report import Report

# XML 1.0, 2.2: what cannot be in a document, not even as a reference.
_FORBIDDEN = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(reports: Sequence[Report]) -> str:
    """The document, as CI servers read it: differences are failures, guests that failed are errors."""
    root = ET.Element("testsuites", _counts(reports))
    for recipe, group in groupby(sorted(reports, key=attrgetter("recipe")), key=attrgetter("recipe")):
        members = list(group)
        suite = ET.SubElement(root, "testsuite", {"name": _text(recipe), **_counts(members)})
        for report in members:
            _case(suite, report)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _counts(reports: Sequence[Report]) -> dict[str, str]:
    outcomes = [report.outcome for report in reports]
    return {
        "tests": str(len(reports)),
        "failures": str(outcomes.count("different")),
        "errors": str(outcomes.count("failed")),
        "skipped": str(outcomes.count("skipped")),
        "time": f"{sum(report.seconds for report in reports):.3f}",
    }


def _case(suite: ET.Element, report: Report) -> None:
    name = _text(f"{report.bus} {report.namespace}")
    given = {"classname": _text(report.guest), "name": name, "time": f"{report.seconds:.3f}"}
    case = ET.SubElement(suite, "testcase", given)
    tag = {"different": "failure", "failed": "error", "skipped": "skipped"}.get(report.outcome)
    if tag is not None:
        inner = ET.SubElement(case, tag, {"message": _text(report.result)})
        inner.text = _text("\n".join(part for part in (report.reason, report.table(), report.folder) if part))
    if report.kernel:
        ET.SubElement(case, "system-out").text = _text(f"{report.kernel}\n{report.summary()}")


def _text(text: str) -> str:
    """Text that XML can hold: everything else escaped as Python does."""
    return _FORBIDDEN.sub(lambda match: printable(match[0]), text)
