"""The tables of `docs/virtualbox.md`, from the rules of the portability check and from the conformance cases.

`python -m tests.viso.virtualbox_tables` writes them anew, each after its heading.
"""

from __future__ import annotations

from pathlib import Path

from qemu_viso.tree import portable as tree
from qemu_viso.viso.options import Version
from qemu_viso.viso.portable import rules
from tests.viso.recipes import conformance_cases

PAGE = Path(__file__).parent.parent.parent / "docs" / "virtualbox.md"

# Cases whose own words lean on another case.
REWORDED = {
    "long-name-200": "Rock Ridge keeps the full name; Joliet shortens it to 110 units, uniquely, keeping the extension",
    "rr-spill-R-102": "correct continuation areas: full names",
    "rr-spill-R-first": "correct continuation areas: full names",
    "rr-spill-first-106": "correct continuation areas: full names",
    "symlink-in-absdir": "symbolic links in a directory are links in the image",
}


def words_table() -> list[str]:
    """What `check --portable` finds: spellings of which the same is said share a row."""
    rows: dict[tuple[str, str], list[str]] = {}
    for rule in rules():
        by_reason: dict[str, list[Version]] = {}
        for version, reason in sorted(rule.reasons.items()):
            by_reason.setdefault(reason, []).append(version)
        for reason, versions in by_reason.items():
            named = "all" if len(versions) == len(Version) else ", ".join(map(str, versions))
            rows.setdefault((named, reason), []).append(f"`{rule.what}`" if rule.what[0] == "-" else rule.what)
    body = [f"| {', '.join(whats)} | {versions} | {reason} |" for (versions, reason), whats in rows.items()]
    return ["| In the recipe | VirtualBox | What it does |", "|---|---|---|", *body]


def sources_table() -> list[str]:
    """What `check --portable` finds in the sources."""
    lines = ["| Among the sources | VirtualBox | What it does |", "|---|---|---|"]
    for rule in tree.rules():
        for reason in dict.fromkeys(rule.reasons.values()):
            versions = [version for version in Version if rule.reasons.get(version) == reason]
            named = "all" if len(versions) == len(Version) else ", ".join(map(str, versions))
            lines.append(f"| {rule.what} | {named} | {reason} |")
    return lines


def images_table() -> list[str]:
    """The measured cases in which the image is not VirtualBox's."""
    lines = ["| Case | VirtualBox 6.1.36 | qemu-viso |", "|---|---|---|"]
    for case in conformance_cases():
        if case["verdict"] == "beyond":
            said = case.get("virtualbox") or "another image"
            there = f"`{said}`" if said.startswith("VERR_") else said
            lines.append(f"| {case['name']} | {there} | {REWORDED.get(case['name'], case['want'])} |")
    return lines


TABLES = {"## Words and steps": words_table, "## Sources": sources_table, "## Images": images_table}


def page() -> str:
    """The page with its tables as they must be."""
    lines: list[str] = []
    heading = ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            if heading in TABLES:
                lines += [*TABLES[heading](), ""]
            heading = line
        if heading not in TABLES or not line.startswith("|"):
            lines.append(line)
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
