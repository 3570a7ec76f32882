"""Results as one page for people: what each guest saw, how long it took, and all that is known of failures.

The page needs nothing but itself: no script, no network. Its own security policy forbids both, should a name ever get
past the escaping.
"""

from __future__ import annotations

import base64
import os
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from qemu_viso.guest.view import NAMESPACES
from qemu_viso.qemu.console import plain
from qemu_viso.verify.keep import CONSOLE_FILE, REPEAT_FILE, SCREEN_FILE
from qemu_viso.verify.report import SHOWN, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from qemu_viso.verify.diff import Difference
    from qemu_viso.verify.report import Outcome, Report

CONSOLE_BYTES = 64 << 10
"""Of each console the last so many are shown."""
SIGNS: Mapping[Outcome, str] = {"passed": "✓", "different": "≠", "failed": "✗", "skipped": "–"}

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_STYLE = """
:root { color-scheme: light dark; --ink: #1a1c1f; --paper: #fdfdfc; --faint: #5c636b; --line: #cfd4d9; --shade: #f2f3f1;
  --passed: #1b6e33; --different: #8a4b00; --failed: #a8161b; --skipped: #5c636b; --link: #0b57b0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ea; --paper: #16181b; --faint: #a3abb3; --line: #3a4047;
  --shade: #1f2327; --passed: #6fd08c; --different: #f0b45c; --failed: #ff8a85; --skipped: #a3abb3; --link: #8ab8ff; } }
body { margin: 0 auto; max-width: 78rem; padding: 1.5rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; } h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
a { color: var(--link); } a:focus-visible, .wide:focus-visible, summary:focus-visible { outline: 3px solid var(--link);
  outline-offset: 2px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; }
caption { text-align: left; color: var(--faint); padding: .25rem 0; }
th, td { border: 1px solid var(--line); padding: .3rem .6rem; text-align: left; vertical-align: top; }
thead th { background: var(--shade); } td.seconds { text-align: right; font-variant-numeric: tabular-nums; }
td.name, tbody th { white-space: nowrap; }
.passed { color: var(--passed); } .different { color: var(--different); } .failed { color: var(--failed); }
.skipped { color: var(--skipped); } .passed, .different, .failed, .skipped { font-weight: 600; }
small { color: var(--faint); font-weight: 400; white-space: nowrap; }
code, pre { font: .85rem/1.4 ui-monospace, monospace; } td code { overflow-wrap: anywhere; }
pre { background: var(--shade); border: 1px solid var(--line); padding: .75rem; overflow-x: auto; max-height: 30rem; }
section.failure { border-top: 2px solid var(--line); margin-top: 2.5rem; }
img { max-width: 100%; border: 1px solid var(--line); }
summary { cursor: pointer; }
@media print { pre { max-height: none; } details > * { display: block; } }
"""


def html(reports: Sequence[Report]) -> str:
    """The page."""
    counts = {outcome: sum(report.outcome == outcome for report in reports) for outcome in SIGNS}
    total = sum(report.seconds for report in reports)
    verdict = "All as promised" if counts["different"] + counts["failed"] == 0 else "Not all as promised"
    if counts["passed"] == len(reports) - counts["skipped"] == 0:
        verdict = "Nothing was looked at"
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{verdict}: what guests saw</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>",
        f"<h1>{verdict}</h1>",
        "<p>"
        + ", ".join(f"{_outcome(outcome)} {counts[outcome]}" for outcome in SIGNS)
        + f"; {total:.1f} s of guests</p>",
        *_matrix(reports),
        *_list(reports),
        *_failures(reports),
        "</main>\n</body>\n</html>\n",
    ]
    return "\n".join(parts)


def _text(text: str) -> str:
    """Any text as one line of a page: markup, control characters and undecodable bytes escaped."""
    return escape(printable(text))


def _lines(text: str) -> str:
    return "\n".join(_text(line) for line in text.split("\n"))


def _outcome(outcome: Outcome) -> str:
    return f'<span class="{outcome}"><span aria-hidden="true">{SIGNS[outcome]}</span> {outcome}</span>'


def _wide(label: str) -> str:
    return f'<div class="wide" role="region" tabindex="0" aria-label="{_text(label)}">'


def _matrix(reports: Sequence[Report]) -> Iterator[str]:
    """Guests and buses down, recipes and namespaces across."""
    recipes = dict.fromkeys(report.recipe for report in reports)
    seen = {(report.recipe, report.namespace) for report in reports}
    columns = [(recipe, name) for recipe in recipes for name in NAMESPACES if (recipe, name) in seen]
    cells = {(each.guest, each.bus, each.recipe, each.namespace): each for each in reports}
    yield "<h2>What each guest saw</h2>" + _wide("What each guest saw")
    yield "<table><caption>A sign for each guest, bus, recipe and namespace, and the seconds that it took</caption>"
    heads = [f'<th scope="col">{_text(os.path.basename(recipe))}<br>{_text(name)}</th>' for recipe, name in columns]
    yield f'<thead><tr><th scope="col">Guest</th><th scope="col">Bus</th>{"".join(heads)}</tr></thead><tbody>'
    for guest, bus in dict.fromkeys((report.guest, report.bus) for report in reports):
        row = [_cell(cells.get((guest, bus, *column))) for column in columns]
        yield f'<tr><th scope="row">{_text(guest)}</th><th scope="row">{_text(bus)}</th>{"".join(row)}</tr>'
    yield "</tbody></table></div>"


