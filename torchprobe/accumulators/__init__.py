"""Mergeable streaming statistics: constant memory, float64, exact in any order."""

from torchprobe.accumulators.base import Accumulator, State, Transaction
from torchprobe.accumulators.confusion import Confusion
from torchprobe.accumulators.counts import Counts
from torchprobe.accumulators.cross_scatter import CrossScatter
from torchprobe.accumulators.gram import Gram
from torchprobe.accumulators.group_means import GroupMeans
from torchprobe.accumulators.groups import Groups
from torchprobe.accumulators.mean import Mean
from torchprobe.accumulators.moments import Moments
from torchprobe.accumulators.qr_factor import QRFactor
from torchprobe.accumulators.sample import BoundedSample
from torchprobe.accumulators.scatter import Scatter
from torchprobe.accumulators.top import Top
from torchprobe.accumulators.within_scatter import WithinScatter

__all__ = [
    "Accumulator",
    "BoundedSample",
    "Confusion",
    "Counts",
    "CrossScatter",
    "Gram",
    "GroupMeans",
    "Groups",
    "Mean",
    "Moments",
    "QRFactor",
    "Scatter",
    "State",
    "Top",
    "Transaction",
    "WithinScatter",
]
