"""Reports for machines and for people; what a guest may name a file does not get into their syntax."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import zlib
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from qemu_viso.qemu.remains import Remains
from qemu_viso.verify.diff import Difference
from qemu_viso.verify.html import html
from qemu_viso.verify.junit import junit
from qemu_viso.verify.keep import Failure, keep_failure
from qemu_viso.verify.place import Place
from qemu_viso.verify.report import SHOWN, Report

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HOSTILE = "/<script>document.title='owned'</script>\x1b[31m\0\ud800x\udcff\u202e\uffff]]>&amp;\"'"
PLACE = Place(0x8000, 7, ((0x8000, 7, "ISO volume descriptor"),))


def png() -> bytes:
    """One grey pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    head = chunk(b"IHDR", b"\0\0\0\1\0\0\0\1\x08\0\0\0\0")
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0\x80")) + chunk(b"IEND", b"")


@pytest.fixture
def reports(tmp_path: Path) -> list[Report]:
    """One of each outcome, with names as hostile as they come."""
    console = b"<b>booting</b>\r\n\x1b[31mred\x1b[0m \xff</pre><script>document.title='owned'</script>"
    remains = Remains((("qemu", HOSTILE.replace("\0", "")),), (), console, (), png())
    failure = Failure("x", "it failed", "qemu-viso verify '<i>'", remains)
    folder = str(keep_failure(failure, tmp_path))
    differences = (
        Difference("", "label", "'A'", "'B'"),
        Difference(HOSTILE, "content", "sha256 1", "sha256 2", PLACE, 5),
        *(Difference(f"/{number}", "name", "absent", "a file") for number in range(SHOWN)),
    )
    reason = f"no: {HOSTILE}\nsecond"
    kernel = "x86_64 6.1"
    return [
        Report("r.viso", "linux-cloud", "scsi-cd", "rock", 60, (), 3.5, kernel=kernel),
        Report("r.viso", "linux-cloud", "scsi-cd", "udf", 60, differences, 0.5, folder=folder, kernel=kernel),
        Report(HOSTILE, "linux-cloud", "virtio-blk", "rock", 0, (), 1.0, reason=reason, status=74, folder=folder),
        Report("r.viso", "linux-s390x", "scsi-cd", "rock", 0, (), 0.0, reason="no QEMU", status=69, skipped=True),
    ]  # fmt: skip


def test_junit(reports: list[Report]) -> None:
    root = ET.fromstring(junit(reports).encode())
    assert root.attrib == {"tests": "4", "failures": "1", "errors": "1", "skipped": "1", "time": "5.000"}
    suites = root.findall("testsuite")
    assert [suite.get("tests") for suite in suites] == ["1", "3"]
    assert suites[0].get("name", "").startswith("/<script>document.title='owned'</script>\\x1b[31m\\x00\\ud800x\\udcff")
    cases = suites[1].findall("testcase")
    assert [(case.get("classname"), case.get("name")) for case in cases] == [
        ("linux-cloud", "scsi-cd rock"), ("linux-cloud", "scsi-cd udf"), ("linux-s390x", "scsi-cd rock"),
    ]  # fmt: skip
    assert [[child.tag for child in case] for case in cases] == [["system-out"], ["failure", "system-out"], ["skipped"]]
    (error,) = suites[0].iter("error")
    assert error.text is not None
    assert "second" in error.text
    assert "sha256 1" in "".join(cases[1].itertext())


def test_json(reports: list[Report]) -> None:
    content = json.loads(json.dumps([report.to_json() for report in reports]))
    assert [each["outcome"] for each in content] == ["passed", "different", "failed", "skipped"]
    difference = content[1]["differences"][1]
    assert difference["path"] == HOSTILE
    structure = {"start": 0x8000, "size": 7, "what": "ISO volume descriptor"}
    assert difference["place"] == {"start": 0x8000, "size": 7, "structures": [structure]}
    assert difference["wrong_byte"] == 5