def _cell(report: Report | None) -> str:
    if report is None:
        return "<td></td>"
    text = _outcome(report.outcome)
    if report.folder:
        text = f'<a href="#{_anchor(report)}">{text}</a>'
    seconds = "" if report.outcome == "skipped" else f"<br><small>{report.seconds:.1f} s</small>"
    return f"<td>{text}{seconds}</td>"


def _anchor(report: Report) -> str:
    return escape(f"failure-{os.path.basename(report.folder)}")


def _list(reports: Sequence[Report]) -> Iterator[str]:
    yield "<h2>Results</h2>" + _wide("Results") + "<table><caption>Each result in words</caption><thead><tr>"
    heads = ("Recipe", "Guest", "Kernel", "Accelerator", "Bus", "Namespace", "Result", "Seconds")
    yield "".join(f'<th scope="col">{head}</th>' for head in heads) + "</tr></thead><tbody>"
    for each in reports:
        words = (each.guest, each.kernel, each.accelerator, each.bus, each.namespace)
        row = f"<td>{_text(each.recipe)}</td>" + "".join(f'<td class="name">{_text(word)}</td>' for word in words)
        result = (
            f'<td><span class="{each.outcome}" aria-hidden="true">{SIGNS[each.outcome]}</span> {_text(each.result)}'
        )
        yield f'<tr>{row}{result}</td><td class="seconds">{each.seconds:.1f}</td></tr>'
    yield "</tbody></table></div>"


def _failures(reports: Sequence[Report]) -> Iterator[str]:
    """A section for each failure folder, with what lies in it."""
    folders: dict[str, list[Report]] = {}
    for report in reports:
        if report.outcome in ("different", "failed"):
            folders.setdefault(report.folder, []).append(report)
    for folder, members in folders.items():
        first = members[0]
        title = f"{os.path.basename(first.recipe)} · {first.guest} · {first.bus}"
        yield f'<section class="failure" id="{_anchor(first)}"><h2>{_text(title)}</h2>'
        told = ""
        for report in members:
            result = _text(report.result.removeprefix(f"{report.outcome}: "))
            yield f"<h3>{_outcome(report.outcome)} {_text(report.namespace)}: {result}</h3>"
            if "\n" in report.reason and report.reason != told:
                yield f"<pre>{_lines(report.reason)}</pre>"
            told = report.reason
            yield from _differences(report.differences, report.namespace)
        yield from _evidence(Path(folder), title)
        yield "</section>"


def _differences(differences: Sequence[Difference], namespace: str) -> Iterator[str]:
    if not differences:
        return
    yield _wide(f"Differences in {namespace}") + "<table><thead><tr>"
    heads = ("Path", "Field", "Expected", "Seen", "Bytes of the image")
    yield "".join(f'<th scope="col">{head}</th>' for head in heads) + "</tr></thead><tbody>"
    for each in differences[:SHOWN]:
        words = (each.path or "(volume)", each.field, each.expected, each.seen)
        place = "<br>".join(map(_text, each.where())) or "not known"
        yield f"<tr>{''.join(f'<td><code>{_text(word)}</code></td>' for word in words)}<td>{place}</td></tr>"
    yield "</tbody></table></div>"
    if len(differences) > SHOWN:
        yield f"<p>… and {len(differences) - SHOWN} more.</p>"


def _evidence(folder: Path, title: str) -> Iterator[str]:
    """What was kept of the machine."""
    repeat, screen, console = (_content(folder / name) for name in (REPEAT_FILE, SCREEN_FILE, CONSOLE_FILE))
    if repeat:
        line = repeat.decode(errors="surrogateescape").splitlines()[-1].removeprefix("exec ")
        yield f"<p>Once more:</p><pre>{_text(line)}</pre>"
    if folder.name:
        yield f"<p>Kept in <code>{_text(str(folder))}</code>.</p>"
    if screen:
        data = base64.b64encode(screen).decode()
        yield f'<h3>Screen</h3><img alt="The screen of {_text(title)}" src="data:image/png;base64,{data}">'
    if console:
        yield "<details open><summary>Console</summary>"
        yield f"<pre>{_lines(plain(console[-CONSOLE_BYTES:]))}</pre></details>"


def _content(path: Path) -> bytes:
    """What is in a file of a failure folder; nothing if it is not there."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
