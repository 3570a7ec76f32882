from pathlib import Path

import pytest

from qemu_viso.errors import ConfigurationError, MissingInputError
from qemu_viso.guest.definition import Kernel, definitions_folder, guest_names, load_definition

GOOD = """
title = "A guest"
proves = "something"
architecture = "amd64"
buses = ["scsi-cd"]
namespaces = ["udf", "rock"]
[packages]
kernel = "linux-image-x"
tools = ["busybox-static"]
[kernel]
image = "boot/vmlinuz-*"
[initrd]
agent = "agent.sh"
modules = ["isofs"]
"""

GRUB = """
title = "GRUB"
proves = "something"
architecture = "amd64"
reader = "grub"
buses = ["virtio-blk"]
namespaces = ["rock", "joliet", "udf"]
[packages]
tools = ["grub-pc-bin"]
[grub]
agent = "agent.sh"
modules = ["normal"]
loaded = ["udf"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "agent.sh").touch()
    return tmp_path


def test_a_good_definition(folder: Path) -> None:
    (folder / "g.toml").write_text(GOOD)
    guest = load_definition("g", folder)
    assert (guest.name, guest.title, guest.architecture) == ("g", "A guest", "amd64")
    assert guest.namespaces == ("rock", "udf")
    assert guest.platform.program == "qemu-system-x86_64"
    assert guest.agent == folder / "agents" / "agent.sh"
    assert guest.kernel == Kernel("linux-image-x", "boot/vmlinuz-*", extracted=False)
    assert guest.sees(["plain", "rock", "joliet"]) == ("rock",)


def test_what_may_be_said_besides(folder: Path) -> None:
    text = GOOD.replace('"boot/vmlinuz-*"', '"boot/vmlinuz-*"\nextracted = true')
    (folder / "g.toml").write_text(text.replace("[packages]", '[packages]\nsuite = "trixie"'))
    guest = load_definition("g", folder)
    assert guest.kernel is not None
    assert guest.kernel.extracted
    assert guest.suite == "trixie"


def test_a_reader_that_is_no_linux(folder: Path) -> None:
    (folder / "g.toml").write_text(GRUB)
    guest = load_definition("g", folder)
    assert (guest.reader, guest.kernel, guest.modules, guest.loaded) == ("grub", None, ("normal",), ("udf",))
    assert guest.sees(["plain", "joliet", "rock", "udf"]) == ("rock", "udf")
    assert guest.sees(["plain", "joliet"]) == ("joliet",)
    assert guest.sees(["plain"]) == ()  # this one does not read it


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("[kernel]", "[kernel", "this is not TOML"),
        ('title = "A guest"', "", "'title' must be a text that is not empty"),
        ('title = "A guest"', "title = 3", "'title' must be a text"),
        ('"amd64"', '"vax"', "'architecture' knows no 'vax'"),
        ('["scsi-cd"]', '["scsi-cd", "floppy"]', "'buses' knows no 'floppy'"),
        ('["scsi-cd"]', "[]", "'buses' must be a list of texts that is not empty"),
        ('["isofs"]', '["isofs", 3]', "'initrd.modules' must be a list of texts"),
        ('"agent.sh"', '"other.sh"', "other.sh', which is not there"),
        ("[kernel]\nimage", "[kern]\nimage", "the table [kernel] is missing"),
        ("[kernel]", "[kernel]\nargs = 3", "'kernel.args' means nothing here"),
        ("[packages]", "[extra]\n[packages]", "'extra' means nothing here"),
        ("[kernel]", "[kernel]\nextracted = 1", "'kernel.extracted' must be true or false"),
        ("[packages]", '[packages]\nsuite = ""', "'packages.suite' must be a text"),
        ('title = "A guest"', 'title = "A guest"\nreader = "crystal"', "'reader' knows no 'crystal'"),
        ('title = "A guest"', 'title = "A guest"\nreader = "grub"', "the table [grub] is missing"),
        ("A guest", "\udc80", "this is not TOML"),
    ],
)
def test_bad_definitions(folder: Path, old: str, new: str, sentence: str) -> None:
    assert old in GOOD
    path = folder / "g.toml"
    path.write_bytes(GOOD.replace(old, new, 1).encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigurationError) as caught:
        load_definition("g", folder)
    assert caught.value.message.startswith(f"{path}: ")
    assert sentence in caught.value.message


def test_a_guest_that_is_not_there(folder: Path) -> None:
    (folder / "b.toml").touch()
    (folder / "a.toml").touch()
    with pytest.raises(MissingInputError, match="there is no guest 'x'") as caught:
        load_definition("x", folder)
    assert caught.value.hint == f"guests in {folder}: a, b"


@pytest.mark.parametrize("name", guest_names())
def test_the_definitions_that_come_with_the_project(name: str) -> None:
    guest = load_definition(name)
    assert guest.buses
    assert guest.platform.name == guest.architecture


def test_a_guest_with_a_root_file_system(folder: Path) -> None:
    text = GOOD.replace("[packages]", '[packages]\nsuite = "bookworm"') + '[root]\npackages = ["systemd-sysv"]\n'
    (folder / "g.toml").write_text(text)
    assert load_definition("g", folder).root == ("systemd-sysv",)
    (folder / "g.toml").write_text(text.replace('suite = "bookworm"', ""))
    with pytest.raises(ConfigurationError, match=r"'packages\.suite' must be a text"):
        load_definition("g", folder)


def test_the_shell_of_the_firmware_needs_no_packages(folder: Path) -> None:
    head = GRUB.partition("[packages]")[0].replace('"grub"', '"uefi-shell"', 1)
    (folder / "g.toml").write_text(head + '[shell]\nagent = "agent.sh"\n')
    guest = load_definition("g", folder)
    assert (guest.reader, guest.kernel, guest.tool_packages, guest.modules) == ("uefi-shell", None, (), ())


def test_systems_that_come_with_the_project() -> None:
    folder = definitions_folder() / "systems"
    assert guest_names(folder) == ["debian-cloud-init"]
    assert load_definition("debian-cloud-init", folder).root
