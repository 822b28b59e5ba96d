"""``python -m torchprobe``."""

import sys

from torchprobe.cli import main

if __name__ == "__main__":
    sys.exit(main())
