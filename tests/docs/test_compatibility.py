"""The page of what was seen to work: made of a report, and of nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from qemu_viso.verify.diff import Difference
from qemu_viso.verify.report import Report

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / "docs"


def page(report: Path) -> str:
    command = [sys.executable, str(ROOT / "scripts" / "compatibility"), str(report)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_page_is_what_the_report_says() -> None:
    assert page(DOCS / "compatibility.json") == (DOCS / "compatibility.md").read_text(encoding="utf-8")


def test_every_result_has_its_words(tmp_path: Path) -> None:
    wrong = (Difference("/a", "mode", "1", "2"),)
    reports = [
        Report("r", "a", "scsi-cd", "rock", 10, (), 3.0, kernel="x86_64 6.1", accelerator="kvm"),
        Report("r", "a", "scsi-cd", "udf", 11, (), 0.5, kernel="x86_64 6.1", accelerator="kvm"),
        Report("r", "a", "virtio-blk", "rock", 10, wrong, 1.0, kernel="x86_64 6.1", accelerator="tcg"),
        Report("r", "b", "scsi-cd", "rock", 0, (), 0.0, reason="no | QEMU\nmore", status=69, skipped=True),
        Report("r", "b", "scsi-cd", "udf", 0, (), 0.0, reason="no | QEMU\nmore", status=69, skipped=True),
    ]
    (tmp_path / "r.json").write_text(json.dumps({"reports": [report.to_json() for report in reports]}))
    rows = [line for line in page(tmp_path / "r.json").splitlines() if line.startswith(("| a", "| b"))]
    assert rows == [
        "| a | x86_64 6.1 | kvm | scsi-cd | rock, udf | all 21 entries as promised | 3.5 |",
        "| a | x86_64 6.1 | tcg | virtio-blk | rock | rock: 9 of 10 entries as promised | 1.0 |",
        "| b |  |  | scsi-cd | rock, udf | skipped: no \\| QEMU | 0.0 |",
    ]
