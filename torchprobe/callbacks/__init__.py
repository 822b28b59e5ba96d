"""Probe a model while it trains, in the trainer you already have.

`Loop` is for loops of your own; the modules `torchprobe.callbacks.lightning`,
`torchprobe.callbacks.transformers` and `torchprobe.callbacks.ignite` hold a callback each.
"""

from torchprobe.callbacks import ignite, lightning, transformers
from torchprobe.callbacks.loop import Loop
from torchprobe.callbacks.recorder import Recorder
from torchprobe.callbacks.schedule import Schedule

__all__ = ["Loop", "Recorder", "Schedule", "ignite", "lightning", "transformers"]
