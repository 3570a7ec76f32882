import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qemu_viso.guest.labels import LabelError, read_label
from qemu_viso.guest.view import NAMESPACES, Entry, GuestView

names = st.binary(min_size=1, max_size=20).map(lambda raw: "/" + raw.decode("utf-8", "surrogateescape"))
entries = st.builds(
    Entry,
    kind=st.sampled_from(["file", "directory", "symlink", "block"]),
    size=st.integers(0, 1 << 63),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 1 << 32),
    gid=st.integers(0, 1 << 32),
    target=st.none() | names,
    mtime=st.integers(-(1 << 40), 1 << 40),
    sha256=st.none() | st.just("0" * 64),
    mtime_nanoseconds=st.integers(0, 999_999_999),
    device=st.none() | st.tuples(st.integers(0, 4095), st.integers(0, 1 << 20)),
    links=st.integers(1, 1000),
)


@given(st.builds(GuestView, st.sampled_from(NAMESPACES), st.text(), st.dictionaries(names, entries, max_size=5)))
def test_json_keeps_everything(view: GuestView) -> None:
    text = view.to_json()
    assert text.isascii()
    assert GuestView.from_json(text) == view


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        "nothing",
        json.dumps({"namespace": "zip", "label": "", "entries": {}}),
        json.dumps({"namespace": "rock", "label": "", "entries": {"/": {"kind": "file"}}}),
        json.dumps({"namespace": "rock", "label": "", "entries": {"/": 3}}),
    ],
)
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        GuestView.from_json(text)


def descriptor(kind: int, label: bytes, escape: bytes = b"") -> bytes:
    head = (bytes([kind]) + b"CD001\1\0").ljust(40, b"\0") + label
    return (head.ljust(88, b" ") + escape).ljust(2048, b"\0")


def test_labels_of_each_namespace() -> None:
    joliet = "Größe".encode("utf-16-be").ljust(32, b"\0")
    enhanced = descriptor(2, b"ENHANCED".ljust(32))
    data = descriptor(1, b"PRIMARY".ljust(32)) + enhanced + descriptor(2, joliet, b"%/E") + descriptor(255, b"")
    assert read_label(data, "rock") == "PRIMARY"
    assert read_label(data, "plain") == "PRIMARY"
    assert read_label(data, "joliet") == "Größe"


def test_nothing_behind_the_terminator_counts() -> None:
    data = descriptor(1, b"PRIMARY".ljust(32)) + descriptor(255, b"") + descriptor(2, b"X", b"%/E")
    with pytest.raises(LabelError, match="no Joliet volume descriptor"):
        read_label(data, "joliet")
    with pytest.raises(LabelError, match="no primary volume descriptor"):
        read_label(bytes(4096), "rock")


def test_the_udf_drivers_message() -> None:
    line = "UDF-fs: INFO Mounting volume 'it''s Größe', timestamp 2026/01/01 00:00 (1000)\n"
    assert read_label(line.encode(), "udf") == "it''s Größe"
    with pytest.raises(LabelError, match="did not say which UDF volume"):
        read_label(b"UDF-fs: warning", "udf")
