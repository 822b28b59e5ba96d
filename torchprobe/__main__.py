"""``python -m torchprobe``."""

import sys

from torchprobe.cli import main

sys.exit(main())
