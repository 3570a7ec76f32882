import dataclasses
import io
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from qemu_viso.errors import CannotCreateError, ConfigurationError, InputOutputError, MissingInputError
from qemu_viso.guest import build as builder
from qemu_viso.guest.build import GuestBuild, build_guest, build_key, find_build, write_initrd
from qemu_viso.guest.cpio import CpioWriter
from qemu_viso.guest.definition import GuestDefinition, load_definition
from qemu_viso.guest.packages import Apt, Package, debian_mirror, unpack
from qemu_viso.guest.run import spec_for
from qemu_viso.qemu.cache import cache_folder
from qemu_viso.qemu.devices import BUSES, FileMedium
from tests.guest.test_definition import GOOD, GRUB
from tests.guest.test_modules import elf


@pytest.fixture
def definition(tmp_path: Path) -> GuestDefinition:
    folder = tmp_path / "definitions"
    (folder / "agents").mkdir(parents=True)
    (folder / "agents" / "agent.sh").write_text("#!/bin/busybox sh\n")
    (folder / "g.toml").write_text(GOOD)
    return load_definition("g", folder)


def packages(root: Path) -> None:
    """What dpkg-deb would leave, in the layout of Debian 13, which has everything below /usr."""
    for path, content in {
        "boot/vmlinuz-6.1": b"kernel",
        "usr/bin/busybox": b"busybox",
        "usr/lib/modules/6.1/kernel/isofs.ko": elf(b"depends=cdrom\0"),
        "usr/lib/modules/6.1/kernel/cdrom.ko": elf(b"depends=\0"),
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)


