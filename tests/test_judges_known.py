"""What is known of judges' defects is true: of other makers' images of such trees they say the same."""

from __future__ import annotations

import hashlib
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.judges import images, samples
from tests.judges.external import Pycdlib, missing
from tests.judges.known import DEFECTS, Defect, others
from tests.judges.reader.image import opened
from tests.judges.whole import Isovfy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO

needs_xorriso = pytest.mark.skipif(bool(missing("xorriso")), reason=str(missing("xorriso")))
HEAD = 4 << 20
CHUNK = 1 << 20


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """xorriso's image of large files: as far as it tells of them; the files themselves are all holes."""
    folder = tmp_path_factory.mktemp("peer")
    (folder / "tree").mkdir()
    samples.large_files(folder / "tree")
    command = ("xorriso", "-as", "mkisofs", "-quiet", "-R", "-J", "-iso-level", "3", "-V", "PEER")
    with (
        open(folder / "peer.iso", "wb") as image,
        subprocess.Popen([*command, folder / "tree"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as maker,
    ):
        assert maker.stdout is not None
        head = maker.stdout.read(HEAD)
        maker.kill()
        image.write(head)
        image.truncate(int.from_bytes(head[32768 + 80 : 32768 + 84], "little") * 2048)
    return folder / "peer.iso"


@needs_xorriso
@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.judge)
def test_the_judge_says_it_of_another_makers_image(defect: Defect, peer: Path) -> None:
    assert defect.why
    if defect.judge == "isovfy":
        if reason := Isovfy().available():
            pytest.skip(reason)
        said = Isovfy().complaints(peer)
    else:
        if reason := Pycdlib().available():
            pytest.skip(reason)
        with opened(peer) as seen:
            said = Pycdlib().disagreements(peer, seen, "sizes")
    assert [line for line in said if re.fullmatch(defect.pattern, line, re.DOTALL)]


# --- what large files hold -------------------------------------------------------------------------------------------


def outline(stream: IO[bytes]) -> tuple[int, str]:
    """The size of a stream, and a sum of what in it is not zeros and where."""
    digest, at, zeros = hashlib.sha256(), 0, bytes(CHUNK)
    while data := stream.read(CHUNK):
        if data != zeros:
            digest.update(b"%d:" % at + data)
        at += len(data)
    return at, digest.hexdigest()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[images.Made]:
    with images.made(images.IMAGES["large files"], tmp_path_factory.mktemp("large")) as made:
        yield made


EXTRACTED = {
    "bsdtar, Joliet": "bsdtar --options !rockridge -xOf {} large",
    "7z, UDF": "7z x -so -tUdf {} large",
    "xorriso, Rock Ridge": "xorriso -no_rc -abort_on FATAL -osirrox on -indev {} -concat append - /large --",
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("judge", EXTRACTED)
def test_a_file_in_two_sections_is_read_whole(judge: str, large: images.Made) -> None:
    """4 GiB and a bit, with marks at the seams."""
    words = EXTRACTED[judge].format(large.path).split()
    if reason := missing(words[0]):
        pytest.skip(reason)
    with open(large.tree / "large", "rb") as file:
        expected = outline(file)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        found = outline(process.stdout)
    assert found == expected
    assert process.returncode == 0


def test_a_defect_that_is_gone_is_told() -> None:
    complaint = "108: 122   10f    -2048        Flags=(80)  RRlen=80 [PX,TF,NM]"
    assert others("large files", "isovfy", [complaint]) == []
    assert others("large files", "isovfy", [complaint, "other"]) == ["other"]
    assert others("small", "isovfy", [complaint]) == [complaint]
    assert others("large files", "isovfy", []) == ["isovfy no longer says of 'large files' what is known of it"]