class Page(HTMLParser):
    """What a page consists of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_the_page_needs_nothing_but_itself(reports: list[Report]) -> None:
    text = html(reports)
    text.encode("utf-8")
    page = Page(text)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "b", "i"})
    assert not re.search(r"https?:|url\(|@import", text)
    assert all(str(image["src"]).startswith("data:image/png;base64,") for image in page.all("img"))
    (policy,) = [each for each in page.all("meta") if each.get("http-equiv") == "Content-Security-Policy"]
    assert str(policy["content"]).startswith("default-src 'none'")
    assert not re.search(r"[\0-\x08\x0b-\x1f\x7f\u202e\ud800-\udfff]", text)


def test_the_page_says_everything(reports: list[Report]) -> None:
    page = Page(html(reports))
    assert page.text.count("Not all as promised") == 2
    for words in ("passed 1", "different 1", "failed 1", "skipped 1", "second", "no QEMU", "… and 2 more", "(volume)",
                  "bytes 0x8000+7: ISO volume descriptor", "byte 5 is the first wrong one", "x86_64 6.1",
                  "qemu-viso verify '<i>'", "<b>booting</b>", "red \\xff"):  # fmt: skip
        assert words in page.text, words
    (image, *_) = page.all("img")
    assert base64.b64decode(str(image["src"]).partition(",")[2]) == png()
    assert "Nothing was looked at" in html(reports[3:])
    assert "All as promised" in html(reports[:1])


def test_columns_are_in_order_and_a_reason_is_told_once() -> None:
    """What was skipped is reported first; two namespaces fail for one reason."""
    reason = "the guest failed\n  last words"
    failed = [Report("a.viso", "g", "b", name, 0, (), 1.0, reason=reason, status=74) for name in ("plain", "udf")]
    skipped = Report("b.viso", "g", "b", "joliet", 0, (), 0.0, reason="no", status=69, skipped=True)
    text = html([skipped, *failed, Report("b.viso", "g", "b", "rock", 9, (), 1.0)])
    page = Page(text)
    heads = re.findall(r'<th scope="col">(\w\.viso)<br>(\w+)</th>', text)
    assert heads == [("b.viso", "rock"), ("b.viso", "joliet"), ("a.viso", "plain"), ("a.viso", "udf")]
    assert page.text.count("last words") == 1
    assert page.text.count("failed: the guest failed") == 2  # in the list, and there alone with its outcome


def test_the_page_can_be_read_by_all(reports: list[Report]) -> None:
    page = Page(html(reports))
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == len(page.all("main")) == 1
    assert all(image.get("alt") for image in page.all("img"))
    assert all(head.get("scope") in ("row", "col") for head in page.all("th"))
    anchors = {str(each["id"]) for each in page.all("section")}
    assert {str(link["href"])[1:] for link in page.all("a")} <= anchors
    assert len(page.all("caption")) == 2


def browse(page: Path, profile: Path, *arguments: str) -> str:
    """What headless Chromium prints of a page."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    flags = (
        *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
        *("--disable-component-update", "--disable-sync", f"--user-data-dir={profile}", *arguments),
    )
    done = subprocess.run([chromium, *flags, page.as_uri()], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def write(tmp_path: Path, reports: Sequence[Report]) -> Path:
    page = tmp_path / "report.html"
    page.write_text(html(reports), encoding="utf-8")
    return page


def test_a_browser_shows_what_was_written(reports: list[Report], tmp_path: Path) -> None:
    shown = Page(browse(write(tmp_path, reports), tmp_path / "profile", "--dump-dom"))
    assert shown.all("script") == []
    assert "Not all as promised: what guests saw" in shown.text
    assert "owned" not in shown.text.partition("what guests saw")[0]
    # Nothing was repaired on the way: the browser sees the elements that were written.
    assert [tag for tag, _ in shown.tags] == [tag for tag, _ in Page(html(reports)).tags]


def test_a_screenshot_is_no_blank_page(reports: list[Report], tmp_path: Path) -> None:
    shot = tmp_path / "shot.png"
    browse(write(tmp_path, reports), tmp_path / "profile", f"--screenshot={shot}", "--window-size=1000,800")
    data = shot.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert data[16:24] == (1000).to_bytes(4, "big") + (800).to_bytes(4, "big")
    assert len(data) > 20_000
