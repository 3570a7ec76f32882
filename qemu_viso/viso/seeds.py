"""Media that programs look for by themselves: the label and the names by which each finds its files.

cloud-init's NoCloud and ConfigDrive sources look for a file system by its label, Anaconda does so too, and Windows
Setup looks for a name at the root of every removable medium.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qemu_viso.errors import UsageError
from qemu_viso.frozen import Frozen
from qemu_viso.viso.recipe import (
    ImportIso,
    Name,
    SetJoliet,
    SetNames,
    SetNamesFromImport,
    SetText,
    SetUdf,
    VolumeField,
)
from qemu_viso.viso.source import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qemu_viso.viso.recipe import Step


class SeedFile(Frozen):
    """A file that is looked for.

    Attributes:
        path: where in the image.
        called: what help texts call the host file that it comes from.
        required: the medium is not accepted without it.
    """

    path: str
    called: str
    required: bool = True


class Seed(Frozen):
    """A medium that some program looks for.

    Attributes:
        label: the label that a recipe of ours gives it.
        labels: every label that is accepted; none where the label does not matter.
        reader: the program, as messages call it.
        files: in the order in which they are given.
    """

    label: str
    labels: tuple[str, ...]
    reader: str
    files: tuple[SeedFile, ...]


SEEDS = {
    "nocloud": Seed(
        "cidata",
        ("cidata", "CIDATA"),
        "cloud-init (NoCloud)",
        (
            SeedFile("/user-data", "USER_DATA"),
            SeedFile("/meta-data", "META_DATA"),
            SeedFile("/network-config", "NETWORK_CONFIG", required=False),
            SeedFile("/vendor-data", "VENDOR_DATA", required=False),
        ),
    ),
    "configdrive": Seed(
        "config-2",
        ("config-2", "CONFIG-2"),
        "cloud-init (ConfigDrive)",
        (
            SeedFile("/openstack/latest/user_data", "USER_DATA", required=False),
            SeedFile("/openstack/latest/meta_data.json", "META_DATA"),
            SeedFile("/openstack/latest/network_data.json", "NETWORK_DATA", required=False),
            SeedFile("/openstack/latest/vendor_data.json", "VENDOR_DATA", required=False),
        ),
    ),
    "oemdrv": Seed("OEMDRV", ("OEMDRV",), "Anaconda", (SeedFile("/ks.cfg", "KICKSTART"),)),
    "autounattend": Seed("UNATTEND", (), "Windows Setup", (SeedFile("/autounattend.xml", "XML"),)),
}


def usage(name: str) -> str:
    """The files that a seed is made of, as a help text has them."""
    files = SEEDS[name].files
    needed = 1 + max(index for index, file in enumerate(files) if file.required)
    called = [file.called for file in files]
    return " ".join(called[:needed]) + "".join(f" [{each}" for each in called[needed:]) + "]" * (len(called) - needed)


def seed_words(name: str, sources: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The words of a recipe whose image is the seed `name`, made of these host files: its options, and its file specs.

    What else a recipe is to say comes in between, where it still counts for these files.

    Names and label are lower-case, so the namespaces in which they survive are asked for: Rock Ridge for Linux, Joliet
    for Windows. Everybody may read the files, and nobody may write them.

    Raises:
        UsageError: there is no such seed, or it is made of another number of files.
    """
    if name not in SEEDS:
        raise UsageError(f"there is no seed {shown(name)}", hint=f"one of {', '.join(SEEDS)}")
    files = SEEDS[name].files
    needed = 1 + max(index for index, file in enumerate(files) if file.required)
    if not needed <= len(sources) <= len(files):
        raise UsageError(
            f"the seed '{name}' is not made of {len(sources)} files", hint=f"write --seed {name} {usage(name)}"
        )
    options = (f"--volume-id={SEEDS[name].label}", "--rock-ridge", "--joliet", "--file-mode=0444", "--dir-mode=0555")
    return options, tuple(f"{file.path}={source}" for file, source in zip(files, sources, strict=False))


def label_where_heard(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps of a seed's recipe, of which the label is the first, with the label where every namespace hears it.

    VirtualBox gives a text to the namespaces that are on by then (section F6), and imported texts replace it (H1). So
    the label goes behind what turns a namespace on and behind imports, but not behind a name set-up that leaves a
    namespace out: from there on texts are not for all (D3). A label of the recipe's own comes after it in any case.
    """
    label, *others = steps
    behind = 0
    for at, step in enumerate(others, 1):
        if isinstance(step, SetText) and step.field is VolumeField.VOLUME_ID:
            break
        if isinstance(step, SetNamesFromImport) or (isinstance(step, SetNames) and not _is_for_all(step)):
            break
        if isinstance(step, (SetJoliet, SetUdf, ImportIso)):
            behind = at
    return (*others[:behind], label, *others[behind:])


def _is_for_all(step: SetNames) -> bool:
    return {Name.ISO, Name.JOLIET, Name.UDF} <= frozenset().union(*step.specifiers)
