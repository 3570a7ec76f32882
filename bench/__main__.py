"""Every measurement, one after the other: `make bench`."""

import subprocess
import sys

MODULES = ("bench.guests", "bench.images", "bench.nbd", "bench.parse", "bench.vhost_user")

if __name__ == "__main__":
    for module in MODULES:
        print(f"\n## {module}\n", flush=True)
        subprocess.run([sys.executable, "-m", module], check=True)