Fetch = Callable[[GuestDefinition, Path, Path, Callable[[str], None]], list[Package]]


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The downloads, which are made by hand here; as many as there were."""
    downloads: list[Path] = []

    def fetch(_: GuestDefinition, __: Path, work: Path, ___: Callable[[str], None]) -> list[Package]:
        downloads.append(work)
        packages(work / "root")
        return [Package("linux-image-6.1", "6.1-2", "amd64", 7, ())]

    monkeypatch.setattr(builder, "_fetch", fetch)
    return downloads


def test_a_build_and_its_second_call(definition: GuestDefinition, tmp_path: Path, fetched: list[Path]) -> None:
    lines: list[str] = []
    assert find_build(definition, tmp_path / "cache") is None
    first = build_guest(definition, tmp_path / "cache", lines.append)
    assert first.kernel.read_bytes() == b"kernel"
    assert first.packages == (("linux-image-6.1", "6.1-2"),)
    assert lines[0] == "guest g: building the initial RAM disk"
    assert lines[-1].startswith("guest g: ready after ")
    lines.clear()
    assert build_guest(definition, tmp_path / "cache", lines.append) == first
    assert lines == []
    assert len(fetched) == 1
    assert [path.name for path in (tmp_path / "cache" / "guests").iterdir() if path.is_dir()] == [
        first.kernel.parent.name
    ]


def test_the_key_follows_the_content(definition: GuestDefinition) -> None:
    before = build_key(definition)
    definition.agent.write_text("#!/bin/busybox sh\n# changed\n")
    assert build_key(definition) != before


def test_half_a_build_counts_for_nothing(definition: GuestDefinition, tmp_path: Path, fetched: list[Path]) -> None:
    first = build_guest(definition, tmp_path)
    first.initrd.unlink()
    assert find_build(definition, tmp_path) is None
    assert build_guest(definition, tmp_path).initrd.is_file()
    (first.kernel.parent / "manifest.json").write_text("{")
    assert build_guest(definition, tmp_path).initrd.is_file()
    assert len(fetched) == 3


def test_two_builders_at_once(definition: GuestDefinition, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits, downloads = threading.Event(), []
    lines: list[str] = []

    def tell(line: str) -> None:
        lines.append(line)
        if "waiting" in line:
            waits.set()

    def fetch(_: GuestDefinition, __: Path, work: Path, ___: Callable[[str], None]) -> list[Package]:
        downloads.append(work)
        assert waits.wait(20)
        packages(work / "root")
        return []

    monkeypatch.setattr(builder, "_fetch", fetch)
    builders = [threading.Thread(target=build_guest, args=(definition, tmp_path, tell)) for _ in range(2)]
    for thread in builders:
        thread.start()
    for thread in builders:
        thread.join()
    assert len(downloads) == 1
    assert lines.count("guest g: another process is building it; waiting") == 1
    assert find_build(definition, tmp_path) is not None


def test_packages_without_what_is_needed(definition: GuestDefinition, tmp_path: Path, fetched: list[Path]) -> None:
    definition.source.write_text(GOOD.replace("vmlinuz-*", "Image-*"))
    with pytest.raises(ConfigurationError, match=r"'boot/Image-\*' should match one file .* matches nothing"):
        build_guest(load_definition("g", definition.source.parent), tmp_path)
    assert [path.name for path in (tmp_path / "guests").iterdir()] == [".g.lock"]


def test_a_cache_that_cannot_be_written(definition: GuestDefinition, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotCreateError, match="the guest 'g' cannot be stored in"):
        build_guest(definition, tmp_path / "file")


def test_the_initial_ram_disk(definition: GuestDefinition, tmp_path: Path) -> None:
    if shutil.which("bsdtar") is None:
        pytest.skip("bsdtar is missing (libarchive-tools)")
    packages(tmp_path / "root")
    sink = io.BytesIO()
    write_initrd(definition, tmp_path / "root", CpioWriter(sink))
    (tmp_path / "out").mkdir()
    subprocess.run(["bsdtar", "-xpf", "-", "-C", tmp_path / "out"], input=sink.getvalue(), check=True)
    assert (tmp_path / "out/etc/modules").read_text() == "cdrom.ko\nisofs.ko\n"
    assert (tmp_path / "out/init").read_text() == "#!/bin/busybox sh\n"
    assert (tmp_path / "out/init").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "out/bin/sh").readlink() == Path("busybox")


def test_the_cache_follows_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/tmp/x")
    assert cache_folder() == Path("/var/tmp/x/qemu-viso")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == Path.home() / ".cache/qemu-viso"


def fake_apt(folder: Path, monkeypatch: pytest.MonkeyPatch, show: str) -> None:
    for name, body in {
        "dpkg": "echo amd64",
        "apt-cache": show,
        "apt-get": 'echo "$@" >>"${0%/*}/calls"; echo "E: 404 Not Found" >&2; exit 100',
    }.items():
        path = folder / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


SHOW = r"""cat <<'END'
Package: linux
Version: 1:2-3
Architecture: amd64
Size: 5
Depends: linux-6.1 (= 2) | x, libc6:any
Description: two
 lines

END"""


def test_what_apt_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_apt(tmp_path, monkeypatch, SHOW)
    apt = Apt("amd64", tmp_path / "state", list[str]().append)
    assert apt.show("linux") == Package("linux", "1:2-3", "amd64", 5, ("linux-6.1", "libc6"))
    assert not (tmp_path / "state").exists()


def test_a_download_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_apt(tmp_path, monkeypatch, SHOW)
    apt = Apt("amd64", tmp_path / "state", list[str]().append)
    with pytest.raises(InputOutputError, match=r"(?s)failed with status 100.*E: 404 Not Found"):
        apt.download([apt.show("linux")], tmp_path)


def test_stale_lists_are_replaced_by_fresh_ones(
    definition: GuestDefinition, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_apt(tmp_path, monkeypatch, SHOW)
    lines: list[str] = []
    with pytest.raises(InputOutputError, match="E: 404 Not Found"):
        build_guest(definition, tmp_path / "cache", lines.append)
    assert "guest g: trying again with fresh package lists, because E: 404 Not Found" in lines
    calls = (tmp_path / "calls").read_text().splitlines()
    assert ["update" if line == "update" else "download" for line in calls] == ["download", "update", "download"]
    assert [path.name for path in (tmp_path / "cache" / "guests").iterdir()] == [".g.lock"]


def test_a_package_that_nobody_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Package lists are fetched into a state of our own before it is called missing."""
    fake_apt(tmp_path, monkeypatch, "exit 100")
    lines: list[str] = []
    with pytest.raises(MissingInputError, match="no package source offers 'linux' for amd64"):
        Apt("amd64", tmp_path / "state", lines.append).show("linux")
    assert lines[0] == "fetching package lists for amd64"
    assert f'Dir::State "{tmp_path}/state"' in (tmp_path / "state" / "apt.conf").read_text()


