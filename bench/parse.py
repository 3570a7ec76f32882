"""Reading recipes as large as they may be: seconds and peak memory, each in a process of its own.

The first rows are what the language's limits allow to be asked for: 32 MiB and a million file specs. The others are
hostile texts of 32 MiB, which must end as well, mostly with an error. The bars are the same for all.

    python -m bench.parse [--rounds N] [--only WORD] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 15.0
MEBIBYTES = 1536.0
SPECS = 1_000_000
LIMIT = 32 << 20
READ = "--read"
UUID = "5f1c0ae0-1111-2222-3333-444455556666"
BOURNE = f"--iprt-iso-maker-file-marker-bourne-sh {UUID}\n"
MS_CRT = f"--iprt-iso-maker-file-marker-ms-crt {UUID}\n"


def _specs(before: str, after: str) -> str:
    """A million file specs, one a line, in nearly 32 MiB."""
    length = (LIMIT - 200) // SPECS - len(before + after) - 1
    lines = (f"/d{number % 997:03}/n{number:06}=s{number:06}".ljust(length, "x") for number in range(SPECS))
    return "\n".join(f"{before}{line}{after}" for line in lines)


def _filled(word: str) -> str:
    return word * ((LIMIT - 200) // len(word.encode()))


TEXTS: dict[str, Callable[[], str]] = {
    "a million file specs": lambda: BOURNE + _specs("", ""),
    "a million quoted file specs": lambda: BOURNE + _specs("'", "'"),
    "a million escaped file specs": lambda: BOURNE + _specs("\\", ""),
    "a million file specs, MS quoting": lambda: MS_CRT + _specs('"', '"'),
    "32 MiB of white space": lambda: BOURNE + _filled("\n"),
    "32 MiB of backslashes": lambda: BOURNE + _filled("\\"),
    "32 MiB of backslashes, MS quoting": lambda: MS_CRT + _filled("\\"),
    "32 MiB of nested quotes": lambda: BOURNE + _filled("'\""),
    "32 MiB of nested quotes, MS quoting": lambda: MS_CRT + _filled("'\""),
    "32 MiB of quoted words": lambda: BOURNE + _filled('a\'b\'"c\\"d" '),
    "32 MiB of one-letter words": lambda: BOURNE + _filled("a "),
    "32 MiB of options": lambda: BOURNE + _filled("-T "),
    "32 MiB of letters of options": lambda: BOURNE + _filled("-JRrl "),
    "32 MiB of modes": lambda: BOURNE + _filled("--chmod=u+x:/a "),
    "32 MiB of suspicious letters": lambda: BOURNE + _filled("-publishr "),
    "32 MiB of response files": lambda: BOURNE + _filled("@empty "),
}


def _measure(path: Path, source: Path) -> tuple[float, float, str]:
    """Seconds and MiB of one reading, and what came of it."""
    child = subprocess.run(
        [sys.executable, "-m", "bench.parse", READ, str(path)],
        cwd=source,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    result = json.loads(child.stdout)
    return result["seconds"], result["mebibytes"], result["result"]


def _read(path: str) -> None:
    """Read one recipe, here; the seconds are those of reading alone, the memory is all."""
    import resource

    from qemu_viso.errors import QemuVisoError
    from qemu_viso.viso import read_recipe

    began = time.perf_counter()
    try:
        result = f"{len(read_recipe(path).steps):,} steps"
    except QemuVisoError as error:
        result = f"{type(error).__name__} at {error.place}".replace(str(Path(path).parent) + os.sep, "")
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "mebibytes": peak, "result": result}))


def main() -> int:
    """Print a table; 1 if a bar was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="only rows whose title contains this")
    parser.add_argument("--json", type=Path)
    parser.add_argument(READ, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        _read(arguments.read)
        return 0
    table = []
    missed = 0
    with tempfile.TemporaryDirectory(prefix="qemu-viso-bench-") as folder:
        path = Path(folder) / "a.viso"
        (path.parent / "empty").touch()
        for title, text in TEXTS.items():
            if arguments.only not in title:
                continue
            path.write_text(text(), encoding="utf-8")
            rounds = [_measure(path, Path(__file__).parent.parent) for _ in range(arguments.rounds)]
            seconds = statistics.median(each[0] for each in rounds)
            mebibytes = max(each[1] for each in rounds)
            fine = seconds < SECONDS and mebibytes < MEBIBYTES
            missed += not fine
            print(
                f"{title:38} {seconds:6.2f} s {mebibytes:7.0f} MiB  {'' if fine else 'MISSED '}{rounds[0][2]}",
                flush=True,
            )
            table.append({"text": title, "seconds": seconds, "mebibytes": mebibytes, "result": rounds[0][2]})
    print(f"(bars: {SECONDS:.0f} s, {MEBIBYTES:.0f} MiB)")
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=2))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
