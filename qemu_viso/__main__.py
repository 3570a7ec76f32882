"""`python -m qemu_viso` is `qemu-viso`."""

import sys

from qemu_viso.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