def test_packages_of_another_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They come from the host's mirror, through a state of our own, although the host has lists."""
    fake_apt(tmp_path, monkeypatch, SHOW)
    mirror = "[ $1 != indextargets ] || echo http://mirror/debian; exit 0"
    (tmp_path / "apt-get").write_text(f"#!/bin/sh\n{mirror}\n")
    Apt("amd64", tmp_path / "state", list[str]().append, suite="trixie").show("linux")
    (source,) = (tmp_path / "state" / "sources.list").read_text().splitlines()
    assert source.startswith("deb [signed-by=")
    assert source.endswith("] http://mirror/debian trixie main")
    configuration = (tmp_path / "state" / "apt.conf").read_text()
    assert f'Dir::Etc::sourcelist "{tmp_path}/state/sources.list";' in configuration
    (tmp_path / "apt-get").write_text("#!/bin/sh\nexit 100\n")
    assert debian_mirror() == "http://deb.debian.org/debian"


def test_a_build_without_its_root_file_system(
    definition: GuestDefinition, tmp_path: Path, fetched: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(suite: str, architecture: str, names: object, mirror: str, work: Path, target: Path) -> None:
        target.write_text(f"{suite} {architecture} {names}")

    monkeypatch.setattr(builder, "write_root", write)
    definition = dataclasses.replace(definition, suite="bookworm", root=("systemd-sysv",))
    root = build_guest(definition, tmp_path).kernel.parent / "root.img"
    assert root.read_text() == "bookworm amd64 ('systemd-sysv',)"
    root.unlink()
    assert find_build(definition, tmp_path) is None


@pytest.mark.parametrize(("names", "more"), [(0, 0), (1000, 0), (1_000_000, 976), (50_000_000, 2048)])
def test_memory_for_names(definition: GuestDefinition, tmp_path: Path, names: int, more: int) -> None:
    """A machine for a medium of many names has a KiB more for each, within reason."""
    build = GuestBuild(definition, tmp_path / "vmlinuz", tmp_path / "initrd", ())
    bus = BUSES[definition.buses[0]]
    usual = spec_for(build, bus, FileMedium("x")).memory
    assert spec_for(build, bus, FileMedium("x"), names=names).memory == usual + more


def test_readers_that_are_no_linux(tmp_path: Path) -> None:
    """They are built without a kernel; and no firmware can start them from a medium."""
    folder = tmp_path / "definitions"
    (folder / "agents").mkdir(parents=True)
    (folder / "agents" / "agent.sh").write_text("reset -s\n")
    head = GRUB.partition("[packages]")[0].replace('"grub"', '"uefi-shell"', 1)
    (folder / "g.toml").write_text(head + '[shell]\nagent = "agent.sh"\n')
    build = build_guest(load_definition("g", folder), tmp_path)
    assert build.kernel.read_text() == "reset -s\n"
    assert (build.initrd.read_bytes(), build.packages) == (b"", ())
    with pytest.raises(ConfigurationError, match="'g' does not come from a medium"):
        spec_for(build, BUSES["virtio-blk"], FileMedium("x"), from_medium=True)


def test_a_damaged_package(tmp_path: Path) -> None:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is missing (dpkg)")
    (tmp_path / "x.deb").write_bytes(b"!<arch>\n")
    with pytest.raises(InputOutputError, match="dpkg-deb -x"):
        unpack(tmp_path / "x.deb", tmp_path / "out")
