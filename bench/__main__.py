"""Every measurement, one after the other: `make bench`. The status is 1 if any bar was missed."""

import subprocess
import sys

MODULES = ("bench.guests", "bench.images", "bench.nbd", "bench.parse", "bench.vhost_user")


def main() -> int:
    """Run all modules, whatever the ones before have found."""
    failed = []
    for module in MODULES:
        print(f"\n## {module}\n", flush=True)
        if subprocess.run([sys.executable, "-m", module], check=False).returncode:
            failed.append(module)
    if failed:
        print(f"\nBars were missed in {', '.join(failed)}.", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
