"""Which accelerator to trust: the one that has run a guest, not the one whose device node is there."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qemu_viso.errors import GuestError
from qemu_viso.qemu.cache import cache_folder
from qemu_viso.qemu.probe import GOOD_STATUS, firmware
from qemu_viso.qemu.process import Child, describe_status, find_program

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qemu_viso.qemu.platforms import Platform

# Under TCG the probe takes 0.1 to 0.3 s, on two busy cores.
PROBE_SECONDS = 3.0
# Best first; TCG is what remains.
CANDIDATES = ("kvm", "tcg")
KVM = "/dev/kvm"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of probing an accelerator.

    Attributes:
        accelerator: its name.
        works: whether the probe guest ended well within the deadline.
        seconds: how long it took.
        reason: why it does not work; empty if it does.
        sandbox: whether QEMU ran confined by seccomp.
        tried: whether a probe guest was started; not where the host lacks the accelerator or refuses it to the user.
    """

    accelerator: str
    works: bool
    seconds: float
    reason: str = ""
    sandbox: bool = True
    tried: bool = True


async def probe(accelerator: str, *, program: str = "qemu-system-x86_64", sandbox: bool = True) -> Verdict:
    """Run the probe guest.

    Raises:
        MissingProgramError: QEMU is not installed.
    """
    refusal = _refusal(accelerator)
    if refusal:
        return Verdict(accelerator, works=False, seconds=0.0, reason=refusal, sandbox=sandbox, tried=False)
    with tempfile.NamedTemporaryFile(prefix="qemu-viso-probe-") as rom:
        rom.write(firmware())
        rom.flush()
        argv = [
            program, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-machine", "pc", "-m", "4",
            "-accel", accelerator, "-bios", rom.name, "-device", "isa-debug-exit,iobase=0x501",
        ]  # fmt: skip
        if sandbox:
            argv += ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]
        begin = time.monotonic()
        async with Child(argv) as child:
            try:
                async with asyncio.timeout(PROBE_SECONDS):
                    status = await child.wait()
                reason = "" if status == GOOD_STATUS else f"the probe guest failed: QEMU {describe_status(status)}"
            except TimeoutError:
                reason = f"the probe guest was not done after {PROBE_SECONDS:g} s"
            seconds = time.monotonic() - begin
        if reason and sandbox and ("sandbox" in child.output or "seccomp" in child.output):
            return await probe(accelerator, program=program, sandbox=False)
        if reason and child.output:
            # The first line names the cause; what follows is registers.
            lines = [line for line in child.output.splitlines() if "warning" not in line]
            reason = f"{reason} ({lines[0]})" if lines else reason
    return Verdict(accelerator, works=not reason, seconds=round(seconds, 3), reason=reason, sandbox=sandbox)


def _refusal(accelerator: str) -> str:
    """Why there is no use in a probe; empty if there is. It costs nothing, so it is asked each time."""
    if accelerator != "kvm" or os.access(KVM, os.R_OK | os.W_OK):
        return ""
    return f"{KVM} may not be opened" if os.access(KVM, os.F_OK) else f"there is no {KVM}"


async def verdicts(
    cache: Path | None = None, *, program: str = "qemu-system-x86_64", anew: bool = False
) -> list[Verdict]:
    """The verdict on every accelerator, best first; probed once for each boot of the host and version of QEMU.

    What a person can mend while the host runs is not remembered: a device that may not be opened, a TCG that fails.

    Args:
        cache: the cache folder; the user's if not given.
        program: QEMU's program.
        anew: probe whatever is remembered, and remember that instead.

    Raises:
        MissingProgramError: QEMU is not installed.
    """
    file = (cache or cache_folder()) / "accelerators.json"
    key = _key(find_program(program))
    known = {} if anew else _read(file, key)
    found = [
        known[each] if each in known and not _refusal(each) else await probe(each, program=program)
        for each in CANDIDATES
    ]
    lasting = [each for each in found if each.works or (each.tried and each.accelerator != "tcg")]
    if anew or lasting != list(known.values()):
        _write(file, key, lasting)
    return found


def best(found: Sequence[Verdict], platform: Platform) -> Verdict:
    """The accelerator to use for a platform.

    Hardware accelerators run guests of the host's own architecture only, and the probe speaks for x86.

    Raises:
        GuestError: not even TCG works.
    """
    for verdict in found:
        if verdict.works and (verdict.accelerator == "tcg" or platform.program == "qemu-system-x86_64"):
            return verdict
    reasons = "; ".join(f"{each.accelerator}: {each.reason}" for each in found)
    raise GuestError(f"QEMU can run no guest on this host ({reasons})")


def rejection(found: Sequence[Verdict]) -> str | None:
    """What to tell a person whose host has an accelerator that failed its probe; None if there is nothing to tell."""
    for verdict in found:
        if verdict.tried and not verdict.works and verdict.accelerator != "tcg":
            return f"{verdict.accelerator.upper()} is here but not used, guests run slower under TCG: {verdict.reason}"
    return None


def warn_of_rejection(found: Sequence[Verdict]) -> None:
    """Log that sentence, for a command that is about to start guests."""
    sentence = rejection(found)
    if sentence is not None:
        _log.warning("%s", sentence)


def _key(program: str) -> str:
    """What a verdict holds for: this boot of the host, and this file of QEMU, by whatever link it was found."""
    program = os.path.realpath(program)
    try:
        boot = _BOOT_ID.read_text().strip()
    except OSError:
        boot = "unknown"
    status = os.stat(program)
    return f"{boot} {os.getuid()} {program} {status.st_size} {status.st_mtime_ns}"


def _read(file: Path, key: str) -> dict[str, Verdict]:
    try:
        content = json.loads(file.read_bytes())
        known = [Verdict(**each) for each in content["verdicts"]] if content["key"] == key else []
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {each.accelerator: each for each in known}


def _write(file: Path, key: str, found: list[Verdict]) -> None:
    """Keep the verdicts; a cache that cannot be written costs only time."""
    content = json.dumps({"key": key, "verdicts": [asdict(each) for each in found]}, indent=1)
    temporary = None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=".accelerators-", delete=False) as new:
            temporary = new.name
            new.write(content)
        os.replace(temporary, file)
    except OSError:
        if temporary is not None:
            os.unlink(temporary)
